package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"

	"cardflow/iccid"
	"cardflow/model"
	"cardflow/transfer/realname"
)

// registration is a real name as answers show it.
type registration struct {
	ID, State, Method string
	Carrier           party
	Reason            struct{ Code, Message, Text string }
}

// approval is the same to the carrier's people.
type approval struct {
	ID, Kind, State, Name, IDNumber, Finding, Consumer string
}

// strictCard is the n-th card of China Mobile's that only those may have whose real name it has checked.
func strictCard(n int) string { return fmt.Sprintf("898604B7192270%06d", 277000+n) }

// TestRealNames tells the way to a card for which the law wants a name, over HTTP on a whole server: what is refused
// before, what can't be right, the verifier, the approver, the sale; and that nothing of who he is is left anywhere.
func TestRealNames(t *testing.T) {
	t.Parallel()
	s := openSite(t, demoWorld(t), crowded)
	carrier, shop := s.staff("yidong"), s.staff("xiaowang")
	var made struct{ Confirmations []confirmation }
	carrier.post("/lots", map[string]any{"segments": []any{cards(strictCard(0), strictCard(9))}, "retailPolicy": "REAL_NAME"}, &made)
	for _, c := range made.Confirmations {
		if end, err := carrier.await(soon(t), c.ConfirmationID); err != nil {
			t.Fatalf("issue: %+v, %v", end, err)
		}
	}
	down := carrier.offers("NAMED", "xiaowang", cards(strictCard(0), strictCard(9)))
	shop.done("/trades/"+down.TradeID+"/confirm", nil)
	offer := shop.offers("BEARER", "", cards(strictCard(0), strictCard(0)))

	const name = "司马实名"
	number := realname.Example(321)
	buyer := s.consumer("实名买家")
	var seen struct {
		Requires []string
		Carrier  party
	}
	proof := map[string]string{"code": offer.Code, "iccidLast6": iccid.Last6(strictCard(0))}
	buyer.post("/trade-codes/lookup", proof, &seen)
	if len(seen.Requires) != 1 || seen.Requires[0] != "real_name" || seen.Carrier.ID != "cmcc" || seen.Carrier.Name != "中国移动" {
		t.Errorf("he sees %+v", seen)
	}
	confirm := "/trades/" + offer.TradeID + "/confirm"
	buyer.refused(409, "REAL_NAME_REQUIRED", http.MethodPost, confirm, proof)

	const at = "/me/real-name"
	good := func(change ...string) map[string]any {
		in := map[string]any{"carrier": "cmcc", "name": name, "idNumber": number, "consent": true}
		for i := 0; i+1 < len(change); i += 2 {
			in[change[i]] = change[i+1]
		}
		return in
	}
	for code, in := range map[string]map[string]any{
		"CONSENT_REQUIRED":     {"carrier": "cmcc", "name": name, "idNumber": number},
		"NAME_INVALID":         good("name", "司"),
		"ID_NUMBER_LENGTH":     good("idNumber", number[:17]),
		"ID_NUMBER_OLD":        good("idNumber", number[:15]),
		"ID_NUMBER_CHARACTERS": good("idNumber", "O"+number[1:]),
		"ID_NUMBER_REGION":     good("idNumber", "00"+number[2:]),
		"ID_NUMBER_BIRTHDAY":   good("idNumber", number[:10]+"1332"+number[14:]),
		"ID_NUMBER_CHECKSUM":   good("idNumber", number[:16]+string('0'+('9'-number[16]))+number[17:]),
		"CARRIER_UNKNOWN":      good("carrier", "hualian"),
		"CARRIER_REQUIRED":     good("carrier", ""),
		"REAL_NAME_METHOD":     good("credential", "demo:both of them"),
		"FIELD_UNKNOWN":        good("passport", "E12345678"),
	} {
		buyer.refused(400, code, http.MethodPost, at, in)
	}
	buyer.refused(409, "REAL_NAME_NOTHING", http.MethodPost, at+"/withdraw", map[string]string{"carrier": "cmcc"})
	shop.refused(403, "FORBIDDEN", http.MethodPost, at, good())
	shop.refused(403, "FORBIDDEN", http.MethodGet, "/approvals", nil)
	buyer.refused(403, "FORBIDDEN", http.MethodGet, "/approvals", nil)

	// The verifier says no at once, with a reason; then it is put right.
	var mine registration
	buyer.post(at, good("name", "司马不符"), &mine)
	if mine.State != "refused" || mine.Reason.Code != "MISMATCH" || !chinese(mine.Reason.Message) {
		t.Errorf("%+v", mine)
	}
	buyer.post(at, good(), &mine)
	if mine.State != "pending" || mine.Carrier.ID != "cmcc" {
		t.Fatalf("%+v", mine)
	}
	buyer.refused(409, "REAL_NAME_PENDING", http.MethodPost, at, good())
	buyer.refused(409, "REAL_NAME_REQUIRED", http.MethodPost, confirm, proof)

	var waiting items[approval]
	carrier.get("/approvals", &waiting)
	if len(waiting.Items) != 1 || waiting.Items[0].ID != mine.ID || waiting.Items[0].Name != "司***" || waiting.Items[0].Finding != "CONFIRMED" {
		t.Fatalf("the carrier sees %+v", waiting)
	}
	var whole approval
	carrier.get("/approvals/"+mine.ID, &whole)
	if whole.Name != name || whole.IDNumber != number {
		t.Errorf("the approver does not see who it is")
	}
	s.staff("liantong").refused(404, "APPROVAL_NOT_FOUND", http.MethodPost, "/approvals/"+mine.ID+"/approve", nil)
	carrier.refused(400, "REFUSAL_INVALID", http.MethodPost, "/approvals/"+mine.ID+"/refuse", map[string]string{"reason": "TOO_LATE"})
	carrier.done("/approvals/"+mine.ID+"/approve", nil)
	carrier.refused(409, "APPROVAL_DECIDED", http.MethodPost, "/approvals/"+mine.ID+"/refuse", map[string]string{"reason": "OTHER"})
	s.stands(buyer, "approved")
	var again struct{ RealName string }
	s.visitor("again").post("/wechat/login", map[string]string{"code": "demo:实名买家"}, &again)
	if again.RealName != "approved" {
		t.Errorf("his next login says %q", again.RealName)
	}
	buyer.refused(409, "REAL_NAME_APPROVED", http.MethodPost, at, good())
	buyer.done(confirm, proof)
	// By credential, from another account: the same person, and so the same ten cards.
	other := s.consumer("实名买家二")
	credential := map[string]any{"carrier": "cmcc", "credential": "demo:" + name + ":" + number, "consent": true}
	other.post(at, credential, &mine)
	carrier.done("/approvals/"+mine.ID+"/approve", nil)
	s.stands(other, "approved")
	other.post(at+"/withdraw", map[string]string{"carrier": "cmcc"}, &mine)
	if mine.State != "none" {
		t.Errorf("%+v", mine)
	}
	carrier.get("/approvals", &waiting)
	if len(waiting.Items) != 1 || waiting.Items[0].Kind != "REVOKE" {
		t.Fatalf("the carrier sees %+v", waiting)
	}
	carrier.refused(409, "WITHDRAWAL_BINDING", http.MethodPost, "/approvals/"+mine.ID+"/refuse", map[string]string{"reason": "OTHER"})
	carrier.done("/approvals/"+mine.ID+"/approve", nil)
	s.fsck()

	// Nothing of who they are is left: not in a row, not in a digest of one, not in a file or in the log.
	known := &secrets{needles: map[string][]string{}, last6: map[string]bool{}}
	known.text("name", name, "司马不符", fmt.Sprintf("%+q", name)[1:25])
	known.text("number", number, number[:17])
	known.text("credential", credential["credential"].(string))
	for _, body := range []map[string]any{good(), credential} {
		text, err := json.Marshal(body)
		check(t, err)
		digest := sha256.Sum256(text)
		known.bytes("digest of a request", digest[:])
	}
	digest := sha256.Sum256([]byte(number))
	known.bytes("digest of a number", digest[:])
	look := func(what string, b []byte) {
		t.Helper()
		for kind, needles := range known.needles {
			for _, needle := range needles {
				if bytes.Contains(b, []byte(needle)) {
					t.Errorf("%s: holds a %s", what, kind)
				}
			}
		}
	}
	look("a row", s.rows())
	look("the log", []byte(s.log.String()))
	files := []string{s.Config.Path(s.Config.Ledger.File), s.Config.Path(s.Config.Vault.JournalFile)}
	if s.Config.Database.Driver == model.SQLite {
		files = append(files, s.Config.SQLiteFile(), s.Config.SQLiteFile()+"-wal") // with what is deleted and not overwritten yet
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		check(t, err)
		look(name, b)
	}
	if b := s.rows(); !bytes.Contains(b, []byte("xiaowang")) || !bytes.Contains(b, []byte("CREDENTIAL")) {
		t.Error("the rows do not hold what they should")
	}
}

// stands waits until a consumer's registration is so far.
func (s *site) stands(v *visitor, state string) {
	s.t.Helper()
	deadline := soon(s.t)
	for {
		var all struct{ State string }
		v.get("/me/real-name", &all)
		if all.State == state {
			return
		}
		if deadline.Err() != nil {
			s.t.Fatalf("the real name is %s, not %s", all.State, state)
		}
	}
}

// rows are all values of all rows of the database.
func (s *site) rows() []byte {
	s.t.Helper()
	var b bytes.Buffer
	check(s.t, s.DB.Read(soon(s.t), func(tx *model.Tx) error {
		tables, err := tx.Tables()
		if err != nil {
			return err
		}
		for _, table := range tables {
			if err := tx.EachRow(table, func(row []any) error {
				for _, value := range row {
					if v, ok := value.([]byte); ok {
						b.Write(v)
					} else {
						fmt.Fprintf(&b, "|%v", value)
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	return b.Bytes()
}
