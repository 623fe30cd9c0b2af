package cardfile_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cardflow/iccid"
	"cardflow/transfer/cardfile"

	"pgregory.net/rapid"
)

func csvOf(lines ...string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }

// TestRowFaults: each kind of bad row gets its own code and a reason in Chinese, and nothing else of the file changes.
func TestRowFaults(t *testing.T) {
	swapped := "98684064172907000010" // nibble-swapped
	for name, c := range map[string]struct {
		row  string
		want []string
	}{
		"sound":                     {cmcc(1) + ",460001234567890,1064812345678", nil},
		"without IMSI and MSISDN":   {cmcc(1) + ",,", nil},
		"fewer fields":              {cmcc(1), nil},
		"19 digits of Unicom":       {unicom(1)[:19], nil},
		"no ICCID":                  {",460001234567890,", []string{"ICCID_MISSING "}},
		"scientific":                {"8.98606E+19,,", []string{"ICCID_NUMERIC_CELL 8.98606E+19"}},
		"scientific, short":         {"9E+19,,", []string{"ICCID_NUMERIC_CELL 9E+19"}},
		"wrong check digit":         {unicom(1)[:19] + string('0'+(unicom(1)[19]-'0'+1)%10) + ",,", []string{"ICCID_CHECK_DIGIT "}},
		"nibble-swapped":            {swapped + ",,", []string{"ICCID_NIBBLE_SWAPPED "}},
		"too short":                 {"8986041234,,", []string{"ICCID_FORMAT "}},
		"unknown issuer":            {"89852000000000000001,,", []string{"ICCID_ISSUER_UNKNOWN "}},
		"IMSI too short":            {cmcc(1) + ",46000123456789,", []string{"IMSI_FORMAT 46000123456789"}},
		"IMSI scientific":           {cmcc(1) + ",4.60001E+14,", []string{"IMSI_NUMERIC_CELL 4.60001E+14"}},
		"MSISDN of a person":        {cmcc(1) + ",,13800138000", []string{"MSISDN_FORMAT 13800138000"}},
		"MSISDN scientific":         {cmcc(1) + ",,1.06481E+12", []string{"MSISDN_NUMERIC_CELL 1.06481E+12"}},
		"everything wrong":          {"x,y,z", []string{"ICCID_FORMAT x", "IMSI_FORMAT y", "MSISDN_FORMAT z"}},
		"a hostile value":           {"\"=cmd|'/C calc'!A0\x7f\",,", []string{"ICCID_FORMAT =cmd|'/C calc'!A0"}},
		"a letter E is no exponent": {"898604E7192270000001,,", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := read(t, "cards.csv", csvOf("ICCID,IMSI,MSISDN", cmcc(900), c.row, cmcc(901)), cardfile.Options{})
			if r.code != "" || r.sum.Rows != 3 {
				t.Fatalf("%q %+v", r.code, r.sum)
			}
			if len(c.want) == 0 && r.sum.Good != 3 || len(c.want) > 0 && (r.sum.Good != 2 || r.sum.Bad != 1) {
				t.Errorf("%+v %q", r.sum, faultLines(r.faults))
			}
			if len(r.faults) != len(c.want) {
				t.Fatalf("faults %q, want %q", faultLines(r.faults), c.want)
			}
			for i, f := range r.faults {
				if !strings.HasPrefix(fmt.Sprintf("%s %s", f.Code, f.Value), c.want[i]) || f.Line != 3 {
					t.Errorf("fault %q, want %q", faultLines(r.faults)[i], c.want[i])
				}
				if !strings.ContainsAny(f.Reason, "请应") || f.Column == "" {
					t.Errorf("%s: column %q, reason %q", f.Code, f.Column, f.Reason)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	content := csvOf("ICCID,MSISDN", "89852000000000000001,8529000000001", cmcc(1)+",1064812345678")
	plan, err := iccid.NewPlan([]iccid.Issuer{{Prefix: "898520", Carrier: "elsewhere", Rule: iccid.Serial}})
	if err != nil {
		t.Fatal(err)
	}
	r := read(t, "cards.csv", content, cardfile.Options{Plan: plan, MSISDNPrefixes: []string{"852"}})
	if len(r.rows) != 1 || r.rows[0].Issuer.Carrier != "elsewhere" || r.rows[0].MSISDN != "8529000000001" {
		t.Errorf("%+v", r.rows)
	}
	if got, want := faultLines(r.faults), []string{"3 ICCID_ISSUER_UNKNOWN " + cmcc(1), "3 MSISDN_FORMAT 1064812345678"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestMixedCarriers: one file may hold cards of several; each row says of whom it is.
func TestMixedCarriers(t *testing.T) {
	r := read(t, "cards.csv", csvOf("ICCID", cmcc(1), unicom(1), telecom(1)), cardfile.Options{})
	var carriers []string
	for _, row := range r.rows {
		carriers = append(carriers, row.Issuer.Carrier)
		if got := row.Issuer.Rule.Format(row.Card); got != row.ICCID {
			t.Errorf("card %s from %s", got, row.ICCID)
		}
	}
	if !slices.Equal(carriers, []string{"cmcc", "unicom", "telecom"}) {
		t.Errorf("%q", carriers)
	}
}

func TestHeaders(t *testing.T) {
	for header, want := range map[string]string{ // the fields in the order of the columns, - for none
		"ICCID,IMSI,MSISDN":        "ICCID IMSI MSISDN",
		"msisdn,imsi,iccid":        "MSISDN IMSI ICCID",
		"ＩＣＣＩＤ,ｉｍｓｉ,Msisdn":        "ICCID IMSI MSISDN",
		" *ICCID（20 位）,IMSI号码,手机号": "ICCID IMSI MSISDN",
		"序号,集成电路卡识别码,国际移动用户识别码,物联网号码": "- ICCID IMSI MSISDN",
		"卡 号,I M S I,接入号":                         "ICCID IMSI MSISDN",
		"SIM卡号,号码":                                "ICCID MSISDN",
		"卡号,ICCID,手机号,号码":                         "- ICCID MSISDN -",
		"SIM Card Number,Phone No.":               "ICCID MSISDN",
		"ICCID:,IMSI_CODE,卡状态":                    "ICCID IMSI -",
		"“ICCID”,套餐,Iccid备注":                      "ICCID - -",
		"ICCID\u200b,\u00a0IMSI\u00a0,MSISDN(必填)": "ICCID IMSI MSISDN",
		"起始ICCID,结束ICCID":                         "",
		"姓名,电话":                                   "",
		"物联网卡ICCID清单":                             "",
	} {
		values := map[string]string{"ICCID": cmcc(1), "IMSI": "460001234567890", "MSISDN": "1064812345678"}
		var cells []string
		for _, f := range strings.Fields(want) {
			cells = append(cells, values[f])
		}
		r := read(t, "cards.csv", csvOf("说明", header, strings.Join(cells, ",")), cardfile.Options{})
		if want == "" {
			if r.code != cardfile.CodeNoColumn {
				t.Errorf("%s: %q", header, r.code)
			}
			continue
		}
		line := "3 " + cmcc(1) + " "
		if strings.Contains(want, "IMSI") {
			line += values["IMSI"]
		}
		if line += " "; strings.Contains(want, "MSISDN") {
			line += values["MSISDN"]
		}
		if got := rowLines(r.rows); r.code != "" || len(got) != 1 || got[0] != line {
			t.Errorf("%s: %q %q %q, want %q", header, r.code, got, faultLines(r.faults), line)
		}
	}
}

// TestDuplicates: whatever the order of the cards and however they are spelt, exactly the later copies are faults and
// each names the line of the first. The model is a map.
func TestDuplicates(t *testing.T) {
	heads := []func(int) string{
		cmcc, unicom, telecom,
		func(n int) string { return unicom(n)[:19] }, // the same cards without their check digits
		func(n int) string { return strings.ToLower(cmcc(n)) },
		func(n int) string { return fmt.Sprintf("898604B719227A%06d", n) },
		func(n int) string { return fmt.Sprintf("898604B7192%08XC", n) },
		func(n int) string { return fmt.Sprintf("898604B719227%06d", n) },
	}
	rapid.Check(t, func(rt *rapid.T) {
		var cards []string
		for range rapid.IntRange(1, 6).Draw(rt, "ranges") {
			head := rapid.SampledFrom(heads).Draw(rt, "head")
			start, n := rapid.IntRange(0, 40).Draw(rt, "start"), rapid.IntRange(1, 30).Draw(rt, "n")
			step := rapid.SampledFrom([]int{1, -1, 2}).Draw(rt, "step")
			for i := range n {
				cards = append(cards, head(max(0, start+n+i*step)))
			}
		}
		if rapid.Bool().Draw(rt, "shuffled") {
			cards = rapid.Permutation(cards).Draw(rt, "order")
		}
		first := map[iccid.Card]int{}
		var want []string
		for i, c := range cards {
			card, _, err := iccid.DefaultPlan().Parse(c)
			if err != nil {
				rt.Fatal(err)
			}
			if _, again := first[card]; again {
				want = append(want, fmt.Sprintf("%d 这张卡在第 %d 行已经出现过", i+2, first[card]))
			} else {
				first[card] = i + 2
			}
		}
		r := read(t, "cards.csv", csvOf(append([]string{"ICCID"}, cards...)...), cardfile.Options{})
		var got []string
		for _, f := range r.faults {
			reason, _, _ := strings.Cut(f.Reason, "。")
			got = append(got, fmt.Sprintf("%d %s", f.Line, reason))
		}
		if !slices.Equal(got, want) || r.sum.Good != int64(len(first)) {
			rt.Fatalf("%q\nwant\n%q", got, want)
		}
	})
}

// TestDuplicatesAmongMany: blocks split, runs end at 65,535 cards, and still every copy is found.
func TestDuplicatesAmongMany(t *testing.T) {
	lines := []string{"ICCID"}
	for i := range 70_000 {
		lines = append(lines, cmcc(i))
	}
	for i := range 1200 { // every other card, inwards from both ends
		lines = append(lines, unicom(4*i), unicom(9_999_999-4*i))
	}
	for i := range 1200 {
		lines = append(lines, unicom(9_999_999-4*i), cmcc(i*58), unicom(4*i))
	}
	r := read(t, "cards.csv", csvOf(lines...), cardfile.Options{})
	if r.sum.Good != 72_400 || r.sum.Bad != 3600 {
		t.Fatalf("%+v", r.sum)
	}
	for k, f := range r.faults {
		i := k / 3
		want := []int{70_003 + 2*i, i*58 + 2, 70_002 + 2*i}[k%3]
		if f.Code != cardfile.CodeDuplicate || !strings.Contains(f.Reason, fmt.Sprintf("第 %d 行", want)) {
			t.Fatalf("line %d: %s %s, want line %d", f.Line, f.Code, f.Reason, want)
		}
	}
}

// TestFaultsFile: Excel shows it as it is, runs nothing of it, and rounds nothing.
func TestFaultsFile(t *testing.T) {
	var b bytes.Buffer
	w := cardfile.WriteFaults(&b)
	faults := []cardfile.Fault{
		{Line: 2, Column: "ICCID", Value: "89860401234567890123", Code: "A", Reason: "请,核对"},
		{Line: 3, Column: "=1+1", Value: "=HYPERLINK(\"http://x\")", Code: "B", Reason: "“引号”\"x\""},
		{Line: 4, Column: "备注", Value: "＝cmd", Code: "C", Reason: "-"},
		{Line: 5, Column: "@x", Value: "\t+1\x1b[31m" + strings.Repeat("长", 100), Code: "D", Reason: "请"},
		{Line: 6, Column: "IMSI", Value: "8.98E+19", Code: "E", Reason: ""},
	}
	for _, f := range faults {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	text, marked := strings.CutPrefix(b.String(), "\ufeff")
	if !marked {
		t.Error("no byte order mark")
	}
	got, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"行号", "列", "值", "原因", "代码"},
		{"2", "ICCID", "'89860401234567890123", "请,核对", "A"},
		{"3", "'=1+1", "'=HYPERLINK(\"http://x\")", "“引号”\"x\"", "B"},
		{"4", "备注", "'＝cmd", "'-", "C"},
		{"5", "'@x", "'+1[31m" + strings.Repeat("长", 58), "请", "D"},
		{"6", "IMSI", "8.98E+19", "", "E"},
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

// TestFaultsFileFails: a disk that is full is told.
func TestFaultsFileFails(t *testing.T) {
	w := cardfile.WriteFaults(brokenWriter{})
	err := w.Write(cardfile.Fault{Line: 1})
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		t.Error("nothing was said")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("disk full") }

// TestNothingOfACardIsLogged: rows and faults put into a log line name no card.
func TestNothingOfACardIsLogged(t *testing.T) {
	r := read(t, "cards.csv", csvOf("ICCID", cmcc(1), cmcc(1)), cardfile.Options{})
	for _, v := range []fmt.Stringer{r.rows[0].LogValue(), r.faults[0].LogValue()} {
		if s := v.String(); strings.Contains(s, cmcc(1)) || !strings.Contains(s, "line") {
			t.Errorf("logged as %s", s)
		}
	}
}
