package transfer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cardflow/transfer"
)

// Whatever is wrong with a code, the answer is one and the same, from everything that takes a code.
func TestOneAnswerForEveryCodeThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	live, used, cancelled, declined := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2), r.offer(retailer, 3, 3), r.offer(retailer, 4, 4)
	brief, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(5, 5), ExpiresIn: time.Minute})
	check(t, err)
	expired := brief.Trades[0]
	named, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "NAMED", To: distributor.Participant, Segments: span(6, 6)})
	check(t, err)
	if named.Trades[0].Code != "" {
		t.Errorf("a NAMED trade has a code")
	}
	done := r.confirm(ann, used, 2)
	act, err := r.Cancel(r.ctx, retailer, idem("cancel"), cancelled.TradeID)
	check(t, err)
	r.await(act, "")
	act, err = r.Decline(r.ctx, bob, idem("decline"), declined.TradeID, declined.Code, last6(4), "CHANGED_MIND", "")
	check(t, err)
	r.await(act, "")
	r.clock.forward(2 * time.Minute)
	if v := r.trade(retailer, expired.TradeID); v.Code == expired.Code && v.State != "offered" && v.State != "releasing" {
		t.Errorf("%s with its code", v.State)
	}

	wrong := func(c string) string { // the next code in the alphabet
		last := "0123456789ABCDEFGHJKMNPQRSTVWXYZ0"
		return c[:7] + string(last[strings.IndexByte(last, c[7])+1])
	}
	cases := []struct {
		what     string
		who      transfer.Caller
		trade    transfer.TradeView
		code     string
		lastSix  string
		confirms bool // only Confirm and Decline name the trade
	}{
		{"unknown", ann, live, "00000000", last6(1), false},
		{"misspelt", ann, live, wrong(live.Code), last6(1), false},
		{"too short", ann, live, live.Code[:7], last6(1), false},
		{"too long", ann, live, live.Code + "0", last6(1), false},
		{"no code at all", ann, live, "", last6(1), false},
		{"an endless one", ann, live, strings.Repeat("A", 10_000), last6(1), false},
		{"letters that no code has", ann, live, "UUUUUUUU", last6(1), false},
		{"SQL", ann, live, `' OR 1=1`, last6(1), false},
		{"no Unicode", ann, live, "\xff\xfe1234", last6(1), false},
		{"expired", ann, expired, expired.Code, last6(5), false},
		{"cancelled", ann, cancelled, cancelled.Code, last6(3), false},
		{"declined", ann, declined, declined.Code, last6(4), false},
		{"declined, by who declined", bob, declined, declined.Code, last6(4), false},
		{"used, by someone else", bob, used, used.Code, last6(2), false},
		{"used, by its seller", retailer, used, used.Code, last6(2), false},
		{"his own", retailer, live, live.Code, last6(1), false},
		{"without a card", ann, live, live.Code, "", false},
		{"with another card", ann, live, live.Code, last6(2), false},
		{"with five characters of the card", ann, live, live.Code, last6(1)[1:], false},
		{"of another trade", ann, named.Trades[0], live.Code, last6(1), true},
		{"of a trade that is not there", ann, transfer.TradeView{TradeID: strings.Repeat("0", 32)}, live.Code, last6(1), true},
	}
	first := ""
	for _, c := range cases {
		var errs []error
		if !c.confirms {
			v, err := r.Lookup(r.ctx, c.who, c.code, c.lastSix)
			errs = append(errs, err)
			if fmt.Sprint(v) != fmt.Sprint(transfer.Offered{}) {
				t.Errorf("%s: a look-up that failed shows %v", c.what, v)
			}
		}
		_, err := r.Confirm(r.ctx, c.who, idem("confirm"), c.trade.TradeID, c.code, c.lastSix)
		errs = append(errs, err)
		_, err = r.Decline(r.ctx, c.who, idem("decline"), c.trade.TradeID, c.code, c.lastSix, "NOT_MINE", "")
		errs = append(errs, err)
		for i, err := range errs {
			wants(t, fmt.Sprint(c.what, ", ", i), err, "TRADE_CODE_NOT_FOUND")
			var e *transfer.Error
			if !errors.As(err, &e) {
				continue
			}
			seen := fmt.Sprintf("%s|%s|%v|%v", e.Error(), e.Message(), e.Kind(), e.Details)
			if first == "" {
				first = seen
			}
			if seen != first {
				t.Errorf("%s, %d: %q differs from %q", c.what, i, seen, first)
			}
		}
	}

	// Only who used it is led to his own confirmation.
	own, err := r.Lookup(r.ctx, ann, used.Code, last6(2))
	check(t, err)
	if own.Confirmation != done.ID || own.State != "confirmed" {
		t.Errorf("the receiver of a used code sees %+v", own)
	}
	again, err := r.Confirm(r.ctx, ann, idem("confirm"), used.TradeID, used.Code, last6(2))
	check(t, err)
	if again.ID != done.ID || again.State != "committed" {
		t.Errorf("he confirms again and gets %+v", again)
	}
	// Possession: any spelling of the end of the card.
	for _, typed := range []string{last6(1), id(1), " " + last6(1)[:3] + " " + last6(1)[3:], strings.ToLower(id(1))} {
		if v, err := r.Lookup(r.ctx, bob, live.Code, typed); err != nil || v.TradeID != live.TradeID {
			t.Errorf("card typed as %q: %v", typed, err)
		}
	}
	r.fsck()
}

func TestNormaliseCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typed, want string
		ok          bool
	}{
		{"0123ABCD", "0123ABCD", true},
		{"0123abcd", "0123ABCD", true},
		{" 0123-ABCD ", "0123ABCD", true},
		{"01 23 AB CD", "0123ABCD", true},
		{"0123\tABCD", "0123ABCD", true},
		{"0123　ABCD", "0123ABCD", true},
		{"０１２３ABCD", "0123ABCD", true},
		{"O1ZEiLlI", "01ZE1111", true},
		{"oOoOoOoO", "00000000", true},
		{"", "", false},
		{"0123ABC", "", false},
		{"0123ABCDE", "", false},
		{"0123ABCU", "", false},
		{"0123ABC!", "", false},
		{"0123ABC码", "", false},
		{"0123ABC\x00", "", false},
		{"0123ABC\xff", "", false},
		{strings.Repeat(" ", 57) + "0123ABCD", "", false},
	} {
		got, ok := transfer.NormaliseCode(c.typed)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %q, %v", c.typed, got, ok)
		}
	}
}

func FuzzNormaliseCode(f *testing.F) {
	for _, s := range []string{"0123ABCD", "oil-1234", "０１２３ＡＢＣＤ", "", "ıııııııı", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := transfer.NormaliseCode(typed)
		if !ok {
			return
		}
		if len(code) != 8 || strings.Trim(code, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
			t.Fatalf("%q is read as %q", typed, code)
		}
		if again, ok := transfer.NormaliseCode(code); !ok || again != code {
			t.Fatalf("%q is read as %q, and that as %q", typed, code, again)
		}
	})
}
