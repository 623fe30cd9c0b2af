package handler

import "cardflow/transfer"

// RouteFacts is what the tests may know of the table of routes.
type RouteFacts struct {
	Method, Pattern string
	Roles           []string // none: anybody
	Query           []string
	JSON, Wish      bool
}

// Routes lists the table.
func Routes() []RouteFacts {
	var out []RouteFacts
	for _, r := range routes {
		f := RouteFacts{Method: r.method, Pattern: r.pattern, Query: r.query, JSON: r.body == jsonBody || r.body == maybeJSON, Wish: r.wish}
		if r.who&consumer != 0 {
			f.Roles = append(f.Roles, "consumer")
		}
		if r.who&terminal != 0 {
			f.Roles = append(f.Roles, "terminal")
		}
		for name, a := range staffRoles {
			if r.who&a != 0 {
				f.Roles = append(f.Roles, name)
			}
		}
		out = append(out, f)
	}
	return out
}

// StatusOfCode is the HTTP status that an error code gets, 0 if there is no such code.
func StatusOfCode(code string) int {
	if e, ok := own[code]; ok {
		return statusOf[e.kind]
	}
	if k, ok := platform[code]; ok {
		return statusOf[k]
	}
	if k, ok := kinds[code]; ok {
		return statusOf[k]
	}
	for e, k := range keeping {
		if e.Code == code {
			return statusOf[k]
		}
	}
	return 0
}

// OwnCodes lists the codes that are made here.
func OwnCodes() []string {
	var out []string
	for c := range own {
		out = append(out, c)
	}
	return out
}

// HasStatus reports whether the map of statuses knows a kind.
func HasStatus(k transfer.Kind) bool { return statusOf[k] != 0 }

// Decode is the decoder of all JSON bodies, on a body with fields of every type.
func Decode(body []byte) (Sample, error) { return decode[Sample](body) }

// Sample has what bodies have.
type Sample struct {
	Text   string            `json:"text"`
	Number int               `json:"number"`
	Flag   bool              `json:"flag"`
	List   []Sample          `json:"list"`
	Words  map[string]string `json:"words"`
}

// CodeOf is the code of an error that is made here.
func CodeOf(err error) string { return problemOf(err).code }

// AddressKey is what a client address counts as.
var AddressKey = addressKey
