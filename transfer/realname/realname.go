// Package realname is what the registration of a real name is about, apart from how it goes on: an identity, how its
// parts are read from what people type, and what a verifier of identities may answer.
//
// The promise: an identity prints as [secret], whatever prints it; and what can't be right is refused here, before it is
// stored or shown to anybody.
package realname

import (
	"fmt"
	"io"
)

// Method is the way in which somebody shows who he is.
type Method string

// The methods.
const (
	// ByNumber is a name and the number of a resident's identity card (居民身份证).
	ByNumber Method = "ID_NUMBER"
	// ByCredential is the credential of the national network identity service (网号、网证): what the service gave him for
	// this once, and only it can read.
	ByCredential Method = "CREDENTIAL"
)

// Identity is who somebody says he is, in one of the two ways.
type Identity struct {
	Name       string `json:"name,omitempty"`
	IDNumber   string `json:"idNumber,omitempty"` // 18 characters, see ParseIDNumber
	Credential string `json:"credential,omitempty"`
}

// Format keeps identities out of everything that is printed.
func (Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// Outcome is what a verifier says of an identity.
type Outcome string

// The outcomes.
const (
	Confirmed Outcome = "CONFIRMED" // there is such a person, and it is he, as far as the verifier can tell
	Denied    Outcome = "DENIED"    // there isn't, or it isn't
	Unclear   Outcome = "UNCLEAR"   // a person has to look
)

// Answer is what a verifier answers.
type Answer struct {
	Outcome Outcome
	Reason  string // of Denied: one of Reasons
	// Identity is what a credential stands for. Without a number nobody can count whose cards they are, so that a
	// credential is confirmed only with one.
	Identity Identity
}

// Reasons why an identity is refused, with what its owner reads of it.
var Reasons = map[string]string{
	"MISMATCH":           "姓名与身份证号不一致，请核对后重新提交",
	"NOT_FOUND":          "没有查到这个身份证号，请核对后重新提交",
	"DOCUMENT_INVALID":   "证件已过期或已注销，请用有效的证件重新提交",
	"CREDENTIAL_INVALID": "网络身份凭证无效，请重新获取，或改用姓名和身份证号",
	"CREDENTIAL_EXPIRED": "网络身份凭证已过期，请重新获取后提交",
	"CREDENTIAL_BARE":    "网络身份凭证没有提供身份证号，无法登记，请改用姓名和身份证号",
	"OVER_LIMIT":         "您在这家电信企业名下的卡已达上限，不能再登记",
	"TOO_LATE":           "电信企业没有在规定时间内审核，您的信息已删除，请重新提交",
	"OTHER":              "电信企业没有通过您的登记，请联系电信企业客服",
}
