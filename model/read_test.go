package model_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"cardflow/model"
	"cardflow/model/modeltest"
)

// crowd fills a MySQL database with what somebody else does: n is 0 to 9,999 in each statement. SQLite answers by which
// index it goes without being filled; MySQL decides by what there is.
var crowd = []string{
	`INSERT INTO participants (id, role, kind, name, state, frozen, created_at, registered_at)
		SELECT CONCAT('p', n), 'consumer', 'consumer', NULL, 'registered', '[]', n, n FROM numbers`,
	`INSERT INTO people (id, participant_id, username, password_hash, roles, must_change, state, created_at, last_login_at, failed_logins, locked_until)
		SELECT CONCAT('m', n), 'retailer', CONCAT('user', n), '', '[]', 0, 'active', n, 0, 0, 0 FROM numbers`,
	`INSERT INTO accounts (id, app_id, openid_index, participant_id, created_at, last_login_at)
		SELECT CONCAT('a', n), 'wx', CONCAT('o', n), CONCAT('p', n), n, 0 FROM numbers`,
	`INSERT INTO lots (hash, issuer, rule, owner, status, frozen, retail_policy, restrictions, card_count, segment_count, parents, children, version,
			held_by, made_by_act, reversed_until, block_number, created_at, updated_at, owned_since)
		SELECT CONCAT('l', n), 'carrier', 'LUHN', IF(n % 2, 'bob', 'retailer'), ELT(1 + n % 3, 'OWNED', 'IN_TRADE', 'SPENT'), '[]', 'OPEN', '[]', 10, 1, '[]', '[]', 1,
			IF(n % 100, NULL, CONCAT('h', n)), CONCAT('act', n), 0, n, n, n, n FROM numbers`,
	`INSERT INTO lot_parents (child, parent) SELECT CONCAT('l', n), CONCAT('l', n + 1) FROM numbers WHERE n < 9000`,
	`INSERT INTO segments (lot_hash, owner, live, rule, head, width, lo, hi, card_count, magnitude)
		SELECT CONCAT('l', n), IF(n % 2, 'bob', 'retailer'), n % 3 <> 2, 'LUHN', '898600000000', 7, 1000 + 20 * n, 1009 + 20 * n, 10, 2 FROM numbers`,
	`INSERT INTO trades (id, mode, lot_hash, seller, receiver, state, live_code, code_index, count, offered_at, expires_at, offer_block, end_block, ended_at, created_at)
		SELECT CONCAT('t', n), 'BEARER', CONCAT('l', n), 'retailer', IF(n % 2, 'bob', NULL), ELT(1 + n % 4, 'offered', 'confirmed', 'confirming', 'released'),
			NULL, CONCAT('c', n), 1, n, 9000000000000, 1, 0, 0, n FROM numbers`,
	"INSERT INTO acts (id, `function`, contract, actor, subject, state, attempt, not_after, request_id, tx_id, sent, tries, lease_until, next_at, waits_for, block_number, committed_at, created_at, updated_at, deadline)" +
		`SELECT CONCAT('act', n), 'Confirm', 'ownership', IF(n % 2, 'bob', 'retailer'), CONCAT('t', n), IF(n % 80, 'committed', 'submitted'), 1, 0, CONCAT('r', n), CONCAT('x', n), 1, 0, 0,
			9000000000000, IF(n % 80, NULL, CONCAT('w', n)), n, n, n, n, 0 FROM numbers`,
	`INSERT INTO reservations (act_id, owner, rule, head, width, lo, hi) SELECT CONCAT('act', n), 'bob', 'LUHN', '898600000000', 7, 20 * n, 20 * n + 9 FROM numbers`,
	`INSERT INTO idempotency (actor, route, idempotency_key, body_digest, status, created_at) SELECT CONCAT('p', n), 'POST /trades', CONCAT('k', n), '', 0, n FROM numbers`,
	`INSERT INTO card_details (head, width, tail, rule, owner_carrier, created_at) SELECT '898600000000', 7, 100000 + n, 'LUHN', 'carrier', n FROM numbers`,
	`ANALYZE TABLE participants, people, accounts, lots, lot_parents, segments, trades, acts, reservations, idempotency, card_details`,
}

// numbers is a table of them, for as long as the connection lives.
const numbers = `CREATE TEMPORARY TABLE numbers AS SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n AS n FROM
	(SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) a,
	(SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) b,
	(SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) c,
	(SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) d`

// TestLookupsReadFewRows: on MySQL with tables of ten thousand rows, what is asked for every trade touches a few of them.
func TestLookupsReadFewRows(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return // see TestLookupsUseTheirIndex
	}
	t.Parallel()
	db := modeltest.Open(t)
	settle(t, db)
	write(t, db, func(tx *model.Tx) error {
		// What a record has beside these columns is as good as empty here.
		lax, strict := "SET SESSION sql_mode = ''", "SET SESSION sql_mode = 'TRADITIONAL,NO_ENGINE_SUBSTITUTION'"
		for _, statement := range slices.Concat([]string{lax, numbers}, crowd, []string{strict}) {
			if err := tx.Exec(statement); err != nil {
				return err
			}
		}
		return nil
	})
	addLot(t, db, lot("a", "ann", model.LotSpent), run(0, 9))
	child := lot("b", "ann", model.LotOwned)
	child.Parents = []string{hash("a")}
	addLot(t, db, child, run(0, 9))

	const few = 200
	for name, c := range lookups(t) {
		write(t, db, func(tx *model.Tx) error {
			before := rowsRead(t, tx)
			if err := c.ask(tx); err != nil {
				return err
			}
			n := rowsRead(t, tx) - before
			t.Logf("%s: %d rows", name, n)
			if n > few {
				t.Errorf("%s: %d rows are read", name, n)
				for _, sql := range must(tx.Watch(c.ask)) {
					plan, err := tx.Rows("EXPLAIN " + sql)
					t.Logf("%s\n%v %v", sql, plan, err)
				}
			}
			return nil
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// rowsRead is how many rows this connection has read, by whatever way.
func rowsRead(t *testing.T, tx *model.Tx) int {
	t.Helper()
	rows, err := tx.Rows("SHOW SESSION STATUS LIKE 'Handler_read%'")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, r := range rows {
		n, err := strconv.Atoi(r[1])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(r[0], "deleted") {
			sum += n
		}
	}
	return sum
}
