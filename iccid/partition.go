package iccid

import "slices"

// Partition checks that outputs are exactly the cards of inputs, cut up anew:
// nothing lost, nothing added, nothing twice. This is the check that keeps a card
// from being sold twice; the ledger makes it on openings nobody can forge.
// It takes O(s log s) for s segments in all, whatever their cards.
//
// Errors: ICCID_EMPTY if there is no input or some set is empty; RULE_MISMATCH;
// ICCID_DUPLICATE if two inputs or two outputs share a card; PARTITION_MISMATCH.
func Partition(inputs, outputs []Set) error {
	if len(inputs) == 0 {
		return emptyError()
	}
	rule := inputs[0].Rule
	before, err := pool(rule, inputs)
	if err != nil {
		return err
	}
	after, err := pool(rule, outputs)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return newError(CodePartition, "转出的卡与原有的卡不一致（有遗漏或多出），请刷新库存后重新选择", "")
	}
	return nil
}

// pool joins the segments of disjoint sets. It knows no MaxSegments: each set has
// its own bound.
func pool(rule Rule, sets []Set) ([]Segment, error) {
	var segs []Segment
	for _, s := range sets {
		if s.Empty() {
			return nil, emptyError()
		}
		if s.Rule != rule {
			return nil, ruleMismatchError()
		}
		segs = append(segs, s.segs...)
	}
	return join(rule, segs)
}

func ruleMismatchError() *Error {
	return newError(CodeRuleMismatch, "这些卡的编号规则不同，不能放在一起办理，请按运营商分开", "")
}
