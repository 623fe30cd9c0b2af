package transfer

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"cardflow/ledger/request"
	"cardflow/model"
)

// ConsumerFor is the participant behind a WeChat account: made, with his key and his registration on the ledger under
// way, when he first comes. Two logins at once make one.
func (s *Service) ConsumerFor(ctx context.Context, appID, openID string) (Caller, error) {
	index := s.Vault.Index("openid", appID+"|"+openID)
	find := func() (id string, err error) {
		pending := false
		err = s.DB.Read(ctx, func(tx *model.Tx) error {
			a, err := tx.AccountByOpenID(appID, index)
			if err != nil {
				return err
			}
			id = a.ParticipantID
			p, err := tx.Participant(id)
			pending = p.State == model.ParticipantPending
			return err
		})
		if pending {
			err = s.registerAgain(ctx, id)
		}
		return id, err
	}
	id, err := find()
	if errors.Is(err, model.ErrNotFound) {
		id, err = s.newConsumer(ctx, appID, openID, index)
		if errors.Is(err, model.ErrConflict) {
			id, err = find()
		}
	}
	return Caller{Participant: id, Role: request.Consumer}, err
}

func (s *Service) newConsumer(ctx context.Context, appID, openID, index string) (string, error) {
	id := "c-" + s.pseudonym()
	sealed, err := s.Vault.Seal("openid", []byte(openID))
	if err != nil {
		return "", err
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		act := s.newID()
		if err := tx.AddParticipant(model.Participant{
			ID: id, Role: string(request.Consumer), Kind: model.Consumer, State: model.ParticipantRegistering, RegisterAct: act, CreatedAt: s.now(),
		}); err != nil {
			return err
		}
		a := model.Account{ID: s.newID(), AppID: appID, OpenIDIndex: index, OpenIDSealed: sealed, ParticipantID: id, CreatedAt: s.now()}
		if err := tx.AddAccount(a); err != nil {
			return err
		}
		if _, err := s.accept(tx, registration(act, id, request.Consumer)); err != nil {
			return err
		}
		// Last, when nobody else can be this login any more: what the journal says last of it is true.
		return s.Journal.Append(Entry{Account: &a})
	})
	s.kick()
	return id, err
}

// registerAgain asks again for a registration that failed.
func (s *Service) registerAgain(ctx context.Context, id string) error {
	err := s.DB.Write(ctx, func(tx *model.Tx) error {
		act := s.newID()
		if _, err := tx.MoveParticipant(id, model.ParticipantPending, model.ParticipantRegistering, func(p *model.Participant) { p.RegisterAct = act }); err != nil {
			return err
		}
		_, err := s.accept(tx, registration(act, id, request.Consumer))
		return err
	})
	s.kick()
	if errors.Is(err, model.ErrState) {
		return nil // another login was faster
	}
	return err
}

// registration is the act that puts a participant with his account key on the ledger: signed by the platform's
// registrar, or by two administrators for those who make or watch cards.
func registration(act, participant string, role request.Role) draft {
	parties := []party{{PlatformID, SlotRegistrar}}
	if role == request.Carrier || role == request.Regulator {
		parties = []party{{Admin1, SlotAccount}, {Admin2, SlotAccount}}
	}
	return draft{
		ID: act, Contract: request.Identity, Function: "Register", Subject: participant,
		Fields: fields{Parties: parties, Enrol: &enrolPlan{Participant: participant, Role: role, Slot: SlotAccount}},
	}
}

// pseudonym is 26 unguessable characters that fit the ledger's alphabet for participants.
func (s *Service) pseudonym() string {
	b := make([]byte, 16)
	fill(s.Random, b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// Profile is who the caller is.
type Profile struct {
	ID    string
	Role  string
	Name  string
	State string // pending, registering, registered
}

// Profile shows the caller's participant.
func (s *Service) Profile(ctx context.Context, c Caller) (Profile, error) {
	var v Profile
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		p, err := tx.Participant(c.Participant)
		v = Profile{ID: p.ID, Role: p.Role, Name: p.Name, State: string(p.State)}
		return err
	})
	return v, err
}

// PersonView is a member of staff.
type PersonView struct {
	ID                 string
	Username           string
	Roles              []string
	MustChangePassword bool
	OrganisationID     string
	OrganisationName   string
	OrganisationRole   string
}

// ErrLogin: user name or password are wrong, or the account is locked or disabled. Which, nobody is told.
var ErrLogin = errors.New("login refused")

// Failed logins until an account is locked, and for how long.
const (
	loginTries = 10
	loginLock  = 15 * time.Minute
)

// Login checks a password. Whatever is wrong, it takes the time of one password check.
func (s *Service) Login(ctx context.Context, username, password string) (Caller, PersonView, error) {
	var p model.Person
	var org model.Participant
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		if p, err = tx.PersonByUsername(username); err != nil {
			return err
		}
		org, err = tx.Participant(p.ParticipantID)
		return err
	})
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		return Caller{}, PersonView{}, err
	}
	hash := p.PasswordHash
	if hash == "" {
		hash = nobody
	}
	right := checkPassword(hash, password)
	if p.ID == "" || p.State != model.PersonActive || p.LockedUntil > s.now() {
		return Caller{}, PersonView{}, ErrLogin
	}
	if !right {
		err = s.noteFailure(ctx, p.ID)
		if err == nil {
			err = ErrLogin
		}
		return Caller{}, PersonView{}, err
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error { return tx.NoteLogin(p.ID, s.now()) })
	if err != nil {
		return Caller{}, PersonView{}, err
	}
	return callerOf(p, org), personView(p, org), nil
}

// noteFailure counts a wrong password, and locks the account when there were too many.
func (s *Service) noteFailure(ctx context.Context, person string) error {
	return s.DB.Write(ctx, func(tx *model.Tx) error {
		_, err := tx.NoteFailedLogin(person, loginTries, s.now()+model.Millis(loginLock.Milliseconds()))
		return err
	})
}

func callerOf(p model.Person, org model.Participant) Caller {
	return Caller{Participant: org.ID, Role: request.Role(org.Role), Person: p.ID, Roles: p.Roles}
}

func personView(p model.Person, org model.Participant) PersonView {
	return PersonView{
		ID: p.ID, Username: p.Username, Roles: p.Roles, MustChangePassword: p.MustChange,
		OrganisationID: org.ID, OrganisationName: org.Name, OrganisationRole: org.Role,
	}
}

// Person shows the member of staff behind a caller. Errors: FORBIDDEN if he may not log in any more.
func (s *Service) Person(ctx context.Context, c Caller) (PersonView, error) {
	var v PersonView
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		p, err := tx.PersonShown(c.Person)
		if errors.Is(err, model.ErrNotFound) || err == nil && p.State != model.PersonActive {
			return fail("FORBIDDEN")
		}
		if err != nil {
			return err
		}
		org, err := tx.Participant(p.ParticipantID)
		v = personView(p, org)
		return err
	})
	return v, err
}

// ChangePassword sets a new password of the caller's own. Whoever found his session open and guesses at the old one
// locks the account, as at a login. Errors: ErrLogin, PASSWORD_WEAK, PASSWORD_SAME.
func (s *Service) ChangePassword(ctx context.Context, c Caller, old, new string) error {
	if err := passwordFits(new); err != nil {
		return err
	}
	if old == new {
		return fail("PASSWORD_SAME")
	}
	var p model.Person
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		p, err = tx.Person(c.Person)
		return err
	})
	if errors.Is(err, model.ErrNotFound) {
		return fail("FORBIDDEN") // a consumer
	}
	if err != nil {
		return err
	}
	right := checkPassword(p.PasswordHash, old)
	if p.State != model.PersonActive || p.LockedUntil > s.now() {
		return ErrLogin
	}
	if !right {
		return errors.Join(ErrLogin, s.noteFailure(ctx, p.ID))
	}
	hash, err := HashPassword(new)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(tx *model.Tx) error { return tx.SetPassword(p.ID, hash, false) })
}

// passwordFits: length is what counts (NIST SP 800-63B §5.1.1).
func passwordFits(p string) error {
	if n := len([]rune(p)); n < 10 || len(p) > 256 {
		return fail("PASSWORD_WEAK")
	}
	return nil
}

// Argon2id parameters (RFC 9106 §4, the second choice: less memory).
const (
	argonTime    = 3
	argonMemory  = 64 * 1024 // KiB
	argonThreads = 1
)

// hashing bounds how many passwords are hashed at once, and so the memory that strangers can make this server use.
var hashing = make(chan struct{}, 4)

// HashPassword encodes a password for the database.
func HashPassword(password string) (string, error) {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	return encodeHash(salt, argon(password, salt, argonTime, argonMemory)), nil
}

func argon(password string, salt []byte, time, memory uint32) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), salt, time, memory, argonThreads, 32)
}

func encodeHash(salt, hash []byte) string {
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", argonMemory, argonTime, argonThreads, e.EncodeToString(salt), e.EncodeToString(hash))
}

// nobody is the hash that a login without an account is checked against, so that it takes as long.
var nobody = encodeHash(make([]byte, 16), make([]byte, 32))

func checkPassword(encoded, password string) bool {
	var memory, time uint32
	var threads uint8
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &threads); err != nil || memory > 1<<20 || time > 16 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(argon(password, salt, time, memory), want) == 1
}
