package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/model"
)

// keysCommand is what an operator does with custodial keys at the machine itself. It works beside a server that runs: it
// changes what custody says, and the server carries that to the ledger. What changes something is a dry run without --yes.
type keysCommand struct {
	List       keysList       `cmd:"" help:"List keys, newest first, by owner, state and age."`
	Find       keysFind       `cmd:"" help:"Find keys by the beginning of their ID, or by their owner."`
	Show       keysShow       `cmd:"" help:"Show all about one key."`
	Suspend    keysSuspend    `cmd:"" help:"Stop a key for a while: at once here, then on the ledger."`
	Resume     keysResume     `cmd:"" help:"Let a suspended key sign again, when the ledger has it."`
	Rotate     keysRotate     `cmd:"" help:"Give the owner the next version of a key; also after one was revoked."`
	Revoke     keysRevoke     `cmd:"" help:"Stop a key for ever: at once here, then on the ledger."`
	Provision  keysProvision  `cmd:"" help:"Make participants and keys for many logins that are known beforehand."`
	Recover    keysRecover    `cmd:"" help:"After a theft: stop a participant's key, freeze him, give him another one, let him go."`
	Recoveries keysRecoveries `cmd:"" help:"List what is done for those whose key was stolen, newest first."`
	Release    keysRelease    `cmd:"" help:"Propose that somebody may trade again whose key was stolen, and who has been identified."`
	Destroy    keysDestroy    `cmd:"" help:"Propose to wipe the private half of a revoked key. The rest of its row stays."`
}

// keyID is how a key is named on the command line: by its ID or the beginning of it.
type keyID struct {
	ID string `arg:"" help:"The key's ID, or its beginning."`
}

// keysOutput says for whom the output is.
type keysOutput struct {
	JSON bool `help:"For scripts: JSON."`
}

// keysOrder is what all commands share that change something.
type keysOrder struct {
	keyID
	keysOutput
	Yes  bool          `help:"Do it. Without it nothing is changed."`
	Wait time.Duration `help:"How long to wait for the ledger to follow." default:"15s"`
}

type (
	keysSuspend struct{ keysOrder }
	keysResume  struct{ keysOrder }
	keysRotate  struct{ keysOrder }
	keysRevoke  struct{ keysOrder }
)

// Run implements the command.
func (c keysSuspend) Run(e *environment) error { return c.order(e, model.WishSuspend) }

// Run implements the command.
func (c keysResume) Run(e *environment) error { return c.order(e, model.WishResume) }

// Run implements the command.
func (c keysRotate) Run(e *environment) error { return c.order(e, model.WishReplace) }

// Run implements the command.
func (c keysRevoke) Run(e *environment) error { return c.order(e, model.WishRevoke) }

// keysDestroy is `server keys destroy`: what can't be taken back takes two people.
type keysDestroy struct {
	proposing
	ID string `arg:"" help:"The key's ID, or its beginning where its database is at hand."`
}

// Run implements the command.
func (c keysDestroy) Run(e *environment) error {
	id := c.ID
	if len(id) < wholeID {
		err := withKeys(e, func(keys *custody.Custody) error {
			k, err := keyID{id}.find(e, keys)
			id = k.ID
			return err
		})
		if err != nil {
			return err
		}
	}
	return c.propose(e, custody.OperationDestroy, custody.DestroyKey{Key: id})
}

// wholeID is how long a key's ID is.
const wholeID = 32

// keysRelease is `server keys release`.
type keysRelease struct {
	proposing
	Participant string `arg:"" help:"Whose key was stolen. The reason says how he was identified."`
}

// Run implements the command.
func (c keysRelease) Run(e *environment) error {
	return c.propose(e, custody.OperationRecover, custody.ReleaseRecovery{Participant: c.Participant})
}

// openKeys opens the database and custody, and nothing else: a server may have the rest. It makes neither.
func openKeys(e *environment) (*App, error) {
	c := e.config
	if name := c.SQLiteFile(); c.Database.Driver == model.SQLite && !exists(name) {
		return nil, fmt.Errorf("no database at %s: is --data right?", name)
	}
	if name := c.Path(c.Custody.RootKeyFile); c.Custody.Kind == string(custody.InFile) && !exists(name) {
		return nil, fmt.Errorf("no root key at %s: is --data right?", name)
	}
	app := &App{Config: c, Logger: e.logger, cancel: func() {}, Registry: prometheus.NewRegistry(), tool: true}
	err := app.openDatabase(e.ctx, e.ctx)
	if err == nil {
		err = app.openCustody(e.ctx, e.ctx)
	}
	if err != nil {
		return nil, errors.Join(err, app.Close(e.ctx))
	}
	return app, nil
}

// withKeys runs a command on an open custody.
func withKeys(e *environment, run func(*custody.Custody) error) error {
	app, err := openKeys(e)
	if err != nil {
		return err
	}
	return errors.Join(run(app.Custody), app.Close(e.ctx))
}

// keysList is `server keys list`.
type keysList struct {
	keysOutput
	Owner  string        `help:"Only this participant's."`
	State  string        `help:"Only those in a state: active, suspended, rotated, revoked, destroyed."`
	Older  time.Duration `help:"Only those made longer ago than this, such as 2160h."`
	Newer  time.Duration `help:"Only those made since."`
	Limit  int           `help:"How many at most." default:"50"`
	Cursor string        `help:"Go on after another list: what it said at its end."`
}

// Run implements the command.
func (c keysList) Run(e *environment) error {
	f := model.CustodyKeyFilter{Owner: c.Owner, State: model.CustodyKeyState(c.State)}
	if _, ok := stateWords[f.State]; c.State != "" && !ok {
		return fmt.Errorf("no key is %q: active, suspended, rotated, revoked or destroyed", c.State)
	}
	if c.Older > 0 {
		f.To = model.MillisOf(time.Now().Add(-c.Older))
	}
	if c.Newer > 0 {
		f.From = model.MillisOf(time.Now().Add(-c.Newer))
	}
	return withKeys(e, func(keys *custody.Custody) error {
		page, err := keys.Keys(e.ctx, f, c.Cursor, c.Limit)
		if err != nil {
			return err
		}
		return c.print(e.stdout, page.Items, page.Next)
	})
}

// keysFind is `server keys find`.
type keysFind struct {
	keysOutput
	What  string `arg:"" help:"A participant's ID, or the beginning of a key's."`
	Limit int    `help:"How many at most." default:"50"`
}

// Run implements the command.
func (c keysFind) Run(e *environment) error {
	return withKeys(e, func(keys *custody.Custody) error {
		page, err := keys.Keys(e.ctx, model.CustodyKeyFilter{Owner: c.What}, "", c.Limit)
		if err == nil && len(page.Items) == 0 {
			page.Items, err = keys.KeysNamed(e.ctx, c.What, c.Limit)
		}
		if err == nil && len(page.Items) == 0 {
			err = fmt.Errorf("%q: %w", c.What, custody.ErrKeyNotFound)
		}
		if err != nil {
			return err
		}
		return c.print(e.stdout, page.Items, page.Next)
	})
}

// keysShow is `server keys show`.
type keysShow struct {
	keyID
	keysOutput
}

// Run implements the command.
func (c keysShow) Run(e *environment) error {
	return withKeys(e, func(keys *custody.Custody) error {
		k, err := c.find(e, keys)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(e.stdout, viewOf(k))
		}
		printKey(e.stdout, k)
		return nil
	})
}

// find finds the one key that is meant.
func (c keyID) find(e *environment, keys *custody.Custody) (custody.KeyView, error) {
	list, err := keys.KeysNamed(e.ctx, strings.ToLower(c.ID), 2)
	switch {
	case err != nil:
		return custody.KeyView{}, err
	case len(list) == 0:
		return custody.KeyView{}, fmt.Errorf("%q: %w", c.ID, custody.ErrKeyNotFound)
	case len(list) > 1:
		return custody.KeyView{}, fmt.Errorf("several keys begin with %q: write more of it", c.ID)
	}
	return list[0], nil
}

// order shows what will be, and does it if that is wanted.
func (c keysOrder) order(e *environment, what string) error {
	return withKeys(e, func(keys *custody.Custody) error {
		k, err := c.find(e, keys)
		if err != nil {
			return err
		}
		if k.Role == "administrator" && what != model.WishReplace {
			return errProtected
		}
		to, err := keys.Preview(e.ctx, k.ID, what)
		if err != nil {
			return err
		}
		if !c.JSON {
			printPlan(e.stdout, k, what, to)
		}
		if !c.Yes {
			if c.JSON {
				return printJSON(e.stdout, keyDone{Key: viewOf(k), Order: what, Would: to})
			}
			fmt.Fprintln(e.stdout, "  没有执行。核对后加 --yes 再来一次。")
			return nil
		}
		if err := e.bringShares(keys); err != nil {
			return err
		}
		if _, err := keys.Order(e.ctx, k.ID, what, operator()); err != nil {
			return err
		}
		followed, err := c.await(e, keys, k.ID, what)
		if k, err2 := keys.KeyView(e.ctx, k.ID); err == nil && err2 == nil {
			return c.done(e.stdout, k, what, followed)
		}
		return err
	})
}

// errProtected: see docs/custody.md.
var errProtected = errors.New("KEY_PROTECTED：管理员密钥不能停用或撤销，只能轮换")

// await waits until a server has brought the wish to the ledger and custody has seen it there.
func (c keysOrder) await(e *environment, keys *custody.Custody, id, what string) (bool, error) {
	deadline := time.NewTimer(c.Wait)
	defer deadline.Stop()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		k, err := keys.KeyView(e.ctx, id)
		if err != nil || !wishes(k, what) {
			return err == nil, err
		}
		select {
		case <-e.ctx.Done():
			return false, nil
		case <-deadline.C:
			return false, nil
		case <-look.C:
		}
	}
}

func wishes(k custody.KeyView, what string) bool {
	for _, w := range k.Wishes {
		if w.Wish == what {
			return true
		}
	}
	return false
}

// operator is who stands at the machine, for the audit.
func operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, name)
	return "cli:" + name[:min(len(name), 100)]
}

// keyJSON is a key as scripts get it.
type keyJSON struct {
	ID            string    `json:"id"`
	Owner         string    `json:"owner"`
	Role          string    `json:"role"`
	Slot          string    `json:"slot"`
	Version       int       `json:"version"`
	State         string    `json:"state"`
	Functions     []string  `json:"functions"`
	Public        string    `json:"public"`
	CreatedAt     time.Time `json:"createdAt"`
	KEKVersion    int       `json:"kekVersion"`
	LedgerStatus  string    `json:"ledgerStatus,omitempty"`
	LedgerVersion int       `json:"ledgerVersion,omitempty"`
	Wishes        []string  `json:"wishes"`
	Successor     string    `json:"successor,omitempty"`
}

type keyDone struct {
	Key      keyJSON               `json:"key"`
	Order    string                `json:"order"`
	Would    model.CustodyKeyState `json:"would,omitempty"` // of a dry run
	Done     bool                  `json:"done"`
	Followed bool                  `json:"followed"` // the ledger has it
}

func viewOf(k custody.KeyView) keyJSON {
	v := keyJSON{
		ID: k.ID, Owner: k.Owner, Role: string(k.Role), Slot: string(k.Slot), Version: k.Version, State: string(k.State), Functions: k.Functions,
		Public: fmt.Sprintf("%x", k.Public.Bytes()), CreatedAt: k.CreatedAt.UTC(), KEKVersion: k.KEKVersion,
		LedgerStatus: k.Ledger.Status, LedgerVersion: k.Ledger.Version, Wishes: []string{}, Successor: k.Successor,
	}
	for _, w := range k.Wishes {
		v.Wishes = append(v.Wishes, w.Wish)
	}
	return v
}

func printJSON(w io.Writer, v any) error {
	j := json.NewEncoder(w)
	j.SetEscapeHTML(false)
	return j.Encode(v)
}

// would tells what a command would do with --yes, which it has not done.
func would(w io.Writer, asJSON bool, text string) error {
	if asJSON {
		return printJSON(w, map[string]any{"done": false, "would": strings.TrimSpace(text)})
	}
	_, err := io.WriteString(w, text)
	return err
}

// print shows a list of keys: a line each, within 80 columns.
func (c keysOutput) print(w io.Writer, list []custody.KeyView, next string) error {
	if c.JSON {
		items := []keyJSON{}
		for _, k := range list {
			items = append(items, viewOf(k))
		}
		return printJSON(w, struct {
			Items []keyJSON `json:"items"`
			Next  string    `json:"next,omitempty"`
		}{items, next})
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "  没有符合条件的密钥")
		return nil
	}
	behind := false
	fmt.Fprintf(w, "  %s%s%s%s%s%s\n", pad("密钥", 14), pad("所有者", 30), pad("用途", 10), pad("版", 4), pad("状态", 8), "创建")
	for _, k := range list {
		mark := ""
		if len(k.Wishes) > 0 {
			mark, behind = "*", true
		}
		fmt.Fprintf(w, "  %s%s%s%s%s%s\n", pad(k.ID[:12], 14), pad(cut(k.Owner, 28), 30), pad(string(k.Slot), 10), pad(fmt.Sprint(k.Version), 4),
			pad(stateWords[k.State]+mark, 8), k.CreatedAt.Local().Format("01-02 15:04"))
	}
	if behind {
		fmt.Fprintln(w, "  * 账本还没有跟上，见 server keys show")
	}
	if next != "" {
		fmt.Fprintf(w, "  还有更多：--cursor %s\n", next)
	}
	return nil
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most-1] + "…"
}

// stateWords are what people read of a key's state.
var stateWords = map[model.CustodyKeyState]string{
	model.CustodyActive: "可用", model.CustodySuspended: "停用", model.CustodyRotated: "已更换", model.CustodyRevoked: "已撤销", model.CustodyDestroyed: "已销毁",
}

// wishWords are what custody wants of the ledger.
var wishWords = map[string]string{
	model.WishSuspend: "停用", model.WishResume: "恢复", model.WishRevoke: "撤销", model.WishReplace: "更换",
}

// orderWords say what an order does.
var orderWords = map[string]string{
	model.WishSuspend: "停用：立即不再签名，账本随后记下",
	model.WishResume:  "恢复：账本记下后才能再签名",
	model.WishRevoke:  "撤销：立即、永久不再签名，账本随后记下",
	model.WishReplace: "更换：账本记下新密钥后由它签名，旧密钥只能验签",
}

func printKey(w io.Writer, k custody.KeyView) {
	fmt.Fprintf(w, "  %s%s\n", pad("密钥", 10), k.ID)
	fmt.Fprintf(w, "  %s%s（%s，%s，第 %d 版）\n", pad("所有者", 10), k.Owner, k.Role, k.Slot, k.Version)
	fmt.Fprintf(w, "  %s%s\n", pad("状态", 10), stateWords[k.State])
	ledger := "与登记时一样"
	if k.Ledger.Version > 0 {
		ledger = fmt.Sprintf("%s（版本 %d）", k.Ledger.Status, k.Ledger.Version)
	}
	fmt.Fprintf(w, "  %s%s\n", pad("账本", 10), ledger)
	for _, wish := range k.Wishes {
		fmt.Fprintf(w, "  %s%s：%s，由 %s 于 %s\n", pad("待上账本", 10), wishWords[wish.Wish], "账本还没有记下", wish.Actor, wish.CreatedAt.Time().Local().Format("2006-01-02 15:04:05"))
	}
	if k.Successor != "" {
		fmt.Fprintf(w, "  %s%s\n", pad("接替者", 10), k.Successor)
	}
	fmt.Fprintf(w, "  %s%s\n", pad("创建", 10), k.CreatedAt.Local().Format("2006-01-02 15:04:05"))
	lines := wrap(strings.Join(k.Functions, " "), 66)
	for i, line := range lines {
		fmt.Fprintf(w, "  %s%s\n", pad(map[bool]string{true: "可签"}[i == 0], 10), line)
	}
	for i, line := range wrap(fmt.Sprintf("%x", k.Public.Bytes()), 66) {
		fmt.Fprintf(w, "  %s%s\n", pad(map[bool]string{true: "公钥"}[i == 0], 10), line)
	}
}

// wrap breaks a line of ASCII at spaces, or where it must.
func wrap(s string, most int) (lines []string) {
	for len(s) > most {
		at := strings.LastIndexByte(s[:most+1], ' ')
		if at <= 0 {
			lines, s = append(lines, s[:most]), s[most:]
			continue
		}
		lines, s = append(lines, s[:at]), s[at+1:]
	}
	return append(lines, s)
}

func printPlan(w io.Writer, k custody.KeyView, what string, to model.CustodyKeyState) {
	fmt.Fprintf(w, "  %s%s\n", pad("密钥", 10), k.ID)
	fmt.Fprintf(w, "  %s%s（%s，%s，第 %d 版）\n", pad("所有者", 10), k.Owner, k.Role, k.Slot, k.Version)
	state := stateWords[k.State]
	if to != k.State {
		state += " → " + stateWords[to]
	}
	fmt.Fprintf(w, "  %s%s\n", pad("状态", 10), state)
	fmt.Fprintf(w, "  %s%s\n", pad("将要", 10), orderWords[what])
}

// done tells how far it has come.
func (c keysOrder) done(w io.Writer, k custody.KeyView, what string, followed bool) error {
	if c.JSON {
		return printJSON(w, keyDone{Key: viewOf(k), Order: what, Done: true, Followed: followed})
	}
	fmt.Fprintf(w, "  ✓ 托管：%s\n", stateWords[k.State])
	if followed {
		fmt.Fprintf(w, "  ✓ 账本已记下：%s\n", k.Ledger.Status)
	} else {
		fmt.Fprintln(w, "  … 账本还没有记下；服务运行时会自动送达")
	}
	return nil
}
