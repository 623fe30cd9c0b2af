package fabric

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go/common"
)

// script is a source that does as a test says: each time it is opened it plays the next part.
type script struct {
	parts   []string // words: a number is a block, "!" an error, "." waits for the end; "" can't be opened
	opened  []uint64
	fetched []uint64
	missing map[uint64]bool // that can't be fetched
	begun   int             // streams
	ended   int
	pauses  int
}

func (s *script) source() source {
	return source{
		open: func(_ context.Context, from uint64) (func(context.Context) (*common.Block, error), func(), error) {
			s.opened = append(s.opened, from)
			if len(s.parts) == 0 || s.parts[0] == "" {
				s.parts = s.parts[min(1, len(s.parts)):]
				return nil, nil, errors.New("nobody is there")
			}
			words := strings.Fields(s.parts[0])
			s.parts, s.begun = s.parts[1:], s.begun+1
			next := func(ctx context.Context) (*common.Block, error) {
				if len(words) == 0 || words[0] == "!" {
					return nil, errors.New("the stream broke")
				}
				word := words[0]
				words = words[1:]
				if word == "." {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return numbered(word), nil
			}
			return next, func() { s.ended++ }, nil
		},
		fetch: func(_ context.Context, number uint64) (*common.Block, error) {
			s.fetched = append(s.fetched, number)
			if s.missing[number] {
				delete(s.missing, number)
				return nil, errors.New("not now")
			}
			return numbered(fmt.Sprint(number)), nil
		},
		pause: func(context.Context) { s.pauses++ },
	}
}

func numbered(word string) *common.Block {
	var n uint64
	if _, err := fmt.Sscan(word, &n); err != nil {
		return &common.Block{}
	}
	return &common.Block{Header: &common.BlockHeader{Number: n}}
}

// TestFollow: whatever a peer leaves out, repeats or breaks off, the reader gets every number once, in order.
func TestFollow(t *testing.T) {
	for name, c := range map[string]struct {
		parts   []string
		missing []uint64
		want    string // numbers, in order, from 5 on
		opened  string
		fetched string
		err     string
	}{
		"as it should be":                    {parts: []string{"5 6 7"}, want: "5 6 7", opened: "5"},
		"a stream that breaks":               {parts: []string{"5 !", "6 !", "7"}, want: "5 6 7", opened: "5 6 7"},
		"a gap at the start":                 {parts: []string{"7"}, want: "5 6 7", opened: "5", fetched: "5 6"},
		"a gap in the middle":                {parts: []string{"5 7 8"}, want: "5 6 7 8", opened: "5", fetched: "6"},
		"the newest, reconnected":            {parts: []string{"5 !", "9"}, want: "5 6 7 8 9", opened: "5 6", fetched: "6 7 8"},
		"blocks that come again":             {parts: []string{"5 6 5 6 4 7"}, want: "5 6 7", opened: "5"},
		"from before":                        {parts: []string{"3 4 5"}, want: "5", opened: "5"},
		"a gap that can't be filled at once": {parts: []string{"5 8", "6 7 8"}, missing: []uint64{6}, want: "5 6 7 8", opened: "5 6", fetched: "6"},
		"half a gap filled":                  {parts: []string{"5 8", "7 8"}, missing: []uint64{7}, want: "5 6 7 8", opened: "5 7", fetched: "6 7"},
		"nobody for a while":                 {parts: []string{"", "", "", "5"}, want: "5", opened: "5 5 5 5"},
		"nobody any more":                    {parts: []string{"5"}, want: "5", opened: "5 6 6 6 6 6", err: "block 6: nobody is there"},
		"a block without header":             {parts: []string{"x", "5"}, want: "5", opened: "5 5"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{parts: c.parts, missing: map[uint64]bool{}}
			for _, n := range c.missing {
				s.missing[n] = true
			}
			want := strings.Fields(c.want)
			var got []string
			var failed error
			for b, err := range follow(context.Background(), 5, s.source()) {
				if err != nil {
					failed = err
					break
				}
				got = append(got, fmt.Sprint(b.Header.Number))
				if len(got) == len(want) && c.err == "" {
					break
				}
			}
			if !slices.Equal(got, want) || list(s.opened) != c.opened || list(s.fetched) != c.fetched {
				t.Errorf("blocks %v, opened at %v, fetched %v", got, s.opened, s.fetched)
			}
			if (failed == nil) != (c.err == "") || failed != nil && failed.Error() != c.err {
				t.Errorf("error is %v, want %s", failed, c.err)
			}
			if s.ended != s.begun {
				t.Errorf("%d streams were opened, %d ended", s.begun, s.ended)
			}
		})
	}
}

func list(numbers []uint64) string { return strings.Trim(fmt.Sprint(numbers), "[]") }

// TestFollowIsLetGo: a reader who has had enough, in whatever place, and a context that ends, leave no stream open.
func TestFollowIsLetGo(t *testing.T) {
	for _, after := range []int{1, 2, 3} { // at the first, in a gap, after it
		s := &script{parts: []string{"5 7 8 9"}}
		n := 0
		for range follow(context.Background(), 5, s.source()) {
			if n++; n == after {
				break
			}
		}
		if s.ended != 1 {
			t.Errorf("after %d blocks %d streams were ended", after, s.ended)
		}
	}
	s := &script{parts: []string{"5 ."}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for b, err := range follow(ctx, 5, s.source()) {
		if err != nil || b.Header.Number != 5 {
			t.Errorf("block %v, %v", b, err)
		}
		cancel()
	}
	if s.ended != 1 || s.pauses != 0 {
		t.Errorf("%d streams were ended, after %d pauses", s.ended, s.pauses)
	}
}

// TestChoosePeer: the most preferred first, then whoever failed longest ago.
func TestChoosePeer(t *testing.T) {
	r := newRig(t)
	src := r.source()
	// None of them listens, so each that is tried is shunned, and the next one comes.
	var order []string
	for range 4 {
		_, _, err := src.open(t.Context(), 0)
		for _, p := range r.peers {
			if err != nil && strings.HasPrefix(err.Error(), "peer "+p.name+":") {
				order = append(order, p.msp)
			}
		}
	}
	if want := []string{"PlatformMSP", "CarrierMSP", "RegulatorMSP", "PlatformMSP"}; !slices.Equal(order, want) {
		t.Errorf("peers are tried in the order %v, want %v", order, want)
	}
	for _, p := range r.peers {
		r.chain.lost(p)
	}
	if _, _, err := src.open(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "no peer") {
		t.Errorf("with nobody up: %v", err)
	}
}
