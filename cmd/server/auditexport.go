package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/transfer"
)

// auditExport is `server audit export`.
type auditExport struct {
	From string `help:"First row: its number, or a time (2026-03-01, or with T08:00:00+08:00). The first there is, if left out."`
	To   string `help:"Last row: its number, or a time, up to which. The last there is, if left out."`
	Out  string `help:"File to write; it must not be there yet." required:"" type:"path"`
	JSON bool   `name:"json" help:"What is in it, as JSON."`
}

// Run implements the command. The file appears under its name when it is whole.
func (c auditExport) Run(e *environment) error {
	if exists(c.Out) {
		return fmt.Errorf("%s is there already", c.Out)
	}
	return withKeys(e, func(keys *custody.Custody) error {
		o := custody.ExportOptions{Owner: transfer.PlatformID, Actor: operator(), Progress: func(done, total int64) { bar(e.stderr, "导出", float64(done)/float64(total)) }}
		var err error
		if o.From, o.To, err = c.rows(e, keys); err != nil {
			return err
		}
		if err := e.bringShares(keys); err != nil { // an export is signed
			return err
		}
		var h custody.ExportHeader
		err = wholeFile(c.Out, 0o600, func(w io.Writer) (err error) {
			h, err = keys.Export(e.ctx, w, o)
			return err
		})
		if terminal(e.stderr) {
			fmt.Fprintln(e.stderr)
		}
		if err != nil {
			return err
		}
		key, err := keys.ActiveKey(e.ctx, transfer.PlatformID, custody.Audit)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(e.stdout, map[string]any{"file": c.Out, "first": h.First, "last": h.Last, "key": key.ID})
		}
		fmt.Fprintf(e.stdout, "   ✓ 已导出第 %d 至 %d 行\n   签名密钥 %s\n", h.First, h.Last, key.ID)
		return nil
	})
}

// rows turns numbers and times into numbers.
func (c auditExport) rows(e *environment, keys *custody.Custody) (from, to int64, err error) {
	bound := func(text string) (number int64, at model.Millis, err error) {
		if text == "" {
			return 0, 0, nil
		}
		if number, err := strconv.ParseInt(text, 10, 64); err == nil && number > 0 {
			return number, 0, nil
		}
		t, err := timeOf(text)
		return 0, t, err
	}
	from, after, err := bound(c.From)
	if err != nil {
		return 0, 0, err
	}
	to, before, err := bound(c.To)
	if err != nil || after == 0 && before == 0 {
		return from, to, err
	}
	first, last, err := keys.RowsBetween(e.ctx, after, before)
	if after > 0 {
		from = first
	}
	if before > 0 {
		to = last
	}
	return from, to, err
}

// timeOf reads a time or a day, which begins at midnight on this machine.
func timeOf(text string) (model.Millis, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return model.MillisOf(t), nil
		}
	}
	return 0, fmt.Errorf("%q is neither a number nor a time such as 2026-03-01 or 2026-03-01T08:00:00+08:00", text)
}

// verifyFile checks an export on a machine that needs nothing else.
func (c auditVerifyCommand) verifyFile(e *environment) error {
	if c.Key == "" {
		return errors.New("--key: say which key must have signed the file; its ID is on the ledger, and on paper if the platform gave it to you")
	}
	var anchors []model.AuditAnchor
	if c.Anchors != "" {
		f, err := os.Open(c.Anchors)
		if err != nil {
			return err
		}
		defer f.Close()
		if anchors, err = custody.ReadAnchors(f); err != nil {
			return err
		}
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	start := time.Now()
	report, err := custody.VerifyExport(f, c.Key, anchors, func(done, total int64) { bar(e.stderr, "审计链", float64(done)/float64(total)) })
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(e.stdout, "   导出于 %s，签名密钥 %s\n", report.Header.At.Time().Local().Format(time.DateTime), report.KeyID)
		if anchors == nil {
			fmt.Fprintln(e.stdout, "   未给出账本的锚定（--anchors），以下锚定只有平台作证")
		}
	}
	return tellAudit(e.stdout, report.AuditReport, c.JSON, time.Since(start))
}

// auditAnchors is `server audit anchors`.
type auditAnchors struct {
	Scan bool   `help:"Read every block, in place of asking for those anchors that the database knows."`
	Out  string `help:"File to write; standard output, if left out." type:"path"`
}

// Run implements the command.
func (c auditAnchors) Run(e *environment) error {
	app, err := openForLooking(e)
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	write := func(w io.Writer) error {
		out := bufio.NewWriter(w)
		for a, err := range app.Service.LedgerAnchors(e.ctx, c.Scan, func(transfer.AnchorFault) {}, nil) {
			if err != nil {
				return err
			}
			if err := custody.WriteAnchor(out, a); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	if c.Out == "" {
		return write(e.stdout)
	}
	return wholeFile(c.Out, 0o644, write)
}

// auditList is `server audit list`.
type auditList struct {
	Actor   string `help:"Only what this person (by user name), session, job or program did."`
	Act     string `help:"Only this kind, such as sign.refuse or key.make."`
	Subject string `help:"Only what is about this act, trade or key."`
	Key     string `help:"Only what is about the key of this ID."`
	From    string `help:"Only from this time on, such as 2026-03-01."`
	To      string `help:"Only before this time."`
	Limit   int    `help:"How many at most." default:"50"`
	Cursor  string `help:"Go on after another list: what it said at its end."`
	JSON    bool   `name:"json" help:"Answer in JSON."`
}

// Run implements the command.
func (c auditList) Run(e *environment) (err error) {
	f := model.AuditFilter{Actor: c.Actor, Act: c.Act, Subject: c.Subject, Key: c.Key}
	for _, b := range []struct {
		text string
		into *model.Millis
	}{{c.From, &f.From}, {c.To, &f.To}} {
		if b.text != "" {
			if *b.into, err = timeOf(b.text); err != nil {
				return err
			}
		}
	}
	return withKeys(e, func(keys *custody.Custody) error {
		if id, err := keys.StaffID(e.ctx, c.Actor); err != nil {
			return err
		} else if id != "" {
			f.Actor = id
		}
		page, err := keys.Audit(e.ctx, f, c.Cursor, c.Limit)
		if err != nil {
			return err
		}
		names, err := keys.Staff(e.ctx, page.Items)
		if err != nil {
			return err
		}
		if c.JSON {
			items := make([]auditRowView, len(page.Items))
			for i, r := range page.Items {
				items[i] = auditRowView{r.Seq, r.At.Time(), r.Actor, names[r.Actor], r.Act, r.Subject, json.RawMessage(r.Detail), r.Hash}
			}
			return printJSON(e.stdout, map[string]any{"items": items, "nextCursor": page.Next})
		}
		fmt.Fprintf(e.stdout, "   %s%s%s%s\n", pad("行", 9), pad("时间", 17), pad("事项", 18), "对象 · 操作者")
		for _, r := range page.Items {
			fmt.Fprintf(e.stdout, "   %s%s%s%s\n", pad(strconv.FormatInt(r.Seq, 10), 9), pad(r.At.Time().Local().Format("01-02 15:04:05"), 17), pad(r.Act, 18), short(r.Subject, 33))
			fmt.Fprintf(e.stdout, "   %s%s\n", pad("", 44), short(cmp.Or(names[r.Actor], r.Actor), 33))
		}
		if page.Next != "" {
			fmt.Fprintf(e.stdout, "   还有更多：--cursor %s\n", page.Next)
		}
		return nil
	})
}

type auditRowView struct {
	Seq     int64           `json:"seq"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Person  string          `json:"person,omitempty"` // user name, if the actor is one of the staff
	Act     string          `json:"act"`
	Subject string          `json:"subject"`
	Detail  json.RawMessage `json:"detail"`
	Hash    string          `json:"hash"`
}

// short cuts an ID to so many columns.
func short(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most-1] + "…"
}
