package custody_test

import (
	"errors"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// nothingElse is an erasure of nothing beside what custody has.
func nothingElse(*model.Tx, string) error { return nil }

// erase logs a consumer in and has his data deleted.
func (r *rig) erase(owner string, rest func(*model.Tx, string) error) error {
	_, err := r.Erase(r.t.Context(), r.logIn(owner), 2, rest)
	return err
}

// TestErase: by his token, and by nothing else; then his key is stopped for ever, no session of his opens anything, and who asks
// again with that token hears the same for a day.
func TestErase(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		c := r.openAs(func(c *custody.Config) { c.StepUpAge = 10 * time.Minute })
		key := r.ensure("c-0001", request.Consumer, custody.Account)
		r.ensure("c-0002", request.Consumer, custody.Account)
		ask, body := confirm("t")
		ask.Owner, body.Receiver = "c-0001", "c-0001"
		old := r.logIn("c-0001")
		r.clock.ahead.Add((11 * time.Minute).Milliseconds())
		login, other, bystander := r.logIn("c-0001"), r.logIn("c-0001"), r.logIn("c-0002")
		if err := c.Authorise(t.Context(), login, ask.Subject, body, ask.NotAfter); err != nil {
			t.Fatal(err)
		}
		erase := func(token custody.LoginToken) (model.Erasure, error) {
			return c.Erase(t.Context(), token, 2, nothingElse)
		}
		for what, refused := range map[string]struct {
			token custody.LoginToken
			want  error
		}{
			"no token":      {"", custody.ErrSessionOver},
			"another token": {custody.LoginToken(nobodys), custody.ErrSessionOver},
			"staff":         {r.employed("shop", request.Retailer), custody.ErrFunction},
			"an old login":  {old, custody.ErrLoginOld},
		} {
			if _, err := erase(refused.token); !errors.Is(err, refused.want) {
				t.Errorf("%s: %v, want %v", what, err, refused.want)
			}
		}
		failed := errors.New("not all of it")
		if _, err := c.Erase(t.Context(), login, 2, func(*model.Tx, string) error { return failed }); !errors.Is(err, failed) || r.state(key.ID) != model.CustodyActive {
			t.Errorf("half an erasure: %v, and the key is %s", err, r.state(key.ID))
		}
		if _, err := c.Replace(t.Context(), key.ID, "ops"); err != nil {
			t.Fatal(err)
		}
		if _, err := erase(login); !errors.Is(err, custody.ErrKeyTransition) {
			t.Errorf("while another key is on its way: %v", err)
		}
		r.exec(`DELETE FROM custody_wishes`)

		done, err := erase(login)
		if err != nil || done.Participant != "c-0001" || done.Cards != 2 {
			t.Fatalf("%+v %v", done, err)
		}
		if again, err := erase(login); err != nil || again.Participant != done.Participant || again.Cards != 2 || again.ErasedAt != done.ErasedAt {
			t.Errorf("asked again: %+v %v", again, err)
		}
		for what, token := range map[string]custody.LoginToken{"hers": login, "her other phone's": other} {
			if _, err := c.Session(t.Context(), token); !errors.Is(err, custody.ErrSessionOver) {
				t.Errorf("%s session: %v", what, err)
			}
		}
		if _, err := erase(other); !errors.Is(err, custody.ErrSessionOver) {
			t.Errorf("by her other phone: %v", err)
		}
		if _, err := c.Session(t.Context(), bystander); err != nil {
			t.Errorf("a bystander: %v", err)
		}
		if _, _, err := c.Sign(t.Context(), ask, body); err == nil {
			t.Error("what she had asked for is signed")
		}
		for query, want := range map[string]int{
			`SELECT COUNT(*) FROM custody_authorisations WHERE owner = 'c-0001'`:                                             0,
			`SELECT COUNT(*) FROM custody_keys WHERE owner = 'c-0001' AND state = 'revoked'`:                                 1,
			`SELECT COUNT(*) FROM custody_keys WHERE owner = 'c-0002' AND state = 'active'`:                                  1,
			`SELECT COUNT(*) FROM custody_wishes WHERE wish = 'revoke'`:                                                      1,
			`SELECT COUNT(*) FROM custody_audit WHERE act = 'account.erase' AND actor = 'c-0001' AND detail = '{"cards":2}'`: 1,
			`SELECT COUNT(*) FROM erasures WHERE participant = 'c-0001' AND session IS NOT NULL`:                             1,
		} {
			if n := r.count(query); n != want {
				t.Errorf("%s: %d, want %d", query, n, want)
			}
		}
		if err := c.Seal(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		if _, err := erase(bystander); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("while custody is sealed: %v", err)
		}
	})
}

// nobodys looks like a token, and is nobody's.
const nobodys = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
