package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// ageLogin makes a login older than it is, as custody itself would have written it then.
func ageLogin(t *testing.T, custodian *App, token string, by time.Duration) {
	t.Helper()
	stamp, err := custodian.stamp()
	check(t, err)
	sum := sha256.Sum256([]byte(token))
	digest := hex.EncodeToString(sum[:])
	number := func(n model.Millis) string { return strconv.FormatInt(int64(n), 10) }
	check(t, custodian.DB.Write(soon(t), func(tx *model.Tx) error {
		s, err := tx.CustodySession(digest)
		if err != nil {
			return err
		}
		s.LoginAt -= model.Millis(by.Milliseconds())
		var fields [][]byte
		for _, f := range []string{"session", s.Digest, s.Participant, s.Role, s.Person, number(s.LoginAt), number(s.ExpiresAt)} {
			fields = append(fields, []byte(f))
		}
		tag := gm.HMAC(stamp, fields...)
		s.Tag = tag[:]
		if err := tx.EndCustodySession(digest); err != nil {
			return err
		}
		return tx.AddCustodySession(s)
	}))
}

// stepUp is custody.step_up_age where a test wants it.
const stepUp = 10 * time.Minute

// TestStepUp: with custody.step_up_age a consumer whose login is older gets no card, and gives none back, by a custodian of
// its own: he is told to log in again, asks for the same under the same key, and it is done, once. All else goes on.
func TestStepUp(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	a.stop()
	a.config.Custody.StepUpAge = stepUp
	a.start()
	s := openSite(t, a.dir, crowded, a.web)
	shop, li := s.staff("xiaowang"), s.consumer("小李")
	ageLogin(t, a.custodian, shop.token, time.Hour) // staff aren't asked
	sold := shop.offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	named := func() (id string) {
		var me struct{ Participant struct{ ID string } }
		li.get("/me", &me)
		return me.Participant.ID
	}()

	// wish asks for something under a key that stays the same.
	wish := func(path string, body any, key string) answer {
		return li.raw(http.MethodPost, s.URL+"/api/v1"+path, body, "Idempotency-Key", key)
	}
	again := func(path string, body any, key string) confirmation {
		t.Helper()
		ageLogin(t, a.custodian, li.token, stepUp+time.Minute)
		li.refused(http.StatusUnauthorized, "LOGIN_TOO_OLD", http.MethodPost, path, body)
		if r := wish(path, body, key); r.status != http.StatusUnauthorized {
			t.Fatalf("%s by an old login: %d %s\n%s", path, r.status, r.body, s.log)
		}
		check(t, li.wechat(soon(t), "demo:小李"))
		first, second := wish(path, body, key), wish(path, body, key)
		var one, two confirmation
		_ = json.Unmarshal(first.body, &one)
		_ = json.Unmarshal(second.body, &two)
		if first.status >= 300 || one.ConfirmationID == "" || one.ConfirmationID != two.ConfirmationID {
			t.Fatalf("%s by a new login: %d %s, then %d %s", path, first.status, first.body, second.status, second.body)
		}
		end, err := li.await(soon(t), one.ConfirmationID)
		if err != nil || end.TxID == "" {
			t.Fatalf("%s ended as %+v, %v", path, end, err)
		}
		return end
	}
	again("/trades/"+sold.TradeID+"/confirm", shows(sold), "step-up-confirm")
	again("/trades/"+sold.TradeID+"/return", map[string]string{"reason": "买错了"}, "step-up-return")

	// What moves no card to him takes no newer login.
	to := shop.offers("NAMED", named, cards("898604B7192270274022", "898604B7192270274023"))
	ageLogin(t, a.custodian, li.token, stepUp+time.Minute)
	li.done("/trades/"+to.TradeID+"/decline", map[string]string{"reason": "OTHER"})
	if refused := a.counted("cardflow_custody_refused_total", custody.ErrLoginOld); refused != 4 {
		t.Errorf("%d refusals, want 4", refused)
	}
	check(t, s.Service.CatchUp(soon(t)))
}

func loginOld(r *signerRig) {
	r.enrolled(r.owner())
	session := r.logIn(r.owner())
	ageLogin(r.T, r.behind, string(session), stepUp+time.Minute)
	ask, body := r.confirm(r.owner(), "act")
	r.is(r.Authorise(soon(r.T), session, ask.Subject, body, r.until), transfer.ErrLoginOld, custody.ErrLoginOld)
	_, err := r.Sign(soon(r.T), ask, body)
	r.is(err, transfer.ErrUnauthorised)
	check(r.T, r.Authorise(soon(r.T), session, "decline", request.Decline{Trade: body.Trade, Receiver: r.owner(), Reason: "OTHER"}, r.until))
	check(r.T, r.Authorise(soon(r.T), r.logIn(r.owner()), ask.Subject, body, r.until))
	_, err = r.Sign(soon(r.T), ask, body)
	check(r.T, err)
}
