package handler_test

import (
	"slices"
	"strings"
	"testing"
)

// What somebody sends who means no registration: every write of real names refuses it with a code, names the field and never
// its value, and hands nothing on.
func TestRealNamesAttacked(t *testing.T) {
	r := newRig(t)
	buyer, boss := r.consumer("小王"), r.staff("carrier")
	const me, back = "/me/real-name", "/me/real-name/withdraw"
	const approve, refuse = "/approvals/" + registrationID + "/approve", "/approvals/" + registrationID + "/refuse"
	const secret = "11010519491231002X"
	writes := []string{"SubmitRealName", "WithdrawRealName", "ApproveRealName", "RefuseRealName"}
	for _, a := range []struct {
		path, token string
		body        any
		status      int
		code        string
	}{
		{me, buyer, `{"name":7}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"name":["` + secret + `"]}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"name":{"` + secret + `":1}}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"idNumber":110105194912310021}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"idNumber":1e999999}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"credential":true}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"carrier":{}}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"consent":"true"}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"consent":1}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"consent":false,"consent":true}`, 400, "JSON_NAME_REPEATED"},
		{me, buyer, `{"idNumber":"` + secret + `","IDNUMBER":"1"}`, 400, "JSON_NAME_REPEATED"},
		{me, buyer, `{"state":"approved"}`, 400, "FIELD_UNKNOWN"},
		{me, buyer, `{"name":"` + strings.Repeat("李", 171) + `"}`, 400, "FIELD_INVALID"},
		{me, buyer, `{"name":"` + "\xff" + `"}`, 400, "TEXT_NOT_UTF8"},
		{me, buyer, "{\"name\":\"李\n雷\"}", 400, "JSON_INVALID"},
		{me, buyer, `{"name":"李雷"}{"name":"李雷"}`, 400, "JSON_INVALID"},
		{me, buyer, `{"name":"李雷"`, 400, "BODY_TRUNCATED"},
		{me, buyer, `{"name":` + strings.Repeat("[", 10_000), 400, "JSON_TOO_DEEP"},
		{me, buyer, `["` + secret + `"]`, 400, "JSON_INVALID"},
		{me, buyer, `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "BODY_TOO_LARGE"},
		{me, boss, `{"name":"李雷","idNumber":"` + secret + `","consent":true}`, 403, "FORBIDDEN"},
		{me, "", `{"name":"李雷","idNumber":"` + secret + `","consent":true}`, 401, "UNAUTHENTICATED"},
		{back, buyer, `{"carrier":7}`, 400, "FIELD_INVALID"},
		{back, buyer, `{"carrier":"` + strings.Repeat("x", 65) + `"}`, 400, "FIELD_INVALID"},
		{back, buyer, `{"consumer":"c-2"}`, 400, "FIELD_UNKNOWN"},
		{back, boss, nil, 403, "FORBIDDEN"},
		{back, "", nil, 401, "UNAUTHENTICATED"},
		{approve, buyer, nil, 403, "FORBIDDEN"},
		{approve, "", nil, 401, "UNAUTHENTICATED"},
		{refuse, boss, `{"reason":7}`, 400, "FIELD_INVALID"},
		{refuse, boss, `{"reason":"OTHER","text":["` + secret + `"]}`, 400, "FIELD_INVALID"},
		{refuse, boss, `{"reason":"OTHER","decider":"p-2"}`, 400, "FIELD_UNKNOWN"},
		{refuse, boss, `{"reason":"OTHER","text":"` + strings.Repeat("长", 667) + `"}`, 400, "FIELD_INVALID"},
		{refuse, buyer, `{"reason":"OTHER"}`, 403, "FORBIDDEN"},
		{refuse, "", `{"reason":"OTHER"}`, 401, "UNAUTHENTICATED"},
	} {
		got := r.do(r.wish(a.path, a.token, a.body))
		if got.status != a.status || got.code(t) != a.code {
			t.Errorf("%s %.60v: %d %s, want %d %s", a.path, a.body, got.status, got.body, a.status, a.code)
		}
		if strings.Contains(string(got.body), secret) {
			t.Errorf("%s %.60v: the answer has the number", a.path, a.body)
		}
	}
	if i := slices.IndexFunc(writes, func(w string) bool { return r.service.called(w) > 0 }); i >= 0 {
		t.Errorf("%s came through", writes[i])
	}
	if strings.Contains(r.logs.String(), secret) {
		t.Error("the log has the number")
	}
}
