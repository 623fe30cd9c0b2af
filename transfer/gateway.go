package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cardflow/gm"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// Gateway keys sign what terminals are answered. They lie in the database, sealed under the data key, so that all servers of
// a platform have the same ones; and stand on the ledger as keys of the platform, which sign no request there. The database
// has a key first; whoever sweeps has the registrar publish it, and revoke it when it is retired. A key signs answers from the
// block that publishes it to the moment at which it is retired, and so do several side by side.

// errNoGateway: no gateway key is on the ledger yet, or all were retired.
var errNoGateway = failf("UNAVAILABLE", "no gateway key is on the ledger")

// What keeps a gateway key from being retired.
var (
	ErrGatewayKeyUnknown = errors.New("没有这把网关密钥")
	ErrGatewayKeyLast    = errors.New("这是唯一在用的网关密钥，请先轮换，等新密钥上账本后再停用它")
)

// GatewayKeyNeeded keeps a gateway key from being retired that terminals may know alone.
type GatewayKeyNeeded struct {
	Terminals int // that work, or have a ticket, and haven't asked by another key yet
}

// Error implements error.
func (e *GatewayKeyNeeded) Error() string {
	return fmt.Sprintf("还有 %d 台终端（含未用的入网码）没有用过新的网关密钥；停用后它们将不再相信网关的答复", e.Terminals)
}

// GatewayKeyView is a gateway key as those see it who run the platform.
type GatewayKeyView struct {
	ID      string
	Public  gm.PublicKey
	Signs   bool
	Retired bool
	Status  string // on the ledger; "" before it is there
	TxID    string // that published it
	// Terminals is how many may know no other key that signs: it is the newest that they surely know, or that isn't known of them.
	Terminals int
}

// GatewayKeys lists all of them, oldest first.
func (s *Service) GatewayKeys(ctx context.Context) (list []GatewayKeyView, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		rows, err := tx.GatewayKeys()
		if err != nil {
			return err
		}
		asking, err := tx.DevicesAsking(s.now())
		list = nil
		for _, k := range rows {
			public, err := gm.ParsePublicKey(k.Public)
			if err != nil {
				return fmt.Errorf("gateway key %s: %w", k.ID, err)
			}
			list = append(list, GatewayKeyView{ID: k.ID, Public: public, Signs: k.Signs(), Retired: k.Retired, Status: k.LedgerStatus, TxID: k.TxID, Terminals: needing(rows, k, asking)})
		}
		return err
	})
	return list, err
}

// Gateway is what terminals are told of who answers them: the keys that sign, newest first.
func (s *Service) Gateway(ctx context.Context) (protocol.Gateway, error) {
	list, err := s.GatewayKeys(ctx)
	g := protocol.Gateway{Channel: s.Ledger.Channel(), Now: int64(s.now())}
	for _, k := range slices.Backward(list) {
		if k.Signs {
			g.Keys = append(g.Keys, protocol.GatewayKey{ID: k.ID, Public: k.Public, TxID: k.TxID})
		}
	}
	if err == nil && len(g.Keys) == 0 {
		err = errNoGateway
	}
	return g, err
}

// AnswerSigner is who signs an answer: a gateway key.
type AnswerSigner struct {
	Channel string
	KeyID   string
	Sign    func(message []byte) (gm.Signature, error)
}

// AnswerSigner finds the gateway key by which an answer is wanted, if it still signs; else the newest. Errors: UNAVAILABLE if
// none does.
func (s *Service) AnswerSigner(ctx context.Context, want string) (AnswerSigner, error) {
	var rows []model.GatewayKey
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		rows, err = tx.GatewayKeys()
		return err
	})
	if err != nil {
		return AnswerSigner{}, err
	}
	var chosen *model.GatewayKey
	for i := range rows {
		if rows[i].Signs() && (chosen == nil || chosen.ID != want) {
			chosen = &rows[i]
		}
	}
	if chosen == nil {
		return AnswerSigner{}, errNoGateway
	}
	key, err := s.openGateway(*chosen)
	if err != nil {
		return AnswerSigner{}, err
	}
	return AnswerSigner{s.Ledger.Channel(), chosen.ID, func(message []byte) (gm.Signature, error) { return key.Sign(s.Random, message) }}, nil
}

// openGateway unseals a gateway key, once: it stays in memory, as the data key does by which anybody could.
func (s *Service) openGateway(row model.GatewayKey) (*gm.PrivateKey, error) {
	if key, ok := s.gateway.Load(row.ID); ok {
		return key.(*gm.PrivateKey), nil
	}
	key, err := s.unsealGateway(row)
	if err != nil {
		return nil, fmt.Errorf("gateway key %s: %w", row.ID, err)
	}
	s.gateway.Store(row.ID, key)
	return key, nil
}

func (s *Service) unsealGateway(row model.GatewayKey) (*gm.PrivateKey, error) {
	scalar, err := s.Vault.Open(gatewayPlace(row.ID), row.Sealed)
	if err != nil {
		return nil, err
	}
	public, err := gm.ParsePublicKey(row.Public)
	if err == nil && public.KeyID() != row.ID {
		err = errors.New("its public key is another's")
	}
	if err != nil {
		return nil, err
	}
	return gm.NewPrivateKey(scalar, public)
}

func gatewayPlace(id string) string { return "gateway/" + id }

// AddGatewayKey makes another gateway key, which signs when it is on the ledger, beside those that there are. Two at once make
// one each.
func (s *Service) AddGatewayKey(ctx context.Context) (id string, err error) {
	return s.addGatewayKey(ctx, 0)
}

// addGatewayKey makes the one of a number, or for 0 the next one. Errors: model.ErrConflict if there is one of that number.
func (s *Service) addGatewayKey(ctx context.Context, number int) (id string, err error) {
	key, err := gm.GenerateKey(s.Random)
	if err != nil {
		return "", err
	}
	scalar := key.Scalar()
	defer scalar.Clear()
	defer key.Clear()
	id = key.Public().KeyID()
	sealed, err := s.Vault.Seal(gatewayPlace(id), scalar)
	if err != nil {
		return "", err
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		n := number
		if n == 0 {
			rows, err := tx.GatewayKeys()
			if err != nil {
				return err
			}
			n = 1
			if len(rows) > 0 {
				n = rows[len(rows)-1].Number + 1
			}
		}
		return tx.AddGatewayKey(model.GatewayKey{ID: id, Number: n, Public: key.Public().Bytes(), Sealed: sealed, CreatedAt: s.now()})
	})
	return id, err
}

// needing counts the terminals that may know no other key that signs than this one.
func needing(rows []model.GatewayKey, k model.GatewayKey, asking map[string]int) int {
	if !k.Signs() {
		return 0
	}
	n := 0
	for _, count := range asking {
		n += count
	}
	for _, other := range rows {
		if other.ID != k.ID && other.Signs() {
			n -= asking[other.ID]
		}
	}
	return n
}

// RetireGatewayKey ends the use of a gateway key: no answer is signed with it from now on, and the ledger is told. Errors:
// ErrGatewayKeyUnknown; ErrGatewayKeyLast if no other signs; *GatewayKeyNeeded while terminals may know no other, unless they are
// to be left behind.
func (s *Service) RetireGatewayKey(ctx context.Context, id string, leave bool) error {
	return s.DB.Write(ctx, func(tx *model.Tx) error {
		rows, err := tx.GatewayKeys()
		if err != nil {
			return err
		}
		var key model.GatewayKey
		others := 0
		for _, k := range rows {
			if k.ID == id {
				key = k
			} else if k.Signs() {
				others++
			}
		}
		switch {
		case key.ID == "":
			return ErrGatewayKeyUnknown
		case others == 0:
			return ErrGatewayKeyLast
		}
		asking, err := tx.DevicesAsking(s.now())
		if err != nil {
			return err
		}
		if n := needing(rows, key, asking); n > 0 && !leave {
			return &GatewayKeyNeeded{n}
		}
		return tx.RetireGatewayKey(id)
	})
}

// firstGatewayKey gives a platform its first gateway key, and waits until it is on the ledger.
func (s *Service) firstGatewayKey(ctx context.Context) error {
	list, err := s.GatewayKeys(ctx)
	if err == nil && len(list) == 0 {
		if _, err = s.addGatewayKey(ctx, 1); errors.Is(err, model.ErrConflict) {
			err = nil // another server made it
		}
		if err == nil {
			list, err = s.GatewayKeys(ctx)
		}
	}
	if err != nil {
		return err
	}
	for _, k := range list {
		if k.Status == "" && !k.Retired {
			if err := s.do(ctx, s.gatewayDraft(gatewayAct(k.ID), k)); err != nil && !errors.Is(err, fail(contract.AlreadyApplied)) {
				return err
			}
		}
	}
	return nil
}

// SweepGateway has the ledger follow what was made of gateway keys.
func (s *Service) SweepGateway(ctx context.Context) error {
	list, err := s.GatewayKeys(ctx)
	if err != nil {
		return err
	}
	moved := false
	for _, k := range list {
		name := ""
		switch {
		case k.Status == "" && !k.Retired:
			name = gatewayAct(k.ID)
		case k.Retired && k.Status != "" && k.Status != string(contract.KeyRevoked):
			name = gatewayAct(k.ID) + "-retire"
		default:
			continue
		}
		err := s.DB.Write(ctx, func(tx *model.Tx) error {
			_, err := s.carryAgain(tx, name, func(id string) draft { return s.gatewayDraft(id, k) })
			return err
		})
		if err != nil && !errors.Is(err, model.ErrConflict) { // else another server has just done it
			return fmt.Errorf("gateway key %s: %w", k.ID, err)
		}
		moved = true
	}
	if moved {
		s.kick()
	}
	return nil
}

func gatewayAct(id string) string { return "gateway-" + id }

// gatewayDraft is the act that publishes a gateway key, or revokes one that was retired.
func (s *Service) gatewayDraft(id string, k GatewayKeyView) draft {
	d := draft{
		ID: id, Contract: request.Identity, Function: "PublishKey", Subject: k.ID,
		Fields: fields{Parties: []party{{PlatformID, SlotRegistrar}}, Outside: &outsidePlan{Key: k.ID, Participant: PlatformID, Gateway: true}},
	}
	if k.Retired {
		d.Function = "RevokeKey"
	}
	return d
}

// gatewayProof is a gateway key as it is published: with the proof that it is this platform's.
func (s *Service) gatewayProof(ctx context.Context, id string) (request.NewKey, error) {
	var row *model.GatewayKey
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		rows, err := tx.GatewayKeys()
		for i := range rows {
			if rows[i].ID == id {
				row = &rows[i]
			}
		}
		return err
	})
	if err == nil && row == nil {
		err = fmt.Errorf("gateway key %s: %w", id, model.ErrNotFound)
	}
	if err != nil {
		return request.NewKey{}, err
	}
	key, err := s.openGateway(*row)
	if err != nil {
		return request.NewKey{}, err
	}
	possession, err := key.Sign(s.Random, request.PossessionBytes(s.Ledger.Channel(), PlatformID, key.Public()))
	return request.NewKey{Public: key.Public(), Kind: request.GatewayKey, Possession: possession}, err
}
