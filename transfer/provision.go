package transfer

import (
	"context"
	"errors"
	"maps"
	"slices"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Participants for many WeChat logins that are known beforehand: those of a mini-program that has users already. Each gets
// what his first login would give him, pseudonym, account and key, and all of them go to the ledger in one act. Three steps,
// each a transaction: logins, keys, act. Whoever is killed between two leaves participants who are pending, as a failed
// registration does, and whoever asks again for the same logins goes on there; so does the consumer himself, when he comes.

// MostLogins bounds Provision: an act of so many stays far below what one request may hold.
const MostLogins = 200

// Provisioned is what has become of some logins.
type Provisioned struct {
	Known  int    // had a participant who is on the ledger, or on the way there
	Begun  int    // had one who is neither yet
	New    int    // had none
	Made   int    // keys that were made
	Act    string // what registers them, "" if there is nobody to register
	Listed int    // participants in that act
}

// Provision makes participants, keys and a registration for those of the logins that have none. Dry, it only counts. Errors:
// FORBIDDEN; those of custody.
func (s *Service) Provision(ctx context.Context, c Caller, appID string, openIDs []string, dry bool) (Provisioned, error) {
	if err := operates(c); err != nil {
		return Provisioned{}, err
	}
	byIndex := map[string]string{}
	for _, id := range openIDs {
		byIndex[s.Vault.Index("openid", appID+"|"+id)] = id
	}
	var p Provisioned
	var begun []string
	for try, first := 1, p; ; try++ {
		var fresh map[string]string // logins of nobody, by index
		err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			p, begun, fresh, err = s.known(tx, appID, byIndex)
			return err
		})
		if try == 1 {
			first = p
		}
		if p = first; err != nil || dry {
			return p, err
		}
		if len(fresh) == 0 {
			break
		}
		err = s.accounts().AddConsumers(ctx, appID, slices.Collect(maps.Values(fresh)))
		if err != nil && (!errors.Is(err, model.ErrConflict) || try == 3) { // else one of them has just logged in
			return p, err
		}
	}
	if len(begun) == 0 {
		return p, nil
	}
	keys, made, err := s.Signer.EnrolAll(ctx, begun, request.Consumer, SlotAccount, c.actor())
	p.Made = made
	if err != nil {
		return p, err
	}
	key := map[string]request.NewKey{}
	for i, owner := range begun {
		if !keys[i].Public.IsZero() {
			key[owner] = keys[i]
		}
	}
	p.Act, p.Listed, err = s.registerAll(ctx, c, key)
	return p, err
}

// known sorts logins by what there is of them.
func (s *Service) known(tx *model.Tx, appID string, byIndex map[string]string) (p Provisioned, begun []string, fresh map[string]string, err error) {
	var indexes []string
	for index := range byIndex {
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	accounts, err := tx.AccountsByOpenID(appID, indexes)
	if err != nil {
		return p, nil, nil, err
	}
	var ids []string
	fresh = map[string]string{}
	for _, index := range indexes {
		if a, ok := accounts[index]; ok {
			ids = append(ids, a.ParticipantID)
		} else {
			fresh[index] = byIndex[index]
		}
	}
	states, err := tx.ParticipantStates(ids)
	for _, id := range ids {
		if states[id] == model.ParticipantPending {
			begun = append(begun, id)
		}
	}
	p.New, p.Begun, p.Known = len(fresh), len(begun), len(ids)-len(begun)
	return p, begun, fresh, err
}

func (s *Service) accounts() Accounts {
	if s.Accounts != nil {
		return s.Accounts
	}
	return s
}

// AddConsumers implements [Accounts].
func (s *Service) AddConsumers(ctx context.Context, appID string, openIDs []string) error {
	participants := make([]model.Participant, 0, len(openIDs))
	accounts := make([]model.Account, 0, len(openIDs))
	entries := make([]Entry, 0, len(openIDs))
	for _, openID := range openIDs {
		index := s.Vault.Index("openid", appID+"|"+openID)
		sealed, err := s.Vault.Seal("openid", []byte(openID))
		if err != nil {
			return err
		}
		id := "c-" + s.pseudonym()
		participants = append(participants, model.Participant{
			ID: id, Role: string(request.Consumer), Kind: model.Consumer, State: model.ParticipantPending, CreatedAt: s.now(),
		})
		accounts = append(accounts, model.Account{ID: s.newID(), AppID: appID, OpenIDIndex: index, OpenIDSealed: sealed, ParticipantID: id, CreatedAt: s.now()})
	}
	for i := range accounts {
		entries = append(entries, Entry{Account: &accounts[i]})
	}
	return s.DB.Write(ctx, func(tx *model.Tx) error {
		if err := tx.AddParticipants(slices.Clone(participants)); err != nil {
			return err
		}
		if err := tx.AddAccounts(slices.Clone(accounts)); err != nil {
			return err
		}
		// Last, when nobody else can be these logins any more: what the journal says last of them is true.
		return s.Journal.Append(entries...)
	})
}

// registerAll accepts the act that registers those who are still pending, and answers how many they are.
func (s *Service) registerAll(ctx context.Context, c Caller, keys map[string]request.NewKey) (act string, n int, err error) {
	var owners []string
	for owner := range keys {
		owners = append(owners, owner)
	}
	slices.Sort(owners)
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		act, n = "", 0
		id := s.newID()
		moved, err := tx.MoveParticipants(owners, model.ParticipantPending, model.ParticipantRegistering, id)
		if err != nil || len(moved) == 0 {
			return err
		}
		var body request.RegisterBatch
		for _, owner := range moved {
			body.Items = append(body.Items, request.Registration{Participant: owner, Role: request.Consumer, Key: keys[owner]})
		}
		act, n = id, len(moved)
		_, err = s.accept(tx, draft{
			ID: id, Body: body, Actor: PlatformID, Person: c.Person, Subject: PlatformID, Fields: fields{Parties: []party{{PlatformID, SlotRegistrar}}},
		})
		return err
	})
	if err == nil && act != "" {
		s.kick()
	}
	return act, n, err
}

// unregister makes those whom an act was to register pending again.
func (s *Service) unregister(tx *model.Tx, a model.Act) error {
	body, err := decodeBody(a.Function, a.Body)
	if err != nil {
		return err
	}
	for _, r := range body.(request.RegisterBatch).Items {
		p, err := tx.Participant(r.Participant)
		if err != nil || p.State != model.ParticipantRegistering || p.RegisterAct != a.ID {
			if err := present(err); err != nil {
				return err
			}
			continue
		}
		if _, err := tx.MoveParticipant(p.ID, p.State, model.ParticipantPending, nil); err != nil {
			return err
		}
	}
	return nil
}
