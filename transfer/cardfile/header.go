package cardfile

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// field is one of the columns that are read.
type field int

const (
	fieldICCID field = iota
	fieldIMSI
	fieldMSISDN
	fields = 3
)

var fieldNames = [fields]string{"ICCID", "IMSI", "MSISDN"}

// titles are the headers of each field, spelt as plain makes them. Those of the first list name the field beyond doubt;
// those of the second are believed only if no column bears one of the first: 卡号 next to ICCID is something else.
var titles = [fields][2][]string{
	fieldICCID: {
		{"iccid", "simiccid", "sim卡iccid", "卡iccid", "物联网卡iccid", "集成电路卡识别码", "集成电路卡标识", "集成电路卡识别号", "iccid集成电路卡识别码", "卡识别码"},
		{"卡号", "sim卡号", "sim卡卡号", "sim卡", "sim", "simno", "simnumber", "simcardnumber", "simcard", "物联网卡号", "物联卡号", "物联网卡卡号", "uim卡号", "usim卡号", "cardno", "cardnumber", "卡片号", "卡片编号", "卡编号"},
	},
	fieldIMSI: {
		{"imsi", "国际移动用户识别码", "国际移动用户识别号", "移动用户识别码"},
		{"用户识别码"},
	},
	fieldMSISDN: {
		{"msisdn", "物联网号码", "物联网号", "物联网卡号码", "物联卡号码", "物联号码", "接入号", "接入号码", "手机号", "手机号码", "移动号码", "业务号码", "服务号码", "用户号码"},
		{"号码", "电话", "电话号码", "卡号码", "sim卡号码", "phone", "phonenumber", "phoneno", "mobile", "mobileno", "mobilenumber", "number", "telephone"},
	},
}

// rank answers which field a title names, and how surely: 0 is beyond doubt.
var rank = func() map[string]struct{ field, doubt int } {
	m := map[string]struct{ field, doubt int }{}
	for f, lists := range titles {
		for doubt, list := range lists {
			for _, title := range list {
				m[title] = struct{ field, doubt int }{f, doubt}
			}
		}
	}
	return m
}()

// plain takes off what people add to a header: case, full-width letters, spaces, marks, remarks in brackets, and the
// words for "number" behind a name that needs none.
func plain(s string) string {
	if len(s) > 200 {
		return ""
	}
	s = strings.ToLower(norm.NFKC.String(s))
	var b strings.Builder
	depth := 0
	for _, r := range s {
		switch {
		case strings.ContainsRune("([{【〔", r):
			depth++
		case strings.ContainsRune(")]}】〕", r):
			depth = max(0, depth-1)
		case depth == 0 && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			b.WriteRune(r)
		}
	}
	s = b.String()
	for _, name := range []string{"iccid", "imsi", "msisdn"} {
		if i := strings.Index(s, name); i >= 0 {
			switch s[i+len(name):] {
			case "号", "号码", "码", "编号", "卡号", "number", "no", "code", "必填", "选填", "值":
				s = s[:i+len(name)]
			}
		}
	}
	return s
}

// header is where the fields stand.
type header struct {
	line   int
	column [fields]int    // -1 where the file has none
	name   [fields]string // as the file spells it
}

// columns answers the columns that exist.
func (h header) columns() []int {
	var all []int
	for _, c := range h.column {
		if c >= 0 {
			all = append(all, c)
		}
	}
	return all
}

// readHeader tries a row as the header. It is one if a cell of it names the ICCID.
func readHeader(r *row) (header, bool, error) {
	type claim struct {
		column int
		name   string
	}
	var claims [fields][2][]claim
	for column, c := range r.cells {
		if c.kind != text {
			continue
		}
		if is, ok := rank[plain(c.text)]; ok {
			claims[is.field][is.doubt] = append(claims[is.field][is.doubt], claim{column, c.text})
		}
	}
	if len(claims[fieldICCID][0])+len(claims[fieldICCID][1]) == 0 {
		return header{}, false, nil
	}
	head := header{line: r.line}
	for f := range fields {
		best := claims[f][0]
		if len(best) == 0 {
			best = claims[f][1]
		}
		switch len(best) {
		case 0:
			head.column[f], head.name[f] = -1, fieldNames[f]
		case 1:
			head.column[f], head.name[f] = best[0].column, clean(best[0].name)
		default:
			return header{}, false, fileError(CodeAmbiguous, "第 %d 行的“%s”和“%s”都像是 %s 列，无法确定用哪一列。请只保留一列，或把另一列改名。",
				r.line, clean(best[0].name), clean(best[1].name), fieldNames[f])
		}
	}
	return head, true, nil
}
