package handler_test

import (
	"context"
	"testing"

	"cardflow/model"
)

// Audit has a row for each that is asked for, so that a test sees what arrived.
func (f *fakeCustody) Audit(_ context.Context, filter model.AuditFilter, cursor string, limit int) (model.Page[model.AuditRow], error) {
	switch {
	case f.fail != nil:
		return model.Page[model.AuditRow]{}, f.fail
	case cursor != "" && cursor != "next":
		return model.Page[model.AuditRow]{}, model.ErrCursor
	}
	row := model.AuditRow{Seq: 7, At: filter.From, Actor: filter.Actor, Act: filter.Act, Subject: filter.Subject, Detail: `{"key":"` + filter.Key + `"}`, PrevHash: "aa", Hash: "bb"}
	if filter.Act == "bent" {
		row.Detail = "{"
	}
	page := model.Page[model.AuditRow]{Items: []model.AuditRow{row}}
	if limit == 1 {
		page.Next = "next"
	}
	return page, nil
}

// TestAudit: ops and auditors find rows, nobody else does.
func TestAudit(t *testing.T) {
	r := newRig(t)
	var list struct {
		Items []struct {
			Seq                 int64
			At                  string
			Actor, Act, Subject string
			Detail              struct{ Key string }
		}
		NextCursor string
	}
	r.want(200, "", get("/custody/audit?actor=a&act=b&subject=c&key=d&from=2026-03-01T00:00:00Z&limit=1", r.staff("auditor"))).into(t, &list)
	if len(list.Items) != 1 || list.NextCursor != "next" {
		t.Fatalf("%+v", list)
	}
	if i := list.Items[0]; i.Seq != 7 || i.At != "2026-03-01T00:00:00Z" || i.Actor != "a" || i.Act != "b" || i.Subject != "c" || i.Detail.Key != "d" {
		t.Errorf("%+v", i)
	}
	ops := r.staff("ops")
	r.want(200, "", get("/custody/audit?act=bent&cursor=next", ops))
	r.want(400, "CURSOR_INVALID", get("/custody/audit?cursor=x", ops))
	r.want(400, "QUERY_INVALID", get("/custody/audit?from=yesterday", ops))
	r.want(400, "QUERY_UNKNOWN", get("/custody/audit?iccid=1", ops))
	r.want(403, "FORBIDDEN", get("/custody/audit", r.staff("retailer")))
}
