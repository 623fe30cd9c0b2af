package transfer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer/realname"
)

// A consumer registers his real name with a carrier once, and buys that carrier's REAL_NAME cards as long as the carrier's
// approval is valid on the ledger. Who he is stands in the database, sealed, while a verifier and the carrier's approver
// look at it, and is deleted in the transaction that records what they decided. What stays is a keyed hash of his number,
// by which the contract counts the cards of one person over all his accounts.

// RealNameConfig says how real names are registered.
type RealNameConfig struct {
	// Verifier is asked before the carrier's approver is; nil: he has to check by himself.
	Verifier Verifier
	// Validity is how long an approval holds.
	Validity time.Duration
	// Keep is how long a registration waits for a decision. After that it is refused, and what its owner gave is deleted.
	Keep time.Duration
	// Attempts is how many registrations a consumer may make in a day. Four times as many may name one person.
	Attempts int
	// Patience is how long the verifier may take to answer.
	Patience time.Duration
}

// Verifier checks who somebody is.
type Verifier interface {
	Name() string
	Methods() []realname.Method
	// Verify checks an identity. The same check may be asked for again, by another server too. An error says that there is
	// no answer yet.
	Verify(ctx context.Context, check string, who realname.Identity) (realname.Answer, error)
}

func (c RealNameConfig) withDefaults() RealNameConfig {
	c.Validity = cmp.Or(c.Validity, 365*24*time.Hour)
	c.Keep = cmp.Or(c.Keep, 7*24*time.Hour)
	c.Attempts = cmp.Or(c.Attempts, 5)
	c.Patience = cmp.Or(c.Patience, 5*time.Second)
	return c
}

// methods are the ways in which somebody may show who he is.
func (c RealNameConfig) methods() []realname.Method {
	if c.Verifier == nil {
		return []realname.Method{realname.ByNumber}
	}
	return c.Verifier.Methods()
}

// Consent is what a consumer agrees to before he says who he is. Another text is another version.
var Consent = struct{ Version, Text string }{"1", "为完成电信业务实名登记（《反电信网络诈骗法》第九条），我们将收集您的姓名和身份证号，或您的网络身份凭证，" +
	"仅提供给您所购物联网卡的电信企业及其核验机构，用于核验您的身份和统计您名下的卡数。信息加密保存，审核结束后立即删除，只留下无法还原的摘要。" +
	"您可以随时撤回登记；撤回后不能再购买需要实名登记的卡。"}

// RealNameInput is what a consumer gives.
type RealNameInput struct {
	Carrier    string // may be empty where there is one carrier
	Name       string
	IDNumber   string
	Credential string
	Consent    bool
}

// RealNameView is how a consumer's registration with a carrier stands.
type RealNameView struct {
	ID          string
	CarrierID   string
	CarrierName string
	State       string // none, pending, approved, refused, expired
	Method      string
	Reason      string // of a refusal
	Message     string
	Text        string // the approver's own words
	SubmittedAt time.Time
	DecidedAt   *time.Time
	ValidUntil  *time.Time
}

// RealNames is how a consumer stands with all carriers.
type RealNames struct {
	State   string // none, pending, approved, refused: the best of all
	Methods []string
	Items   []RealNameView
}

// SubmitRealName takes in who a consumer is, has it checked if a verifier answers in time, and answers how it stands.
func (s *Service) SubmitRealName(ctx context.Context, c Caller, idem Idem, in RealNameInput) (RealNameView, error) {
	if c.Role != request.Consumer {
		return RealNameView{}, fail("FORBIDDEN")
	}
	who, method, err := s.identity(in)
	if err != nil {
		return RealNameView{}, err
	}
	made := ""
	id, err := s.once(ctx, c, s.hidden(idem), func(tx *model.Tx) (_ string, err error) {
		made, err = s.acceptRealName(tx, c, in.Carrier, who, method)
		return made, err
	})
	if err != nil {
		return RealNameView{}, err
	}
	if id == made {
		s.Metrics.RealName("submitted")
	}
	if err := s.verify(ctx, id, id == made); err != nil {
		s.Logger.Warn("real name: the verifier will be asked again", "registration", id, "error", err)
	}
	return s.realName(ctx, id)
}

// countRealName counts what has come to be; nothing, where it was asked for again.
func (s *Service) countRealName(event string) {
	if event != "" {
		s.Metrics.RealName(event)
	}
}

// hidden is a wish whose body tells who somebody is: its digest is not for everybody who can guess names and numbers.
func (s *Service) hidden(idem Idem) Idem {
	idem.BodyDigest = s.Vault.Index("wish", idem.BodyDigest)
	return idem
}

// identity reads what a consumer gave.
func (s *Service) identity(in RealNameInput) (who realname.Identity, method realname.Method, err error) {
	if !in.Consent {
		return who, "", fail("CONSENT_REQUIRED")
	}
	method = realname.ByNumber
	if in.Credential != "" {
		method = realname.ByCredential
	}
	switch {
	case in.Credential != "" && (in.Name != "" || in.IDNumber != ""), in.Credential == "" && in.Name == "" && in.IDNumber == "":
		err = fail("REAL_NAME_METHOD")
	case !slices.Contains(s.Config.RealName.methods(), method):
		err = fail("REAL_NAME_METHOD_UNAVAILABLE")
	case method == realname.ByCredential:
		who.Credential, err = realname.ParseCredential(in.Credential)
	default:
		if who.Name, err = realname.ParseName(in.Name); err == nil {
			who.IDNumber, err = realname.ParseIDNumber(in.IDNumber, s.Clock())
		}
	}
	var fault realname.Fault
	if errors.As(err, &fault) {
		err = fail(string(fault))
	}
	return who, method, err
}

// person is a keyed hash of a number, another one for every carrier: it goes on the ledger, and nobody there can tell that
// two carriers have the same customer.
func (s *Service) person(carrier, number string) string {
	return s.Vault.Index("real-name/"+carrier, number)
}

// identityPlace binds an identity to its row.
func identityPlace(r model.RealName) string {
	return "real-name/" + r.ID + "/" + r.Consumer + "/" + r.Carrier
}

func (s *Service) acceptRealName(tx *model.Tx, c Caller, carrier string, who realname.Identity, method realname.Method) (string, error) {
	carrier, err := s.carrierOf(tx, carrier)
	if err != nil {
		return "", err
	}
	if err := tx.LockParticipant(c.Participant); err != nil { // of two at once the second finds the first
		return "", err
	}
	if is, err := erased(tx, c.Participant); is || err != nil { // by a request that was faster
		return "", cmp.Or[error](err, fail("LOGIN_TOO_OLD"))
	}
	rows, a, err := s.registrations(tx, c.Participant, carrier)
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		switch {
		case r.State.Asked():
			return "", fail("REAL_NAME_PENDING")
		case r.Live != "":
			return "", fail("REAL_NAME_WITHDRAWING")
		}
	}
	if a.Valid(s.now() + model.Millis(renewal.Milliseconds())) {
		return "", fail("REAL_NAME_APPROVED")
	}
	r := model.RealName{
		ID: s.newID(), Consumer: c.Participant, Carrier: carrier, State: model.RealNameChecking, Method: string(method), Consent: Consent.Version,
		// Whoever makes it has it checked before he answers: no sweep takes it from him.
		NextAt: s.now() + model.Millis(verifyLease.Milliseconds()), Tries: 1, CreatedAt: s.now(), UpdatedAt: s.now(),
	}
	if s.Config.RealName.Verifier == nil {
		r.State = model.RealNameReviewing
	}
	if who.IDNumber != "" {
		r.Person = s.person(carrier, who.IDNumber)
	}
	most := int64(s.Config.RealName.Attempts)
	mine, his, err := tx.RealNamesSince(c.Participant, r.Person, s.now()-model.Millis((24*time.Hour).Milliseconds()))
	if err != nil {
		return "", err
	}
	if mine >= most || his >= 4*most {
		return "", fail("REAL_NAME_LIMIT")
	}
	if r.IdentitySealed, err = s.Vault.sealJSON(identityPlace(r), who); err != nil {
		return "", err
	}
	return r.ID, tx.AddRealName(r)
}

// renewal is how long before its end an approval may be asked for anew.
const renewal = 30 * 24 * time.Hour

// carrierOf finds the carrier that is named, or the only one that there is.
func (s *Service) carrierOf(tx *model.Tx, id string) (string, error) {
	list, err := tx.Participants(string(request.Carrier))
	if err != nil {
		return "", err
	}
	if id == "" && len(list) == 1 {
		return list[0].ID, nil
	}
	if id == "" {
		return "", fail("CARRIER_REQUIRED")
	}
	if !slices.ContainsFunc(list, func(p model.Participant) bool { return p.ID == id }) {
		return "", fail("CARRIER_UNKNOWN")
	}
	return id, nil
}

// mostRegistrations bounds how far back somebody's registrations with one carrier are looked at.
const mostRegistrations = 50

// registrations are a consumer's with a carrier, newest first, and what the carrier says of him on the ledger.
func (s *Service) registrations(tx *model.Tx, consumer, carrier string) ([]model.RealName, model.Approval, error) {
	rows, err := tx.RealNamesOf(consumer, carrier, mostRegistrations)
	if err != nil {
		return nil, model.Approval{}, err
	}
	a, err := tx.Approval(carrier, consumer)
	return rows, a, err
}

// registered reports whether a carrier's approval of a consumer holds, and he hasn't taken it back.
func (s *Service) registered(tx *model.Tx, consumer, carrier string) (bool, error) {
	rows, a, err := s.registrations(tx, consumer, carrier)
	return standing(rows, a, s.now()) == "approved", err
}

// standing is how a consumer stands with a carrier. The ledger's word counts, but for one who has taken his back.
func standing(rows []model.RealName, a model.Approval, now model.Millis) string {
	back := slices.ContainsFunc(rows, func(r model.RealName) bool {
		return r.State == model.RealNameWithdrawing || r.State == model.RealNameRevoking
	})
	switch {
	case back:
		return "none"
	case a.Valid(now):
		return "approved"
	case len(rows) > 0 && rows[0].State.Asked():
		return "pending"
	case len(rows) > 0 && rows[0].State == model.RealNameRefused:
		return "refused"
	case a.Version > 0 && !a.Revoked && len(rows) > 0 && rows[0].State == model.RealNameApproved:
		return "expired"
	}
	return "none"
}

// required refuses a confirmation for which the buyer has to register first; one that he has asked for already goes on.
func (s *Service) required(tx *model.Tx, c Caller, t model.Trade) error {
	if c.Role != request.Consumer {
		return nil
	}
	l, err := tx.Lot(t.LotHash)
	if err != nil || l.RetailPolicy != string(request.RealName) {
		return err
	}
	is, err := s.registered(tx, c.Participant, l.Issuer)
	if err != nil || is {
		return err
	}
	if _, err := s.ownAct(tx, c, t, "Confirm"); !errors.Is(err, model.ErrNotFound) {
		return err
	}
	return fail("REAL_NAME_REQUIRED").With("carrier", l.Issuer)
}

// RealNames shows a consumer how he stands.
func (s *Service) RealNames(ctx context.Context, c Caller) (RealNames, error) {
	if c.Role != request.Consumer {
		return RealNames{}, fail("FORBIDDEN")
	}
	out := RealNames{State: "none"}
	for _, m := range s.Config.RealName.methods() {
		out.Methods = append(out.Methods, string(m))
	}
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		out.State, out.Items = "none", nil
		all, err := tx.RealNamesOf(c.Participant, "", 4*mostRegistrations)
		if err != nil {
			return err
		}
		said, err := tx.ApprovalsOf(c.Participant)
		if err != nil {
			return err
		}
		var carriers []string
		for _, r := range all {
			carriers = append(carriers, r.Carrier)
		}
		for _, a := range said {
			carriers = append(carriers, a.Carrier)
		}
		slices.Sort(carriers)
		for _, carrier := range slices.Compact(carriers) {
			v, err := s.viewRealName(tx, c.Participant, carrier)
			if err != nil {
				return err
			}
			out.Items = append(out.Items, v)
			if rank[v.State] > rank[out.State] {
				out.State = v.State
			}
		}
		return nil
	})
	return out, err
}

// rank orders what one word has to stand for.
var rank = map[string]int{"none": 0, "expired": 0, "refused": 1, "pending": 2, "approved": 3}

// realName shows how the consumer of a registration stands with its carrier.
func (s *Service) realName(ctx context.Context, id string) (v RealNameView, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		r, err := tx.RealName(id)
		if err != nil {
			return err
		}
		v, err = s.viewRealName(tx, r.Consumer, r.Carrier)
		return err
	})
	return v, err
}

func (s *Service) viewRealName(tx *model.Tx, consumer, carrier string) (RealNameView, error) {
	v := RealNameView{CarrierID: carrier}
	names, err := tx.ParticipantNames([]string{carrier})
	if err != nil {
		return v, err
	}
	v.CarrierName = names[carrier]
	rows, a, err := s.registrations(tx, consumer, carrier)
	if err != nil {
		return v, err
	}
	v.State = standing(rows, a, s.now())
	if v.State == "approved" || v.State == "expired" {
		v.ValidUntil = timeOf(a.ValidUntil)
	}
	for _, r := range rows {
		if v.State == "approved" && r.State != model.RealNameApproved {
			continue // the one that was approved tells more than one that came after it
		}
		v.ID, v.Method, v.SubmittedAt, v.DecidedAt = r.ID, r.Method, r.CreatedAt.Time(), timeOf(r.DecidedAt)
		if v.State != "refused" {
			break
		}
		v.Reason, v.Message = r.Reason, realname.Reasons[r.Reason]
		if len(r.ReasonTextSealed) > 0 {
			text, err := s.Vault.Open("refusal/"+r.ID, r.ReasonTextSealed)
			if err != nil {
				return v, err
			}
			v.Text = string(text)
		}
		break
	}
	return v, nil
}

// timeOf is a time that may not have come.
func timeOf(at model.Millis) *time.Time {
	if at == 0 {
		return nil
	}
	t := at.Time()
	return &t
}

// WithdrawRealName takes a consumer's registration with a carrier back. What he gave is deleted, and he buys no REAL_NAME
// card of the carrier any more, at once. An approval is taken back on the ledger when the carrier has signed that.
func (s *Service) WithdrawRealName(ctx context.Context, c Caller, idem Idem, carrier string) (RealNameView, error) {
	if c.Role != request.Consumer {
		return RealNameView{}, fail("FORBIDDEN")
	}
	counted := ""
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		counted = "withdrawn"
		carrier, err := s.carrierOf(tx, carrier)
		if err != nil {
			return "", err
		}
		if err := tx.LockParticipant(c.Participant); err != nil {
			return "", err
		}
		return s.withdraw(tx, c.Participant, carrier)
	})
	if err != nil {
		return RealNameView{}, err
	}
	s.countRealName(counted)
	return s.realName(ctx, id)
}

func (s *Service) withdraw(tx *model.Tx, consumer, carrier string) (id string, err error) {
	rows, a, err := s.registrations(tx, consumer, carrier)
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		switch r.State {
		case model.RealNameApproving:
			return "", fail("REAL_NAME_BUSY")
		case model.RealNameWithdrawing, model.RealNameRevoking:
			return r.ID, nil
		}
	}
	holds := a.Valid(s.now())
	decided := func(r *model.RealName) { r.DecidedAt = s.now() }
	for _, r := range rows {
		to := model.RealNameWithdrawn
		switch r.State {
		case model.RealNameChecking, model.RealNameReviewing:
		case model.RealNameApproved:
			if holds {
				to, holds = model.RealNameWithdrawing, false // the older ones go with it
			}
		default:
			continue
		}
		if _, err := tx.MoveRealName(r.ID, r.State, to, decided); err != nil {
			return "", busy(err)
		}
		if id == "" || to == model.RealNameWithdrawing {
			id = r.ID
		}
	}
	if holds { // the ledger knows of an approval that was made elsewhere, or before this database was restored
		id = s.newID()
		err = tx.AddRealName(model.RealName{
			ID: id, Consumer: consumer, Carrier: carrier, State: model.RealNameWithdrawing, Method: string(realname.ByNumber), Person: a.Commitment,
			CreatedAt: s.now(), DecidedAt: s.now(), UpdatedAt: s.now(),
		})
	}
	if err == nil && id == "" {
		err = fail("REAL_NAME_NOTHING")
	}
	return id, err
}

// busy is what somebody is told whose registration is decided about at this very moment.
func busy(err error) error {
	if errors.Is(err, model.ErrState) {
		return fail("REAL_NAME_BUSY")
	}
	return err
}
