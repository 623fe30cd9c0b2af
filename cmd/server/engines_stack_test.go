//go:build stack

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
)

// TestEnginesDie runs a server on a MariaDB and a Redis of its own, by TLS and with the least rights, and kills each of the
// two while people work. People are told to come back, whoever was told "accepted" finds it done once, and after Redis
// has forgotten everything they log in again.
func TestEnginesDie(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, err := local.StartMariaDB(soon(t), local.MariaDBConfig{Dir: filepath.Join(dir, "mariadb"), Tied: true})
	check(t, err)
	t.Cleanup(func() { check(t, m.Stop()) })
	r, err := local.StartRedis(soon(t), local.RedisConfig{Dir: filepath.Join(dir, "redis"), Tied: true, Fast: true})
	check(t, err)
	t.Cleanup(func() { check(t, r.Stop()) })

	s := openSite(t, filepath.Join(dir, "data"), crowded, func(c *Config) {
		c.Database = DatabaseConfig{Driver: "mysql", DSN: NewSecret(m.DSN()), CAFile: m.CA()}
		c.Redis = RedisConfig{Addr: r.TLSAddr(), Username: local.RedisUser, Password: NewSecret(r.UserPassword()), TLS: true, CAFile: r.CA(), KeyPrefix: "cardflow:"}
		c.Relay.Lease, c.Limits.WrongCodes = 2*time.Second, Rate{100, time.Minute} // he confirms twelve at once
	})
	_, err = s.Seed(soon(t))
	check(t, err)
	shop, li := s.staff("xiaowang"), s.consumer("小李")
	var offers []trade
	for n := range 12 {
		card := fmt.Sprintf("898604B719227027%04d", 4050+n)
		offers = append(offers, shop.offers("BEARER", "", cards(card, card)))
	}

	// Everybody confirms; the database dies under them, and comes back.
	var all sync.WaitGroup
	for n, o := range offers {
		all.Go(func() {
			key := fmt.Sprint("confirm-", n)
			until(t, "an answer", func() bool {
				var c confirmation
				err := li.ask(key, "/trades/"+o.TradeID+"/confirm", shows(o), &c)
				var refused *apiError
				if err != nil && (!errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable) {
					t.Errorf("confirm %d: %v", n, err)
				}
				return err == nil || t.Failed()
			})
		})
		if n == len(offers)/2 {
			check(t, m.Kill())
			check(t, m.Start(soon(t)))
		}
	}
	all.Wait()
	until(t, "all to be his", func() bool {
		var page items[struct{ ICCID string }]
		err := li.call(soon(t), http.MethodGet, "/me/cards?limit=100", nil, &page)
		return err == nil && len(page.Items) == len(offers)
	})

	// Redis dies, keeps nothing, and comes back.
	check(t, r.Kill())
	li.refused(503, "UNAVAILABLE", http.MethodGet, "/me", nil)
	if a := li.raw(http.MethodGet, s.URL+"/readyz", nil); a.status != 503 {
		t.Errorf("ready without Redis: %d", a.status)
	}
	check(t, r.Start(soon(t)))
	until(t, "it to be ready again", func() bool { return li.raw(http.MethodGet, s.URL+"/readyz", nil).status == 200 })
	li.refused(401, "UNAUTHENTICATED", http.MethodGet, "/me", nil)
	li = s.consumer("小李")
	if got := li.owns(); len(got) != len(offers) {
		t.Errorf("he owns %d cards, and bought %d", len(got), len(offers))
	}
	if rep := s.fsck(); rep.Cards != 1000 {
		t.Errorf("%d cards", rep.Cards)
	}
}

// ask makes a write under a key of the caller's.
func (v *visitor) ask(key, path string, body, out any) error {
	b, err := json.Marshal(body)
	check(v.t, err)
	req, err := http.NewRequestWithContext(soon(v.t), http.MethodPost, v.base+path, bytes.NewReader(b))
	check(v.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	return v.do(req, out)
}
