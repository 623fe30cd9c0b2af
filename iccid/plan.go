package iccid

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// maxPrefix is the shortest head a card can have (19 characters without a 7-digit
// tail): a prefix no longer than it gives all cards of a segment one issuer.
const maxPrefix = shortLen - tailDigits

// Issuer says who numbers the cards that begin with Prefix, and how. Carrier is the
// carrier's plain key ("cmcc", "unicom", "telecom"), not a name for people.
type Issuer struct {
	Prefix  string `json:"prefix" yaml:"prefix"`
	Carrier string `json:"carrier" yaml:"carrier"`
	Rule    Rule   `json:"rule" yaml:"rule"`
}

// Plan is a numbering plan: the issuer of a card is the one with the longest prefix
// of its number. A Plan never changes; any number of goroutines may use it.
type Plan struct {
	byPrefix map[string]Issuer
	longest  int
}

// NewPlan builds a plan from an operator's list. A prefix is 89 and up to ten more
// characters. Errors: ICCID_PLAN_INVALID, ICCID_RULE_UNKNOWN.
func NewPlan(issuers []Issuer) (*Plan, error) {
	p := &Plan{byPrefix: make(map[string]Issuer, len(issuers))}
	for _, is := range issuers {
		switch _, twice := p.byPrefix[is.Prefix]; {
		case len(is.Prefix) < 3 || len(is.Prefix) > maxPrefix || !strings.HasPrefix(is.Prefix, "89") || !isHex(is.Prefix):
			return nil, newError(CodePlanInvalid, "号段前缀应以 89 开头，3 到 12 位，只含数字和大写字母 A 到 F", is.Prefix)
		case twice:
			return nil, newError(CodePlanInvalid, "同一个号段前缀登记了两次，请删去一个", is.Prefix)
		case is.Carrier == "":
			return nil, newError(CodePlanInvalid, "号段没有写明所属运营商，请补上", is.Prefix)
		case !is.Rule.known():
			return nil, is.Rule.unknown()
		}
		p.byPrefix[is.Prefix] = is
		p.longest = max(p.longest, len(is.Prefix))
	}
	if len(p.byPrefix) == 0 {
		return nil, newError(CodePlanInvalid, "号段配置是空的，请至少登记一家运营商的前缀", "")
	}
	return p, nil
}

// DefaultPlan is the numbering of China's three carriers as measured on public
// samples. The samples are small: an operator overrides it by configuration.
func DefaultPlan() *Plan {
	p, err := NewPlan([]Issuer{
		{"898600", "cmcc", Serial},
		{"898602", "cmcc", Serial},
		{"898604", "cmcc", Serial},
		{"898607", "cmcc", Serial},
		{"898608", "cmcc", Serial},
		{"898601", "unicom", Luhn},
		{"898606", "unicom", Luhn},
		{"898609", "unicom", Luhn},
		{"898603", "telecom", Luhn},
		{"898611", "telecom", Luhn},
	})
	if err != nil {
		panic(err) // the list above is wrong: nothing can work
	}
	return p
}

// Issuers returns the plan's entries, sorted by prefix.
func (p *Plan) Issuers() []Issuer {
	return slices.SortedFunc(maps.Values(p.byPrefix), func(a, b Issuer) int { return cmp.Compare(a.Prefix, b.Prefix) })
}

// Issuer finds the issuer of a normalised ICCID, or of a card's or segment's Head.
// Errors: ICCID_ISSUER_UNKNOWN.
func (p *Plan) Issuer(id string) (Issuer, error) {
	for n := min(p.longest, len(id)); n > 0; n-- {
		if is, ok := p.byPrefix[id[:n]]; ok {
			return is, nil
		}
	}
	return Issuer{}, newError(CodeIssuerUnknown, "无法识别这张卡的发卡运营商：请核对号码开头；若是新号段，请联系管理员登记", id)
}

// Parse normalises an ICCID, finds its issuer and reads it under the issuer's rule.
// Errors: those of [Normalize], [Plan.Issuer] and [Rule.Parse].
func (p *Plan) Parse(s string) (Card, Issuer, error) {
	id, err := Normalize(s)
	if err != nil {
		return Card{}, Issuer{}, err
	}
	is, err := p.Issuer(id)
	if err != nil {
		return Card{}, Issuer{}, err
	}
	c, err := is.Rule.Parse(id)
	if err != nil {
		return Card{}, Issuer{}, err
	}
	return c, is, nil
}

// Range reads the segment from start to end, both included, under the rule of their
// issuer. Errors: those of Parse and [Rule.Range]; ICCID_RANGE_MIXED if start and
// end have different issuers.
func (p *Plan) Range(start, end string) (Segment, Issuer, error) {
	_, first, err := p.Parse(start)
	if err != nil {
		return Segment{}, Issuer{}, err
	}
	_, last, err := p.Parse(end)
	if err != nil {
		return Segment{}, Issuer{}, err
	}
	if first != last {
		return Segment{}, Issuer{}, mixedError(start, end)
	}
	seg, err := first.Rule.Range(start, end)
	if err != nil {
		return Segment{}, Issuer{}, err
	}
	return seg, first, nil
}
