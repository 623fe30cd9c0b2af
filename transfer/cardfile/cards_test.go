package cardfile_test

import (
	"fmt"
	"testing"

	"cardflow/iccid"
	"cardflow/transfer/cardfile"
)

// cmcc, unicom and telecom make the n-th card of a carrier; the last two count before the check digit.
func cmcc(n int) string { return fmt.Sprintf("898604B719227%07d", n) }

func unicom(n int) string { return luhn("898606190001", n) }

func telecom(n int) string { return luhn("898611190001", n) }

func luhn(head string, n int) string {
	return iccid.Luhn.Format(iccid.Card{Head: head, Width: 7, Tail: uint32(n)})
}

// rowLines and faultLines put results into lines that tests compare.
func rowLines(rows []cardfile.Row) []string {
	lines := []string{}
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("%d %s %s %s", r.Line, r.ICCID, r.IMSI, r.MSISDN))
	}
	return lines
}

func faultLines(faults []cardfile.Fault) []string {
	lines := []string{}
	for _, f := range faults {
		lines = append(lines, fmt.Sprintf("%d %s %s", f.Line, f.Code, f.Value))
	}
	return lines
}

// monotone checks what OnProgress is told, and counts it.
func monotone(t *testing.T, n *int) func(done, total int64) {
	var last int64
	return func(done, total int64) {
		*n++
		if done < last || done > total {
			t.Errorf("progress went from %d to %d of %d", last, done, total)
		}
		last = done
	}
}
