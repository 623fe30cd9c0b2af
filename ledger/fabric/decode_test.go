package fabric

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cardflow/ledger"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	pb "github.com/hyperledger/fabric-protos-go/peer"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenBlocks are blocks of a real network, recorded by TestRecord, in order.
func goldenBlocks(t *testing.T) (blocks []*common.Block) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.block")
	if err != nil || len(files) < 6 {
		t.Fatalf("golden blocks: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b common.Block
		if err := proto.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		blocks = append(blocks, &b)
	}
	slices.SortFunc(blocks, func(a, b *common.Block) int { return int(a.Header.Number) - int(b.Header.Number) })
	return blocks
}

// TestDecodeBlocks holds the decoding of recorded blocks against golden files, and their hashes against each other: Fabric
// itself has put the hash of each into the next.
func TestDecodeBlocks(t *testing.T) {
	var before *ledger.Block
	for _, raw := range goldenBlocks(t) {
		b, err := decodeBlock(raw)
		if err != nil {
			t.Fatalf("block %d: %v", raw.Header.Number, err)
		}
		got, err := json.MarshalIndent(b, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", strconv.FormatUint(b.Number, 10)+".json")
		if *update {
			write(t, golden, append(got, '\n'))
		}
		want, err := os.ReadFile(golden)
		if err != nil || strings.TrimSpace(string(want)) != string(got) {
			t.Errorf("block %d is\n%s\nwant\n%s, %v", b.Number, got, want, err)
		}
		if before != nil && before.Number+1 == b.Number && b.PreviousHash != before.Hash {
			t.Errorf("block %d follows on %s, the hash of the one before it is %s", b.Number, b.PreviousHash, before.Hash)
		}
		before = &b
	}
}

// TestDecodeRubbish: what a peer has found invalid may be anything, and holds nobody up. What it calls valid must make
// sense.
func TestDecodeRubbish(t *testing.T) {
	blocks := goldenBlocks(t)
	entry := blocks[len(blocks)-1].Data.Data[0]
	damaged := func(i int) []byte { b := slices.Clone(entry); b[i] ^= 0xff; return b }
	entries := map[string][]byte{"nothing": {}, "noise": []byte("\xff\xff\xff"), "half": entry[:len(entry)/2]}
	for i := 0; i < len(entry); i += 97 {
		entries["damaged at "+strconv.Itoa(i)] = damaged(i)
	}
	for name, text := range entries {
		b := sealed([][]byte{text, entry}, pb.TxValidationCode_BAD_PAYLOAD, pb.TxValidationCode_VALID)
		decoded, err := decodeBlock(b)
		if err != nil || len(decoded.Transactions) == 0 {
			t.Errorf("%s: %v, %d transactions", name, err, len(decoded.Transactions))
			continue
		}
		if tx := decoded.Transactions[0]; len(decoded.Transactions) == 2 && (tx.Validation != "BAD_PAYLOAD" || tx.Writes != nil || tx.Event != nil) {
			t.Errorf("%s: it is %+v", name, tx)
		}
		if last := decoded.Transactions[len(decoded.Transactions)-1]; last.Validation != ledger.Valid || last.Index != 1 || len(last.Writes) == 0 {
			t.Errorf("%s: what follows it is %+v", name, last)
		}
	}
	for _, name := range []string{"noise", "half"} {
		if _, err := decodeBlock(sealed([][]byte{entries[name]}, pb.TxValidationCode_VALID)); err == nil {
			t.Errorf("%s is valid", name)
		}
	}
	if _, err := decodeBlock(&common.Block{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a block of nothing: %v", err)
	}
	unjudged := sealed([][]byte{entry})
	unjudged.Metadata = nil
	if b, err := decodeBlock(unjudged); err != nil || b.Transactions[0].Validation != "NOT_VALIDATED" {
		t.Errorf("a block that no peer has judged: %v, %+v", err, b)
	}
}

// sealed makes a block of entries, with the hash that they have.
func sealed(entries [][]byte, codes ...pb.TxValidationCode) *common.Block {
	filter := make([]byte, len(entries))
	for i, c := range codes {
		filter[i] = byte(c)
	}
	metadata := make([][]byte, common.BlockMetadataIndex_TRANSACTIONS_FILTER+1)
	metadata[common.BlockMetadataIndex_TRANSACTIONS_FILTER] = filter
	return &common.Block{
		Header: &common.BlockHeader{Number: 9, DataHash: dataHash(entries)}, Data: &common.BlockData{Data: entries},
		Metadata: &common.BlockMetadata{Metadata: metadata},
	}
}

// FuzzDecodeEnvelope: whatever stands in a block, decoding ends, and does not panic.
func FuzzDecodeEnvelope(f *testing.F) {
	files, err := filepath.Glob("testdata/*.block")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var b common.Block
		if err := proto.Unmarshal(text, &b); err != nil {
			f.Fatal(err)
		}
		for _, entry := range b.Data.Data {
			f.Add(entry)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var tx ledger.Transaction
		if is, err := decodeEnvelope(text, &tx); err == nil && is && tx.ID == "" && tx.Contract == "" && len(text) == 0 {
			t.Error("nothing is a transaction")
		}
	})
}
