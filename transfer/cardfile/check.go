package cardfile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"cardflow/iccid"
)

// checker turns records into rows and faults.
type checker struct {
	opts  Options
	head  header
	each  func(Row) error
	fault func(Fault) error
	sum   Summary
	seen  seen
}

func newChecker(opts Options, each func(Row) error, fault func(Fault) error) *checker {
	return &checker{opts: opts, each: each, fault: fault}
}

// row checks one record. Every column is checked, so that a person who mends a file sees all that is wrong with a row
// at once; but a row that wasn't seen, or whose value belongs to several rows, isn't looked into.
func (c *checker) row(r record) error {
	if c.sum.Rows++; c.sum.Rows > c.opts.MaxRows {
		return tooLarge(fmt.Sprintf("超过 %d 行", c.opts.MaxRows))
	}
	var faults []Fault
	add := func(f field, code, reason string) {
		faults = append(faults, Fault{Line: r.line, Column: c.head.name[f], Value: clean(r.cells[f].text), Code: code, Reason: reason})
	}
	row := Row{Line: r.line}
	switch {
	case r.hidden:
		add(fieldICCID, CodeHidden, "这一行被隐藏或筛选掉了，核对时看不到，因此不导入。请取消隐藏或筛选后重新上传，不需要的行请删除。")
	case r.merged:
		add(fieldICCID, CodeMerged, "这一行有合并单元格，无法确定每张卡的值。请取消合并，并在每一行填写完整。")
	default:
		c.iccid(&row, r, add)
		row.IMSI = c.digits(r.cells[fieldIMSI], fieldIMSI, add, func(s string) error { return iccid.CheckIMSI(s) })
		row.MSISDN = c.digits(r.cells[fieldMSISDN], fieldMSISDN, add, func(s string) error {
			return iccid.CheckMSISDN(s, c.opts.MSISDNPrefixes...)
		})
	}
	if len(faults) == 0 {
		c.sum.Good++
		return c.each(row)
	}
	c.sum.Bad++
	for _, f := range faults {
		if err := c.fault(f); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) iccid(row *Row, r record, add func(f field, code, reason string)) {
	switch cell := r.cells[fieldICCID]; {
	case cell.kind == blank:
		add(fieldICCID, CodeMissing, "这一行没有 ICCID。请补上；若是合计或说明，请删除这一行。")
	case cell.kind == number, scientific(cell.text):
		add(fieldICCID, CodeICCIDNumeric, "ICCID 被表格软件存成了数字，后几位已经丢失，无法恢复。请向运营商重新索取，并把该列设为“文本”格式后再粘贴。")
	case cell.kind != text:
		add(fieldICCID, CodeICCIDNoText, "ICCID 单元格不是文本（是逻辑值或公式错误）。请填写正确的 ICCID。")
	default:
		card, issuer, err := c.opts.Plan.Parse(cell.text)
		if err != nil {
			code, reason := refusal(err)
			add(fieldICCID, code, reason)
			return
		}
		row.ICCID, row.Card, row.Issuer = cell.text, card, issuer
		if first, again := c.seen.add(placeOf(issuer.Rule, card), r.line); again {
			add(fieldICCID, CodeDuplicate, fmt.Sprintf("这张卡在第 %d 行已经出现过。请删除重复的行。", first))
		}
	}
}

// digits reads an IMSI or an MSISDN. A number cell is taken if it is a whole number that a spreadsheet holds exactly:
// 15 and 13 digits lie below 2^53, and a lost leading zero shows as a missing digit.
func (c *checker) digits(cl cell, f field, add func(f field, code, reason string), check func(string) error) string {
	codes := [fields][2]string{fieldIMSI: {CodeIMSINumeric, CodeIMSINoText}, fieldMSISDN: {CodeMSISDNNumeric, CodeMSISDNNoText}}[f]
	s := cl.text
	switch {
	case cl.kind == blank:
		return ""
	case cl.kind == number:
		var exact bool
		if s, exact = wholeNumber(cl.text); !exact {
			add(f, codes[0], fieldNames[f]+" 是不精确的数字，无法还原。请把该列设为“文本”格式后重新填写。")
			return ""
		}
	case cl.kind != text:
		add(f, codes[1], fieldNames[f]+" 单元格不是文本（是逻辑值或公式错误）。请填写正确的号码，没有时请留空。")
		return ""
	case scientific(s):
		add(f, codes[0], fieldNames[f]+" 被表格软件写成了科学计数法，后几位已经丢失。请把该列设为“文本”格式后重新填写。")
		return ""
	}
	if err := check(s); err != nil {
		code, reason := refusal(err)
		add(f, code, reason)
		return ""
	}
	return s
}

// refusal takes apart an error of package iccid.
func refusal(err error) (code, reason string) {
	var refused *iccid.Error
	if !errors.As(err, &refused) {
		return CodeRefused, "这一行的值无法识别，请核对。"
	}
	if refused.Hint != "" {
		return refused.Code, refused.Message + "（可能应为：" + clean(refused.Hint) + "）"
	}
	return refused.Code, refused.Message
}

// scientific reports whether a text is what a spreadsheet makes of a long number: 8.98606E+19. An ICCID with the
// letter E in it has neither the point nor the plus.
func scientific(s string) bool {
	if len(s) > 32 {
		return false
	}
	mantissa, exponent, ok := strings.Cut(strings.ToUpper(s), "E")
	if !ok || exponent == "" || !strings.Contains(mantissa, ".") && exponent[0] != '+' {
		return false
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// wholeNumber spells a number cell, if it is one that a spreadsheet holds exactly.
func wholeNumber(s string) (string, bool) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || v >= 1<<53 || v != math.Trunc(v) {
		return "", false
	}
	return strconv.FormatFloat(v, 'f', 0, 64), true
}
