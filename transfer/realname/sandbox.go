package realname

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Sandbox is a verifier for development and tests: what it answers is written into what it is asked. It knows nobody.
//
//   - A name that ends in 不符 doesn't fit its number, 查无 is nowhere to be found, 人工 has to be looked at by a person,
//     and at 超时 it doesn't answer. Whoever else comes is confirmed.
//   - The credential demo:姓名:身份证号 stands for that person, bare:… for one whose number it doesn't tell, expired:… is too
//     old. Any other is none.
type Sandbox struct{ Clock func() time.Time }

// ErrSilent is what a verifier says that doesn't answer.
var ErrSilent = errors.New("the verifier does not answer")

// Name is what registrations say who has checked them.
func (Sandbox) Name() string { return "sandbox" }

// Methods are those that it can check.
func (Sandbox) Methods() []Method { return []Method{ByNumber, ByCredential} }

// Verify answers as the script says.
func (s Sandbox) Verify(_ context.Context, _ string, who Identity) (Answer, error) {
	if who.Credential != "" {
		kind, rest, _ := strings.Cut(who.Credential, ":")
		switch kind {
		case "demo":
		case "bare":
			return Answer{Outcome: Confirmed}, nil
		case "expired":
			return Answer{Outcome: Denied, Reason: "CREDENTIAL_EXPIRED"}, nil
		default:
			return Answer{Outcome: Denied, Reason: "CREDENTIAL_INVALID"}, nil
		}
		name, number, _ := strings.Cut(rest, ":")
		var err error
		if who.Name, err = ParseName(name); err == nil {
			who.IDNumber, err = ParseIDNumber(number, s.Clock())
		}
		if err != nil {
			return Answer{Outcome: Denied, Reason: "CREDENTIAL_INVALID"}, nil
		}
	}
	answer := Answer{Outcome: Confirmed, Identity: Identity{Name: who.Name, IDNumber: who.IDNumber}}
	switch {
	case strings.HasSuffix(who.Name, "不符"):
		answer.Outcome, answer.Reason = Denied, "MISMATCH"
	case strings.HasSuffix(who.Name, "查无"):
		answer.Outcome, answer.Reason = Denied, "NOT_FOUND"
	case strings.HasSuffix(who.Name, "人工"):
		answer.Outcome = Unclear
	case strings.HasSuffix(who.Name, "超时"):
		return Answer{}, ErrSilent
	}
	return answer, nil
}

// ParseCredential bounds what is passed on to a verifier.
func ParseCredential(typed string) (string, error) {
	typed = strings.TrimSpace(typed)
	if len(typed) < 8 || len(typed) > 2048 {
		return "", CredentialMisshape
	}
	for _, r := range typed {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return "", CredentialMisshape
		}
	}
	return typed, nil
}
