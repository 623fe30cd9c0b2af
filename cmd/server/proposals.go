package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"cardflow/custody"
)

// proposalsCommand is the two-person rule on the command line.
type proposalsCommand struct {
	List     proposalsList     `cmd:"" help:"List proposals, newest first."`
	Show     proposalsShow     `cmd:"" help:"Show one: exactly what will happen, who wants it, how far it is."`
	Propose  proposalsPropose  `cmd:"" help:"Propose a dangerous act, with --yes. Nothing happens before another person approves it."`
	Approve  proposalsApprove  `cmd:"" help:"Show what another person proposed; with --yes approve it, and have it carried out."`
	Reject   proposalsReject   `cmd:"" help:"Show what another person proposed; with --yes reject it."`
	Withdraw proposalsWithdraw `cmd:"" help:"Show one's own proposal; with --yes take it back."`
}

// proposal is one as the API shows it.
type proposal struct {
	ID          string          `json:"id"`
	Operation   string          `json:"operation"`
	Arguments   json.RawMessage `json:"arguments"`
	Description string          `json:"description"`
	Reason      string          `json:"reason"`
	State       string          `json:"state"`
	Proposer    member          `json:"proposer"`
	Decider     *member         `json:"decider,omitempty"`
	Decision    string          `json:"decision,omitempty"`
	Error       *failure        `json:"error,omitempty"`
	CreatedAt   time.Time       `json:"createdAt"`
	ExpiresAt   time.Time       `json:"expiresAt"`
	DecidedAt   time.Time       `json:"decidedAt,omitzero"`
	BegunAt     time.Time       `json:"begunAt,omitzero"`
	EndedAt     time.Time       `json:"endedAt,omitzero"`
}

type member struct {
	ID       string `json:"id"`
	Username string `json:"username"`
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// proposalStates are the states in Chinese.
var proposalStates = map[string]string{
	"proposed": "待批准", "approved": "已批准", "executing": "执行中", "executed": "已执行",
	"failed": "未办成", "rejected": "已否决", "withdrawn": "已撤回", "expired": "已过期",
}

type proposalsList struct {
	acting
	State string `help:"Only those in one state." enum:",proposed,approved,executing,executed,failed,rejected,withdrawn,expired" default:""`
	Limit int    `help:"At most so many." default:"20"`
}

// Run implements the command.
func (c proposalsList) Run(e *environment) error {
	api, leave, err := c.login(e)
	if err != nil {
		return err
	}
	defer leave()
	var page struct {
		Items []proposal `json:"items"`
	}
	query := url.Values{"limit": {fmt.Sprint(c.Limit)}}
	if c.State != "" {
		query.Set("state", c.State)
	}
	if err := api.call(e.ctx, "GET", "/custody/proposals?"+query.Encode(), nil, &page); err != nil {
		return spoken(err)
	}
	if c.JSON {
		return printJSON(e.stdout, page.Items)
	}
	if len(page.Items) == 0 {
		fmt.Fprintln(e.stdout, "没有提案")
	}
	for _, p := range page.Items {
		fmt.Fprintf(e.stdout, "%s  %s  %s\n", p.ID, proposalStates[p.State], p.Operation)
		fmt.Fprintf(e.stdout, "  %s 于 %s 提议", p.Proposer.Username, clock(p.CreatedAt))
		if p.State == "proposed" {
			fmt.Fprintf(e.stdout, "，%s 前有效", clock(p.ExpiresAt))
		}
		fmt.Fprintln(e.stdout)
		for line := range strings.Lines(p.Description) {
			fmt.Fprintf(e.stdout, "  %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return nil
}

type proposalsShow struct {
	acting
	ID string `arg:"" help:"The proposal."`
}

// Run implements the command.
func (c proposalsShow) Run(e *environment) error {
	return c.one(e, "GET", "/custody/proposals/"+url.PathEscape(c.ID), nil)
}

// proposing is what all commands share that propose something.
type proposing struct {
	acting
	Reason string `help:"Why, for the other person to read." required:""`
	Yes    bool   `help:"Propose it. Without it nothing is changed."`
}

// draft is what would be proposed, as JSON.
type draft struct {
	Operation string `json:"operation"`
	Arguments any    `json:"arguments"`
	Reason    string `json:"reason"`
	Done      bool   `json:"done"` // always false
}

// propose proposes an operation, with --yes. Without it it tells what would be proposed: what that would do the server says to
// those who approve.
func (c proposing) propose(e *environment, operation string, arguments any) error {
	if c.Yes {
		return c.one(e, "POST", "/custody/proposals", c.body(operation, arguments))
	}
	return c.would(e, operation, arguments)
}

func (c proposing) body(operation string, arguments any) map[string]any {
	return map[string]any{"operation": operation, "arguments": arguments, "reason": c.Reason}
}

func (c proposing) would(e *environment, operation string, arguments any) error {
	if c.JSON {
		return printJSON(e.stdout, draft{operation, arguments, c.Reason, false})
	}
	text, err := json.Marshal(arguments)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "将提议  %s\n参数    %s\n理由    %s\n", operation, text, c.Reason)
	fmt.Fprintln(e.stdout, "没有提议。核对以上内容后，加 --yes 提议；另一人批准后才会执行。")
	return nil
}

type proposalsPropose struct {
	proposing
	Operation string `arg:"" help:"Name of the operation, such as quota.raise."`
	Arguments string `arg:"" help:"Its arguments, a JSON object."`
}

// Run implements the command.
func (c proposalsPropose) Run(e *environment) error {
	if !json.Valid([]byte(c.Arguments)) {
		return fmt.Errorf("the arguments are no JSON")
	}
	return c.propose(e, c.Operation, json.RawMessage(c.Arguments))
}

// deciding is what all commands share that decide about a proposal.
type deciding struct {
	acting
	ID  string `arg:"" help:"The proposal."`
	Yes bool   `help:"Do it. Without it the proposal is only shown."`
}

// decide shows a proposal, and does with --yes what path says. would says what that is.
func (c deciding) decide(e *environment, path string, body any, would string) error {
	if c.Yes {
		return c.one(e, "POST", "/custody/proposals/"+url.PathEscape(c.ID)+"/"+path, body)
	}
	if err := c.one(e, "GET", "/custody/proposals/"+url.PathEscape(c.ID), nil); err != nil || c.JSON {
		return err
	}
	fmt.Fprintln(e.stdout, would)
	return nil
}

type proposalsApprove struct {
	deciding
	Wait      time.Duration `help:"How long to wait until it has been carried out." default:"1m"`
	Custodian bool          `help:"Go to the custodian on this machine, by its socket and past the server."`
}

// Run implements the command. What has been approved begins when the ledger vouches for the record of that, and is carried
// out whether or not anybody waits for it.
func (c proposalsApprove) Run(e *environment) error {
	show, approve, leave, err := c.at(e)
	if err != nil {
		return err
	}
	defer leave()
	if !c.Yes {
		p, err := show()
		if err != nil {
			return err
		}
		if err := c.told(e, p, "GET"); err != nil || c.JSON {
			return err
		}
		fmt.Fprintln(e.stdout, "没有批准。核对以上内容后，加 --yes 批准并执行。")
		return nil
	}
	p, err := approve()
	if err != nil {
		return err
	}
	deadline := time.NewTimer(c.Wait)
	defer deadline.Stop()
	for p.State == "approved" || p.State == "executing" {
		select {
		case <-e.ctx.Done():
			return e.ctx.Err()
		case <-deadline.C:
			if c.JSON {
				return printJSON(e.stdout, p)
			}
			p.print(e.stdout)
			fmt.Fprintln(e.stdout, "已批准，还没有办完：账本为这次批准作证之后才开始执行。不必再做什么；用 server proposals show 查看。")
			return nil
		case <-time.After(proposalLook):
		}
		if p, err = show(); err != nil {
			return err
		}
	}
	return c.told(e, p, "POST")
}

// at is where the person shows himself: at the server, or at the custodian.
func (c proposalsApprove) at(e *environment) (show, approve func() (proposal, error), leave func(), err error) {
	if c.Custodian {
		if c.Server != "" {
			return nil, nil, nil, errors.New("--custodian 与 --server 不能同时使用")
		}
		password, err := c.password(e)
		if err != nil {
			return nil, nil, nil, err
		}
		at, ctx, leave, err := logInAtCustodian(e, c.As, password)
		ask := func(call func(context.Context, string) (custody.Proposal, error)) func() (proposal, error) {
			return func() (proposal, error) {
				p, err := call(ctx, c.ID)
				return proposalOf(p), spoken(err)
			}
		}
		return ask(at.Proposal), ask(func(ctx context.Context, id string) (custody.Proposal, error) { return at.Approve(ctx, "", id) }), leave, err
	}
	api, leave, err := c.login(e)
	path := "/custody/proposals/" + url.PathEscape(c.ID)
	ask := func(method, path string) func() (proposal, error) {
		return func() (p proposal, err error) {
			err = api.call(e.ctx, method, path, nil, &p)
			return p, spoken(err)
		}
	}
	return ask("GET", path), ask("POST", path+"/approve"), leave, err
}

// proposalOf is a proposal as the custodian answers it.
func proposalOf(p custody.Proposal) proposal {
	v := proposal{
		ID: p.ID, Operation: p.Operation, Arguments: p.Arguments, Description: p.Description, Reason: p.Reason, State: string(p.State),
		Proposer: member(p.Proposer), Decision: p.Decision,
		CreatedAt: p.CreatedAt, ExpiresAt: p.ExpiresAt, DecidedAt: p.DecidedAt, BegunAt: p.BegunAt, EndedAt: p.EndedAt,
	}
	if decider := member(p.Decider); decider.ID != "" {
		v.Decider = &decider
	}
	if p.ErrorCode != "" {
		v.Error = &failure{p.ErrorCode, custody.MessageOf(p.ErrorCode)}
	}
	return v
}

// proposalLook is how often to look whether a proposal has been carried out.
const proposalLook = 200 * time.Millisecond

type proposalsReject struct {
	deciding
	Reason string `help:"Why." required:""`
}

// Run implements the command.
func (c proposalsReject) Run(e *environment) error {
	return c.decide(e, "reject", map[string]any{"reason": c.Reason}, "没有否决。核对以上内容后，加 --yes 否决。")
}

type proposalsWithdraw struct {
	deciding
	Reason string `help:"Why." required:""`
}

// Run implements the command.
func (c proposalsWithdraw) Run(e *environment) error {
	return c.decide(e, "withdraw", map[string]any{"reason": c.Reason}, "没有撤回。核对以上内容后，加 --yes 撤回。")
}

// one asks for something that is answered with a proposal, and shows it.
func (a acting) one(e *environment, method, path string, body any) error {
	api, leave, err := a.login(e)
	if err != nil {
		return err
	}
	defer leave()
	return a.over(e, api, method, path, body)
}

// over is one, for who has logged in.
func (a acting) over(e *environment, api *client, method, path string, body any) error {
	var p proposal
	if err := api.call(e.ctx, method, path, body, &p); err != nil {
		return spoken(err)
	}
	return a.told(e, p, method)
}

// told shows a proposal as a method has answered it.
func (a acting) told(e *environment, p proposal, method string) error {
	if a.JSON {
		return printJSON(e.stdout, p)
	}
	p.print(e.stdout)
	if p.State == "failed" && method == "POST" {
		return fmt.Errorf("%s（%s）", p.Error.Message, p.Error.Code)
	}
	return nil
}

func (p proposal) print(w io.Writer) {
	fmt.Fprintf(w, "提案    %s  %s\n", p.ID, proposalStates[p.State])
	fmt.Fprintf(w, "操作    %s\n", p.Operation)
	fmt.Fprintf(w, "参数    %s\n", p.Arguments)
	for i, line := range strings.Split(p.Description, "\n") {
		fmt.Fprintf(w, "%s%s\n", map[bool]string{true: "将会    ", false: "        "}[i == 0], line)
	}
	fmt.Fprintf(w, "理由    %s\n", p.Reason)
	fmt.Fprintf(w, "提议    %s  %s\n", clock(p.CreatedAt), p.Proposer.Username)
	if p.State == "proposed" {
		fmt.Fprintf(w, "有效至  %s\n", clock(p.ExpiresAt))
	}
	if p.Decider != nil {
		word := map[string]string{"rejected": "否决", "withdrawn": "撤回"}[p.State]
		if word == "" {
			word = "批准"
		}
		fmt.Fprintf(w, "%s    %s  %s  %s\n", word, clock(p.DecidedAt), p.Decider.Username, p.Decision)
	}
	if !p.BegunAt.IsZero() {
		fmt.Fprintf(w, "开始    %s\n", clock(p.BegunAt))
	}
	if !p.EndedAt.IsZero() {
		fmt.Fprintf(w, "结束    %s\n", clock(p.EndedAt))
	}
	if p.Error != nil {
		fmt.Fprintf(w, "未办成  %s（%s）\n", p.Error.Message, p.Error.Code)
	}
}

// clock is a time as people here read it.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
