//go:build cgo

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"cardflow/iccid"
	"cardflow/terminal/terminaltest"
)

// softHSM is a token in files: SoftHSM2, from the package softhsm2.
const softHSM = "/usr/lib/softhsm/libsofthsm2.so"

// TestToken: a terminal whose key's root is in a token, from its enrolment to a sale.
func TestToken(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	err := errors.Join(os.Mkdir(filepath.Join(dir, "tokens"), 0o700),
		os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\nlog.level = ERROR\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "pin"), []byte("73914682\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", "counter", "--pin", "73914682", "--so-pin", "00000000").CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util: %v: %s", err, out)
	}
	g := terminaltest.New(t)
	p := person{t, filepath.Join(dir, "terminal"), filepath.Join(dir, "pin")}
	enrol := []string{"enrol", "--server", g.URL, "--ticket", g.Ticket(seller), "--serial", "SN-0001", "--pkcs11", softHSM, "--token"}
	_, errs := p.run(1, "", append(enrol, "no such token")...)
	holds(t, errs, "TOKEN_MISSING")
	p.run(0, "", append(enrol, "counter")...)
	_, errs = p.run(1, "", enrol[:7]...) // without a token: another key
	holds(t, errs, "STORE_EXISTS", "--dir")
	_, errs = p.run(1, "", append(enrol, "counter")...)
	holds(t, errs, "ENROLLED_ALREADY")
	said, _ := p.run(0, "", "status")
	holds(t, said, "正常", "由令牌自己计数")
	g.Give(seller.ID, number(0), number(99), iccid.Luhn)
	said, _ = p.run(0, number(7)+"\n", "out", "--yes")
	holds(t, said, "已上链")
	if err := os.WriteFile(p.pin, []byte("00000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs = p.run(1, "", "stock")
	holds(t, errs, "TOKEN_PIN_WRONG")
}
