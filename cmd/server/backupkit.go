package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/transfer/backup"
)

// backupInitCommand is the ceremony of the recovery key.
type backupInitCommand struct {
	SharesFlags `embed:""`
	Yes         bool `help:"Do it. Without it the command tells what would happen."`
	JSON        bool `name:"json" help:"The set of shares and where the kit is, as JSON."`
}

// Run implements the command.
func (c backupInitCommand) Run(e *environment) error {
	name := e.config.Path(e.config.Backup.KitFile)
	if exists(name) {
		return fmt.Errorf("%s is there: bundles made with it need its shares. For a new recovery key, put it elsewhere first", name)
	}
	if err := custody.CanSplit(c.Threshold, c.SharesFlags.Shares); err != nil {
		return err
	}
	if !c.Yes {
		return would(e.stdout, c.JSON, fmt.Sprintf(backupInitWould, c.Shares, c.Threshold, e.config.Backup.KitFile))
	}
	root, err := c.make(e, custody.InShares, "", PKCS11Config{})
	if err != nil {
		return err
	}
	text, recipient, err := backup.NewIdentity()
	if err != nil {
		return err
	}
	secret := gm.Secret(text)
	defer secret.Clear()
	kit := backup.Kit{Recipient: recipient, Set: root.ID()[:16], Threshold: c.Threshold, Shares: c.SharesFlags.Shares}
	if kit.Sealed, err = root.Wrap(e.ctx, rand.Reader, secret, backup.SealedFor(kit.Recipient)); err != nil {
		return err
	}
	if err := writeKit(name, kit); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, map[string]any{"set": kit.Set, "threshold": kit.Threshold, "shares": kit.Shares, "kit": e.config.Backup.KitFile})
	}
	_, err = fmt.Fprintf(e.stdout, "the recovery key is made: set %s\nkit        %s  (not secret; copy it to every server)\n", kit.Set, e.config.Backup.KitFile)
	return err
}

func writeKit(name string, kit backup.Kit) error {
	file, err := json.MarshalIndent(kit, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	if err != nil {
		return err
	}
	return wholeFile(name, 0o644, func(w io.Writer) error { _, err := w.Write(append(file, '\n')); return err })
}

const backupInitWould = `Nothing was done. With --yes:
  a recovery key is drawn and split into %d shares, of which %d are needed
  each is shown once, to its holder; then enough of them are typed back
  the kit is written to %s
Give these shares to other people than those of the root key.
`

// kit reads the recovery kit of this configuration.
func (e *environment) kit() (backup.Kit, error) {
	name := e.config.Path(e.config.Backup.KitFile)
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return backup.Kit{}, fmt.Errorf("没有恢复密钥（%s）：请先执行 server backup init", name)
	}
	if err != nil {
		return backup.Kit{}, err
	}
	defer f.Close()
	return backup.ReadKit(f)
}

// recoveryKey lets holders bring their shares until the recovery key is there.
func (e *environment) recoveryKey(k backup.Kit) (backup.Identity, error) {
	ask := e.asker()
	_, typing := ask.keyboard()
	fmt.Fprintf(e.stderr, "The recovery key is in shares, set %s: %d of %d are needed.\n", k.Set, k.Threshold, k.Shares)
	var shares []custody.Share
	defer func() {
		for _, s := range shares {
			s.Clear()
		}
	}()
	for len(shares) < k.Threshold {
		text, err := ask.share(fmt.Sprintf("Share %d of %d: ", len(shares)+1, k.Threshold))
		if err != nil {
			return nil, err
		}
		s, err := custody.ParseShare(text)
		text.Clear()
		switch {
		case err != nil:
		case s.Set != k.Set, s.Threshold != k.Threshold:
			err = custody.ErrShareForeign
		case slices.ContainsFunc(shares, func(other custody.Share) bool { return other.Index == s.Index }):
			err = custody.ErrShareRepeated
		}
		if known := (*custody.Error)(nil); errors.As(err, &known) {
			text := known.Message
			if known == custody.ErrShareForeign { // whose sentence speaks of the root key
				text = "这一份不属于这个备份的恢复密钥，请核对组号 " + k.Set
				err = fmt.Errorf("%s（%s）", text, known.Code)
			}
			if typing {
				fmt.Fprintln(e.stderr, text)
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		shares = append(shares, s)
	}
	root, err := custody.Combine(shares)
	if err != nil {
		return nil, err
	}
	secret, err := root.Unwrap(e.ctx, k.Sealed, backup.SealedFor(k.Recipient))
	if err != nil {
		return nil, backup.ErrNotForKey
	}
	defer secret.Clear()
	return backup.ParseIdentity(secret)
}
