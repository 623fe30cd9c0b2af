package handler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

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
