package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/go-sql-driver/mysql"

	"cardflow/model"
	"cardflow/transfer"
)

// What a web process does otherwise whose custody is a process of its own: it neither migrates nor makes accounts, and takes
// the data key from there. Whatever it needs of the custodian before it can serve it waits for; later it serves, and says
// that the custodian is away.

// apartLook is how often it looks.
const apartLook = 500 * time.Millisecond

// await asks until the answer is yes, and says once what it waits for.
func (a *App) await(ctx context.Context, what string, yes func() (bool, error)) error {
	tick := time.NewTicker(apartLook)
	defer tick.Stop()
	for said := false; ; said = true {
		if ok, err := yes(); ok || err != nil {
			return err
		}
		if !said {
			a.Logger.Warn("waiting for the custodian", "for", what)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the custodian: %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// noDatabase is MySQL's answer to a user without any right in a database, whether there is one or not.
const noDatabase = 1044

// awaitDatabase opens the database when the custodian has brought it up to date, and has given this process its rights.
func (a *App) awaitDatabase(ctx context.Context, c model.Config) error {
	err := a.await(ctx, "tables of this version, and rights to them", func() (bool, error) {
		db, err := model.Open(ctx, c)
		var refused *mysql.MySQLError
		if errors.As(err, &refused) && refused.Number == noDatabase {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		behind, err := db.Behind(ctx)
		if err != nil || behind {
			return false, errors.Join(err, db.Close())
		}
		a.DB = db
		a.onClose(db.Close)
		return true, nil
	})
	if err != nil {
		return err
	}
	return a.refuseHalfRestored(ctx)
}

// errDataKeys: what the two write nobody would find again.
var errDataKeys = errors.New("数据密钥与密钥托管进程的不同：请把同一个 data.key 放到两边的数据目录")

// sameDataKey gets the data key where there is none, and holds it against the custodian's where there is one, if that
// answers. Whoever may ask for a signature may have it, too: it is the web process's anyway.
func (a *App) sameDataKey(ctx context.Context, r remote) error {
	name := a.Config.Path(a.Config.Vault.DataKeyFile)
	mine, err := os.ReadFile(name)
	if err == nil {
		theirs, err := r.DataKey(ctx)
		defer clear(theirs)
		if errors.Is(err, transfer.ErrCustodyAway) {
			return nil
		}
		if err == nil && !bytes.Equal(mine, theirs) {
			err = errDataKeys
		}
		return err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return a.await(ctx, "the data key", func() (bool, error) {
		key, err := r.DataKey(ctx)
		defer clear(key)
		if errors.Is(err, transfer.ErrCustodyAway) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, transfer.KeepDataKey(name, key)
	})
}
