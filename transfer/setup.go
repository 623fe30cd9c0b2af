package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Bootstrap makes a fresh ledger usable: Init with two administrators and the issue key's commitment, then the platform
// with its keys. Each step looks first whether the ledger has it, so that a crash between two of them, or a second
// start, goes on where it is. The relay must be running.
func (s *Service) Bootstrap(ctx context.Context) error {
	if err := s.Prepare(ctx); err != nil {
		return err
	}
	if err := s.initLedger(ctx); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := s.register(ctx, PlatformID, request.Platform, "平台", SlotRegistrar); err != nil {
		return fmt.Errorf("platform: %w", err)
	}
	for _, slot := range []string{SlotTicket, SlotRelease, SlotAnchor, SlotAudit} {
		if err := s.publish(ctx, slot); err != nil {
			return fmt.Errorf("platform key %s: %w", slot, err)
		}
	}
	if err := s.firstGatewayKey(ctx); err != nil {
		return fmt.Errorf("gateway key: %w", err)
	}
	return nil
}

// Prepare makes the rows of the platform's own participants, whom members of staff belong to. It signs nothing, so people
// can be added, and log in, before custody is open for the first time.
func (s *Service) Prepare(ctx context.Context) error {
	for _, id := range []string{Admin1, Admin2} {
		if err := s.addParticipant(ctx, id, request.Administrator, "平台管理员", model.System); err != nil {
			return err
		}
	}
	return s.addParticipant(ctx, PlatformID, request.Platform, "平台", model.System)
}

func (s *Service) initLedger(ctx context.Context) error {
	commitment := request.IssueKeyCommitment(s.Vault.IssueKey())
	g, err := query[contract.Genesis](ctx, s.Ledger, request.Identity, "GetGenesis")
	if err == nil {
		if g.IssueKeyCommitment != commitment {
			return errors.New("the ledger was initialised with another data key: restore the data key that belongs to it")
		}
		if _, err := s.Signer.ActiveKey(ctx, Admin1, SlotAccount); err != nil {
			return fmt.Errorf("the ledger is in use, and this database has no administrator's key for it: restore the database that belongs to it: %w", err)
		}
		return nil
	}
	if contract.CodeOf(err) != contract.NotInitialised {
		return err
	}
	body := request.Init{IssueKeyCommitment: commitment}
	for _, id := range []string{Admin1, Admin2} {
		k, err := s.Signer.Enrol(ctx, id, request.Administrator, SlotAccount)
		if err != nil {
			return err
		}
		body.Administrators = append(body.Administrators, request.Registration{Participant: id, Role: request.Administrator, Key: k})
	}
	return s.do(ctx, draft{ID: "init", Body: body, Actor: Admin1, Subject: Admin1})
}

// addParticipant makes the row of a participant if there is none.
func (s *Service) addParticipant(ctx context.Context, id string, role request.Role, name string, kind model.ParticipantKind) error {
	err := s.DB.Write(ctx, func(tx *model.Tx) error {
		_, err := tx.Participant(id)
		if !errors.Is(err, model.ErrNotFound) {
			return err
		}
		return tx.AddParticipant(model.Participant{ID: id, Role: string(role), Kind: kind, Name: name, State: model.ParticipantPending, CreatedAt: s.now()})
	})
	if errors.Is(err, model.ErrConflict) {
		return nil // another server made it
	}
	return err
}

// register puts a participant on the ledger, if he isn't there.
func (s *Service) register(ctx context.Context, id string, role request.Role, name, slot string) error {
	kind := model.Organisation
	if role == request.Platform {
		kind = model.System
	}
	if err := s.addParticipant(ctx, id, role, name, kind); err != nil {
		return err
	}
	_, err := query[contract.Participant](ctx, s.Ledger, request.Identity, "GetParticipant", id)
	if err == nil || contract.CodeOf(err) != contract.ParticipantUnknown {
		return err
	}
	d := registration("register-"+id, id, role)
	if role == request.Platform {
		d.Fields.Parties = []party{{Admin1, SlotAccount}, {Admin2, SlotAccount}}
	}
	d.Fields.Enrol.Slot = slot
	return s.do(ctx, d)
}

// publish puts a further key of the platform on the ledger, if it isn't there.
func (s *Service) publish(ctx context.Context, slot string) error {
	k, err := s.Signer.Enrol(ctx, PlatformID, request.Platform, slot)
	if err != nil {
		return err
	}
	p, err := query[contract.Participant](ctx, s.Ledger, request.Identity, "GetParticipant", PlatformID)
	if err != nil {
		return err
	}
	if slices.Contains(p.Keys, k.Public.KeyID()) {
		return nil
	}
	return s.do(ctx, draft{
		ID: "publish-" + slot + "-" + k.Public.KeyID(), Contract: request.Identity, Function: "PublishKey", Subject: PlatformID,
		Fields: fields{
			Parties: []party{{Admin1, SlotAccount}, {Admin2, SlotAccount}},
			Enrol:   &enrolPlan{Participant: PlatformID, Role: request.Platform, Slot: slot, Publish: true, Version: p.Version},
		},
	})
}

// do carries out a system act and waits for its end. Its ID is fixed, so that asking again finds it; one that failed is
// tried anew under another.
func (s *Service) do(ctx context.Context, d draft) error {
	base := d.ID
	for n := 1; ; n++ {
		a, err := s.act(ctx, d.ID)
		if errors.Is(err, model.ErrNotFound) {
			err = s.DB.Write(ctx, func(tx *model.Tx) error {
				_, err := s.accept(tx, d)
				return err
			})
			if err != nil && !errors.Is(err, model.ErrConflict) {
				return err
			}
			s.kick()
			break
		}
		if err != nil {
			return err
		}
		if a.State != model.ActFailed {
			break
		}
		d.ID = fmt.Sprintf("%s.%d", base, n)
	}
	end, err := s.Await(ctx, d.ID)
	switch {
	case err != nil:
		return err
	case end.Error != nil:
		return fail(end.Error.Code)
	case !end.Ended():
		return fmt.Errorf("act %s is still %s: %w", d.ID, end.State, ctx.Err())
	}
	return nil
}

// AddOrganisation registers an organisation: here with its name, on the ledger with its ID only.
func (s *Service) AddOrganisation(ctx context.Context, id string, role request.Role, name string) error {
	switch role {
	case request.Carrier, request.Distributor, request.Retailer, request.Regulator:
		return s.register(ctx, id, role, name, SlotAccount)
	}
	return fmt.Errorf("an organisation is no %s", role)
}

// SetIssuer gives an ICCID prefix to a carrier on the ledger, with the numbering rule of this platform's plan.
func (s *Service) SetIssuer(ctx context.Context, prefix, carrier, rule string) error {
	old, err := s.issuer(ctx, prefix)
	switch {
	case contract.CodeOf(err) == contract.IssuerUnknown || err == nil && old.Prefix != prefix:
		old.Version = 0
	case err != nil:
		return err
	case old.Carrier == carrier && old.Rule == rule:
		return nil
	}
	return s.do(ctx, draft{
		ID:   fmt.Sprintf("issuer-%s-%d", prefix, old.Version+1),
		Body: request.SetIssuer{Prefix: prefix, Carrier: carrier, Rule: rule, Version: old.Version}, Subject: carrier,
		Fields: fields{Parties: []party{{Admin1, SlotAccount}, {Admin2, SlotAccount}}},
	})
}

// NewPerson is a member of staff to be added.
type NewPerson struct {
	Username     string
	Password     string
	MustChange   bool
	Organisation string // participant
	Roles        []string
	StaffNumber  string // as the organisation gave it; two accounts with one are one person's. May be empty
	Mobile       string // likewise; kept as a keyed hash
	// Note, if not nil, writes down elsewhere that the person of this ID is added: both stand, or neither.
	Note func(tx *model.Tx, person string) error
}

// StaffRoles are what a person may be.
var StaffRoles = []string{"carrier", "distributor", "retailer", "ops", "auditor", "regulator"}

// AddPerson adds a member of staff. Errors: PERSON_EXISTS.
func (s *Service) AddPerson(ctx context.Context, n NewPerson) error {
	if err := passwordFits(n.Password); err != nil {
		return err
	}
	if n.StaffNumber != "" && !staffNumber.MatchString(n.StaffNumber) {
		return fail("IDENTITY_INVALID")
	}
	for _, r := range n.Roles {
		if !slices.Contains(StaffRoles, r) {
			return fmt.Errorf("no role %q", r)
		}
	}
	// Looked up first because hashing is slow on purpose, and a second start of the demo adds nobody.
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		_, err := tx.PersonByUsername(n.Username)
		return err
	})
	if err == nil {
		return fail("PERSON_EXISTS")
	}
	if !errors.Is(err, model.ErrNotFound) {
		return err
	}
	hash, err := HashPassword(n.Password)
	if err != nil {
		return err
	}
	mobile, err := s.mobileIndex(n.Mobile)
	if err != nil {
		return err
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		p := model.Person{
			ID: s.newID(), ParticipantID: n.Organisation, Username: strings.ToLower(n.Username), PasswordHash: hash, Roles: n.Roles,
			MustChange: n.MustChange, State: model.PersonActive, CreatedAt: s.now(),
		}
		if err := tx.AddPerson(p); err != nil {
			return err
		}
		if n.Note != nil {
			if err := n.Note(tx, p.ID); err != nil {
				return err
			}
		}
		if n.StaffNumber == "" && mobile == "" {
			return nil
		}
		return tx.SetIdentity(model.Identity{PersonID: p.ID, StaffNumber: n.StaffNumber, MobileIndex: mobile, UpdatedAt: s.now()})
	})
	if errors.Is(err, model.ErrConflict) {
		return fail("PERSON_EXISTS")
	}
	return err
}

// HasPeople reports whether anyone can log in.
func (s *Service) HasPeople(ctx context.Context) (bool, error) {
	some := false
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		orgs, err := tx.Participants("")
		if err != nil {
			return err
		}
		for _, o := range orgs {
			people, err := tx.PeopleOf(o.ID)
			if err != nil {
				return err
			}
			some = some || len(people) > 0
		}
		return nil
	})
	return some, err
}
