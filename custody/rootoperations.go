package custody

import (
	"context"
	"fmt"
	"strings"

	"cardflow/model"
)

// What is done to the root and to the key-encryption keys, and takes two people.
const (
	OperationRotateRoot = "root.rotate"
	OperationRotateKEK  = "kek.rotate"
)

// RotateRoot are the arguments of root.rotate: put the root that waits in the place of the one in use.
type RotateRoot struct {
	Root string `json:"root"` // its ID
}

// RotateKEK are the arguments of kek.rotate: make a key-encryption key, and put all keys under it.
type RotateKEK struct {
	After int `json:"after"` // the version of the one that is the newest now
}

func (c *Custody) registerRoots() {
	Operate(c.Dangerous, OperationRotateRoot,
		func(ctx context.Context, tx *model.Tx, a RotateRoot) (string, error) {
			n, keks, err := c.nextRoot(ctx, tx, a.Root)
			if err != nil {
				return "", err
			}
			old, err := rootNamed(tx, n.BeforeID)
			if err != nil {
				return "", err
			}
			var text strings.Builder
			fmt.Fprintf(&text, "更换根密钥\n现在的：%s\n更换为：%s\n", rootTitle(old), rootTitle(model.CustodyRoot{ID: n.ID, Kind: n.Kind, Threshold: n.Threshold, Shares: n.Shares}))
			fmt.Fprintf(&text, "新根密钥由 %s 制作，已在持有人手中\n制作于 %s\n", n.MadeBy, n.MadeAt)
			fmt.Fprintf(&text, "%d 把密钥加密密钥改由它保护，托管密钥不变，签名不中断\n旧根密钥从此不能打开本数据库；每台服务器下次启动需要新根密钥", len(keks))
			return text.String(), nil
		},
		func(ctx context.Context, x *Execution, a RotateRoot) error {
			return x.Commit(ctx, func(tx *model.Tx) error {
				detail, err := c.swapRoot(ctx, tx, a.Root)
				if err != nil {
					return err
				}
				return x.Record(ctx, tx, actRoot, a.Root, detail)
			})
		})
	Operate(c.Dangerous, OperationRotateKEK,
		func(_ context.Context, tx *model.Tx, a RotateKEK) (string, error) {
			keks, err := tx.CustodyKEKs()
			if err != nil {
				return "", err
			}
			newest := keks[len(keks)-1]
			if newest.Version != a.After {
				return "", fmt.Errorf("the newest key-encryption key is %d: %w", newest.Version, ErrRootMoved)
			}
			root, err := rootNamed(tx, newest.RootID)
			return fmt.Sprintf("制作第 %d 版密钥加密密钥，由现在的根密钥保护\n根密钥：%s\n新密钥立即由它保护，其余托管密钥由服务器在后台逐批改用，签名不中断\n根密钥更换以后没有重启过的服务器，从此停止签名", a.After+1, rootTitle(root)), err
		},
		func(ctx context.Context, x *Execution, a RotateKEK) error {
			made, err := c.followingKEK(ctx, a.After)
			if err != nil {
				return err
			}
			stored := false
			err = x.Commit(ctx, func(tx *model.Tx) error {
				stored = true
				return c.addKEK(ctx, tx, made, x.Approver, map[string]any{"proposal": x.ID})
			})
			if err != nil || !stored {
				c.keys.forget(made.Version)
			}
			return err
		})
}

// rootTitle says which root it is.
func rootTitle(r model.CustodyRoot) string {
	switch RootKind(r.Kind) {
	case InShares:
		return fmt.Sprintf("%d 份中的 %d 份（%s）", r.Shares, r.Threshold, r.ID)
	case InToken:
		return fmt.Sprintf("密码设备（%s）", r.ID)
	}
	return fmt.Sprintf("文件（%s）", r.ID)
}
