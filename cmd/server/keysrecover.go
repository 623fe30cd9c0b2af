package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/custodial"
)

// keysRecover is `server keys recover`: what is done for somebody whose key was stolen, as one act. It begins it, and shows
// where it stands. A server that runs does the work; this command may end at any time, and be called again. That the owner
// may trade again takes two people: see keysRelease.
type keysRecover struct {
	keysOutput
	Participant string        `arg:"" help:"Whose key was stolen."`
	Yes         bool          `help:"Do it. Without it nothing is changed."`
	Wait        time.Duration `help:"How long to wait for the ledger." default:"30s"`
}

// stepWords are what people read of a recovery's steps, before and after.
var stepWords = map[string][2]string{
	"stopped":  {"托管停止用旧密钥签名（立即）", "托管已停止用旧密钥签名"},
	"frozen":   {"账本冻结：什么都不能转给他，也不能转走", "账本已冻结：什么都不能转给他，也不能转走"},
	"revoked":  {"账本撤销旧密钥", "账本已撤销旧密钥"},
	"replaced": {"换发新密钥，登记上账本", "新密钥已登记上账本"},
	"checked":  {"核实本人身份（由人来做，两人同意后解冻）", "已核实本人身份"},
	"released": {"账本解冻", "账本已解冻"},
}

// Run implements the command.
func (c keysRecover) Run(e *environment) error {
	app, err := openKeys(e)
	if err != nil {
		return err
	}
	s := transfer.New(transfer.Config{DB: app.DB, Signer: custodial.Signer{Custody: app.Custody}, Clock: time.Now, Random: rand.Reader, Logger: e.logger})
	return errors.Join(c.run(e, app.Custody, s), app.Close(e.ctx))
}

func (c keysRecover) run(e *environment, keys *custody.Custody, s *transfer.Service) error {
	r, err := s.Recovery(e.ctx, c.Participant)
	if err != nil && transfer.CodeOf(err) != "NOT_FOUND" {
		return err
	}
	if r.ID == "" {
		if err := s.CanRecover(e.ctx, c.Participant); err != nil {
			return err
		}
	}
	if !c.Yes {
		return c.preview(e.stdout, r)
	}
	if err := e.bringShares(keys); err != nil {
		return err
	}
	if r, err = s.StartRecovery(e.ctx, c.Participant, operator()); err != nil {
		return err
	}
	shown := 0
	if !c.JSON {
		fmt.Fprintf(e.stdout, "  失窃恢复  %s\n", r.Participant)
	}
	deadline := time.NewTimer(c.Wait)
	defer deadline.Stop()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for waiting := true; waiting; {
		if !c.JSON {
			shown = printSteps(e.stdout, r, shown)
		}
		if r.State == string(model.RecoveryWaiting) || r.State == string(model.RecoveryDone) {
			break
		}
		select {
		case <-e.ctx.Done():
			waiting = false
		case <-deadline.C:
			waiting = false
		case <-look.C:
		}
		if r, err = s.Recovery(e.ctx, c.Participant); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(e.stdout, recoveryOf(r))
	}
	c.next(e.stdout, r)
	return nil
}

// keysRecoveries is `server keys recoveries`.
type keysRecoveries struct {
	keysOutput
	State  string `help:"Only those in a state: stopping, replacing, waiting, releasing, done. Those that wait are for a person to make sure of the owner."`
	Limit  int    `help:"How many at most." default:"50"`
	Cursor string `help:"Go on after another list: what it said at its end."`
}

// recoveryWords are what people read of a recovery's state.
var recoveryWords = map[string]string{
	string(model.RecoveryStopping): "停用冻结", string(model.RecoveryReplacing): "换发", string(model.RecoveryWaiting): "待核实",
	string(model.RecoveryReleasing): "解冻", string(model.RecoveryDone): "完成",
}

// Run implements the command.
func (c keysRecoveries) Run(e *environment) error {
	if recoveryWords[c.State] == "" && c.State != "" {
		return fmt.Errorf("no recovery is %q: stopping, replacing, waiting, releasing or done", c.State)
	}
	app, err := openKeys(e)
	if err != nil {
		return err
	}
	s := transfer.New(transfer.Config{DB: app.DB, Signer: custodial.Signer{Custody: app.Custody}, Clock: time.Now, Random: rand.Reader, Logger: e.logger})
	page, err := s.ListRecoveries(e.ctx, c.State, c.Cursor, c.Limit)
	if err == nil {
		err = c.print(e.stdout, page)
	}
	return errors.Join(err, app.Close(e.ctx))
}

func (c keysRecoveries) print(w io.Writer, page transfer.Page[transfer.RecoveryView]) error {
	if c.JSON {
		items := []recoveryJSON{}
		for _, r := range page.Items {
			items = append(items, recoveryOf(r))
		}
		return printJSON(w, struct {
			Items []recoveryJSON `json:"items"`
			Next  string         `json:"next,omitempty"`
		}{items, page.Next})
	}
	if len(page.Items) == 0 {
		fmt.Fprintln(w, "  没有符合条件的失窃恢复")
		return nil
	}
	fmt.Fprintf(w, "  %s%s%s%s\n", pad("所有者", 32), pad("进度", 12), pad("失窃密钥", 14), "开始")
	for _, r := range page.Items {
		fmt.Fprintf(w, "  %s%s%s%s\n", pad(cut(r.Participant, 30), 32), pad(recoveryWords[r.State], 12), pad(r.KeyID[:12], 14), r.CreatedAt.Local().Format("01-02 15:04"))
	}
	if page.Next != "" {
		fmt.Fprintf(w, "  还有更多：--cursor %s\n", page.Next)
	}
	return nil
}

// printSteps shows the steps that have been taken since the last time, in order.
func printSteps(w io.Writer, r transfer.RecoveryView, shown int) int {
	for ; shown < len(r.Steps) && (r.Steps[shown].Done || r.Steps[shown].Not); shown++ {
		if r.Steps[shown].Not {
			continue
		}
		fmt.Fprintf(w, "  ✓ %s\n", stepWords[r.Steps[shown].Name][1])
	}
	return shown
}

// next says what the recovery waits for.
func (c keysRecover) next(w io.Writer, r transfer.RecoveryView) {
	switch model.RecoveryState(r.State) {
	case model.RecoveryDone:
		fmt.Fprintln(w, "  完成")
	case model.RecoveryWaiting:
		fmt.Fprintln(w, "  … 等您核实本人身份。核实之后提议解冻，由另一人批准：")
		fmt.Fprintf(w, "    server keys release %s --reason … --as … --yes\n", r.Participant)
	default:
		fmt.Fprintln(w, "  … 还在进行；服务运行时会自动继续，再次运行本命令查看进度")
	}
}

// preview shows what would be done, or where it stands.
func (c keysRecover) preview(w io.Writer, r transfer.RecoveryView) error {
	if r.State == string(model.RecoveryDone) {
		r = transfer.RecoveryView{}
	}
	if c.JSON {
		return printJSON(w, recoveryOf(r))
	}
	fmt.Fprintf(w, "  失窃恢复  %s\n", c.Participant)
	if r.ID == "" {
		for _, name := range []string{"stopped", "frozen", "revoked", "replaced", "checked", "released"} {
			fmt.Fprintf(w, "  · %s\n", stepWords[name][0])
		}
		fmt.Fprintln(w, "  冻结和解冻只适用于个人用户；单位请监管者冻结。")
		fmt.Fprintln(w, "  没有执行。核对后加 --yes 再来一次。")
		return nil
	}
	for _, step := range r.Steps {
		switch {
		case step.Not:
		case step.Done:
			fmt.Fprintf(w, "  ✓ %s\n", stepWords[step.Name][1])
		default:
			fmt.Fprintf(w, "  · %s\n", stepWords[step.Name][0])
		}
	}
	c.next(w, r)
	return nil
}

// recoveryJSON is a recovery as scripts get it.
type recoveryJSON struct {
	Participant string          `json:"participant,omitempty"`
	State       string          `json:"state"` // "" if there is none
	KeyID       string          `json:"keyId,omitempty"`
	NewKeyID    string          `json:"newKeyId,omitempty"`
	Actor       string          `json:"actor,omitempty"`
	Releaser    string          `json:"releaser,omitempty"`
	Steps       map[string]bool `json:"steps,omitempty"` // those that apply
}

func recoveryOf(r transfer.RecoveryView) recoveryJSON {
	v := recoveryJSON{Participant: r.Participant, State: r.State, KeyID: r.KeyID, NewKeyID: r.NewKeyID, Actor: r.Actor, Releaser: r.Releaser, Steps: map[string]bool{}}
	for _, step := range r.Steps {
		if !step.Not {
			v.Steps[step.Name] = step.Done
		}
	}
	return v
}
