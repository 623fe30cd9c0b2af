//go:build cgo

package terminal

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"cardflow/gm"
	"cardflow/gm/cryptoki"
)

// session is one in a token, with its root found.
type session struct {
	lib  *pkcs11.Ctx
	at   pkcs11.SessionHandle
	root pkcs11.ObjectHandle
}

// openToken logs in to the token, and finds its root, or makes it. It answers which token it is.
func openToken(t Token, pin gm.Secret, makes bool) (rooted, Token, error) {
	lib, err := cryptoki.Library(t.Module)
	if err != nil {
		return nil, t, failf("TOKEN_MISSING", "%w", err)
	}
	slot, serial, err := find(lib, t)
	if err != nil {
		return nil, t, err
	}
	t.Serial = serial
	flags := uint(pkcs11.CKF_SERIAL_SESSION)
	if makes {
		flags |= pkcs11.CKF_RW_SESSION
	}
	s := &session{lib: lib}
	if s.at, err = lib.OpenSession(slot, flags); err != nil {
		return nil, t, tokenError("open a session", err)
	}
	err = lib.Login(s.at, pkcs11.CKU_USER, string(pin))
	if cryptoki.Is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		err = failf("TOKEN_BUSY", "somebody in this process is logged in") // the PIN was not tried
	}
	if err == nil {
		err = s.findRoot()
	}
	if errors.Is(err, errNoRoot) && makes {
		if err = s.makeRoot(); err == nil {
			err = s.findRoot()
		}
	}
	if err != nil {
		s.close()
		return nil, t, tokenError("log in", err)
	}
	return s, t, nil
}

// find finds the slot of a token by its label, and by its own serial number if that is known. A token of the label with another
// number is another one.
func find(lib *pkcs11.Ctx, t Token) (slot uint, serial string, err error) {
	slots, err := lib.GetSlotList(true)
	if err != nil {
		return 0, "", tokenError("list the slots", err)
	}
	found, other := 0, false
	for _, at := range slots {
		info, err := lib.GetTokenInfo(at)
		if err != nil || cryptoki.Text(info.Label) != t.Label {
			continue
		}
		if number := cryptoki.Text(info.SerialNumber); t.Serial == "" || number == t.Serial {
			slot, serial = at, number
			found++
		} else {
			other = true
		}
	}
	switch {
	case found == 1:
		return slot, serial, nil
	case found > 1:
		return 0, "", failf("TOKEN_UNFIT", "%d tokens are called %q", found, t.Label)
	case other:
		return 0, "", Refusal("TOKEN_OTHER")
	}
	return 0, "", Refusal("TOKEN_MISSING").With("label", t.Label)
}

var errNoRoot = errors.New("there is no root in the token")

// findRoot finds the root, and refuses one that could be taken out.
func (s *session) findRoot() error {
	err := s.lib.FindObjectsInit(s.at, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, rootLabel),
	})
	if err != nil {
		return err
	}
	found, _, err := s.lib.FindObjects(s.at, 2)
	if err := errors.Join(err, s.lib.FindObjectsFinal(s.at)); err != nil {
		return err
	}
	switch len(found) {
	case 0:
		return &Error{Code: "TOKEN_OTHER", Err: errNoRoot}
	case 1:
	default:
		return failf("TOKEN_UNFIT", "the token has several keys %q", rootLabel)
	}
	wanted := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
		pkcs11.NewAttribute(pkcs11.CKA_NEVER_EXTRACTABLE, true), pkcs11.NewAttribute(pkcs11.CKA_LOCAL, true),
	}
	got, err := s.lib.GetAttributeValue(s.at, found[0], wanted)
	if err != nil {
		return err
	}
	for i, a := range wanted {
		if string(got[i].Value) != string(a.Value) {
			return failf("TOKEN_UNFIT", "key %q was not made in the token, or can be taken out (attribute %#x)", rootLabel, a.Type)
		}
	}
	s.root = found[0]
	return nil
}

// makeRoot has the token draw the root.
func (s *session) makeRoot() error {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return fmt.Errorf("no randomness: %w", err)
	}
	_, err := s.lib.GenerateKey(s.at, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_GENERIC_SECRET_KEY_GEN, nil)}, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, rootSize), pkcs11.NewAttribute(pkcs11.CKA_LABEL, rootLabel), pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
	})
	if err != nil {
		return failf("TOKEN_UNFIT", "make a root: %w", err)
	}
	return nil
}

// hmac implements [rooted].
func (s *session) hmac(message []byte) (gm.Secret, error) {
	err := s.lib.SignInit(s.at, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_SHA256_HMAC, nil)}, s.root)
	if err != nil {
		return nil, tokenError("compute an HMAC", err)
	}
	sum, err := s.lib.Sign(s.at, message)
	if err != nil {
		return nil, tokenError("compute an HMAC", err)
	}
	return sum, nil
}

// close implements [rooted].
func (s *session) close() {
	_ = s.lib.Logout(s.at)
	_ = s.lib.CloseSession(s.at) // often it is gone
}

// tokenError is what a token's refusal means here.
func tokenError(what string, err error) error {
	var named *Error
	if errors.As(err, &named) {
		return err
	}
	code := "TOKEN_UNFIT"
	switch {
	case cryptoki.Is(err, pkcs11.CKR_PIN_INCORRECT), cryptoki.Is(err, pkcs11.CKR_PIN_INVALID), cryptoki.Is(err, pkcs11.CKR_PIN_LEN_RANGE):
		code = "TOKEN_PIN_WRONG"
	case cryptoki.Is(err, pkcs11.CKR_PIN_LOCKED), cryptoki.Is(err, pkcs11.CKR_PIN_EXPIRED), cryptoki.Is(err, pkcs11.CKR_USER_PIN_NOT_INITIALIZED):
		code = "TOKEN_PIN_LOCKED"
	case cryptoki.Is(err, pkcs11.CKR_TOKEN_NOT_PRESENT), cryptoki.Is(err, pkcs11.CKR_DEVICE_REMOVED), cryptoki.Is(err, pkcs11.CKR_SESSION_HANDLE_INVALID),
		cryptoki.Is(err, pkcs11.CKR_SESSION_CLOSED), cryptoki.Is(err, pkcs11.CKR_SLOT_ID_INVALID), cryptoki.Is(err, pkcs11.CKR_OBJECT_HANDLE_INVALID),
		cryptoki.Is(err, pkcs11.CKR_KEY_HANDLE_INVALID), cryptoki.Is(err, pkcs11.CKR_USER_NOT_LOGGED_IN), cryptoki.Is(err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED):
		code = "TOKEN_GONE"
	}
	return failf(code, "%s: %w", what, err)
}
