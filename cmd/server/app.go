package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/ledger/fabric"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/realname"
	"cardflow/wechat"
	"cardflow/wechat/sandbox"
)

// App is a whole server: every part that the configuration asks for, opened in order and closed in the opposite one.
// The demo, the benchmarks and the end-to-end tests run the same one.
type App struct {
	Config     Config
	Logger     *slog.Logger
	DB         *model.DB
	Redis      redis.UniversalClient
	Ledger     ledger.Ledger
	LedgerFile *embedded.Ledger // the same, if it is in a file of ours; else nil
	Custody    *custody.Custody // nil in a web process whose custody is a process of its own
	Keeper     keeper           // the same, or the way to it
	Journal    *transfer.Journal
	Service    *transfer.Service
	WeChat     *wechat.Platform
	Sandbox    *sandbox.Sandbox // nil outside of sandbox mode
	Registry   *prometheus.Registry

	URL       string // where HTTP is served, once Listen has been called
	PublicURL string // where people are sent; the same, if nobody has said

	tool      bool // a program beside the servers, without their other parts
	restoring bool // it may go on with a restore that was broken off
	vault     *transfer.Vault
	stopping  chan struct{} // closed when the server begins to shut down
	stopped   sync.Once
	look      bool
	apart     bool               // custody is in another process
	custodian bool               // this is that process
	demo      bool               // and a trial's
	cancel    context.CancelFunc // ends everything that runs in the background
	closers   []func() error
}

// organisation is the ledger's name (MSP ID) of the platform that relays, and that alone may initialise the ledger.
const organisation = "PlatformMSP"

// Open opens every part and starts the relay, the listener and the sweeper; what was unfinished goes on. It does not
// serve HTTP yet. Whatever it opened before an error is closed again.
func Open(ctx context.Context, c Config, logger *slog.Logger) (*App, error) {
	return openApp(ctx, c, logger, false, c.Custody.Process == Own)
}

// open is Open for a command that needs custody itself, wherever the servers have it. To look is to anchor nothing, and to
// open an audit that is broken, too: nothing is signed with it.
func open(ctx context.Context, c Config, logger *slog.Logger, look bool) (*App, error) {
	return openApp(ctx, c, logger, look, false)
}

// openApp opens a whole server. apart says that custody is a process of its own, and is to be reached there.
func openApp(ctx context.Context, c Config, logger *slog.Logger, look, apart bool) (app *App, err error) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	app = &App{Config: c, Logger: logger, Registry: prometheus.NewRegistry(), stopping: make(chan struct{}), cancel: cancel, look: look, apart: apart}
	defer func() {
		if err != nil {
			err = errors.Join(err, app.Close(context.Background()))
		}
	}()
	rights := func(context.Context, context.Context) error { return nil }
	if apart {
		rights = app.checkRights
	}
	for _, open := range []func(context.Context, context.Context) error{
		app.openDatabase, rights, app.openRedis, app.openLedger, app.openJournal, app.openKeeper, app.openWeChat, app.openService,
	} {
		if err := open(ctx, run); err != nil {
			return app, err
		}
	}
	if !look && app.Custody != nil {
		app.Custody.Start()
	}
	return app, nil
}

// onClose remembers how to close what has just been opened.
func (a *App) onClose(f func() error) { a.closers = append(a.closers, f) }

func (a *App) openDatabase(ctx, _ context.Context) error {
	if err := os.MkdirAll(a.Config.DataDir, 0o700); err != nil {
		return err
	}
	dsn := a.Config.Database.DSN.Reveal()
	if a.Config.Database.Driver == model.SQLite {
		dsn = a.Config.SQLiteFile()
	}
	c := model.Config{
		Driver: a.Config.Database.Driver, DSN: dsn, Password: a.Config.Database.Password.Reveal(), Logger: a.Logger, MaxConns: a.Config.Database.MaxConnections,
		At: at,
	}
	var err error
	if c.RootCAs, err = a.authority("database.ca_file", a.Config.Database.CAFile); err != nil {
		return err
	}
	if a.apart {
		return a.awaitDatabase(ctx, c)
	}
	c.Marks = model.CustodyMarks // which a web process beside a custodian can't write
	db, err := model.Open(ctx, c)
	if err != nil {
		return err
	}
	a.DB = db
	a.onClose(db.Close)
	n, err := db.Migrate(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if n > 0 {
		a.Logger.Info("database migrated", "migrations", n)
	}
	if a.restoring {
		return nil
	}
	return a.refuseHalfRestored(ctx)
}

// refuseHalfRestored keeps everything but a restore off a database that is none yet.
func (a *App) refuseHalfRestored(ctx context.Context) error {
	return a.DB.Read(ctx, func(tx *model.Tx) error {
		r, err := tx.Restoration()
		if err == nil && r.Stage == model.RestoreLoading {
			err = fmt.Errorf("数据库只恢复了一半（备份 %s）：请用同一个备份文件再执行一次 server backup restore，会从中断处继续", r.Bundle)
		}
		return err
	})
}

// authority reads the certificates that are believed in place of the machine's; nil if there is no file.
func (a *App) authority(key, name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(a.Config.Path(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate (PEM) in %s", key, name)
	}
	return pool, nil
}

func (a *App) openLedger(context.Context, context.Context) error {
	c := a.Config.Ledger
	if c.Kind == "fabric" {
		l, err := fabric.Open(fabric.Config{
			Profile: a.Config.Path(c.Fabric.Profile), Channel: c.Channel, MSPID: c.Fabric.MSPID,
			Certificate: a.Config.Path(c.Fabric.CertFile), Key: a.Config.Path(c.Fabric.KeyFile), Contracts: []string{request.Identity, request.Ownership},
			EndorseTimeout: c.Fabric.EndorseTimeout, BroadcastTimeout: c.Fabric.BroadcastTimeout, CommitTimeout: c.Fabric.CommitTimeout,
			QueryTimeout: c.Fabric.QueryTimeout, Logger: a.Logger, At: at,
		})
		if err != nil {
			return err
		}
		a.Ledger = l
		a.onClose(l.Close)
		return nil
	}
	l, err := embedded.Open(embedded.Config{
		Path: a.Config.Path(c.File), Channel: c.Channel, Organisation: organisation,
		Contracts:  []contract.Contract{&contract.Identity{Deployer: organisation}, &contract.Ownership{}},
		TimeWindow: c.TimeWindow, BlockInterval: c.BlockInterval, MaxBlockTransactions: c.MaxBlockTxs, Logger: a.Logger, At: at,
	})
	if err != nil {
		return err
	}
	a.Ledger, a.LedgerFile = l, l
	a.onClose(l.Close)
	return nil
}

// openJournal opens the data key and the journal, in which custody keeps new keys too.
func (a *App) openJournal(ctx, _ context.Context) error {
	var err error
	if a.apart {
		r, err := a.reach()
		if err == nil {
			err = a.sameDataKey(ctx, r)
		}
		if err != nil {
			return err
		}
		a.Keeper = r
	}
	if a.vault, err = transfer.OpenVault(a.Config.Path(a.Config.Vault.DataKeyFile), rand.Reader); err != nil {
		return err
	}
	if a.Journal, err = transfer.OpenJournal(a.Config.Path(a.Config.Vault.JournalFile), a.vault); err != nil {
		return err
	}
	a.onClose(a.Journal.Close)
	return nil
}

func (a *App) openWeChat(ctx, run context.Context) error {
	c := a.Config.WeChat
	config := wechat.Config{
		AppID: c.AppID, AppSecret: wechat.Secret(c.AppSecret.Reveal()), Timeout: c.Timeout, MiniPage: c.MiniPage, EnvVersion: c.EnvVersion,
		Redis: a.Redis, InMemory: a.custodian, KeyPrefix: a.Config.Redis.KeyPrefix + "wechat:", Logger: a.Logger, Metrics: newWeChatMetrics(a.Registry),
	}
	if c.Sandbox {
		a.Sandbox = sandbox.New(sandbox.Config{AppID: c.AppID, AppSecret: c.AppSecret.Reveal()})
		serving, stop := context.WithCancel(run)
		url, wait, err := a.Sandbox.Serve(serving, "127.0.0.1:0")
		if err != nil {
			stop()
			return fmt.Errorf("WeChat sandbox: %w", err)
		}
		a.onClose(func() error { stop(); return wait() })
		config.BaseURL = url
		if !c.AppSecret.IsSet() {
			config.AppSecret = "00000000000000000000000000000000"
		}
	}
	var err error
	a.WeChat, err = wechat.New(config)
	return err
}

func (a *App) openService(ctx, run context.Context) error {
	plan, err := a.Config.Numbering.Plan()
	if err != nil {
		return err
	}
	name, err := transfer.OpenServerName(a.Config.Path("server.id"), rand.Reader)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := a.Config
	var journals []string
	for _, name := range c.Vault.OtherJournals {
		journals = append(journals, c.Path(name))
	}
	interval := c.Audit.AnchorInterval
	if a.look {
		interval = -1
	}
	a.Service = transfer.New(transfer.Config{
		DB: a.DB, Crier: a.crier(), Ledger: a.Ledger, Signer: a.signing(), Accounts: a.accounts(), Messenger: a.messenger(), Vault: a.vault, Journal: a.Journal, Journals: journals, Server: name, Plan: plan, Logger: a.Logger,
		Audit: a.audited(), Anchor: transfer.AnchorConfig{Interval: interval},
		Metrics: newTransferMetrics(a.Registry), MSISDNPrefixes: c.Numbering.MSISDNPrefixes, At: at,
		Relay: transfer.RelayConfig{
			Workers: c.Relay.Workers, Lease: c.Relay.Lease, Grace: c.Relay.Grace, Poll: c.Relay.PollInterval, BackoffMin: c.Relay.BackoffMin, BackoffMax: c.Relay.BackoffMax,
			AnswerWithin: c.Relay.AnswerWithin,
		},
		Trade: transfer.TradeConfig{
			DefaultExpiry: c.Trade.DefaultExpiry, MinExpiry: c.Trade.MinExpiry, MaxExpiry: c.Trade.MaxExpiry, SweepInterval: c.Trade.SweepInterval,
		},
		RealName: transfer.RealNameConfig{Verifier: verifier(c.RealName.Verifier), Validity: c.RealName.Validity, Keep: c.RealName.Keep, Attempts: c.RealName.Attempts},
		Imports: transfer.ImportConfig{
			Dir: c.Path(c.Imports.Dir), MaxBytes: int64(c.Imports.MaxBytes), MaxRows: int64(c.Imports.MaxRows), Keep: c.Imports.Keep, Self: []string{self, xlsCommand},
		},
	})
	if a.Custody != nil {
		a.Keeper = a.inside(a.Service)
		a.Custody.OperateLots(lots{a.Service})
	}
	if err := a.Service.Start(run); err != nil {
		return err
	}
	a.onClose(func() error {
		a.lastAnchor()
		a.cancel()
		a.Service.Wait()
		return nil
	})
	a.Registry.MustRegister(standing{a.Service})
	if a.Custody != nil {
		a.background(run, func(ctx context.Context) { a.Custody.Run(ctx, name) })
	}
	if !a.Keeper.Sealed() {
		if err := a.Service.Bootstrap(ctx); !a.apart || !errors.Is(err, transfer.ErrCustodyAway) {
			return err
		}
	}
	// Whoever opens it has to log in, and to reach this server. A ledger that is in use needs nothing more; on a fresh
	// one the platform's first acts wait.
	a.background(run, a.bootstrapLater)
	return a.Service.Prepare(ctx)
}

// verifier is who checks identities; nil for none.
func verifier(name string) transfer.Verifier {
	if name == "sandbox" {
		return realname.Sandbox{Clock: time.Now}
	}
	return nil
}

// background runs something until the server closes, and then waits for its end.
func (a *App) background(run context.Context, work func(context.Context)) {
	ctx, stop := context.WithCancel(run)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx)
	}()
	a.onClose(func() error { stop(); <-done; return nil })
}

// sealedLook is how often a server that waits for custody looks whether it is open.
const sealedLook = 500 * time.Millisecond

// bootstrapLater makes a fresh ledger usable as soon as custody is open.
func (a *App) bootstrapLater(ctx context.Context) {
	tick := time.NewTicker(sealedLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if a.Keeper.Sealed() {
			continue
		}
		err := a.Service.Bootstrap(ctx)
		if err == nil {
			a.Logger.Info("custody is open")
			return
		}
		if ctx.Err() == nil && !errors.Is(err, transfer.ErrSealed) && !errors.Is(err, transfer.ErrCustodyAway) {
			a.Logger.Error("the platform's first acts: will try again", "error", err)
		}
	}
}

// crier reaches the other servers, if there can be any.
func (a *App) crier() transfer.Crier {
	if a.Config.Redis.Embedded {
		return nil
	}
	return newCrier(a.Redis, a.Config.Redis.KeyPrefix, a.Logger)
}

// lastAnchor anchors the audit's head of a server that has served and is told to stop. What doesn't come to be in time
// comes with the next server's first anchor.
func (a *App) lastAnchor() {
	if a.URL == "" || a.Config.Audit.StopTimeout == 0 || a.Keeper.Sealed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.Config.Audit.StopTimeout)
	defer cancel()
	if err := a.Service.AnchorLast(ctx); err != nil {
		a.Logger.Warn("the end of the audit is not anchored", "error", err)
	}
}

// Listen serves HTTP at the configured address until Close; port 0 takes a free one. It returns once the port is open.
func (a *App) Listen() error {
	c := a.Config
	l, err := net.Listen("tcp", c.HTTP.Listen)
	if err != nil {
		return err
	}
	a.URL = "http://" + reachable(l.Addr().String())
	if a.PublicURL = c.HTTP.PublicURL; a.PublicURL == DefaultConfig().HTTP.PublicURL {
		a.PublicURL = a.URL // nobody has said how people reach it: as it is
	}
	var preview fs.FS
	if c.HTTP.PreviewDir != "" {
		preview = os.DirFS(c.HTTP.PreviewDir)
	}
	h, err := handler.New(handler.Config{
		Preview: preview, Messages: a.messagesTo(),
		Service: a.Service, Custody: a.Keeper, Logins: a.Keeper, WeChat: a.WeChat, AppID: c.WeChat.AppID, Templates: c.WeChat.templateIDs(), Redis: a.Redis, KeyPrefix: c.Redis.KeyPrefix,
		Limits: limitsOf(c.Limits), Session: handler.SessionTTL{Staff: c.Session.StaffTTL, Idle: c.Session.IdleTTL},
		PublicURL: a.PublicURL, TrustedProxies: c.HTTP.TrustedProxies, BodyLimit: int64(c.HTTP.BodyLimit), ImportLimit: int64(c.Imports.MaxBytes),
		TLS: c.HTTP.TLSInFront, LoginAge: c.Custody.LoginAge, Logger: a.Logger, Registry: a.Registry, Stopping: a.stopping, At: at,
		VerifyAudit: func(ctx context.Context, person string, scan bool) (custody.AuditReport, error) {
			return a.verifyAudit(ctx, person, scan, io.Discard)
		},
		Checks: map[string]func(context.Context) error{
			"custody": a.Keeper.Ready,
			"redis":   func(ctx context.Context) error { return a.Redis.Ping(ctx).Err() },
		},
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: c.HTTP.ReadTimeout, WriteTimeout: c.HTTP.WriteTimeout, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(a.Logger.Handler(), slog.LevelWarn),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	a.onClose(func() error {
		a.stopped.Do(func() { close(a.stopping) })
		ctx, cancel := context.WithTimeout(context.Background(), c.HTTP.ShutdownGrace)
		defer cancel()
		err := srv.Shutdown(ctx)
		if serve := <-done; !errors.Is(serve, http.ErrServerClosed) {
			err = errors.Join(err, serve)
		}
		return err
	})
	return nil
}

// Close stops taking requests, lets those under way finish, then stops the relay between two steps and closes the rest.
// Acts that are not finished go on at the next start.
func (a *App) Close(context.Context) error {
	var err error
	for i := len(a.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, a.closers[i]())
	}
	a.closers = nil
	a.cancel()
	return err
}
