package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// devicesCommand is an organisation's terminals, as its own people keep them: with a login of the organisation's, through the
// running server.
type devicesCommand struct {
	List    devicesList    `cmd:"" help:"List the organisation's terminals."`
	Ticket  devicesTicket  `cmd:"" help:"Make an enrolment ticket: for one terminal, once, within a day. It is shown once."`
	Replace devicesReplace `cmd:"" help:"With --yes revoke a terminal, and make a ticket for another one in its place."`
	Suspend devicesSuspend `cmd:"" help:"With --yes have nothing more taken that a terminal signs."`
	Lost    devicesLost    `cmd:"" help:"The same, and say that it was lost or stolen."`
	Revoke  devicesRevoke  `cmd:"" help:"With --yes end a terminal's key for good."`
}

// device is a terminal as the API shows it.
type device struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	State          string     `json:"state"`
	Serial         string     `json:"serial,omitempty"`
	KeyID          string     `json:"keyId,omitempty"`
	Ledger         *ledgerKey `json:"ledger,omitempty"`
	ConfirmationID string     `json:"confirmationId,omitempty"`
	Replaces       string     `json:"replaces,omitempty"`
	TicketUntil    time.Time  `json:"ticketUntil,omitzero"`
	CreatedAt      time.Time  `json:"createdAt"`
	EnrolledAt     time.Time  `json:"enrolledAt,omitzero"`
	StoppedAt      time.Time  `json:"stoppedAt,omitzero"`
}

type ledgerKey struct {
	Status  string `json:"status"`
	Version int    `json:"version"`
}

// deviceStates are the states in Chinese.
var deviceStates = map[string]string{
	"ticketed": "待入网", "enrolling": "入网中", "active": "正常", "suspended": "已停用", "lost": "已挂失", "revoked": "已注销", "failed": "未入网",
}

type devicesList struct {
	acting
	State string `help:"Only those in one state." enum:",ticketed,enrolling,active,suspended,lost,revoked,failed" default:""`
}

// Run implements the command.
func (c devicesList) Run(e *environment) error {
	api, leave, err := c.login(e)
	if err != nil {
		return err
	}
	defer leave()
	all := []device{}
	query := url.Values{"limit": {"100"}}
	if c.State != "" {
		query.Set("state", c.State)
	}
	for {
		var page struct {
			Items      []device
			NextCursor string
		}
		if err := api.call(e.ctx, "GET", "/devices?"+query.Encode(), nil, &page); err != nil {
			return spoken(err)
		}
		all = append(all, page.Items...)
		if page.NextCursor == "" {
			break
		}
		query.Set("cursor", page.NextCursor)
	}
	if c.JSON {
		return printJSON(e.stdout, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(e.stdout, "没有终端")
	}
	for _, d := range all {
		fmt.Fprintf(e.stdout, "%s  %s  %s\n", d.ID, pad(deviceStates[d.State], 6), d.Name)
		switch {
		case d.Serial != "":
			fmt.Fprintf(e.stdout, "  序列号 %s\n", d.Serial)
		case d.State == "ticketed":
			fmt.Fprintf(e.stdout, "  入网码 %s 前有效\n", clock(d.TicketUntil))
		}
	}
	return nil
}

type devicesTicket struct {
	acting
	Name string `arg:"" help:"What people call the terminal, such as where it stands."`
}

// Run implements the command.
func (c devicesTicket) Run(e *environment) error {
	return c.ticket(e, "/devices", map[string]string{"name": c.Name})
}

// ticket asks for a ticket. It alone is on standard output, for a shell to take.
func (a acting) ticket(e *environment, path string, body any) error {
	api, leave, err := a.login(e)
	if err != nil {
		return err
	}
	defer leave()
	var made struct {
		Device device `json:"device"`
		Ticket string `json:"ticket"`
	}
	if err := api.call(e.ctx, "POST", path, body, &made); err != nil {
		return spoken(err)
	}
	if a.JSON {
		return printJSON(e.stdout, made)
	}
	fmt.Fprintf(e.stderr, "%s 的入网码，只显示这一次，%s 前有效：\n", made.Device.Name, clock(made.Device.TicketUntil))
	fmt.Fprintln(e.stdout, made.Ticket)
	return nil
}

// ordering is what all commands share that stop a terminal.
type ordering struct {
	acting
	ID  string `arg:"" help:"The terminal, as list shows it."`
	Yes bool   `help:"Do it. Without it nothing is changed."`
}

func (c ordering) path(what string) string { return "/devices/" + url.PathEscape(c.ID) + "/" + what }

// order stops a terminal, with --yes; would says what that is.
func (c ordering) order(e *environment, what, would string) error {
	if !c.Yes {
		return c.would(e, would)
	}
	api, leave, err := c.login(e)
	if err != nil {
		return err
	}
	defer leave()
	var d device
	if err := api.call(e.ctx, "POST", c.path(what), nil, &d); err != nil {
		return spoken(err)
	}
	if c.JSON {
		return printJSON(e.stdout, d)
	}
	ledger := ""
	if d.KeyID != "" {
		ledger = "，平台已不受理它的请求；账本随后登记"
	}
	fmt.Fprintf(e.stdout, "%s：%s%s\n", d.Name, deviceStates[d.State], ledger)
	return nil
}

func (c ordering) would(e *environment, text string) error {
	return would(e.stdout, c.JSON, "将"+strings.ReplaceAll(text, "%", c.ID)+"。\n没有更改。加 --yes 才会办理。\n")
}

type devicesSuspend struct{ ordering }

// Run implements the command.
func (c devicesSuspend) Run(e *environment) error {
	return c.order(e, "suspend", "停用终端 %，它签名的请求不再受理")
}

type devicesLost struct{ ordering }

// Run implements the command.
func (c devicesLost) Run(e *environment) error {
	return c.order(e, "lost", "挂失终端 %，它签名的请求不再受理")
}

type devicesRevoke struct{ ordering }

// Run implements the command.
func (c devicesRevoke) Run(e *environment) error {
	return c.order(e, "revoke", "注销终端 %，它的密钥永久失效")
}

type devicesReplace struct{ ordering }

// Run implements the command.
func (c devicesReplace) Run(e *environment) error {
	if !c.Yes {
		return c.would(e, "注销终端 %，并给替换它的终端一个入网码")
	}
	return c.ticket(e, c.path("replace"), nil)
}
