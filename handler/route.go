package handler

import (
	"net/http"
	"slices"
	"strings"

	"cardflow/ledger/request"
)

const base = "/api/v1"

// audience is a set of roles. It says who may call a route; which of the things behind it he may see is for the use
// cases to say.
type audience uint8

const (
	consumer audience = 1 << iota
	carrier
	distributor
	retailer
	ops
	auditor
	regulator
	terminal // a device that signs what it sends; see envelope.go

	anyone   audience = 0 // logged in or not
	traders           = carrier | distributor | retailer
	staff             = traders | ops | auditor | regulator
	everyone          = consumer | staff
)

// staffRoles are the names of a person's roles.
var staffRoles = map[string]audience{
	"carrier": carrier, "distributor": distributor, "retailer": retailer, "ops": ops, "auditor": auditor, "regulator": regulator,
}

// has reports whether a session's owner is in the set. Consumers are participants without a person; staff are what
// their roles say, whatever their organisation is.
func (a audience) has(s *session) bool {
	if s.Person == "" {
		return s.Role == request.Consumer && a&consumer != 0
	}
	return slices.ContainsFunc(s.Roles, func(role string) bool { return a&staffRoles[role] != 0 })
}

// bodyKind is what a route takes.
type bodyKind uint8

const (
	noBody bodyKind = iota
	jsonBody
	maybeJSON  // none means {}
	streamBody // the route reads it itself
)

// route is one line of the API. openapi.yaml says the same for people; a test holds the two together.
type route struct {
	method  string
	pattern string // {name} for what varies
	who     audience
	query   []string
	body    bodyKind
	wish    bool // a write that needs an Idempotency-Key
	maybe   bool // one that may have it
	limited bool // counts against the requests of its address
	first   bool // open to a person who must change the password first
	slow    bool // has its own limits of time
	anyhow  bool // also while nothing can be looked up: who has a session is who it says
	past    bool // custody looks whose the token is: the session here may be over
	signed  bool // its answers are signed by the gateway; see envelope.go
	serve   func(*call) error
}

// echoPattern is the pattern as echo writes it.
func (r route) echoPattern() string {
	return strings.NewReplacer("{", ":", "}", "").Replace(r.pattern)
}

// api makes a route under base, counted against its address.
func api(method, pattern string, who audience, serve func(*call) error, options ...func(*route)) route {
	r := route{method: method, pattern: base + pattern, who: who, serve: serve, limited: true}
	for _, o := range options {
		o(&r)
	}
	return r
}

// Options of a route.
func withJSON(r *route)    { r.body = jsonBody }
func mayJSON(r *route)     { r.body = maybeJSON }
func withStream(r *route)  { r.body, r.slow = streamBody, true }
func wished(r *route)      { r.wish = true }
func maybeWished(r *route) { r.maybe = true }
func slowly(r *route)      { r.slow = true }
func firstly(r *route)     { r.first = true }
func anyhow(r *route)      { r.anyhow = true }
func pastSession(r *route) { r.past = true }
func signed(r *route)      { r.signed = true }
func asking(names ...string) func(*route) {
	return func(r *route) { r.query = names }
}
func paged(names ...string) func(*route) { return asking(append(names, "limit", "cursor")...) }

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// routes is the whole surface.
var routes = []route{
	{method: get, pattern: "/healthz", serve: alive},
	{method: get, pattern: "/readyz", serve: ready},
	{method: get, pattern: "/metrics", serve: showMetrics},
	{method: get, pattern: "/openapi.yaml", serve: showOpenAPI},
	{method: get, pattern: "/docs", serve: showDocs},
	{method: get, pattern: "/t/{code}", serve: showLink},

	api(post, "/wechat/login", anyone, loginConsumer, withJSON),
	api(post, "/auth/login", anyone, loginStaff, withJSON),
	api(post, "/auth/logout", everyone, logout, firstly),
	api(get, "/me", everyone, me, firstly),
	api(post, "/me/password", staff, changePassword, withJSON, firstly),

	api(post, "/trade-codes/lookup", consumer, lookup, withJSON),
	api(post, "/trades/{id}/confirm", consumer|traders, confirm, mayJSON, wished),
	api(post, "/trades/{id}/decline", consumer|traders, decline, withJSON, wished),
	api(post, "/trades/{id}/return", consumer, returnCards, mayJSON, wished),
	api(get, "/me/cards", consumer, myCards, paged()),
	api(get, "/me/receipts/{id}", consumer, receipt),
	api(get, "/me/inbox", consumer, inbox, paged()),
	api(get, "/me/real-name", consumer, showRealNames),
	api(post, "/me/real-name", consumer, submitRealName, withJSON, wished),
	api(post, "/me/real-name/withdraw", consumer, withdrawRealName, mayJSON, wished),
	api(post, "/me/subscriptions", consumer, subscribe, withJSON, wished),
	api(get, "/me/erasure", consumer, showErasure),
	api(post, "/me/erasure", consumer, erase, withJSON, pastSession),
	api(get, "/confirmations/{id}", everyone, showAct),
	api(get, "/confirmations/{id}/events", everyone, streamAct, slowly),

	api(post, "/cards/find", everyone, findCard, withJSON),
	api(get, "/cards/{cardId}/trace", everyone, traceCard),
	api(get, "/cards", staff, listCards, paged("organisation", "status", "from", "to")),
	api(post, "/cards/search", staff, searchCards, withJSON),

	api(post, "/trades", traders, offer, withJSON, wished),
	api(get, "/trades", traders|auditor, listTrades, paged("side", "state", "q")),
	api(post, "/trades/search", traders|auditor, searchTrades, withJSON),
	api(get, "/trades/{id}", traders|auditor|regulator, showTrade),
	api(post, "/trades/{id}/cancel", consumer|traders, cancel, wished),
	api(get, "/trades/{id}/qr.png", traders, showQR),
	api(get, "/trades/{id}/wxacode", traders, showMiniCode),
	api(get, "/lots", traders|auditor, listLots, paged()),
	api(get, "/inventory", traders|auditor, inventory),
	api(post, "/lots/merge", traders, merge, withJSON, wished),
	api(get, "/jobs/{id}", staff, job),
	api(get, "/stats", staff, stats, asking("days")),

	api(post, "/card-imports", carrier, startImport, withStream, maybeWished, asking("issue", "partial", "retailPolicy", "restrictions")),
	api(get, "/card-imports/{id}", carrier, showImport),
	api(get, "/card-imports/{id}/errors.csv", carrier, importFaults, slowly),
	api(post, "/lots", carrier, issue, withJSON, wished),
	api(post, "/lots/{hash}/retire", carrier, retire, mayJSON, wished),

	api(get, "/approvals", carrier, listApprovals, paged("state")),
	api(get, "/approvals/{id}", carrier, showApproval),
	api(post, "/approvals/{id}/approve", carrier, approveRealName, wished),
	api(post, "/approvals/{id}/refuse", carrier, refuseRealName, withJSON, wished),

	api(post, "/lots/{hash}/freeze", carrier|regulator, freeze, mayJSON, wished),
	api(post, "/lots/{hash}/unfreeze", carrier|regulator, unfreeze, withJSON, wished),

	api(get, "/devices", traders, listDevices, paged("state")),
	api(post, "/devices", traders, createDevice, withJSON, wished),
	api(get, "/devices/{id}", traders, showDevice),
	api(post, "/devices/{id}/suspend", traders, suspendDevice, wished),
	api(post, "/devices/{id}/lost", traders, loseDevice, wished),
	api(post, "/devices/{id}/revoke", traders, revokeDevice, wished),
	api(post, "/devices/{id}/replace", traders, replaceDevice, wished),

	// What terminals ask. Each answer is signed by the gateway.
	api(get, "/terminal/gateway", anyone, showGateway, signed),
	api(post, "/terminal/enrol", anyone, enrol, withJSON, signed),
	api(post, "/terminal/transRecentHash", terminal, transRecentHash, withJSON, signed),
	api(post, "/terminal/transConfirm", terminal, transConfirm, withJSON, signed),
	api(post, "/terminal/transSuccess", terminal, transSuccess, withJSON, signed),
	api(post, "/terminal/submit", terminal, submit, withJSON, signed),
	api(post, "/terminal/query", terminal, answerTerminal, withJSON, signed),

	api(get, "/custody/keys", ops, listKeys, paged("owner", "state", "from", "to")),
	api(post, "/custody/keys", ops, provision, withJSON),
	api(get, "/custody/keys/{id}", ops, showKey),
	api(post, "/custody/keys/{id}/suspend", ops, suspendKey, wished),
	api(post, "/custody/keys/{id}/resume", ops, resumeKey, wished),
	api(post, "/custody/keys/{id}/rotate", ops, rotateKey, wished),
	api(post, "/custody/keys/{id}/revoke", ops, revokeKey, wished),
	api(post, "/custody/keys/{id}/destroy", ops, destroyKey, withJSON, wished),
	api(get, "/custody/recoveries", ops, listRecoveries, paged("state")),
	api(post, "/custody/recoveries", ops, startRecovery, withJSON, wished),
	api(get, "/custody/recoveries/{id}", ops, showRecovery),
	api(get, "/custody/seal", ops|auditor, showSeal),
	api(post, "/custody/seal", ops, seal, anyhow), // the emergency stop of this server works without a database
	api(post, "/custody/seal/unseal", ops, unseal, mayJSON),
	api(get, "/custody/root", ops|auditor, showRoot),
	api(post, "/custody/root/rotate", ops, rotateRoot, withJSON, wished),

	api(get, "/transactions/{txId}", staff, showTransaction),
	api(get, "/blocks/{number}", staff, showBlock),

	api(get, "/custody/proposals", ops|auditor|carrier|regulator, listProposals, paged("state")),
	api(post, "/custody/proposals", ops|carrier|regulator, propose, withJSON, wished),
	api(get, "/custody/proposals/{id}", ops|auditor|carrier|regulator, showProposal),
	api(post, "/custody/proposals/{id}/approve", ops|carrier|regulator, approveProposal, wished),
	api(post, "/custody/proposals/{id}/reject", ops|carrier|regulator, rejectProposal, withJSON, wished),
	api(post, "/custody/proposals/{id}/withdraw", ops|carrier|regulator, withdrawProposal, withJSON, wished),
	api(get, "/custody/audit", ops|auditor, listAudit, paged("actor", "act", "subject", "key", "from", "to")),
	api(post, "/custody/audit/verify", ops|auditor, verifyAudit, mayJSON, slowly),
	api(get, "/custody/quotas", ops|auditor, listQuotas),
	api(post, "/custody/quotas", ops, lowerQuota, withJSON, wished),
}
