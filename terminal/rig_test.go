package terminal

import (
	"crypto/rand"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
	"cardflow/terminal/terminaltest"
)

// quickKDF costs nothing: what is tested is not Argon2id.
var quickKDF = pinKDF{Passes: 1, Memory: 64, Threads: 1}

var (
	seller = protocol.Party{ID: "distributor-1", Name: "城东通信", Role: request.Distributor}
	buyer  = protocol.Party{ID: "retailer-1", Name: "城南手机店", Role: request.Retailer}
)

func goodPIN() gm.Secret { return gm.Secret("314159") }

// rig is a terminal that is enrolled at a gateway of the test's own.
type rig struct {
	*Terminal
	t   *testing.T
	g   *terminaltest.Gateway
	dir string
	sim *SoftSIM
}

func newGateway(t *testing.T) *terminaltest.Gateway { return terminaltest.New(t) }

func newRig(t *testing.T, g *terminaltest.Gateway, of protocol.Party, serial string) *rig {
	t.Helper()
	r := &rig{t: t, g: g, dir: t.TempDir()}
	var err error
	r.sim, err = createSoftSIM(StorePath(r.dir), serial, goodPIN(), quickKDF, rand.Reader)
	check(t, err)
	state, err := OpenState(StatePath(r.dir))
	check(t, err)
	t.Cleanup(func() { _ = state.Close() })
	_, err = Enrol(t.Context(), r.sim, state, g.URL, g.Ticket(of), time.Now)
	check(t, err)
	r.Terminal, err = New(r.sim, state, time.Now)
	check(t, err)
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants insists on an error's code.
func wants(t testing.TB, what string, err error, code string) {
	t.Helper()
	if CodeOf(err) != code {
		t.Errorf("%s: %v, not %s", what, err, code)
	}
}

// box is a run of cards: numbers a to b of one carrier.
func box(t testing.TB, a, b int) iccid.Set {
	t.Helper()
	seg, err := iccid.Luhn.Range(card(a), card(b))
	check(t, err)
	set, err := iccid.NewSet(iccid.Luhn, seg)
	check(t, err)
	return set
}

// card is the printed number of a card.
func card(n int) string {
	tail := []byte("0000000")
	for i := len(tail) - 1; n > 0; i-- {
		tail[i] = byte('0' + n%10)
		n /= 10
	}
	c, err := iccid.Luhn.Parse("898603170000" + string(tail))
	if err != nil {
		panic(err)
	}
	return iccid.Luhn.Format(c)
}

func (r *rig) give(a, b int) string {
	return r.g.Give(r.profile.Device.Participant.ID, card(a), card(b), iccid.Luhn)
}

// sells sells cards to somebody and sends it.
func (r *rig) sells(cards iccid.Set, to string) Entry {
	r.t.Helper()
	c, _, err := r.Prepare(r.t.Context(), Order{Cards: cards, To: to})
	check(r.t, err)
	e, err := r.Sell(c, nil)
	check(r.t, err)
	e, err = r.Deliver(r.t.Context(), e.Sequence, time.Minute)
	check(r.t, err)
	if e.State != Committed {
		r.t.Fatalf("sold: %+v", e)
	}
	return e
}

// takes scans all cards of a trade and confirms it.
func (r *rig) takes(ask protocol.ConfirmAsk) Entry {
	r.t.Helper()
	in, err := r.OpenOffer(r.t.Context(), ask)
	check(r.t, err)
	got := NewReceipt(in.Cards)
	for _, s := range in.Cards.Segments() {
		_, err := got.Box(in.Cards.Rule.Format(s.First()), in.Cards.Rule.Format(s.Last()))
		check(r.t, err)
	}
	e, err := one(r.Take(got, nil, in))
	check(r.t, err)
	e, err = r.Deliver(r.t.Context(), e.Sequence, time.Minute)
	check(r.t, err)
	return e
}

// onlyOnce insists that the ledger has carried out each request of the queue that is committed, and no other.
func (r *rig) onlyOnce() { r.onlyOnceWith() }

// onlyOnceWith does so where others have sent requests, too.
func (r *rig) onlyOnceWith(others ...*rig) {
	r.t.Helper()
	ledger := r.g.Ledger()
	queue, err := r.state.Queue()
	check(r.t, err)
	for _, o := range others {
		more, err := o.state.Queue()
		check(r.t, err)
		queue = append(queue, more...)
	}
	n := 0
	for _, e := range queue {
		a, ok := ledger[e.RequestID]
		if e.State == Committed {
			n++
		}
		if ok != (e.State == Committed) {
			r.t.Errorf("request %d is %s, and on the ledger: %v", e.Sequence, e.State, ok)
		}
		for _, b := range a.Bytes {
			if b != string(e.Body) {
				r.t.Errorf("request %d was sent as other bytes", e.Sequence)
			}
		}
	}
	if n != len(ledger) {
		r.t.Errorf("%d requests are committed, %d on the ledger", n, len(ledger))
	}
}

// noRandom has no randomness.
type noRandom struct{}

func (noRandom) Read([]byte) (int, error) { return 0, errors.New("none") }

var _ io.Reader = noRandom{}

func storeIn(t testing.TB) string { return filepath.Join(t.TempDir(), StoreFile) }
