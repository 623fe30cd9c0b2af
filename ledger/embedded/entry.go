package embedded

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"cardflow/ledger"
)

type hash [sha256.Size]byte

func (h hash) String() string { return hex.EncodeToString(h[:]) }

// header is what a block's hash is taken over.
type header struct {
	number   uint64
	previous hash // zero for block 0
	data     hash
	entries  uint32
}

const (
	blockTag = "cardflow/block/1"
	dataTag  = "cardflow/data/1"
)

// hash is SHA-256(tag ‖ number(8) ‖ previous(32) ‖ data(32)), which names everything up to and in the block.
func (h header) hash() hash {
	b := make([]byte, 0, 128)
	b = append(b, blockTag...)
	b = binary.BigEndian.AppendUint64(b, h.number)
	b = append(b, h.previous[:]...)
	b = append(b, h.data[:]...)
	return sha256.Sum256(b)
}

// dataHash is SHA-256(tag ‖ SHA-256(entry) of every entry, in order).
func dataHash(entries [][]byte) hash {
	b := make([]byte, 0, len(dataTag)+len(entries)*sha256.Size)
	b = append(b, dataTag...)
	for _, entry := range entries {
		sum := sha256.Sum256(entry)
		b = append(b, sum[:]...)
	}
	return sha256.Sum256(b)
}

func (h header) bytes() []byte {
	b := make([]byte, 0, 2*sha256.Size+8)
	b = append(b, h.previous[:]...)
	b = append(b, h.data[:]...)
	return binary.BigEndian.AppendUint32(b, h.entries)
}

func headerOf(number uint64, b []byte) (header, error) {
	if len(b) != 2*sha256.Size+4 {
		return header{}, damage("the header of block %d is too short", number)
	}
	h := header{number: number, entries: binary.BigEndian.Uint32(b[2*sha256.Size:])}
	copy(h.previous[:], b)
	copy(h.data[:], b[sha256.Size:])
	return h, nil
}

// An entry is a transaction in a block:
//
//	verdict ‖ ID(32) ‖ seconds ‖ nanoseconds ‖ creator ‖ contract ‖ function ‖ args ‖ writes ‖ event
//
// Numbers are varints, texts and bytes carry their length, lists their count, a write 1 if it deletes, else 0 and its
// value; an event is 0, or 1 with name and payload. It is made in three parts, because all but the verdict is known,
// and encoded, before the transaction is in its place. An invalid one has effects of nothing.

// appendCall appends who proposed what, and when.
func appendCall(b []byte, id hash, at time.Time, creator string, p ledger.Proposal) []byte {
	b = append(b, id[:]...)
	b = binary.AppendVarint(b, at.Unix())
	b = binary.AppendUvarint(b, uint64(at.Nanosecond()))
	b = appendText(b, creator)
	b = appendText(b, p.Contract)
	b = appendText(b, p.Function)
	b = binary.AppendUvarint(b, uint64(len(p.Args)))
	for _, arg := range p.Args {
		b = appendText(b, arg)
	}
	return b
}

// appendEffects appends what a valid transaction does.
func appendEffects(b []byte, writes []ledger.Write, event *ledger.Event) []byte {
	b = binary.AppendUvarint(b, uint64(len(writes)))
	for _, w := range writes {
		b = appendText(b, w.Contract)
		b = appendText(b, w.Key)
		if w.Deleted {
			b = append(b, 1)
			continue
		}
		b = append(b, 0)
		b = appendText(b, w.Value)
	}
	if event == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	b = appendText(b, event.Name)
	return appendText(b, event.Payload)
}

// joinEntry puts the parts together.
func joinEntry(verdict ledger.Validation, call, effects []byte) []byte {
	b := make([]byte, 0, len(verdict)+1+len(call)+len(effects))
	b = appendText(b, string(verdict))
	b = append(b, call...)
	return append(b, effects...)
}

func appendText[T string | []byte](b []byte, text T) []byte {
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

// decodeEntry reads an entry. It copies: the result outlives the bytes.
func decodeEntry(at version, b []byte) (ledger.Transaction, error) {
	d := decoder{rest: b}
	tx := ledger.Transaction{BlockNumber: at.block, Index: int(at.index)}
	tx.Validation = ledger.Validation(d.text())
	tx.ID = hex.EncodeToString(d.take(sha256.Size))
	seconds, nanoseconds := d.signed(), d.number()
	tx.Time = time.Unix(seconds, int64(nanoseconds%1e9)).UTC()
	tx.Creator, tx.Contract, tx.Function = d.text(), d.text(), d.text()
	for n := d.count(); n > 0; n-- {
		tx.Args = append(tx.Args, []byte(d.text()))
	}
	for n := d.count(); n > 0; n-- {
		w := ledger.Write{Contract: d.text(), Key: d.text(), Deleted: d.flag()}
		if !w.Deleted {
			w.Value = []byte(d.text())
		}
		tx.Writes = append(tx.Writes, w)
	}
	if d.flag() {
		tx.Event = &ledger.Event{Name: d.text(), Payload: []byte(d.text())}
	}
	if d.err == nil && len(d.rest) > 0 {
		d.err = errSyntax
	}
	if d.err != nil {
		return ledger.Transaction{}, damage("entry %d of block %d: %v", at.index, at.block, d.err)
	}
	return tx, nil
}

var errSyntax = errors.New("it can't be read")

// decoder reads fields off the front of its bytes. After an error every field is empty.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n > len(d.rest) {
		d.err = errSyntax
		return nil
	}
	field := d.rest[:n]
	d.rest = d.rest[n:]
	return field
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.rest)
	return read(d, v, n)
}

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.rest)
	return read(d, v, n)
}

func read[T uint64 | int64](d *decoder, v T, n int) T {
	if d.err != nil || n <= 0 {
		d.err = errSyntax
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count reads how many follow, each at least a byte: a length that lies can't make anyone allocate more than he holds.
func (d *decoder) count() int {
	n := d.number()
	if d.err != nil || n > uint64(len(d.rest)) {
		d.err = errSyntax
		return 0
	}
	return int(n)
}

func (d *decoder) text() string { return string(d.take(d.count())) }

func (d *decoder) flag() bool {
	b := d.take(1)
	if len(b) == 1 && b[0] > 1 {
		d.err = errSyntax
	}
	return len(b) == 1 && b[0] == 1
}
