package handler_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/transfer"
	"cardflow/transfer/realname"
)

const registrationID = "5f0c6a1b2d3e4f5061728394a5b6c7d8"

// realNames are what the fake service answers.
var realNames = map[string]transfer.RealNameView{
	"pending": {ID: registrationID, CarrierID: "carrier-1", CarrierName: "中国移动", State: "pending", Method: "ID_NUMBER", SubmittedAt: start},
	"refused": {ID: registrationID, CarrierID: "carrier-1", CarrierName: "中国移动", State: "refused", Method: "ID_NUMBER", Reason: "MISMATCH",
		Message: realname.Reasons["MISMATCH"], Text: "请核对", SubmittedAt: start, DecidedAt: &start},
	"approved": {ID: registrationID, CarrierID: "carrier-1", CarrierName: "中国移动", State: "approved", Method: "CREDENTIAL", SubmittedAt: start, DecidedAt: &start, ValidUntil: &later},
	"none":     {CarrierID: "carrier-1", CarrierName: "中国移动", State: "none"},
}

var later = start.Add(365 * 24 * time.Hour)

func (s *fakeService) SubmitRealName(ctx context.Context, c transfer.Caller, i transfer.Idem, in transfer.RealNameInput) (transfer.RealNameView, error) {
	s.take(in)
	if err := s.note("SubmitRealName"); err != nil {
		return transfer.RealNameView{}, err
	}
	if !in.Consent {
		return transfer.RealNameView{}, bad("CONSENT_REQUIRED")
	}
	if _, err := s.once(c, i, "SubmitRealName", ""); err != nil {
		return transfer.RealNameView{}, err
	}
	if strings.HasSuffix(in.Name, "不符") {
		return realNames["refused"], nil
	}
	return realNames["pending"], nil
}

func (s *fakeService) RealNames(ctx context.Context, c transfer.Caller) (transfer.RealNames, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := transfer.RealNames{State: "none", Methods: []string{"ID_NUMBER", "CREDENTIAL"}}
	if v, ok := realNames[s.realName]; ok {
		out.State, out.Items = v.State, []transfer.RealNameView{v}
	}
	return out, nil
}

func (s *fakeService) WithdrawRealName(ctx context.Context, c transfer.Caller, i transfer.Idem, carrier string) (transfer.RealNameView, error) {
	s.take(carrier)
	if err := s.note("WithdrawRealName"); err != nil {
		return transfer.RealNameView{}, err
	}
	_, err := s.once(c, i, "WithdrawRealName", "")
	return realNames["none"], err
}

func (s *fakeService) approval(state string) transfer.ApprovalView {
	return transfer.ApprovalView{
		ID: registrationID, Kind: "APPROVE", State: state, Consumer: "c-1", Method: "ID_NUMBER", Name: "李雷", IDNumber: "11010519491231002X", Accounts: 1,
		Verifier: "sandbox", Finding: "CONFIRMED", SubmittedAt: start,
	}
}

func (s *fakeService) Approvals(ctx context.Context, c transfer.Caller, waiting bool, cursor string, limit int) (transfer.Page[transfer.ApprovalView], error) {
	if err := s.note("Approvals %t %s %d", waiting, cursor, limit); err != nil {
		return transfer.Page[transfer.ApprovalView]{}, err
	}
	v := s.approval("reviewing")
	v.Name, v.IDNumber = "李*", realname.MaskIDNumber(v.IDNumber)
	return transfer.Page[transfer.ApprovalView]{Items: []transfer.ApprovalView{v}, Next: "more"}, nil
}

func (s *fakeService) Approval(ctx context.Context, c transfer.Caller, id string) (transfer.ApprovalView, error) {
	if err := s.note("Approval %s", id); err != nil {
		return transfer.ApprovalView{}, err
	}
	return s.approval("reviewing"), nil
}

func (s *fakeService) ApproveRealName(ctx context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.Act, error) {
	if err := s.note("ApproveRealName %s %s", id, c.Person); err != nil {
		return transfer.Act{}, err
	}
	return s.once(c, i, "Approve", "")
}

func (s *fakeService) RefuseRealName(ctx context.Context, c transfer.Caller, i transfer.Idem, id, reason, text string) (transfer.ApprovalView, error) {
	if err := s.note("RefuseRealName %s %s %s", id, reason, text); err != nil {
		return transfer.ApprovalView{}, err
	}
	if _, err := s.once(c, i, "RefuseRealName", ""); err != nil {
		return transfer.ApprovalView{}, err
	}
	v := s.approval("refused")
	v.Name, v.IDNumber, v.Reason, v.Text, v.Decider, v.DecidedAt = "", "", reason, text, c.Person, &start
	return v, nil
}

func TestRealNames(t *testing.T) {
	r := newRig(t)
	token := r.consumer("小王")
	const at = "/me/real-name"
	good := fields{"carrier": "carrier-1", "name": "李雷", "idNumber": "11010519491231002X", "consent": true}
	var v struct {
		State   string
		Carrier struct{ ID, Name string }
		Reason  struct{ Code, Message, Text string }
		Items   []struct{ State string }
		Consent struct{ Version, Text string }
		Methods []string
	}
	asked := r.wish(at, token, good)
	for range 2 {
		r.want(202, "", asked).into(t, &v)
		if v.State != "pending" || v.Carrier.ID != "carrier-1" || v.Carrier.Name != "中国移动" {
			t.Errorf("%+v", v)
		}
	}
	if in := r.service.input.(transfer.RealNameInput); in.Name != "李雷" || in.IDNumber != "11010519491231002X" || !in.Consent || in.Carrier != "carrier-1" {
		t.Errorf("the service was given something else")
	}
	other := asked
	other.body = fields{"name": "韩梅梅", "consent": true}
	r.want(422, "IDEMPOTENCY_KEY_REUSED", other)
	r.want(202, "", r.wish(at, token, fields{"name": "李不符", "idNumber": "11010519491231002X", "consent": true})).into(t, &v)
	if v.State != "refused" || v.Reason.Code != "MISMATCH" || v.Reason.Message == "" || v.Reason.Text == "" {
		t.Errorf("%+v", v)
	}
	r.want(202, "", r.wish(at, token, fields{"credential": "demo:李雷:1", "consent": true}))
	r.want(202, "", r.wish(at+"/withdraw", token, fields{"carrier": "carrier-1"}))
	r.want(202, "", r.wish(at+"/withdraw", token, nil))

	for state, word := range map[string]string{"": "none", "pending": "pending", "refused": "refused", "approved": "approved"} {
		r.service.mu.Lock()
		r.service.realName = state
		r.service.mu.Unlock()
		r.want(200, "", get(at, token)).into(t, &v)
		if v.State != word || (len(v.Items) > 0) != (state != "") || v.Consent.Text != transfer.Consent.Text || v.Consent.Version == "" || len(v.Methods) != 2 {
			t.Errorf("%s: %+v", word, v)
		}
		var me struct{ RealName string }
		r.want(200, "", get("/me", token)).into(t, &me)
		if me.RealName != word {
			t.Errorf("GET /me says %q, want %s", me.RealName, word)
		}
		r.want(200, "", post("/wechat/login", "", fields{"code": "demo:小王"})).into(t, &me)
		if me.RealName != word {
			t.Errorf("the login says %q, want %s", me.RealName, word)
		}
	}

	before := r.service.called("SubmitRealName")
	for _, body := range []any{
		nil, "", "[]", fields{"name": 7}, fields{"name": "李雷", "idnumber": "1", "idNumber": "1"}, fields{"name": "李雷", "consent": "yes"},
		fields{"name": strings.Repeat("李", 200)}, fields{"idNumber": strings.Repeat("1", 513)}, fields{"credential": strings.Repeat("1", 4097)},
		fields{"carrier": strings.Repeat("1", 65)}, fields{"passport": "E12345678"},
	} {
		if got := r.do(r.wish(at, token, body)); !slices.Contains([]int{400, 415}, got.status) {
			t.Errorf("%.60v: %d %s", body, got.status, got.body)
		}
	}
	if n := r.service.called("SubmitRealName"); n != before {
		t.Errorf("%d of them came through", n-before)
	}
	r.want(400, "CONSENT_REQUIRED", r.wish(at, token, fields{"name": "李雷", "idNumber": "11010519491231002X"}))
	unnamed := r.wish(at, token, good)
	unnamed.key = ""
	r.want(400, "IDEMPOTENCY_KEY_REQUIRED", unnamed)
	for code, status := range map[string]int{
		"NAME_INVALID": 400, "ID_NUMBER_LENGTH": 400, "ID_NUMBER_OLD": 400, "ID_NUMBER_CHARACTERS": 400, "ID_NUMBER_REGION": 400, "ID_NUMBER_BIRTHDAY": 400,
		"ID_NUMBER_CHECKSUM": 400, "CREDENTIAL_FORMAT": 400, "REAL_NAME_METHOD": 400, "REAL_NAME_METHOD_UNAVAILABLE": 400, "CARRIER_REQUIRED": 400,
		"CARRIER_UNKNOWN": 400, "REAL_NAME_PENDING": 409, "REAL_NAME_APPROVED": 409, "REAL_NAME_WITHDRAWING": 409, "REAL_NAME_LIMIT": 429, "UNAVAILABLE": 503,
	} {
		r.service.fail = bad(code)
		r.want(status, code, r.wish(at, token, good))
	}
	for code, status := range map[string]int{"REAL_NAME_NOTHING": 409, "REAL_NAME_BUSY": 409, "CARRIER_UNKNOWN": 400} {
		r.service.fail = bad(code)
		r.want(status, code, r.wish(at+"/withdraw", token, nil))
	}
	// Whatever was right or wrong: the log has nothing of it.
	for _, secret := range []string{"李雷", "李不符", "11010519491231002X", "demo:李雷"} {
		if strings.Contains(r.logs.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}

func TestApprovals(t *testing.T) {
	r := newRig(t)
	token := r.staff("carrier")
	at := "/approvals/" + registrationID
	var list struct {
		Items      []struct{ ID, Name, IDNumber, Kind, State string }
		NextCursor string
	}
	r.want(200, "", get("/approvals", token)).into(t, &list)
	if len(list.Items) != 1 || list.Items[0].Name != "李*" || list.Items[0].IDNumber != "110***********002X" || list.Items[0].Kind != "APPROVE" || list.NextCursor != "more" {
		t.Errorf("%+v", list)
	}
	r.want(200, "", get("/approvals?state=all&limit=7&cursor=x", token))
	r.want(200, "", get("/approvals?state=waiting", token))
	if r.service.called("Approvals false x 7") != 1 || r.service.called("Approvals true") != 2 {
		t.Errorf("%v", r.service.calls)
	}
	r.want(400, "QUERY_INVALID", get("/approvals?state=odd", token))
	r.want(400, "QUERY_INVALID", get("/approvals?limit=0", token))
	var one struct {
		Name, IDNumber, State, Decider string
		Reason                         struct{ Code, Text string }
	}
	r.want(200, "", get(at, token)).into(t, &one)
	if one.Name != "李雷" || one.IDNumber != "11010519491231002X" {
		t.Errorf("%+v", one)
	}
	approve := r.wish(at+"/approve", token, nil)
	first, again := r.want(202, "", approve), r.want(202, "", approve)
	if string(first.body) != string(again.body) {
		t.Errorf("%s and %s", first.body, again.body)
	}
	r.want(200, "", r.wish(at+"/refuse", token, fields{"reason": "OTHER", "text": "请到营业厅办理"})).into(t, &one)
	if one.State != "refused" || one.Reason.Code != "OTHER" || one.Reason.Text != "请到营业厅办理" || one.Decider != "p-carrier" {
		t.Errorf("%+v", one)
	}
	for _, body := range []any{nil, fields{}, fields{"reason": ""}, fields{"reason": strings.Repeat("x", 65)}, fields{"reason": "OTHER", "text": strings.Repeat("x", 2001)}, fields{"because": "x"}} {
		if got := r.do(r.wish(at+"/refuse", token, body)); !slices.Contains([]int{400, 415}, got.status) {
			t.Errorf("%.60v: %d %s", body, got.status, got.body)
		}
	}
	for code, status := range map[string]int{"APPROVAL_NOT_FOUND": 404, "APPROVAL_DECIDED": 409, "KEY_STOPPED": 409, "LOGIN_TOO_OLD": 401, "UNAVAILABLE": 503, "FORBIDDEN": 403} {
		r.service.fail = bad(code)
		r.want(status, code, r.wish(at+"/approve", token, nil))
	}
	for code, status := range map[string]int{"REFUSAL_INVALID": 400, "WITHDRAWAL_BINDING": 409, "APPROVAL_DECIDED": 409} {
		r.service.fail = bad(code)
		r.want(status, code, r.wish(at+"/refuse", token, fields{"reason": "OTHER"}))
	}
	r.service.fail = bad("APPROVAL_NOT_FOUND")
	r.want(404, "APPROVAL_NOT_FOUND", get(at, token))
}
