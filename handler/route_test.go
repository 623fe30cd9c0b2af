package handler_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"cardflow/handler"
	"cardflow/terminal/protocol"
)

// good is a request for each route that writes or reads something, as its audience would send it.
func good(r *rig, pattern string) ask {
	segments := []fields{{"start": oneCard, "end": oneCard}}
	bodies := map[string]any{
		"POST /wechat/login":          fields{"code": "demo:小王"},
		"POST /auth/login":            fields{"username": "retailer", "password": passwordOf("retailer")},
		"POST /trade-codes/lookup":    fields{"code": oneCode, "iccidLast6": oneLast6},
		"POST /trades/{id}/confirm":   fields{"code": oneCode, "iccidLast6": oneLast6},
		"POST /trades/{id}/decline":   fields{"code": oneCode, "iccidLast6": oneLast6, "reason": "OTHER"},
		"POST /trades/{id}/return":    fields{"reason": "买错了"},
		"POST /me/real-name":          fields{"name": "李雷", "idNumber": "11010519491231002X", "consent": true},
		"POST /me/real-name/withdraw": fields{"carrier": "carrier-1"},
		"POST /me/subscriptions":      fields{"kind": "return"},
		"POST /me/erasure":            fields{"cards": 2},
		"POST /approvals/{id}/refuse": fields{"reason": "OTHER"},
		"POST /cards/find":            fields{"iccid": oneCard},
		"POST /cards/search":          fields{"start": oneCard, "end": oneCard, "from": "2026-03-01T00:00:00+08:00"},
		"POST /trades/search":         fields{"code": oneCode, "card": oneLast6, "from": "2026-03-01T00:00:00+08:00"},
		"POST /trades":                fields{"mode": "BEARER", "segments": segments, "expiresIn": "24h"},
		"POST /lots":                  fields{"segments": segments, "retailPolicy": "OPEN"},
		"POST /lots/merge":            fields{"lots": []string{lotHash, strings.Repeat("0", 64)}},
		"POST /lots/{hash}/retire":    fields{},
		"POST /lots/{hash}/freeze":    fields{"segments": []fields{{"iccid": oneCard}}},
		"POST /lots/{hash}/unfreeze":  fields{"segments": []fields{{"iccid": oneCard}}, "reason": "已核实"},

		"POST /custody/proposals":               fields{"operation": "quota.raise", "arguments": fields{"name": "platform", "daily": 20}, "reason": "双十一"},
		"POST /custody/proposals/{id}/reject":   fields{"reason": "不需要"},
		"POST /custody/proposals/{id}/withdraw": fields{"reason": "写错了"},
		"POST /custody/keys":                    fields{"openIds": []string{"oA"}, "dry": true},
		"POST /custody/keys/{id}/destroy":       fields{"reason": "到期"},
		"POST /custody/root/rotate":             fields{"root": strings.Repeat("ab", 16), "reason": "一位保管人离职"},
		"POST /custody/audit/verify":            fields{"scan": true},
		"POST /custody/quotas":                  fields{"name": "platform", "daily": 5},
		"POST /custody/recoveries":              fields{"participant": "c-1"},

		"POST /devices": fields{"name": "一号仓"},
	}
	method, path, _ := strings.Cut(pattern, " ")
	short := strings.TrimPrefix(path, "/api/v1")
	a := ask{method: method, path: strings.NewReplacer("{id}", "trade-1", "{cardId}", cardID, "{hash}", lotHash, "{txId}", "tx-1", "{number}", "3", "{code}", oneCode).Replace(path)}
	switch {
	case short == "/terminal/gateway":
		a.header = map[string]string{protocol.HeaderNonce: protocol.NewNonce().String()}
		return a
	case strings.HasPrefix(short, "/terminal/"):
		key := r.handset(short != "/terminal/enrol")
		var in any = askDevice
		if trading, ok := terminalAsks[path]; ok {
			in = trading
		}
		if short == "/terminal/enrol" {
			in = shown(r, key)
		}
		_, a := r.enveloped(key, path, in)
		return a
	case strings.HasPrefix(short, "/devices/"):
		a.path = strings.Replace(a.path, "trade-1", "device-1", 1)
	case strings.HasPrefix(short, "/confirmations/"):
		a.path = strings.Replace(a.path, "trade-1", "act-1", 1)
	case strings.HasPrefix(short, "/custody/keys/"):
		a.path = strings.Replace(a.path, "trade-1", keyID, 1)
	case strings.HasPrefix(short, "/custody/recoveries/"):
		a.path = strings.Replace(a.path, "trade-1", "c-1", 1)
	case strings.HasPrefix(short, "/card-imports/"):
		a.path = strings.Replace(a.path, "trade-1", "import-1", 1)
	case strings.HasSuffix(short, "/withdraw"):
		a.path = strings.Replace(a.path, "trade-1", "proposal-of-ops", 1)
	case strings.HasPrefix(short, "/custody/proposals/"):
		a.path = strings.Replace(a.path, "trade-1", "proposal-of-another", 1)
	}
	a.body = bodies[method+" "+short]
	if method == "POST" {
		r.wishes++
		a.key = fmt.Sprintf("wish-%08d", r.wishes)
	}
	if short == "/card-imports" && method == "POST" {
		body, kind := form("cards.csv", "ICCID\n")
		a.body, a.header = body, map[string]string{"Content-Type": kind}
	}
	if short == "/me/password" {
		a.body = fields{"oldPassword": "old-password", "newPassword": "new-password"}
	}
	return a
}

// TestRolesByRoute walks every route as every role and pins who is let in.
func TestRolesByRoute(t *testing.T) {
	roles := []string{"nobody", "consumer", "carrier", "distributor", "retailer", "ops", "auditor", "regulator"}
	var out strings.Builder
	fmt.Fprintf(&out, "%-52s %s\n", "", strings.Join(roles, " "))
	r := newRig(t)
	close(r.service.watched)
	tokens := map[string]string{"nobody": "", "consumer": r.consumer("小王")}
	for _, role := range roles[2:] {
		tokens[role] = r.staff(role)
	}
	for _, facts := range handler.Routes() {
		name := facts.Method + " " + facts.Pattern
		fmt.Fprintf(&out, "%-52s", name)
		for _, role := range roles {
			if slices.Contains(facts.Roles, "terminal") {
				fmt.Fprintf(&out, " %-*s", len(role), "-") // by its signature, whoever is logged in
				continue
			}
			a := good(r, name)
			a.token = tokens[role]
			if (strings.HasSuffix(name, "/auth/logout") || name == "POST /api/v1/me/erasure") && role != "nobody" {
				if role == "consumer" {
					a.token = r.consumer("小王")
				} else {
					a.token = r.staff(role)
				}
			}
			got := r.do(a)
			verdict := "yes"
			switch {
			case got.status == 401:
				verdict = "401"
			case got.status == 403 && got.code(t) == "FORBIDDEN" && !letIn(facts, role):
				verdict = "403"
			case !letIn(facts, role):
				t.Errorf("%s as %s: %d, the table does not let him in", name, role, got.status)
			}
			if verdict != "yes" && letIn(facts, role) {
				t.Errorf("%s as %s: %d %s, the table lets him in", name, role, got.status, got.body)
			}
			fmt.Fprintf(&out, " %-*s", len(role), verdict)
		}
		out.WriteString("\n")
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	golden(t, "roles.txt", strings.Join(lines, "\n")+"\n")
}

func letIn(f handler.RouteFacts, role string) bool {
	return len(f.Roles) == 0 || slices.Contains(f.Roles, role)
}

// TestEveryRouteAnswers asks every route once as somebody it is for. The rig holds each answer against the document.
func TestEveryRouteAnswers(t *testing.T) {
	want := map[string]int{
		"POST /api/v1/auth/logout": 204, "POST /api/v1/me/subscriptions": 204, "POST /api/v1/trades/{id}/confirm": 202, "POST /api/v1/trades/{id}/decline": 202,
		"POST /api/v1/trades/{id}/return": 202, "POST /api/v1/trades": 201, "POST /api/v1/trades/{id}/cancel": 202, "POST /api/v1/lots/merge": 202,
		"POST /api/v1/card-imports": 202, "POST /api/v1/lots": 202, "POST /api/v1/lots/{hash}/retire": 202, "POST /api/v1/lots/{hash}/freeze": 202,
		"POST /api/v1/lots/{hash}/unfreeze": 201, "POST /api/v1/custody/keys/{id}/suspend": 202, "POST /api/v1/custody/keys/{id}/resume": 202,
		"POST /api/v1/custody/keys/{id}/rotate": 202, "POST /api/v1/custody/keys/{id}/revoke": 202, "POST /api/v1/custody/keys/{id}/destroy": 201,
		"POST /api/v1/custody/proposals": 201, "POST /api/v1/custody/recoveries": 202, "POST /api/v1/custody/root/rotate": 201,
		"POST /api/v1/devices": 201, "POST /api/v1/devices/{id}/replace": 201, "POST /api/v1/devices/{id}/suspend": 202,
		"POST /api/v1/devices/{id}/lost": 202, "POST /api/v1/devices/{id}/revoke": 202,
		"POST /api/v1/me/real-name": 202, "POST /api/v1/me/real-name/withdraw": 202, "POST /api/v1/approvals/{id}/approve": 202,
	}
	for _, facts := range handler.Routes() {
		name := facts.Method + " " + facts.Pattern
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			close(r.service.watched)
			a := good(r, name)
			if len(facts.Roles) > 0 {
				role := "retailer" // whose trade-1 is
				if !slices.Contains(facts.Roles, role) {
					role = "ops" // whose proposal-of-ops is
				}
				if !slices.Contains(facts.Roles, role) {
					role = slices.Sorted(slices.Values(facts.Roles))[0]
				}
				switch role {
				case "terminal":
				case "consumer":
					a.token = r.consumer("小王")
				default:
					a.token = r.staff(role)
				}
				if strings.Contains(name, "/confirmations/") {
					r.do(func() ask { c := r.wish("/trades/trade-1/cancel", a.token, nil); return c }())
				}
				if strings.HasSuffix(name, "/me/password") {
					a.body = fields{"oldPassword": passwordOf(role), "newPassword": "another password"}
				}
			}
			status := want[name]
			if status == 0 {
				status = 200
			}
			r.want(status, "", a)
		})
	}
	for name := range maps.Keys(want) {
		if !slices.ContainsFunc(handler.Routes(), func(f handler.RouteFacts) bool { return f.Method+" "+f.Pattern == name }) {
			t.Errorf("%s is no route", name)
		}
	}
}
