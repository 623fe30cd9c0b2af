package model_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"cardflow/iccid"
	"cardflow/model"
)

// How SQLite tells the way it takes, see https://www.sqlite.org/eqp.html
var (
	wholeTable = regexp.MustCompile(`^SCAN (segments|lots|trades|acts|s|reservations|lot_parents|card_details|people|accounts|idempotency|custody_audit|custody_anchors|custody_keys|custody_successors|custody_ledger_keys|subscriptions|devices|r)$`)
	byIndex    = regexp.MustCompile(`INDEX ([a-z]\w+)`)
	ways       = []*regexp.Regexp{regexp.MustCompile(`sqlite_autoindex_(\w+)_1`), byIndex, regexp.MustCompile(`SEARCH (\w+) USING PRIMARY KEY`), regexp.MustCompile(`SEARCH (custody_\w+) USING INTEGER PRIMARY KEY`)}
)

// TestLookupsUseTheirIndex: what runs for every trade reads a few rows of one index, however full the tables are. SQLite
// tells its plan without having to be filled; without statistics it is the same plan every time.
func TestLookupsUseTheirIndex(t *testing.T) {
	db := sqliteFile(t)
	settle(t, db)
	addLot(t, db, lot("a", "ann", model.LotSpent), run(0, 9))
	child := lot("b", "ann", model.LotOwned)
	child.Parents = []string{hash("a")}
	addLot(t, db, child, run(0, 9))
	for name, c := range lookups(t) {
		t.Run(name, func(t *testing.T) {
			var used []string
			write(t, db, func(tx *model.Tx) error {
				ran, err := tx.Watch(c.ask)
				if err != nil {
					return err
				}
				for _, sql := range ran {
					plan, err := tx.Rows("EXPLAIN QUERY PLAN " + sql)
					if err != nil {
						return err
					}
					for _, step := range plan {
						detail := step[len(step)-1]
						if wholeTable.MatchString(detail) {
							t.Errorf("%s\nreads a whole table: %s", sql, detail)
						}
						for _, way := range ways {
							if m := way.FindStringSubmatch(detail); m != nil {
								used = append(used, m[1]+map[bool]string{true: "_primary"}[way != byIndex])
								break
							}
						}
					}
				}
				return nil
			})
			slices.Sort(used)
			if used = slices.Compact(used); !slices.Equal(used, c.want) {
				t.Errorf("uses %v, want %v", used, c.want)
			}
		})
	}
}

// aCursor is one of newestFirst's.
var aCursor = base64.RawURLEncoding.EncodeToString([]byte(`{"t":5,"i":"k"}`))

func missingIsFine[T any](_ T, err error) error { return err }

// lookup is a question that is asked for every trade, or every page that somebody opens.
type lookup struct {
	ask  func(tx *model.Tx) error
	want []string // SQLite: the indexes of the table that is searched, in alphabetical order
}

// audit lists the audit, from before a row on.
func audit(f model.AuditFilter, before int64) func(tx *model.Tx) error {
	return func(tx *model.Tx) error {
		cursor := ""
		if before > 0 {
			cursor = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"s":%d}`, before))
		}
		_, err := tx.ListAudit(f, cursor, 10)
		return err
	}
}

func lookups(t *testing.T) map[string]lookup {
	head := run(0, 0).Head
	cards := set(t, run(3, 4), run(6, 7))
	between := run(3, 7)
	return map[string]lookup{
		"the serial numbers of terminals": {func(tx *model.Tx) error { _, err := tx.DeviceSerials([]string{"x", "y"}); return err }, []string{"devices_serial"}},
		"the lot of a card":               {func(tx *model.Tx) error { _, err := tx.LiveSegment(iccid.Luhn, head, 7, 5); return err }, []string{"segments_live"}},
		"an owner's cards":                {func(tx *model.Tx) error { _, err := tx.LiveSegmentsOwned("ann", cards); return err }, []string{"lots_primary", "segments_owner"}},
		"lots that had a card":            {func(tx *model.Tx) error { _, err := tx.SegmentsCovering(iccid.Luhn, head, 7, 5); return err }, []string{"segments_magnitude"}},
		"lineage of a card": {func(tx *model.Tx) error { _, err := tx.Lineage(iccid.Luhn, head, 7, 5); return err },
			[]string{"lot_parents_primary", "lots_primary", "segments_live", "segments_lot_hash"}},
		"search by number": {func(tx *model.Tx) error {
			_, err := tx.FindSegments(model.SegmentFilter{Rule: iccid.Luhn, Range: &between}, "", 10)
			return err
		}, []string{"segments_magnitude"}},
		"inventory by number": {func(tx *model.Tx) error { _, err := tx.AllLiveSegments("ann", "", 10); return err }, []string{"segments_owner"}},
		"messages to use": {func(tx *model.Tx) error {
			_, err := tx.UseSubscription("ann", "return", "e", "t", 1, 1)
			return err
		}, []string{"subscriptions_participant"}},
		"messages about":  {func(tx *model.Tx) error { _, err := tx.SubscriptionsAbout("t"); return err }, []string{"subscriptions_subject"}},
		"messages due":    {func(tx *model.Tx) error { _, err := tx.SubscriptionsDue(9, 10); return err }, []string{"subscriptions_due"}},
		"reserved cards":  {func(tx *model.Tx) error { _, err := tx.ReservedOverlap("ann", cards); return err }, []string{"reservations_owner"}},
		"trade of a code": {func(tx *model.Tx) error { _, err := tx.TradesByCode("x"); return err }, []string{"trades_code_index"}},
		"a seller's trades": {func(tx *model.Tx) error {
			_, err := tx.ListTrades(model.TradeFilter{Participant: "ann", Side: model.Seller}, "", 10)
			return err
		}, []string{"trades_seller"}},
		"a seller's trades of a card by its end": {func(tx *model.Tx) error {
			_, err := tx.ListTrades(model.TradeFilter{Participant: "ann", Side: model.Seller, End: "123456"}, "", 10)
			return err
		}, []string{"segments_lot_hash", "trades_seller"}},
		"some of a seller's trades": {func(tx *model.Tx) error {
			_, err := tx.ListTrades(model.TradeFilter{Participant: "ann", Side: model.Seller, IDs: []string{"a", "b"}}, "", 10)
			return err
		}, []string{"trades_primary"}},
		"an actor's acts of some kinds": {func(tx *model.Tx) error {
			_, err := tx.ListActs(model.ActFilter{Actor: "ann", Functions: []string{"Confirm", "Return"}}, "", 10)
			return err
		}, []string{"acts_actor"}},
		"trades of lots": {func(tx *model.Tx) error { _, err := tx.TradesAmong([]string{"a", "b"}, "ann"); return err }, []string{"trades_lot_hash"}},
		"acts under way": {func(tx *model.Tx) error { _, _, err := tx.UnfinishedActs(); return err }, []string{"acts_state"}},
		"keys to rewrap": {func(tx *model.Tx) error { _, err := tx.CustodyKeysOlder(2); return err }, []string{"custody_keys_kek", "custody_successors_kek"}},
		"keys to rewrap, a batch": {func(tx *model.Tx) error {
			_, err := tx.CustodyKeysUnder(1, model.CustodyKey{ID: "k", CreatedAt: 5}, 10)
			return err
		}, []string{"custody_keys_kek"}},
		"keys that are rewrapped": {func(tx *model.Tx) error {
			_, err := tx.RewrapCustodyKeys([]model.CustodyKey{{ID: "k1", Wrapped: []byte{1}}, {ID: "k2", State: model.CustodyDestroyed}}, 1, 2)
			return err
		}, []string{"custody_keys_primary"}},
		"waiting keys that are rewrapped": {func(tx *model.Tx) error {
			_, err := tx.RewrapSuccessors([]model.CustodyKey{{ID: "k1", Wrapped: []byte{1}}}, 1, 2)
			return err
		}, []string{"custody_successors_primary"}},
		"attempts at acts": {func(tx *model.Tx) error {
			_, err := tx.SignaturesOf([]model.SignedAct{{"ann", "Confirm", "t1"}, {"bob", "Confirm", "t2"}})
			return err
		}, []string{"custody_signatures_attempt"}},
		"what was asked for": {func(tx *model.Tx) error {
			_, err := tx.CustodyAuthorisations([]model.SignedAct{{"ann", "Confirm", "t1"}, {"bob", "Confirm", "t2"}})
			return err
		}, []string{"custody_authorisations_primary"}},
		"said of an act":        {func(tx *model.Tx) error { _, err := tx.AuditSays("x", "sign.refuse", "y"); return err }, []string{"custody_audit_topic"}},
		"newest trades":         {func(tx *model.Tx) error { _, err := tx.ListTrades(model.TradeFilter{}, "", 10); return err }, []string{"trades_created_at"}},
		"expired trades":        {func(tx *model.Tx) error { _, err := tx.ExpiredTrades(now, 10); return err }, []string{"trades_state"}},
		"due acts":              {func(tx *model.Tx) error { _, err := tx.LeaseActs("w", now, now, 10); return err }, []string{"acts_state"}},
		"acts on a trade":       {func(tx *model.Tx) error { _, err := tx.UnfinishedActsOn("t1"); return err }, []string{"acts_subject"}},
		"acts that wait":        {func(tx *model.Tx) error { _, err := tx.WakeWaiters("a1", now); return err }, []string{"acts_waits_for"}},
		"lots of an act":        {func(tx *model.Tx) error { return tx.ReleaseHold("a1") }, []string{"lots_held_by"}},
		"lots of a consumer":    {func(tx *model.Tx) error { _, err := tx.LotsOwnedBy("ann", "", 10); return err }, []string{"lots_owner"}},
		"details of a card":     {func(tx *model.Tx) error { _, err := tx.CardsWithin(iccid.Luhn, run(0, 9), 10); return err }, []string{"card_details_primary"}},
		"a person by name":      {func(tx *model.Tx) error { _ = missingIsFine(tx.PersonByUsername("x")); return nil }, []string{"people_username"}},
		"a WeChat login":        {func(tx *model.Tx) error { _ = missingIsFine(tx.AccountByOpenID("x", "y")); return nil }, []string{"accounts_openid"}},
		"newest anchor":         {func(tx *model.Tx) error { _ = missingIsFine(tx.NewestAuditAnchor("custody")); return nil }, []string{"custody_anchors_primary"}},
		"anchors in order":      {func(tx *model.Tx) error { _, err := tx.AuditAnchors("custody", 7, 10); return err }, []string{"custody_anchors_primary"}},
		"audit, a page":         {audit(model.AuditFilter{}, 7), []string{"custody_audit_primary"}},
		"audit of an actor":     {audit(model.AuditFilter{Actor: "x"}, 7), []string{"custody_audit_actor"}},
		"audit of an act":       {audit(model.AuditFilter{Act: "x"}, 7), []string{"custody_audit_act"}},
		"audit of a key":        {audit(model.AuditFilter{Key: "x"}, 7), []string{"custody_audit_key"}},
		"audit of a subject":    {audit(model.AuditFilter{Subject: "x"}, 0), []string{"custody_audit_key", "custody_audit_topic"}},
		"audit of a time":       {audit(model.AuditFilter{From: now, To: now + 1}, 0), []string{"custody_audit_at", "custody_audit_primary"}},
		"recoveries":            {func(tx *model.Tx) error { _, err := tx.ListRecoveries("", aCursor, 10); return err }, []string{"recoveries_created_at"}},
		"recoveries in a state": {func(tx *model.Tx) error { _, err := tx.ListRecoveries(model.RecoveryWaiting, "", 10); return err }, []string{"recoveries_state"}},
		"a recovery under way":  {func(tx *model.Tx) error { _ = missingIsFine(tx.LiveRecovery("ann")); return nil }, []string{"recoveries_live"}},
		"keys of an owner": {func(tx *model.Tx) error {
			_, err := tx.ListCustodyKeys(model.CustodyKeyFilter{Owner: "ann"}, "", 10)
			return err
		}, []string{"custody_keys_version"}},
		"keys in a state": {func(tx *model.Tx) error {
			_, err := tx.ListCustodyKeys(model.CustodyKeyFilter{State: model.CustodySuspended}, "", 10)
			return err
		}, []string{"custody_keys_state"}},
		"keys in a state, a page on": {func(tx *model.Tx) error {
			_, err := tx.ListCustodyKeys(model.CustodyKeyFilter{State: model.CustodyActive}, aCursor, 10)
			return err
		}, []string{"custody_keys_state"}},
		"keys by age": {func(tx *model.Tx) error {
			_, err := tx.ListCustodyKeys(model.CustodyKeyFilter{From: now, To: now + 1}, "", 10)
			return err
		}, []string{"custody_keys_age"}},
		"old keys in a state": {func(tx *model.Tx) error {
			_, err := tx.ListCustodyKeys(model.CustodyKeyFilter{State: model.CustodyActive, To: now}, "", 10)
			return err
		}, []string{"custody_keys_state"}},
		"keys by the beginning of their IDs": {func(tx *model.Tx) error { _, err := tx.CustodyKeysNamed("ab", 10); return err }, []string{"custody_keys_primary"}},
		"a waiting key":                      {func(tx *model.Tx) error { _ = missingIsFine(tx.SuccessorIn("ann", "account")); return nil }, []string{"custody_successors_slot"}},
		"the ledger's word":                  {func(tx *model.Tx) error { _, err := tx.LedgerKey("k1"); return err }, []string{"custody_ledger_keys_primary"}},
		"an idempotency key":                 {func(tx *model.Tx) error { _ = missingIsFine(tx.Recall("x", "y", "z")); return nil }, []string{"idempotency_primary"}},
	}
}
