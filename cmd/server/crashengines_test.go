//go:build crash

package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"

	"cardflow/cmd/stack/local"
)

// both starts two servers and lets everybody work at them while something happens.
func (w *world) both(happens func(), env ...string) {
	w.Helper()
	servers := []*process{w.start(1, nil, env...), w.start(2, nil, env...)}
	w.during(servers, func() {
		w.hears(10)
		happens()
		w.hears(10)
	})
	w.stop(servers...)
}

// pause is how long something is away.
func (w *world) pause(d time.Duration) { <-time.After(d) }

// mariadbDies: MariaDB is killed under the servers, and comes back.
func (w *world) mariadbDies() {
	w.both(func() {
		for range form(2, 8) {
			check(w, w.full.MariaDB.Kill())
			w.counts()
			check(w, w.full.MariaDB.Start(soon(w.T)))
			w.measure("MariaDB is back: a new write is committed", w.serves(time.Now()))
			w.hears(form(20, 60))
		}
		// An operator restarts it.
		check(w, w.full.MariaDB.Stop())
		check(w, w.full.MariaDB.Start(soon(w.T)))
	})
}

// redisForgets: Redis is flushed, killed, and replaced by an empty one.
func (w *world) redisForgets() {
	w.both(func() {
		r := w.full.Redis
		for range form(1, 4) {
			admin := redis.NewClient(&redis.Options{Addr: r.Addr(), Password: r.Password()})
			check(w, admin.FlushAll(soon(w.T)).Err())
			check(w, admin.Close())
			w.hears(20)
			check(w, r.Kill())
			w.counts()
			w.pause(time.Second)
			check(w, r.Start(soon(w.T)))
			w.measure("Redis is back: a new write is committed", w.serves(time.Now()))
			w.hears(20)
			check(w, r.Kill())
			w.counts()
			check(w, os.RemoveAll(filepath.Join(w.full.Dir, "redis", "appendonlydir")))
			check(w, r.Start(soon(w.T)))
			w.hears(20)
		}
	})
}

// The peers. Nothing is endorsed without the carrier's.
const (
	carrierPeer   = "peer0.carrier.cardflow.example"
	platformPeer  = "peer0.platform.cardflow.example"
	regulatorPeer = "peer0.regulator.cardflow.example"
)

// peersDie: one peer after the other is killed. With two left that satisfy the policy nothing fails, and nothing waits for
// long; without the carrier's everything waits for it.
func (w *world) peersDie() {
	w.both(func() {
		for range form(1, 4) {
			for _, name := range []string{platformPeer, regulatorPeer, carrierPeer} {
				killed := time.Now()
				check(w, w.full.Fabric.Kill(name))
				w.counts()
				if name != carrierPeer {
					w.hears(form(40, 120))
					w.measure("the slowest write while a peer is down", w.market.slowest(killed))
				} else {
					w.pause(2 * time.Second)
				}
				check(w, w.full.Fabric.Start(soon(w.T), name))
				w.hears(10)
			}
		}
	})
}

// slowest is how long the slowest of the confirmations took that were accepted since a moment and have ended.
func (m *market) slowest(since time.Time) (longest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.fates {
		if f.accepted.After(since) && !f.told.IsZero() {
			longest = max(longest, f.told.Sub(f.accepted))
		}
	}
	return longest
}

// leaderDies: the orderers' leader is killed under load. What was on its way ends, and so does what comes meanwhile.
func (w *world) leaderDies() {
	w.both(func() {
		for range form(1, 6) {
			leader, err := w.full.Fabric.Leader(soon(w.T))
			check(w, err)
			w.until("some to be on their way", func() bool { return len(w.market.flying()) > 5 })
			killed, flying := time.Now(), w.market.flying()
			check(w, w.full.Fabric.Kill(leader))
			w.counts()
			w.measure("the orderers' leader is dead: what was sent has ended", w.landed(flying, killed))
			w.hears(20)
			w.measure("… and the slowest of what came afterwards", w.market.slowest(killed))
			check(w, w.full.Fabric.Start(soon(w.T), leader))
			w.until("a leader", func() bool {
				_, err := w.full.Fabric.Leader(soon(w.T))
				return err == nil
			})
			w.hears(form(10, 60))
		}
	})
}

// networkCut: the cables between the servers and what they need are cut.
func (w *world) networkCut() {
	profile, fabric := w.profileByCable()
	dsn, database := w.databaseByCable()
	cache := newCable(w.T, w.full.Redis.TLSAddr())
	env := []string{"CARDFLOW_LEDGER_FABRIC_PROFILE=" + profile, "CARDFLOW_DATABASE_DSN=" + dsn, "CARDFLOW_REDIS_ADDR=" + cache.addr()}
	everything := append([]*cable{database, cache}, fabric...)
	w.both(func() {
		for _, c := range []struct {
			name string
			cut  []*cable
			away time.Duration
		}{
			{"Fabric", fabric, form(3*time.Second, 20*time.Second)},
			{"MariaDB", []*cable{database}, form(3*time.Second, 40*time.Second)},
			{"everything", everything, form(3*time.Second, 20*time.Second)},
		} {
			for _, how := range []struct {
				name string
				cut  func(*cable)
			}{{"broken", (*cable).breaks}, {"silent", (*cable).falls}} {
				name, flying := "the network to "+c.name+" was "+how.name, w.market.flying()
				for _, each := range c.cut {
					how.cut(each)
				}
				w.say("%s", name)
				w.pause(c.away)
				for _, each := range c.cut {
					each.mend()
				}
				mended := time.Now()
				w.measure(name+": a new write", w.serves(mended))
				w.measure(name+": what was sent", w.landed(flying, mended))
				w.hears(20)
			}
		}
	}, env...)
}

// profileByCable writes a connection profile that leads to peers and orderers by cables.
func (w *world) profileByCable() (file string, cables []*cable) {
	w.Helper()
	text, err := os.ReadFile(w.full.Fabric.Profile())
	check(w, err)
	profile := string(text)
	for _, s := range w.full.Fabric.Servers() {
		addr := "url: " + local.Address(s.Port)
		if !strings.Contains(profile, addr) {
			continue
		}
		c := newCable(w.T, local.Address(s.Port))
		cables = append(cables, c)
		profile = strings.ReplaceAll(profile, addr, "url: "+c.addr())
	}
	if len(cables) != 6 {
		w.Fatalf("the profile has %d peers and orderers", len(cables))
	}
	file = filepath.Join(w.full.Fabric.Dir(), "connection-by-cable.yaml") // beside the certificates
	check(w, os.WriteFile(file, []byte(profile), 0o600))
	return file, cables
}

// databaseByCable is the DSN by which MariaDB is reached by a cable.
func (w *world) databaseByCable() (string, *cable) {
	w.Helper()
	dsn, err := mysql.ParseDSN(w.full.MariaDB.DSN())
	check(w, err)
	c := newCable(w.T, dsn.Addr)
	dsn.Addr = c.addr()
	return dsn.FormatDSN(), c
}
