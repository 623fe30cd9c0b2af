package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// apart is a server whose custody is a process of its own: both run here, and have nothing in common but the database
// and a socket.
type apart struct {
	t         *testing.T
	dir       string // of the web process
	home      string // of the custodian
	custodian *App
	config    Config           // the custodian's
	database  Secret           // how the web process reaches the database, if it has a user of its own there
	tls       CustodyTLSConfig // the web process's, if it goes by the network
}

// newApart takes the demo's world apart.
func newApart(t *testing.T) *apart {
	t.Helper()
	a := &apart{t: t, dir: demoWorld(t), home: t.TempDir()}
	for _, name := range []string{"data.key", "root.key"} { // the data key comes back from the custodian
		copied(t, filepath.Join(a.dir, name), filepath.Join(a.home, name))
		check(t, os.Remove(filepath.Join(a.dir, name)))
	}
	c := DefaultConfig()
	c.DataDir = a.dir
	engines(t, &c)
	if c.Database.Driver == model.SQLite {
		c.Database.DSN = NewSecret(c.SQLiteFile())
	}
	c.DataDir = a.home
	a.apart(&c)
	a.config = c
	if c.Database.Driver == model.MySQL {
		user, dsn := serverAccount(t, c.Database.DSN.Reveal())
		a.config.Custody.ServerUser, a.database = user, NewSecret(dsn)
	}
	a.start()
	t.Cleanup(func() { a.stop() })
	return a
}

// overTLS has the two speak to each other by the network.
func (a *apart) overTLS() {
	a.t.Helper()
	ours := newAuthority(a.t)
	a.stop()
	a.config.Custody.TLS = ours.issue(CustodyTLSConfig{Peer: serverName, Listen: "127.0.0.1:0"}, custodianName)
	a.start()
	a.config.Custody.TLS.Listen = a.custodian.URL // the next start, too
	a.tls = ours.issue(CustodyTLSConfig{Peer: custodianName, Connect: a.custodian.URL}, serverName)
}

// web is the web process's configuration.
func (a *apart) web(c *Config) {
	a.apart(c)
	if a.tls.Connect != "" {
		c.Custody.TLS, c.Custody.Socket = a.tls, filepath.Join(a.dir, "no socket")
	}
	if a.database.IsSet() {
		c.Database.DSN = a.database
	}
}

// apart says where custody is.
func (a *apart) apart(c *Config) {
	c.Custody.Process, c.Custody.Socket = Own, filepath.Join(a.home, "s")
}

func copied(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	check(t, err)
	check(t, os.WriteFile(to, b, 0o600))
}

func (a *apart) start() {
	a.t.Helper()
	check(a.t, a.config.Validate())
	app, err := openCustodian(soon(a.t), a.config, &environment{ctx: soon(a.t), config: a.config, logger: slog.New(slog.DiscardHandler), stdout: io.Discard, stderr: io.Discard}, false)
	check(a.t, err)
	a.custodian = app
}

func (a *apart) stop() {
	if a.custodian != nil {
		check(a.t, a.custodian.Close(context.Background()))
		a.custodian = nil
	}
}

// alarms counts the custodian's alarms with a code.
func (a *apart) alarms(e *custody.Error) int {
	a.t.Helper()
	return a.counted("cardflow_custody_alarms_total", e)
}

// counted is what one of the custodian's metrics has for a code.
func (a *apart) counted(metric string, e *custody.Error) int {
	a.t.Helper()
	families, err := a.custodian.Registry.Gather()
	check(a.t, err)
	for _, f := range families {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == e.Code {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

// TestCustodian: people trade on a server whose custody is a process of its own. When that is away, they look at what there
// is, and are told to come back with what they ask for; what was accepted before waits, and is signed when it is back.
func TestCustodian(t *testing.T) {
	t.Parallel()
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		peopleTradeApart(t, newApart(t))
	})
	t.Run("tls", func(t *testing.T) {
		t.Parallel()
		a := newApart(t)
		a.overTLS()
		peopleTradeApart(t, a)
	})
}

func peopleTradeApart(t *testing.T, a *apart) {
	s := openSite(t, a.dir, crowded, a.web)
	if s.Custody != nil {
		t.Fatal("the web process has a custody of its own")
	}
	shop, li := s.staff("xiaowang"), s.consumer("小李")
	first := shop.offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	second := shop.offers("BEARER", "", cards("898604B7192270274022", "898604B7192270274023"))
	li.done("/trades/"+first.TradeID+"/confirm", shows(first))
	ops := s.staff("yunwei")
	var quotas struct{ Items []struct{ Name string } }
	ops.get("/custody/quotas", &quotas)
	if len(quotas.Items) == 0 {
		t.Error("no quotas")
	}
	var p struct{ Made, Registering int }
	ops.post("/custody/keys", map[string]any{"openIds": []string{"oApart-1", "oApart-2"}}, &p)
	if p.Made != 2 || p.Registering != 2 {
		t.Errorf("provisioned: %+v", p)
	}
	var root struct{ Root, Kind string }
	var audit struct {
		Whole bool
		Rows  int
	}
	ops.get("/custody/root", &root)
	ops.post("/custody/audit/verify", map[string]bool{"scan": true}, &audit)
	if root.Root == "" || root.Kind != "file" || !audit.Whole || audit.Rows == 0 {
		t.Errorf("%+v, %+v", root, audit)
	}
	var rows struct {
		Items []struct{ Act string }
	}
	ops.get("/custody/audit?act=audit.verify", &rows)
	if len(rows.Items) != 1 || rows.Items[0].Act != "audit.verify" {
		t.Errorf("who had the audit verified: %+v", rows)
	}
	ops.refused(404, "CUSTODY_PROPOSAL_NOT_FOUND", http.MethodGet, "/custody/proposals/nothing", nil)
	s.visitor("nobody").refused(401, "LOGIN_FAILED", http.MethodPost, "/auth/login", map[string]string{"username": "xiaowang", "password": "wrong password"})
	s.visitor("nobody").refused(400, "WECHAT_CODE_INVALID", http.MethodPost, "/wechat/login", map[string]string{"code": "no such code"})

	a.stop()
	if len(li.owns()) == 0 {
		t.Error("小李 sees nothing")
	}
	li.refused(503, "UNAVAILABLE", http.MethodPost, "/trades/"+second.TradeID+"/confirm", shows(second))
	s.visitor("nobody").refused(503, "UNAVAILABLE", http.MethodPost, "/auth/login", map[string]string{"username": "xiaowang", "password": demoPassword})
	ready := s.visitor("nobody").raw(http.MethodGet, s.URL+"/readyz", nil)
	if ready.status != http.StatusServiceUnavailable || !strings.Contains(string(ready.body), `"custody":"away"`) {
		t.Errorf("readyz: %d %s", ready.status, ready.body)
	}
	shop.refused(503, "UNAVAILABLE", http.MethodPost, "/trades/"+second.TradeID+"/cancel", nil)

	a.start()
	var cancelled confirmation
	shop.post("/trades/"+second.TradeID+"/cancel", nil, &cancelled) // her session is in the database
	if end, err := shop.await(soon(t), cancelled.ConfirmationID); err != nil || end.TxID == "" {
		t.Errorf("when the custodian was back: %+v, %v", end, err)
	}
	third := shop.offers("BEARER", "", cards("898604B7192270274024", "898604B7192270274025"))
	li.done("/trades/"+third.TradeID+"/confirm", shows(third)) // his session is in the database
	check(t, s.Service.CatchUp(soon(t)))
	report, err := s.Service.Check(soon(t), nil)
	check(t, err)
	for _, f := range report.Findings {
		t.Errorf("fsck: %s %s %s", f.Kind, f.Subject, f.Problem)
	}
}

// TestCompromisedWebProcess plays whoever has taken over the web process: he has its files, its database and the socket.
// Nobody who isn't logged in signs anything for him; what he tries is refused, and alarms.
func TestCompromisedWebProcess(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	s := openSite(t, a.dir, crowded, a.web)
	ctx := soon(t)
	thief := newRemote(bySocket(a.config.Custody.Socket))

	// What he finds: no key but that of the data.
	for _, name := range []string{"root.key", "custodian.key"} {
		if _, err := os.Stat(filepath.Join(a.dir, name)); err == nil {
			t.Errorf("%s lies with the web process", name)
		}
	}

	// The victim was here once, and has logged out. Her trade and her session he remembers.
	shop, li := s.staff("xiaowang"), s.consumer("小李")
	sold := shop.offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	open := shop.offers("BEARER", "", cards("898604B7192270274022", "898604B7192270274023"))
	bought := li.done("/trades/"+sold.TradeID+"/confirm", shows(sold))
	var me struct{ Participant struct{ ID string } }
	li.get("/me", &me)
	victim, old := me.Participant.ID, transfer.SessionToken(li.token)
	li.post("/auth/logout", nil, nil)
	// So has the shop, and she has come again: what she asks for now is hers, and the thief is only shown it afterwards.
	closed := transfer.SessionToken(shop.token)
	shop.post("/auth/logout", nil, nil)
	shop = s.staff("xiaowang")
	var offered string
	check(t, s.DB.Read(ctx, func(tx *model.Tx) error {
		row, err := tx.Trade(open.TradeID)
		offered = row.Batch
		return err
	}))
	seller := transfer.SessionToken(s.staff("hualian").token)
	official, watcher := transfer.SessionToken(s.staff("yidong").token), transfer.SessionToken(s.staff("jianguan").token)
	own := s.consumer("小赵") // and he may log in as himself
	own.get("/me", &me)
	mine := transfer.SessionToken(own.token)

	notAfter := time.Now().Add(time.Hour).UnixMilli()
	confirm := request.Confirm{Trade: open.TradeID, Lot: open.LotHash, Receiver: victim}
	sign := func(owner, slot, subject string, body request.Body) error {
		_, err := thief.Sign(ctx, transfer.Ask{Owner: owner, Slot: slot, Purpose: body.Function(), Subject: subject, Attempt: 1, NotAfter: notAfter, Actor: "thief"}, body)
		return err
	}
	private, err := gm.GenerateKey(rand.Reader)
	check(t, err)
	his := request.NewKey{Public: private.Public(), Kind: request.AccountKey}
	his.Possession, err = private.Sign(rand.Reader, request.PossessionBytes(s.Ledger.Channel(), victim, his.Public))
	check(t, err)
	for what, x := range map[string]struct {
		do    func() error
		want  error
		alarm *custody.Error
	}{
		"sign for one who isn't there": {func() error { return sign(victim, transfer.SlotAccount, "thief-1", confirm) }, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"by her authorisation of something else": {func() error {
			return sign(victim, transfer.SlotAccount, bought.ConfirmationID, request.Decline{Trade: open.TradeID, Receiver: victim, Reason: "DAMAGED"})
		},
			transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"alter what she asked for": {func() error {
			_, err := thief.Sign(ctx, transfer.Ask{Owner: victim, Slot: transfer.SlotAccount, Purpose: "Confirm", Subject: bought.ConfirmationID, Attempt: 1, NotAfter: notAfter, Actor: "thief"}, confirm)
			return err
		}, custody.ErrDigestConflict, custody.ErrDigestConflict},
		"ask by the session that she has closed": {func() error { return thief.Authorise(ctx, old, "thief-2", confirm, notAfter) }, transfer.ErrSessionOver, nil},
		"ask by no session":                      {func() error { return thief.Authorise(ctx, "", "thief-2", confirm, notAfter) }, transfer.ErrSessionOver, nil},
		"ask for her by his own session":         {func() error { return thief.Authorise(ctx, mine, "thief-2", confirm, notAfter) }, custody.ErrOwner, custody.ErrOwner},
		"sell a shop's cards": {func() error {
			return sign("xiaowang", transfer.SlotAccount, "thief-6", request.Offer{Seller: "xiaowang", Mode: request.Bearer, Inputs: []string{open.LotHash}, Outputs: []request.Output{{Trade: "t", Lot: open.LotHash}}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"sell as the act of another sale": {func() error {
			_, err := thief.Sign(ctx, transfer.Ask{Owner: "xiaowang", Slot: transfer.SlotAccount, Purpose: "Offer", Subject: offered, Attempt: 1, NotAfter: notAfter, Actor: "thief"},
				request.Offer{Seller: "xiaowang", Mode: request.Bearer, Outputs: []request.Output{{Trade: "t", Lot: open.LotHash}}})
			return err
		}, custody.ErrDigestConflict, custody.ErrDigestConflict},
		"take her offer back, by the distributor's session": {func() error {
			if err := thief.Authorise(ctx, seller, "thief-7", request.Cancel{Trade: open.TradeID}, notAfter); err != nil {
				return err
			}
			return sign("xiaowang", transfer.SlotAccount, "thief-7", request.Cancel{Trade: open.TradeID})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"ask for the shop by the session that it has closed": {func() error {
			return thief.Authorise(ctx, closed, "thief-8", request.Cancel{Trade: open.TradeID}, notAfter)
		}, transfer.ErrSessionOver, nil},
		"ask for the shop by the distributor's session": {func() error {
			return thief.Authorise(ctx, seller, "thief-8", request.Offer{Seller: "xiaowang", Mode: request.Bearer, Outputs: []request.Output{{Lot: open.LotHash}}}, notAfter)
		}, custody.ErrOwner, custody.ErrOwner},
		"issue cards": {func() error {
			return sign("cmcc", transfer.SlotAccount, "thief-10", request.Issue{Lot: strings.Repeat("ab", 32), Carrier: "cmcc", Rule: "SERIAL", RetailPolicy: request.Open})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"issue them as an import that nobody sent": {func() error {
			terms := request.Issue{Carrier: "cmcc", RetailPolicy: request.Open}
			return thief.AuthoriseParts(ctx, "import-x", terms, []transfer.Part{{Subject: "import-x-0", Rule: "SERIAL", Lot: strings.Repeat("ab", 32)}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"freeze as the regulator": {func() error {
			return sign("regulator", transfer.SlotAccount, "thief-11", request.Freeze{LotAct: request.LotAct{Lot: open.LotHash}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"unfreeze as the regulator": {func() error {
			return sign("regulator", transfer.SlotAccount, "thief-14", request.Unfreeze{LotAct: request.LotAct{Lot: open.LotHash}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"unfreeze by the session of one of the carrier's": {func() error {
			return thief.Authorise(ctx, official, "thief-15", request.Unfreeze{LotAct: request.LotAct{Lot: open.LotHash}}, notAfter)
		}, custody.ErrTwoPeople, custody.ErrTwoPeople},
		"let somebody trade again by the regulator's session": {func() error {
			return thief.Authorise(ctx, watcher, "thief-16", request.UnfreezeParticipant{ParticipantAct: request.ParticipantAct{Participant: victim}}, notAfter)
		}, custody.ErrTwoPeople, custody.ErrTwoPeople},
		"propose in another's name": {func() error {
			_, err := thief.Propose(ctx, custody.Draft{Person: "demo-cmcc", Name: "thief-17", Operation: custody.OperationUnfreeze, Arguments: []byte(`{"organisation":"cmcc","lot":"x"}`), Reason: "x"})
			return err
		}, custody.ErrSessionOver, nil},
		"let somebody trade again, as the platform": {func() error {
			return sign(transfer.PlatformID, transfer.SlotRegistrar, "recover-0-release", request.UnfreezeParticipant{ParticipantAct: request.ParticipantAct{Participant: victim}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"let a key sign again that nobody lets, as the platform": {func() error {
			return sign(transfer.PlatformID, transfer.SlotRegistrar, "thief-18", request.ResumeKey{KeyAct: request.KeyAct{Key: "k"}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"or as an administrator": {func() error {
			return sign(transfer.Admin1, transfer.SlotAccount, "thief-19", request.ResumeKey{KeyAct: request.KeyAct{Key: "k"}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"order that a key goes on, as nobody": {func() error { _, err := thief.OrderKey(ctx, "k", model.WishResume, "demo-yunwei"); return err }, custody.ErrSessionOver, nil},
		"or by his own session": {func() error {
			_, err := thief.OrderKey(transfer.WithSession(ctx, mine), "k", model.WishResume, "demo-yunwei")
			return err
		}, custody.ErrSessionOver, nil},
		"or by the distributor's": {func() error {
			_, err := thief.OrderKey(transfer.WithSession(ctx, seller), "k", model.WishResume, "demo-yunwei")
			return err
		}, custody.ErrNotOperator, nil},
		"make a carrier of his own": {func() error {
			key, err := thief.Enrol(ctx, "thieves", request.Carrier, transfer.SlotAccount)
			if err != nil {
				return nil // the test fails: he should come so far
			}
			return sign(transfer.Admin1, transfer.SlotAccount, "thief-20", request.Register{Registration: request.Registration{Participant: "thieves", Role: request.Carrier, Key: key}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"or a shop": {func() error {
			key, err := thief.Enrol(ctx, "thieves-shop", request.Retailer, transfer.SlotAccount)
			if err != nil {
				return nil
			}
			return sign(transfer.PlatformID, transfer.SlotRegistrar, "thief-21", request.Register{Registration: request.Registration{Participant: "thieves-shop", Role: request.Retailer, Key: key}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"give a carrier's prefix away": {func() error {
			return sign(transfer.Admin1, transfer.SlotAccount, "thief-22", request.SetIssuer{Prefix: "89860", Carrier: "unicom", Rule: "SERIAL", Version: 1})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"freeze as the platform": {func() error {
			return sign(transfer.PlatformID, transfer.SlotRegistrar, "thief-12", request.Freeze{LotAct: request.LotAct{Lot: open.LotHash}})
		}, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"change what the ledger goes by": {func() error { return sign(transfer.Admin1, transfer.SlotAccount, "thief-13", request.SetPolicy{}) }, transfer.ErrUnauthorised, custody.ErrUnauthorised},
		"another function of a key":      {func() error { return sign(transfer.PlatformID, transfer.SlotTicket, "thief-3", confirm) }, custody.ErrFunction, nil},
		"give her another key, as the registrar": {func() error {
			return sign(transfer.PlatformID, transfer.SlotRegistrar, "thief-4", request.Register{Registration: request.Registration{Participant: victim, Role: request.Consumer, Key: his}})
		}, custody.ErrKeyForeign, custody.ErrKeyForeign},
		"give her another key, as an administrator": {func() error {
			return sign(transfer.Admin1, transfer.SlotAccount, "thief-5", request.PublishKey{Participant: victim, Key: his})
		}, custody.ErrKeyForeign, custody.ErrKeyForeign},
		"approve in another's name":  {func() error { _, err := thief.Approve(ctx, "p-zhiban", "p"); return err }, custody.ErrSessionOver, nil},
		"stop everything, as nobody": {func() error { return thief.Seal(ctx, "p-yunwei") }, custody.ErrSessionOver, nil},
		"add accounts, as nobody":    {func() error { return thief.AddConsumers(ctx, "wx", []string{"somebody"}) }, custody.ErrSessionOver, nil},
		"take a key":                 {func() error { return tell(ctx, thief, "Scalar", keyCall{KeyID: "k"}) }, nil, nil},
		"take the root":              {func() error { return tell(ctx, thief, "../Root", none{}) }, nil, nil},
		"sign bytes":                 {func() error { return tell(ctx, thief, "Sign", signCall{Body: typedBody{"Bytes", []byte("anything")}}) }, custody.ErrBody, nil},
	} {
		before := 0
		if x.alarm != nil {
			before = a.alarms(x.alarm)
		}
		if err := x.do(); err == nil || x.want != nil && !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", what, err, x.want)
		}
		if x.alarm != nil && a.alarms(x.alarm) == before {
			t.Errorf("%s: no alarm", what)
		}
	}

	// He reads and writes the tables that are the custodian's. Where the database has a user for each it doesn't let him.
	if a.database.IsSet() {
		web := s.DB
		for _, s := range []func(tx *model.Tx) error{
			func(tx *model.Tx) error { _, err := tx.NewestCustodyKey(victim, transfer.SlotAccount); return err },
			func(tx *model.Tx) error { _, err := tx.CustodyKEKs(); return err },
			func(tx *model.Tx) error { _, err := tx.CustodySession("d"); return err },
			func(tx *model.Tx) error { _, err := tx.AccountByOpenID("x", "i"); return err },
			func(tx *model.Tx) error { _, err := tx.PersonByUsername("xiaowang"); return err },
			func(tx *model.Tx) error { _, err := tx.Identity("p"); return err },
			func(tx *model.Tx) error {
				return tx.AddCustodySession(model.CustodySession{Digest: "d", Participant: victim, ExpiresAt: 1})
			},
			func(tx *model.Tx) error { return tx.EndCustodySession("d") },
			func(tx *model.Tx) error { return tx.SetPassword("demo-xiaowang", "$argon2id$", false) },
			func(tx *model.Tx) error {
				return tx.AddAccount(model.Account{ID: "a", AppID: "x", OpenIDIndex: "i", OpenIDSealed: []byte{1}, ParticipantID: victim})
			},
		} {
			if err := web.Write(ctx, s); err == nil || !strings.Contains(err.Error(), "denied") {
				t.Errorf("he reads or writes what is the custodian's: %v", err)
			}
		}
	}
	// Where there is one for both nothing keeps him from it; but he doesn't have the key of the tags. That of the data he has.
	vault, err := transfer.OpenVault(filepath.Join(a.dir, "data.key"), rand.Reader)
	check(t, err)
	row := model.CustodyAuthorisation{Owner: victim, Function: "Confirm", Subject: "thief-9", Session: strings.Repeat("0", 64), Digest: request.New(s.Ledger.Channel(), confirm).ID(),
		LoginAt: model.MillisOf(time.Now()), AskedAt: model.MillisOf(time.Now()), NotAfter: model.Millis(notAfter)}
	tag := gm.HMAC(vault.Stamp(), []byte("authorisation"), []byte(row.Subject))
	row.Tag = tag[:]
	check(t, a.custodian.DB.Write(ctx, func(tx *model.Tx) error { return tx.AddCustodyAuthorisation(row) }))
	if err := sign(victim, transfer.SlotAccount, "thief-9", confirm); !errors.Is(err, transfer.ErrUnauthorised) || a.alarms(custody.ErrLoginForged) != 1 {
		t.Errorf("by an authorisation that he has made up: %v", err)
	}
	var still trade
	shop.get("/trades/"+open.TradeID, &still)
	if still.State != "offered" {
		t.Errorf("the trade is %s", still.State)
	}
}
