package handler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"cardflow/custody"
	"cardflow/model"
)

// Auditing is what ops and auditors see of custody's audit.
type Auditing interface {
	Audit(ctx context.Context, f model.AuditFilter, cursor string, limit int) (model.Page[model.AuditRow], error)
}

type auditRowView struct {
	Seq      int64           `json:"seq"`
	At       time.Time       `json:"at"`
	Actor    string          `json:"actor"`
	Act      string          `json:"act"`
	Subject  string          `json:"subject"`
	Detail   json.RawMessage `json:"detail"`
	PrevHash string          `json:"prevHash"`
	Hash     string          `json:"hash"`
}

func viewAuditRow(r model.AuditRow) auditRowView {
	detail := json.RawMessage(r.Detail)
	if !json.Valid(detail) { // somebody has edited the row; verification says so
		detail = json.RawMessage("null")
	}
	return auditRowView{r.Seq, r.At.Time(), r.Actor, r.Act, r.Subject, detail, r.PrevHash, r.Hash}
}

// listAudit is GET /custody/audit.
func listAudit(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	from, to, err := c.between()
	if err != nil {
		return err
	}
	f := model.AuditFilter{Actor: c.QueryParam("actor"), Act: c.QueryParam("act"), Subject: c.QueryParam("subject"), Key: c.QueryParam("key")}
	if !from.IsZero() {
		f.From = model.MillisOf(from)
	}
	if !to.IsZero() {
		f.To = model.MillisOf(to)
	}
	page, err := c.Custody.Audit(c.ctx(), f, cursor, limit)
	if errors.Is(err, model.ErrCursor) {
		return refuse("CURSOR_INVALID")
	}
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[auditRowView]{each(page.Items, viewAuditRow), page.Next})
}

// longestVerify is how long a walk along the audit may take: some millions of rows.
const longestVerify = 10 * time.Minute

// verifications is how often one person may have the audit verified.
var verifications = Rate{Count: 6, Per: 10 * time.Minute}

type findingView struct {
	Kind string `json:"kind"`
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Text string `json:"text"`
}

func viewFinding(f custody.Finding) findingView {
	return findingView{string(f.Kind), f.From, f.To, f.Text}
}

type auditReportView struct {
	Whole    bool          `json:"whole"`
	First    int64         `json:"first"`
	Last     int64         `json:"last"`
	Rows     int64         `json:"rows"`
	Hash     string        `json:"hash"`
	Anchors  int64         `json:"anchors"`
	Anchored int64         `json:"anchored"`
	Findings []findingView `json:"findings"`
	Declared []findingView `json:"declared"`
}

// verifyAudit is POST /custody/audit/verify. One walk at a time is enough for a server: it reads the whole audit.
func verifyAudit(c *call) error {
	in, err := bind[struct {
		Scan bool `json:"scan"`
	}](c)
	if err != nil {
		return err
	}
	if err := c.limits.take(c.ctx(), "RATE_LIMITED", "verify:"+c.who.Person, verifications); err != nil {
		return err
	}
	if !c.verifying.TryLock() {
		return &refusal{code: "RATE_LIMITED", retry: 15 * time.Second}
	}
	defer c.verifying.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx(), longestVerify)
	defer cancel()
	control := http.NewResponseController(c.Response())
	if err := control.SetWriteDeadline(time.Now().Add(longestVerify + slowestRead)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	r, err := c.VerifyAudit(ctx, c.who.Person, in.Scan)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, auditReportView{
		Whole: len(r.Findings) == 0, First: r.First, Last: r.Last, Rows: r.Rows, Hash: r.Hash, Anchors: r.Anchors, Anchored: r.Anchored,
		Findings: each(r.Findings, viewFinding), Declared: each(r.Declared, viewFinding),
	})
}
