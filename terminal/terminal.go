// Package terminal is an enterprise terminal (区块链终端, paper §2.3 and §2.6): a key that nobody can read, and what its holder
// does with it in a warehouse. docs/terminal-protocol.md says what goes over the wire, docs/design/011-terminals.md why.
//
// The promise: what it signs, it has checked against the cards that were scanned, or drafted by itself; what it has signed is
// carried out once or not at all, whenever it is switched off; and what it shows as the platform's word was signed by a
// gateway key that a person has carried to it.
//
// The threat: a platform that lies, whoever sits between the two, a thief of the device, and the power.
package terminal

import (
	"context"
	"crypto/rand"
	"io"
	"path/filepath"
	"time"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// The files of a terminal's directory.
const (
	StoreFile = "se-sim.json"
	TokenFile = "token.json"
	StateFile = "state.db"
)

// Terminal is a device that is enrolled: its element, what it remembers, and the gateway that it speaks to.
type Terminal struct {
	element Element
	state   *State
	profile Profile
	client  *Client
	now     func() time.Time
	random  io.Reader
}

// StorePath is where the SoftSIM of a directory lies.
func StorePath(dir string) string { return filepath.Join(dir, StoreFile) }

// TokenPath is where a directory says which token it goes with.
func TokenPath(dir string) string { return filepath.Join(dir, TokenFile) }

// StatePath is where its state lies.
func StatePath(dir string) string { return filepath.Join(dir, StateFile) }

// New puts a terminal together that is enrolled. Errors: NOT_ENROLLED, GATEWAY_UNPINNED.
func New(element Element, state *State, now func() time.Time) (*Terminal, error) {
	p, err := state.Profile()
	if err != nil {
		return nil, err
	}
	pins, err := state.Pins()
	if err != nil {
		return nil, err
	}
	switch {
	case !p.Enrolled():
		return nil, Refusal("NOT_ENROLLED")
	case p.Device.KeyID != element.Public().KeyID():
		return nil, Refusal("OTHER_KEY").With("key", element.Public().KeyID())
	case len(pins) == 0:
		return nil, Refusal("GATEWAY_UNPINNED")
	}
	c, err := newClient(p.Server, p.Channel, element, pins, now)
	if err != nil {
		return nil, err
	}
	return &Terminal{element: element, state: state, profile: p, client: c, now: now, random: rand.Reader}, nil
}

// Profile is who the terminal is.
func (t *Terminal) Profile() Profile { return t.profile }

// State is what it remembers.
func (t *Terminal) State() *State { return t.state }

// query asks the platform one thing.
func (t *Terminal) query(ctx context.Context, q protocol.Query, out any) error {
	return t.client.post(ctx, protocol.PathQuery, q, out)
}

// Refresh asks who the terminal is, and by which keys the gateway answers from now on.
func (t *Terminal) Refresh(ctx context.Context) (protocol.Device, error) {
	var d protocol.Device
	if err := t.query(ctx, protocol.Query{What: protocol.QueryDevice}, &d); err != nil {
		return d, err
	}
	if d.KeyID != t.element.Public().KeyID() || d.Serial != t.element.Serial() {
		return d, Refusal("DEVICE_WRONG")
	}
	t.profile.Device = d
	if err := t.state.SetProfile(t.profile); err != nil {
		return d, err
	}
	return d, t.repin(ctx)
}

// repin learns the gateway's keys from an answer that a pinned one has signed.
func (t *Terminal) repin(ctx context.Context) error {
	g, signer, err := t.client.keys(ctx)
	if err != nil {
		return err
	}
	if err := t.state.Repin(g.Keys, signer, t.now().UnixMilli()); err != nil {
		return err
	}
	t.client.pins, err = t.state.Pins()
	return err
}

// maxPages bounds how many pages of anything are asked for: a gateway that goes on for ever is no gateway.
const maxPages = 2000

// RefreshStock asks for the whole stock and checks each lot of it; and, so that a terminal that is in use learns new gateway keys
// while it still believes the old ones, for those. Errors: STOCK_WRONG, also for a stock without an end.
func (t *Terminal) RefreshStock(ctx context.Context) error {
	var lots []Lot
	cursor := ""
	for range maxPages {
		var page protocol.Stock
		if err := t.query(ctx, protocol.Query{What: protocol.QueryStock, Cursor: cursor, Limit: 200}, &page); err != nil {
			return err
		}
		for _, l := range page.Lots {
			opened, err := openLot(l)
			if err != nil {
				return err
			}
			if opened.Cards.Count() != l.Count {
				return failf("STOCK_WRONG", "a lot's count is not its cards'")
			}
			lots = append(lots, opened)
		}
		if cursor = page.Next; cursor == "" {
			if err := t.state.SetStock(lots, t.now().UnixMilli()); err != nil {
				return err
			}
			return t.repin(ctx)
		}
	}
	return failf("STOCK_WRONG", "the stock has no end")
}

// Participants are to whom one can sell.
func (t *Terminal) Participants(ctx context.Context) ([]protocol.Party, error) {
	var list protocol.Participants
	err := t.query(ctx, protocol.Query{What: protocol.QueryParticipants}, &list)
	return list.Participants, err
}

// Trace is the life of a card.
func (t *Terminal) Trace(ctx context.Context, iccid string) (protocol.Trace, error) {
	var tr protocol.Trace
	err := t.query(ctx, protocol.Query{What: protocol.QueryTrace, ICCID: iccid}, &tr)
	return tr, err
}

// sign signs a request to the contract, good until notAfter.
func (t *Terminal) sign(req request.Request, notAfter int64) (request.Signature, error) {
	keyID := t.element.Public().KeyID()
	sig, err := t.element.Sign(req.SigningBytes(keyID, notAfter))
	return request.Signature{KeyID: keyID, NotAfter: notAfter, Bytes: sig}, err
}

// Public is the device's key.
func (t *Terminal) Public() gm.PublicKey { return t.element.Public() }
