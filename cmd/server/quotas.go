package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"cardflow/custody"
)

// quotasCommand is how many signatures a day keys may make.
type quotasCommand struct {
	List  quotasList  `cmd:"" help:"List the platform's quota, the roles', and owners' that have their own."`
	Lower quotasLower `cmd:"" help:"Show a quota; with --yes lower it, at once."`
	Raise quotasRaise `cmd:"" help:"Tell of a higher one; with --yes propose it: another person has to approve it."`
}

// quota is one as the API shows it.
type quota struct {
	Name      string    `json:"name"`
	Daily     int64     `json:"daily"`
	Default   int64     `json:"default"`
	Set       bool      `json:"set"`
	ChangedBy *member   `json:"changedBy,omitempty"`
	ChangedAt time.Time `json:"changedAt,omitzero"`
	Used      int64     `json:"used"`
	Usual     int64     `json:"usual"`
	StoppedAt time.Time `json:"stoppedAt,omitzero"`
}

type quotasList struct{ acting }

// Run implements the command.
func (c quotasList) Run(e *environment) error {
	api, leave, err := c.login(e)
	if err != nil {
		return err
	}
	defer leave()
	var page struct{ Items []quota }
	if err := api.call(e.ctx, "GET", "/custody/quotas", nil, &page); err != nil {
		return spoken(err)
	}
	if c.JSON {
		return printJSON(e.stdout, page.Items)
	}
	printQuotas(e.stdout, page.Items)
	return nil
}

func printQuotas(w io.Writer, quotas []quota) {
	fmt.Fprintf(w, "%s   每日上限     今天已用         平常\n", pad("名称", 34))
	for _, q := range quotas {
		note := ""
		if q.Set {
			note = "*"
		}
		if !q.StoppedAt.IsZero() {
			note = "已停"
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-34s %10d %12d %12d  %s", q.Name, q.Daily, q.Used, q.Usual, note), " "))
	}
	fmt.Fprintln(w, "* 设置过，不是默认值")
}

type quotasLower struct {
	acting
	Name  string `arg:"" help:"platform, role:ROLE/SLOT, or owner:PARTICIPANT/SLOT."`
	Daily int64  `arg:"" help:"Signatures a day from now on."`
	Yes   bool   `help:"Do it. Without it nothing is changed."`
}

// Run implements the command.
func (c quotasLower) Run(e *environment) error {
	if !c.Yes {
		return would(e.stdout, c.JSON, fmt.Sprintf("将把 %s 的每日签名上限改为 %d 次，立即生效。\n没有更改。加 --yes 才会办理。\n", c.Name, c.Daily))
	}
	api, leave, err := c.login(e)
	if err != nil {
		return err
	}
	defer leave()
	var q quota
	if err := api.call(e.ctx, "POST", "/custody/quotas", map[string]any{"name": c.Name, "daily": c.Daily}, &q); err != nil {
		return spoken(err)
	}
	if c.JSON {
		return printJSON(e.stdout, q)
	}
	printQuotas(e.stdout, []quota{q})
	return nil
}

type quotasRaise struct {
	proposing
	Name  string `arg:"" help:"platform, role:ROLE/SLOT, or owner:PARTICIPANT/SLOT."`
	Daily int64  `arg:"" help:"Signatures a day, once another person has approved it."`
}

// Run implements the command.
func (c quotasRaise) Run(e *environment) error {
	return c.propose(e, custody.OperationRaise, custody.RaiseQuota{Name: c.Name, Daily: c.Daily})
}
