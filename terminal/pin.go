package terminal

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"cardflow/gm"
	"cardflow/terminal/protocol"
)

// Pins are the gateway keys whose answers count, the newest last.
func (s *State) Pins() ([]gm.PublicKey, error) {
	list, err := all[protocol.GatewayKey](s, bucketGateway)
	keys := make([]gm.PublicKey, 0, len(list))
	for _, k := range list {
		keys = append(keys, k.Public)
	}
	return keys, err
}

// Repin puts a gateway's list, which begins with the newest, in the place of the keys that are pinned. The list came in an answer that one of them, signer,
// has signed, and signer must stand in it: a key that is no longer in the list was retired, and counts no more. Errors:
// GATEWAY_LIST_WRONG.
func (s *State) Repin(list []protocol.GatewayKey, signer string, now int64) error {
	for _, k := range list {
		if k.Public.IsZero() || k.Public.KeyID() != k.ID {
			return failf("GATEWAY_LIST_WRONG", "a key has another name than its own")
		}
	}
	if !slices.ContainsFunc(list, func(k protocol.GatewayKey) bool { return k.ID == signer }) {
		return failf("GATEWAY_LIST_WRONG", "the key that signed the list is not in it")
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketGateway); err != nil {
			return err
		}
		b, err := tx.CreateBucket(bucketGateway)
		if err != nil {
			return err
		}
		for i, k := range list {
			if k.ValidUntil != 0 && k.ValidUntil <= now && k.ID != signer {
				continue
			}
			if err := put(b, fmt.Appendf(nil, "%06d %s", len(list)-i, k.ID), k); err != nil {
				return err
			}
		}
		return nil
	})
}
