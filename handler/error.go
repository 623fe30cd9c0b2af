package handler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"cardflow/custody"
	"cardflow/transfer"
	"cardflow/wechat"
)

// Kinds that only HTTP knows, after those of transfer.
const (
	unauthenticated transfer.Kind = iota + 100
	methodNotAllowed
	tooLarge
	wrongMediaType
	clientGone
)

// statusOf is the one place where an error becomes an HTTP status.
var statusOf = map[transfer.Kind]int{
	transfer.Internal:    http.StatusInternalServerError,
	transfer.Invalid:     http.StatusBadRequest,
	transfer.Forbidden:   http.StatusForbidden,
	transfer.NotFound:    http.StatusNotFound,
	transfer.Conflict:    http.StatusConflict,
	transfer.Mismatch:    http.StatusUnprocessableEntity,
	transfer.TooMany:     http.StatusTooManyRequests,
	transfer.Unavailable: http.StatusServiceUnavailable,
	transfer.Stale:       http.StatusUnauthorized,
	unauthenticated:      http.StatusUnauthorized,
	methodNotAllowed:     http.StatusMethodNotAllowed,
	tooLarge:             http.StatusRequestEntityTooLarge,
	wrongMediaType:       http.StatusUnsupportedMediaType,
	clientGone:           499, // as nginx logs it: nobody is there to read it
}

type entry struct {
	kind    transfer.Kind
	message string
}

// own are the codes of errors that belong to HTTP. The codes of the use cases are in transfer, WeChat's in wechat.
var own = map[string]entry{
	"UNAUTHENTICATED":          {unauthenticated, "请先登录，或登录已过期，请重新登录"},
	"LOGIN_FAILED":             {unauthenticated, "用户名或密码不正确"},
	"PASSWORD_WRONG":           {transfer.Forbidden, "旧密码不正确"},
	"PASSWORD_CHANGE_REQUIRED": {transfer.Forbidden, "请先修改初始密码"},
	"METHOD_NOT_ALLOWED":       {methodNotAllowed, "这个地址不支持这种请求方法"},
	"RATE_LIMITED":             {transfer.TooMany, "操作太频繁，请稍后再试"},
	"REQUEST_TIMEOUT":          {transfer.Unavailable, "处理超时，请稍后用同一个 Idempotency-Key 重试"},
	"REQUEST_ABANDONED":        {clientGone, "请求已被客户端取消"},
	"BODY_TOO_LARGE":           {tooLarge, "请求内容太大，请减少后重试"},
	"BODY_TRUNCATED":           {transfer.Invalid, "请求内容不完整，请重新提交"},
	"BODY_UNEXPECTED":          {transfer.Invalid, "这个请求不应带有内容"},
	"CONTENT_TYPE_UNSUPPORTED": {wrongMediaType, "请求的 Content-Type 不正确，请更新客户端后重试"},
	"TEXT_NOT_UTF8":            {transfer.Invalid, "请求内容不是合法的 UTF-8 文本"},
	"JSON_INVALID":             {transfer.Invalid, "请求内容不是合法的 JSON"},
	"JSON_TOO_DEEP":            {transfer.Invalid, "请求内容的嵌套层数太多"},
	"JSON_NAME_REPEATED":       {transfer.Invalid, "请求内容里有重复的字段"},
	"FIELD_UNKNOWN":            {transfer.Invalid, "请求里有不认识的字段，请核对字段名"},
	"FIELD_INVALID":            {transfer.Invalid, "有字段缺失或格式不对，请核对后重试"},
	"QUERY_UNKNOWN":            {transfer.Invalid, "网址里有不认识的参数；卡号不能写在网址里"},
	"QUERY_INVALID":            {transfer.Invalid, "网址里的参数格式不对"},
	"IDEMPOTENCY_KEY_INVALID":  {transfer.Invalid, "Idempotency-Key 应为 8 到 128 个可见的 ASCII 字符"},
	"ENVELOPE_INVALID":         {transfer.Invalid, "这不是终端签名的请求，请更新终端程序"},
	"CLOCK_SKEW":               {transfer.Forbidden, "终端的时钟偏差超过 5 分钟，请校准后重试"},
	"REPLAYED":                 {transfer.Conflict, "这个请求已经收到过，请终端重新签名后再发送"},
	"FILE_REQUIRED":            {transfer.Invalid, "请用 multipart 表单上传一个文件，字段名为 file"},
	"TRADE_CODE_HIDDEN":        {transfer.Conflict, "这笔交易没有可用的交易码：它已结束，或指定了接收方"},
}

// platform says what WeChat's errors mean to a caller. Those that ops must mend are ours.
var platform = map[string]transfer.Kind{
	wechat.CodeInvalid:         transfer.Invalid,
	wechat.CodeUsed:            transfer.Invalid,
	wechat.CodeTooFrequent:     transfer.TooMany,
	wechat.CodeUserBlocked:     transfer.Forbidden,
	wechat.CodeBusy:            transfer.Unavailable,
	wechat.CodeUnavailable:     transfer.Unavailable,
	wechat.CodeQuota:           transfer.Unavailable,
	wechat.CodeTokenRejected:   transfer.Unavailable,
	wechat.CodeRefused:         transfer.Internal,
	wechat.CodePageUnpublished: transfer.Internal,
	wechat.CodeSceneInvalid:    transfer.Internal,
	wechat.CodePageInvalid:     transfer.Internal,
	wechat.CodeRecipient:       transfer.Internal,
	wechat.CodeTemplate:        transfer.Internal,
	wechat.CodeMessage:         transfer.Internal,
	wechat.CodeMisconfigured:   transfer.Internal,
	wechat.CodeUnexpected:      transfer.Internal,
}

// kinds holds the kind of every code of transfer.
var kinds = func() map[string]transfer.Kind {
	m := map[string]transfer.Kind{}
	transfer.Codes(func(code string, kind transfer.Kind, _ string) { m[code] = kind })
	return m
}()

// refusal is an error that is made here.
type refusal struct {
	code    string
	details map[string]any
	retry   time.Duration // when to ask again; 0: no word of it
	cause   error         // for engineers; may be nil
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return "handler: " + r.code + ": " + r.cause.Error()
	}
	return "handler: " + r.code
}

func (r *refusal) Unwrap() error { return r.cause }

// comeBack is when to ask again a server that can't do its work, if nothing better is known: what restarts is back in
// seconds, and a crowd must not come back at once.
const comeBack = 3 * time.Second

// redisDown says what a failure of Redis is to a person: come back later.
func redisDown(doing string, err error) error {
	return &refusal{code: "UNAVAILABLE", cause: fmt.Errorf("%s: redis: %w", doing, err)}
}

func refuse(code string) *refusal { return &refusal{code: code} }

// field refuses one field of a request, for a reason that a person can read.
func field(name, reason string) *refusal {
	return &refusal{code: "FIELD_INVALID", details: map[string]any{"field": name, "reason": reason}}
}

// problem is an error as it goes out.
type problem struct {
	status  int
	code    string
	message string
	details map[string]any
	retry   time.Duration
}

// problemOf is what a person gets to know of an error. Whatever has no code is ours, and of ours nothing is told.
func problemOf(err error) problem {
	var p problem
	var kind transfer.Kind
	var mine *refusal
	var theirs *transfer.Error
	var platforms *wechat.Error
	var kept *custody.Error
	var router *echo.HTTPError
	switch {
	case errors.Is(err, context.Canceled):
		p.code = "REQUEST_ABANDONED"
	case errors.As(err, &mine):
		p.code, p.details, p.retry = mine.code, mine.details, mine.retry
	case errors.As(err, &platforms):
		kind, p.code, p.message = platform[platforms.Code], platforms.Code, platforms.Message
		if kind == transfer.TooMany {
			p.retry = time.Minute
		}
	case errors.Is(err, custody.ErrWish):
		p.code = "IDEMPOTENCY_KEY_REUSED"
	case errors.As(err, &kept) && (keeping[kept] != transfer.Internal || !errors.As(err, &theirs)): // else the use case has said what it means
		kind, p.code, p.message = keeping[kept], kept.Code, kept.Message
	case errors.Is(err, context.DeadlineExceeded):
		p.code = "REQUEST_TIMEOUT"
	case errors.As(err, &router):
		p.code = map[int]string{http.StatusNotFound: "NOT_FOUND", http.StatusMethodNotAllowed: "METHOD_NOT_ALLOWED"}[router.Code]
	default:
		if errors.As(err, &theirs) {
			p.details = theirs.Details
		}
		p.code = transfer.CodeOf(err)
	}
	if e, ok := own[p.code]; ok {
		kind, p.message = e.kind, e.message
	} else if p.message == "" {
		kind, p.message = kinds[p.code], transfer.MessageOf(p.code)
	}
	if kind == transfer.Internal {
		p = problem{code: "INTERNAL", message: transfer.MessageOf("INTERNAL")}
	}
	p.status = statusOf[kind]
	if p.status == http.StatusServiceUnavailable && p.retry == 0 {
		p.retry = comeBack
	}
	if p.status >= http.StatusInternalServerError {
		p.details = nil
	}
	return p
}

type errorBody struct {
	Error errorView `json:"error"`
}

type errorView struct {
	Code      string         `json:"code"`
	Message   string         `json:"message"`
	RequestID string         `json:"requestId"`
	Details   map[string]any `json:"details,omitempty"`
}

// fail writes an error, unless an answer has begun: then nothing can be taken back and the connection is cut, so that
// a half answer is not taken for a whole one.
func fail(c echo.Context, err error) error {
	if c.Response().Committed {
		panic(http.ErrAbortHandler)
	}
	p := problemOf(err)
	header := c.Response().Header()
	if p.retry > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	if p.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="cardflow"`)
	}
	return render(c, p.status, errorBody{errorView{p.code, p.message, header.Get(echo.HeaderXRequestID), p.details}})
}
