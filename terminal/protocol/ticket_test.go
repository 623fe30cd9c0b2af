package protocol_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardflow/terminal/protocol"
)

const (
	secret  = "abcdefghijklmnopqrstuvwxyz"
	gateway = "00112233445566778899aabbccddeeff"
)

func TestTicket(t *testing.T) {
	want, err := protocol.NewTicket("o-carrier.north_1", secret, gateway)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{want.Text(), " " + want.Text() + "\n", want.Text()[:20] + "\n  " + want.Text()[20:]} {
		got, err := protocol.ParseTicket(text)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if out := fmt.Sprintf(verb, want); strings.Contains(out, secret) {
			t.Errorf("%s prints the secret: %s", verb, out)
		}
	}
	for _, bad := range []string{
		"", "CFT1", "CFT2.o-a1." + secret + "." + gateway, "CFT1.o." + secret + "." + gateway, "CFT1.o-a1." + secret[1:] + "." + gateway,
		"CFT1.o-a1." + strings.ToUpper(secret) + "." + gateway, "CFT1.o-a1." + secret + "." + gateway[1:], "CFT1.o-a1." + secret + "." + gateway + "0",
		want.Text() + want.Text(),
	} {
		if got, err := protocol.ParseTicket(bad); !errors.Is(err, protocol.ErrTicket) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

func TestSerialHash(t *testing.T) {
	a, b := [32]byte{1}, [32]byte{2}
	if protocol.SerialHash(a, "SN-1") == protocol.SerialHash(b, "SN-1") || protocol.SerialHash(a, "SN-1") == protocol.SerialHash(a, "SN-2") {
		t.Error("two serials, or two salts, have one hash")
	}
	for serial, valid := range map[string]bool{"SN-00017": true, "A1B2": true, "": false, "A1B": false, "-A1B2": false, "sn-1": false, "SN 17": false, strings.Repeat("A", 32): true, strings.Repeat("A", 33): false} {
		if protocol.ValidSerial(serial) != valid {
			t.Errorf("serial %q: %v", serial, !valid)
		}
	}
}

func FuzzParseTicket(f *testing.F) {
	f.Add("CFT1.o-a1." + secret + "." + gateway)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := protocol.ParseTicket(text)
		if err != nil {
			return
		}
		if again, err := protocol.ParseTicket(got.Text()); err != nil || again != got {
			t.Errorf("%q: %v", text, err)
		}
	})
}
