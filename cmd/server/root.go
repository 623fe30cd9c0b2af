package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"cardflow/custody"
	"cardflow/model"
)

// rootCommand is what is done to the root key, on a server's own machine, with the database's own password. It works on
// the database beside the servers that run. That another root, or another key-encryption key, takes over is for two people,
// and goes through a server.
type rootCommand struct {
	Init   rootInitCommand   `cmd:"" help:"The key ceremony: make the root key of an empty database."`
	Status rootStatusCommand `cmd:"" help:"Which root it is, and how many keys are under which key-encryption key."`
	Rotate rootRotateCommand `cmd:"" help:"Make another root key, and propose that it takes the place of this one: from a file to shares or a token, or new shares for the old."`
	Renew  rootRenewCommand  `cmd:"" help:"Propose a new key-encryption key, under which all keys are put."`
	Rewrap rewrapCommand     `cmd:"" help:"Put all keys under the newest key-encryption key now, as servers do in the background."`
}

// SharesFlags say how a root is split.
type SharesFlags struct {
	Shares    int  `help:"For shamir: how many shares there are, one for each holder." default:"5"`
	Threshold int  `help:"For shamir: how many of them are needed." default:"3"`
	Print     bool `help:"Print the shares although standard output is no terminal. Whoever reads the file then has the root key."`
}

// offline opens the database without the rest of a server. The caller closes the app.
func (e *environment) offline() (*App, error) { return e.beside(false) }

// beside is offline; also on a database that is half restored, if it is to be restored.
func (e *environment) beside(restoring bool) (*App, error) {
	app := &App{Config: e.config, Logger: e.logger, cancel: func() {}, tool: true, restoring: restoring}
	if err := app.openDatabase(e.ctx, e.ctx); err != nil {
		return nil, errors.Join(err, app.Close(e.ctx))
	}
	return app, nil
}

// opened is offline with custody, open: people are asked for their shares, if it takes that.
func (e *environment) opened() (*App, error) {
	app, err := e.offline()
	if err != nil {
		return nil, err
	}
	root, err := e.config.root()
	if err == nil {
		c := app.custodyConfig()
		c.Root, c.Shares, c.Tool = root, root == nil, true
		app.Custody, err = custody.Open(e.ctx, c)
	}
	if err == nil {
		app.onClose(func() error { app.Custody.Close(); return nil })
		err = e.bringShares(app.Custody)
	}
	if err != nil {
		return nil, errors.Join(err, app.Close(e.ctx))
	}
	return app, nil
}

// rootInitCommand is the ceremony on an empty database.
type rootInitCommand struct {
	SharesFlags `embed:""`
	Yes         bool `help:"Do it. Without it the command tells what would happen."`
	JSON        bool `name:"json" help:"Kind and ID of the key as JSON."`
}

// Run implements the command.
func (c rootInitCommand) Run(e *environment) (err error) {
	app, err := e.offline()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close(e.ctx)) }()
	switch _, err := custody.LookAtRoot(e.ctx, app.DB); {
	case err == nil:
		return custody.ErrRootExists
	case !errors.Is(err, custody.ErrNoRoot):
		return err
	}
	kind := custody.RootKind(e.config.Custody.Kind)
	if !c.Yes {
		note := ""
		if kind == custody.InFile {
			note = "For shares set custody.kind: shamir, for a token pkcs11, in the configuration\n(--config FILE, or CARDFLOW_CUSTODY_KIND=shamir).\n"
		}
		return c.would(e, c.JSON, kind, note, e.config.Custody.RootKeyFile, e.config.Custody.PKCS11.Key)
	}
	root, err := c.make(e, kind, e.config.Custody.RootKeyFile, e.config.Custody.PKCS11)
	if err != nil {
		return err
	}
	config := app.custodyConfig()
	config.Root = root
	made, err := custody.Init(e.ctx, config)
	if err != nil {
		return err
	}
	made.Close()
	if c.JSON {
		return printJSON(e.stdout, map[string]any{"kind": kind, "id": root.ID()})
	}
	_, err = fmt.Fprintf(e.stdout, "the root key is made: %s %s\n", kind, root.ID())
	return err
}

// would tells what --yes does.
func (c SharesFlags) would(e *environment, asJSON bool, kind custody.RootKind, moved, file, key string) error {
	var b strings.Builder
	b.WriteString("Nothing was done. With --yes:\n")
	switch kind {
	case custody.InShares:
		if err := custody.CanSplit(c.Threshold, c.Shares); err != nil {
			return err
		}
		fmt.Fprintf(&b, "  a root key is drawn and split into %d shares, of which %d are needed\n", c.Shares, c.Threshold)
		b.WriteString("  each is shown once, to its holder; then enough of them are typed back\n")
	case custody.InToken:
		fmt.Fprintf(&b, "  the key %q is made in the token, unless it is there\n", key)
	default:
		fmt.Fprintf(&b, "  a root key is made in %s, unless it is there\n", e.config.Path(file))
	}
	b.WriteString(moved)
	return would(e.stdout, asJSON, b.String())
}

// make makes a root and gives it to its holders, before anything depends on it.
func (c SharesFlags) make(e *environment, kind custody.RootKind, file string, at PKCS11Config) (custody.RootKey, error) {
	switch kind {
	case custody.InToken:
		return custody.MakeTokenRoot(at.token(), rand.Reader)
	case custody.InFile:
		return custody.FileRoot(e.config.Path(file), rand.Reader)
	}
	watched := isTerminal(e.stdout)
	if !watched && !c.Print {
		return nil, errors.New("standard output is no terminal: shares would stay in a file or a log; --print if that is meant")
	}
	root, shares, err := custody.Split(c.Threshold, c.Shares, rand.Reader)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range shares {
			s.Clear()
		}
	}()
	ask := e.asker()
	for _, s := range shares {
		if err := show(e.stdout, ask, s, watched); err != nil {
			return nil, err
		}
	}
	if watched {
		if err := prove(e, ask, root, c.Threshold); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// show shows one share to its holder, and takes it from the screen again.
func show(w io.Writer, ask *asker, s custody.Share, watched bool) error {
	if watched {
		if _, err := ask.line(fmt.Sprintf("\nHolder %d of %d: come alone to the screen, and press Enter. ", s.Index, s.Shares)); err != nil {
			return err
		}
	}
	text := s.Text()
	defer text.Clear()
	fmt.Fprintf(w, "share %d of %d, %d needed, set %s\n", s.Index, s.Shares, s.Threshold, s.Set)
	if _, err := w.Write(append(text, '\n')); err != nil {
		return err
	}
	if !watched {
		return nil
	}
	_, err := ask.line("Write down all of it, and press Enter: the screen is cleared. ")
	fmt.Fprint(w, "\x1b[H\x1b[2J\x1b[3J")
	return err
}

// prove lets enough holders type their shares back before anything is under the root: what can't be read from paper must
// be found now.
func prove(e *environment, ask *asker, root custody.RootKey, threshold int) error {
	fmt.Fprintf(e.stderr, "\nNow %d holders type their shares from paper.\n", threshold)
	var typed []custody.Share
	defer func() {
		for _, s := range typed {
			s.Clear()
		}
	}()
	for len(typed) < threshold {
		text, err := ask.share(fmt.Sprintf("Share %d of %d: ", len(typed)+1, threshold))
		if err != nil {
			return err
		}
		s, err := custody.ParseShare(text)
		text.Clear()
		if err == nil {
			for _, before := range typed {
				if before.Index == s.Index {
					err = custody.ErrShareRepeated
				}
			}
		}
		if known := (*custody.Error)(nil); errors.As(err, &known) {
			fmt.Fprintln(e.stderr, known.Message)
			continue
		}
		typed = append(typed, s)
	}
	again, err := custody.Combine(typed)
	if err == nil && again.ID() != root.ID() {
		err = custody.ErrSharesWrong
	}
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// rootStatusCommand reads the database; it needs no key.
type rootStatusCommand struct {
	JSON bool `name:"json" help:"As JSON."`
}

// Run implements the command.
func (c rootStatusCommand) Run(e *environment) error { return e.rootStatus(c.JSON) }

func (e *environment) rootStatus(asJSON bool) (err error) {
	app, err := e.offline()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close(e.ctx)) }()
	s, err := custody.LookAtRoot(e.ctx, app.DB)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(e.stdout).Encode(rootView(s))
	}
	_, err = fmt.Fprint(e.stdout, rootText(s))
	return err
}

type kekJSON struct {
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	Keys      int64     `json:"keys"`
}

type rootJSON struct {
	Root      string    `json:"root"`
	Kind      string    `json:"kind"`
	Set       string    `json:"set,omitempty"`
	Threshold int       `json:"threshold,omitempty"`
	Shares    int       `json:"shares,omitempty"`
	StoppedAt time.Time `json:"stoppedAt,omitzero"`
	KEKs      []kekJSON `json:"keks"`
	Keys      int64     `json:"keys"`
	Left      int64     `json:"left"`
	Next      *nextJSON `json:"next,omitempty"`
}

// nextJSON is the root that waits for two people.
type nextJSON struct {
	Root      string    `json:"root"`
	Kind      string    `json:"kind"`
	Threshold int       `json:"threshold,omitempty"`
	Shares    int       `json:"shares,omitempty"`
	MadeBy    string    `json:"madeBy"`
	MadeAt    time.Time `json:"madeAt"`
}

func rootView(s custody.RootStatus) rootJSON {
	v := rootJSON{Root: s.Root.ID, Kind: s.Root.Kind, Set: s.Set, Threshold: s.Root.Threshold, Shares: s.Root.Shares, Keys: s.Total, Left: s.Left}
	if s.Stopped != 0 {
		v.StoppedAt = s.Stopped.Time()
	}
	for _, k := range s.KEKs {
		v.KEKs = append(v.KEKs, kekJSON{k.Version, k.CreatedAt.Time(), k.Keys})
	}
	if n := s.Next; n != nil {
		v.Next = &nextJSON{n.ID, n.Kind, n.Threshold, n.Shares, n.MadeBy, n.MadeAt.Time()}
	}
	return v
}

func rootText(s custody.RootStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "root key   %s  %s\n", s.Root.Kind, s.Root.ID)
	if s.Root.Kind == string(custody.InShares) {
		fmt.Fprintf(&b, "shares     %d, %d needed, set %s\n", s.Root.Shares, s.Root.Threshold, s.Set)
	}
	if s.Stopped != 0 {
		fmt.Fprintf(&b, "stopped    by hand since %s\n", date(s.Stopped))
	}
	if n := s.Next; n != nil {
		fmt.Fprintf(&b, "waits      %s  %s\n           for two people, made %s by %s\n", n.Kind, n.ID, date(n.MadeAt), n.MadeBy)
	}
	b.WriteString("\nkey-encryption key   made                 keys under it\n")
	for _, k := range s.KEKs {
		fmt.Fprintf(&b, "%18d   %-19s  %13d\n", k.Version, date(k.CreatedAt), k.Keys)
	}
	if s.Left > 0 {
		fmt.Fprintf(&b, "\n%d of %d keys (%.1f%%) are to be put under the newest\n", s.Left, s.Total, 100*float64(s.Left)/float64(s.Total))
	}
	return b.String()
}

func date(at model.Millis) string { return at.Time().Local().Format(time.DateTime) }

// rootRotateCommand makes another root, and proposes it.
type rootRotateCommand struct {
	acting
	SharesFlags `embed:""`
	To          string `help:"How the new root is kept: shamir, pkcs11 (as custody.pkcs11 says), or file." enum:"shamir,pkcs11,file" required:""`
	File        string `help:"For file: its name. Not that of the old one." placeholder:"FILE"`
	Key         string `help:"For pkcs11: the new key's label, if it is another one than custody.pkcs11.key." placeholder:"LABEL"`
	Reason      string `help:"Why, for the other person to read." required:""`
	Yes         bool   `help:"Do it. Without it the command tells what would happen."`
}

// Run implements the command. Nothing depends on the new root before another person has approved it; its holders have it by
// then.
func (c rootRotateCommand) Run(e *environment) error {
	kind, at := custody.RootKind(c.To), e.config.Custody.PKCS11
	if kind == custody.InFile && c.File == "" {
		return errors.New("--to file wants --file")
	}
	if c.Key != "" {
		at.Key = c.Key
	}
	if !c.Yes {
		return c.would(e, c.JSON, kind, rotateWould, c.File, at.Key)
	}
	// Who may not propose it, or at a server that can't take it, hears that before people have come for their shares.
	api, leave, err := c.login(e)
	if err != nil {
		return err
	}
	defer leave()
	var s sealState
	if err := api.call(e.ctx, "GET", "/custody/seal", nil, &s); err != nil {
		return spoken(err)
	}
	if s.Sealed {
		return custody.ErrSealed
	}
	id, err := c.prepare(e, kind, at)
	if err != nil {
		return err
	}
	if err := c.over(e, api, "POST", "/custody/root/rotate", map[string]any{"root": id, "reason": c.Reason}); err != nil {
		return fmt.Errorf("%w\nthe new root is made, and waits; propose it:\nserver proposals propose root.rotate '{\"root\":\"%s\"}' --as … --reason … --yes", err, id)
	}
	if !c.JSON {
		fmt.Fprint(e.stdout, rotateNext[kind])
	}
	return nil
}

// prepare makes the new root and has the key-encryption keys sealed under it, beside what is in use.
func (c rootRotateCommand) prepare(e *environment, kind custody.RootKind, at PKCS11Config) (id string, err error) {
	app, err := e.opened()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, app.Close(e.ctx)) }()
	next, err := c.make(e, kind, c.File, at)
	if err != nil {
		return "", err
	}
	return next.ID(), app.Custody.PrepareRoot(e.ctx, next, operator())
}

const rotateWould = `  every key-encryption key is sealed under it, beside the old; nothing changes
  it is proposed; when another person has approved it, the old root opens
  nothing of this database any more. Servers that run go on; they need the new
  root at their next start
`

var rotateNext = map[custody.RootKind]string{
	custody.InShares: "when it is approved, set custody.kind to shamir on every server; each needs its\nshares at its next start\n",
	custody.InToken:  "when it is approved, set custody.kind to pkcs11, and custody.pkcs11, on every\nserver; restart each\n",
	custody.InFile:   "when it is approved, set custody.root_key_file on every server; restart each\n",
}

// rootRenewCommand proposes a new key-encryption key.
type rootRenewCommand struct{ proposing }

// Run implements the command.
func (c rootRenewCommand) Run(e *environment) error {
	api, leave, err := c.login(e)
	if err != nil {
		return err
	}
	defer leave()
	var root rootJSON
	if err := api.call(e.ctx, "GET", "/custody/root", nil, &root); err != nil {
		return spoken(err)
	}
	if len(root.KEKs) == 0 {
		return errors.New("the server names no key-encryption key")
	}
	newest := root.KEKs[len(root.KEKs)-1].Version
	arguments := custody.RotateKEK{After: newest}
	if !c.Yes {
		return c.would(e, custody.OperationRotateKEK, arguments)
	}
	return c.over(e, api, "POST", "/custody/proposals", c.body(custody.OperationRotateKEK, arguments))
}
