package main

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cardflow/model"
)

func (d *demo) verdict() error {
	d.head("核对：数据库与账本逐行比较，审计链与区块链重算")
	if err := d.app.Service.CatchUp(d.ctx); err != nil {
		return err
	}
	start := time.Now()
	if d.app.LedgerFile != nil {
		if err := d.app.LedgerFile.Verify(d.ctx, nil); err != nil {
			d.check(false, "账本：%v", err)
		}
	}
	audit, err := d.app.verifyAudit(d.ctx, "", true, io.Discard)
	if err = cmp.Or(err, audit.Err()); err != nil {
		d.check(false, "审计：%v", err)
	}
	r, err := d.app.Service.Check(d.ctx, nil)
	if err != nil {
		return err
	}
	printReport(d.out, r, audit.Rows, time.Since(start))
	d.check(r.Clean() && r.Cards == 1000, "1,000 张卡，一张不多，一张不少")
	return nil
}

// scan looks for what must stand on no block and in no log: ICCIDs, the code, salts, names.
func (d *demo) scan(dir string) error {
	_, code := d.sold()
	secrets := map[string]string{"卡号": soldCard, "交易码": code, "消费者": "小李", "姓名": demoPersonName, "身份证号": demoPersonNumber}
	err := d.app.DB.Read(d.ctx, func(tx *model.Tx) error {
		lots, err := tx.AllLots("", 500)
		if err != nil {
			return err
		}
		for i, l := range lots {
			salt, err := d.app.Service.Vault.Open("lot/"+l.Hash, l.SaltSealed)
			if err != nil {
				return err
			}
			secrets[fmt.Sprintf("盐 %d", i)] = string(salt)
			secrets[fmt.Sprintf("盐 %d（十六进制）", i)] = hex.EncodeToString(salt)
		}
		return nil
	})
	if err != nil {
		return err
	}
	files := []string{d.app.Config.Path(d.app.Config.Ledger.File), filepath.Join(dir, "demo.log")}
	found := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for what, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				found++
				d.check(false, "%s 里有%s", filepath.Base(name), what)
			}
		}
		for _, f := range demoFiles {
			if bytes.Contains(b, []byte(f.first[:13])) {
				found++
				d.check(false, "%s 里有号段 %s", filepath.Base(name), f.carrier)
			}
		}
	}
	d.check(found == 0, "区块与日志的每个字节里都没有卡号、交易码、盐和姓名")
	return nil
}
