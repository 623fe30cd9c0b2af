package wechat

import (
	"fmt"
	"log/slog"
)

// The codes of an [Error]. They are stable: clients and alarms match on them.
const (
	CodeInvalid         = "WECHAT_CODE_INVALID"      // unknown, expired, malformed, another mini-program's
	CodeUsed            = "WECHAT_CODE_USED"         // a code works once
	CodeTooFrequent     = "WECHAT_TOO_FREQUENT"      // this person, this minute
	CodeUserBlocked     = "WECHAT_USER_BLOCKED"      // WeChat's risk control
	CodeBusy            = "WECHAT_BUSY"              // WeChat says so itself
	CodeUnavailable     = "WECHAT_UNAVAILABLE"       // no answer, or none that can be read
	CodeRefused         = "WECHAT_REFUSED"           // the person did not subscribe: normal
	CodeQuota           = "WECHAT_QUOTA"             // the mini-program, this minute or day
	CodePageUnpublished = "WECHAT_PAGE_UNPUBLISHED"  // the page is not in the published build
	CodeSceneInvalid    = "WECHAT_SCENE_INVALID"     // 1 to 32 of WeChat's visible characters, no %
	CodePageInvalid     = "WECHAT_PAGE_INVALID"      // refused here, without a request
	CodeRecipient       = "WECHAT_RECIPIENT_INVALID" // an openid that is not of this mini-program
	CodeTemplate        = "WECHAT_TEMPLATE_INVALID"
	CodeMessage         = "WECHAT_MESSAGE_INVALID"  // a field breaks its template's rule
	CodeTokenRejected   = "WECHAT_TOKEN_REJECTED"   // a fresh access token too: another system forces renewals
	CodeMisconfigured   = "WECHAT_MISCONFIGURED"    // AppID, secret, IP list, permissions: for ops
	CodeUnexpected      = "WECHAT_UNEXPECTED_ERROR" // a number that is not in the table below
)

// Error is every failure of this package. It never holds a URL, the secret, a token, a code or an openid: it is built
// from WeChat's number alone, never from the library's error, whose text quotes the URL with the app secret in it.
type Error struct {
	Code    string // one of the constants above
	WeChat  int    // WeChat's errcode; 0 when there was none
	Message string // a Chinese sentence for the person
	// Retryable: the same wish may be granted if asked again a little later. Login and PhoneNumber need a fresh code
	// from the mini-program for it: never send one twice.
	Retryable bool

	reason string // why there was no answer, in one word, for ops
	rid    string // WeChat's request id, which its support asks for
	cause  error  // a context's error, or nil
}

// ErrRefusedByUser matches, by errors.Is, a message that the person has not subscribed to. It is normal: he has
// consented to fewer messages than there were. Show it in the app instead.
var ErrRefusedByUser error = &Error{Code: CodeRefused}

// Error implements error. It is fit for logs; for the person take Message.
func (e *Error) Error() string {
	s := "wechat: " + e.Code
	if e.WeChat != 0 {
		s += fmt.Sprintf(" (errcode %d)", e.WeChat)
	}
	if e.reason != "" {
		s += ": " + e.reason
	}
	return s
}

// Is matches an Error of the same Code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Unwrap gives context.Canceled or context.DeadlineExceeded when one of them ended the call, else nil.
func (e *Error) Unwrap() error { return e.cause }

// level: what a person does is information, what WeChat does a warning, what ops must mend an error.
func (e *Error) level() slog.Level {
	switch e.Code {
	case CodeMisconfigured, CodeUnexpected, CodeTokenRejected, CodeTemplate, CodeMessage, CodePageUnpublished:
		return slog.LevelError
	case CodeUnavailable, CodeBusy, CodeQuota:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

type class struct {
	message   string
	retryable bool
}

var classes = map[string]class{
	CodeInvalid:         {"微信授权码无效或已过期，请重新操作", false},
	CodeUsed:            {"微信授权码已被使用，请重新操作", false},
	CodeTooFrequent:     {"操作太频繁，请一分钟后再试", true},
	CodeUserBlocked:     {"微信判定该账号存在风险，暂时不能登录，请联系微信客服", false},
	CodeBusy:            {"微信系统繁忙，请稍后再试", true},
	CodeUnavailable:     {"暂时连接不上微信，请稍后再试", true},
	CodeRefused:         {"用户未订阅该消息，请在小程序内查看", false},
	CodeQuota:           {"微信接口调用次数已达上限，请稍后再试", true},
	CodePageUnpublished: {"小程序页面尚未发布，请联系管理员", false},
	CodeSceneInvalid:    {"小程序码参数不合规：限 1 到 32 个字母、数字或常用符号，且不能含 %", false},
	CodePageInvalid:     {"小程序页面路径不合规：开头不加 /，不带参数", false},
	CodeRecipient:       {"接收人不是本小程序的用户，无法发送", false},
	CodeTemplate:        {"消息模板不可用，请联系管理员", false},
	CodeMessage:         {"消息内容不符合模板要求，请联系管理员", false},
	CodeTokenRejected:   {"微信接口凭证失效，请稍后再试", true},
	CodeMisconfigured:   {"微信服务配置有误，请联系管理员", false},
	CodeUnexpected:      {"微信返回了未知错误，请联系管理员", false},
}

// codes gives WeChat's numbers their meaning. A number that is missing here means CodeUnexpected: not retried, shown to ops.
var codes = map[int]string{
	-1:    CodeBusy,
	40029: CodeInvalid, // invalid code
	41008: CodeInvalid, // missing code
	40163: CodeUsed,    // code been used
	45011: CodeTooFrequent,
	40226: CodeUserBlocked, // code blocked
	45009: CodeQuota,       // reach max api daily (or minute) quota limit
	43101: CodeRefused,     // user refuse to accept the msg
	41030: CodePageUnpublished,
	40169: CodeSceneInvalid, // invalid length for scene
	40003: CodeRecipient,    // invalid openid
	40037: CodeTemplate,     // invalid template_id
	47003: CodeMessage,      // argument invalid
	40001: CodeTokenRejected,
	40014: CodeTokenRejected,
	42001: CodeTokenRejected,
	40013: CodeMisconfigured, // invalid appid
	40125: CodeMisconfigured, // invalid appsecret
	40164: CodeMisconfigured, // this server's IP is not on the account's list
	40243: CodeMisconfigured, // appsecret frozen
	41002: CodeMisconfigured, // appid missing
	41004: CodeMisconfigured, // appsecret missing
	48001: CodeMisconfigured, // api unauthorized
	50002: CodeMisconfigured, // account limited
}

// newError is the one place where an Error is made.
func newError(code string) *Error {
	c := classes[code]
	return &Error{Code: code, Message: c.message, Retryable: c.retryable}
}

// fromErrcode makes the Error of WeChat's number n, which isn't 0.
func fromErrcode(n int) *Error {
	code, ok := codes[n]
	if !ok {
		code = CodeUnexpected
	}
	e := newError(code)
	e.WeChat = n
	return e
}

func unavailable(reason string, cause error) *Error {
	e := newError(CodeUnavailable)
	e.reason, e.cause = reason, cause
	return e
}
