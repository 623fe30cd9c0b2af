package transfer

import (
	"errors"
	"fmt"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/model"
)

// Kind sorts errors by what they mean to a caller, whatever the protocol.
type Kind int

// The kinds.
const (
	Internal    Kind = iota // our fault; nothing of the inside is told
	Invalid                 // the request can't be right
	Forbidden               // not this person's to do
	NotFound                // or not for this person to know of
	Conflict                // the state of things does not allow it now
	Mismatch                // an idempotency key with another body
	TooMany                 // slow down
	Unavailable             // try again later
	Stale                   // log in again
)

// Error is a refusal that a person may read. Code is stable; the sentence is Chinese and says what to do.
type Error struct {
	Code    string
	Details map[string]any
	Err     error // the cause, for engineers; may be nil
}

// Error is for engineers.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Code, e.Err)
	}
	return e.Code
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, &Error{Code: c}) true for every error with that code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Kind is what the code means to a caller.
func (e *Error) Kind() Kind { return catalogue[e.Code].kind }

// Message is the Chinese sentence.
func (e *Error) Message() string { return MessageOf(e.Code) }

// With returns the error with one more detail.
func (e *Error) With(name string, value any) *Error {
	c := *e
	c.Details = map[string]any{name: value}
	for k, v := range e.Details {
		c.Details[k] = v
	}
	return &c
}

// MessageOf is the Chinese sentence for a code.
func MessageOf(code string) string {
	if m, ok := catalogue[code]; ok {
		return m.message
	}
	return catalogue["INTERNAL"].message
}

// Codes lists every code with its kind and sentence.
func Codes(each func(code string, kind Kind, message string)) {
	for c, e := range catalogue {
		each(c, e.kind, e.message)
	}
}

func fail(code string) *Error { return &Error{Code: code} }

func failf(code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// CodeOf is the stable code of any error of this package, "UNAVAILABLE" when the database is away, and "INTERNAL" for
// what has none.
func CodeOf(err error) string {
	var e *Error
	var c *contract.Error
	var i *iccid.Error
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, &c):
		return c.Code
	case errors.As(err, &i):
		return i.Code
	case errors.Is(err, model.ErrUnavailable):
		return "UNAVAILABLE" // whether anything was changed, the same Idempotency-Key finds out
	}
	return "INTERNAL"
}

// stopped sorts custody's errors: a key that was stopped, or replaced between intent and signature, ends the act; a sealed
// custody makes it wait, and so does a quota.
func stopped(err error) error {
	var wait *Wait
	switch {
	case errors.Is(err, ErrKeyReplaced):
		return &Error{Code: "KEY_REPLACED", Err: err}
	case errors.As(err, &wait):
		return &later{after: wait.After, err: err}
	case errors.Is(err, ErrKeyStopped):
		return &Error{Code: "KEY_STOPPED", Err: err}
	case errors.Is(err, ErrUnauthorised):
		return &Error{Code: "NOT_AUTHORISED", Err: err}
	case errors.Is(err, ErrLoginOld):
		return &Error{Code: "LOGIN_TOO_OLD", Err: err}
	}
	return sealed(err)
}

// sealed lets an act wait for custody to be opened, however long that takes.
func sealed(err error) error {
	if errors.Is(err, ErrSealed) || errors.Is(err, ErrCustodyAway) {
		return &later{after: time.Second, err: err}
	}
	return err
}

var errNoSuchCard = fail("CARD_NOT_FOUND")

type entry struct {
	kind    Kind
	message string
}

// catalogue is every code that a caller may meet. Codes of iccid and of the contract keep their names.
var catalogue = map[string]entry{
	"INTERNAL":    {Internal, "系统出了点问题，请稍后再试；如果一直这样，请把请求编号告诉客服"},
	"UNAVAILABLE": {Unavailable, "服务暂时不可用，请稍后再试"},

	// Requests.
	"BAD_REQUEST":              {Invalid, "请求内容不正确，请检查后重试"},
	"IDEMPOTENCY_KEY_REQUIRED": {Invalid, "请求缺少 Idempotency-Key，请更新客户端后重试"},
	"IDEMPOTENCY_KEY_REUSED":   {Mismatch, "这个请求编号已用于另一个操作，请刷新页面后重试"},
	"FORBIDDEN":                {Forbidden, "您的账号没有这项权限，请联系本单位管理员"},
	"NOT_FOUND":                {NotFound, "没有找到您要的内容"},
	"CURSOR_INVALID":           {Invalid, "翻页标记无效，请从第一页重新查看"},

	// Cards.
	"CARD_NOT_FOUND":           {NotFound, "没有找到这张卡，请核对卡号"},
	"CARDS_NOT_OWNED":          {Conflict, "有些卡不在您的库存里，请核对号段"},
	"CARDS_RESERVED":           {Conflict, "有些卡正在另一笔交易中，请先等它结束或取消它"},
	"CARDS_FROZEN":             {Conflict, "有些卡已被冻结，不能转出，请联系电信企业"},
	"CARDS_OF_SEVERAL_ISSUERS": {Invalid, "一次只能转出同一家电信企业的卡，请分开提交"},
	"CARDS_IN_TOO_MANY_LOTS":   {Conflict, "这些卡分散在太多批次里，请分批转出，或先把批次合并"},
	"CARDS_REQUIRED":           {Invalid, "请至少选择一张卡"},
	"TOO_MANY_CARDS":           {Invalid, "一次提交的卡太多，请分批提交"},
	"ICCID_FORMAT":             {Invalid, "卡号格式不对：应为 19 或 20 位，以 89 开头"},
	"ICCID_ISSUER_UNKNOWN":     {Invalid, "不认识这个卡号前缀，请核对卡号，或联系平台登记发卡方"},
	"ICCID_CHECK_DIGIT":        {Invalid, "卡号校验位不对，请核对卡号"},
	"ICCID_NIBBLE_SWAPPED":     {Invalid, "卡号的每两位前后颠倒了，请用正常顺序的卡号"},
	"ICCID_RANGE_REVERSED":     {Invalid, "起始卡号大于结束卡号，请交换后重试"},
	"ICCID_RANGE_MIXED":        {Invalid, "起始和结束卡号不属于同一号段，请核对"},
	"ICCID_RANGE_OVERFLOW":     {Invalid, "号段跨过了末七位，请拆成两段"},
	"ICCID_DUPLICATE":          {Invalid, "有重复的卡号，请去掉重复后重试"},
	"ICCID_EMPTY":              {Invalid, "请至少选择一张卡"},
	"ICCID_TOO_MANY_SEGMENTS":  {Invalid, "不连续的号段太多，请分批提交"},
	"ICCID_NOT_CANONICAL":      {Invalid, "号段写法不规范"},
	"ICCID_RULE_UNKNOWN":       {Invalid, "不认识这种编号规则"},
	"ICCID_PLAN_INVALID":       {Internal, "编号规则配置有误，请联系管理员"},
	"IMSI_FORMAT":              {Invalid, "IMSI 应为 15 位数字"},
	"MSISDN_FORMAT":            {Invalid, "物联网号码应为 13 位数字，并以规定的号段开头"},
	"RULE_MISMATCH":            {Invalid, "不同编号规则的卡不能放在一起"},

	// Trades.
	"TRADE_CODE_NOT_FOUND":  {NotFound, "交易码无效或已过期，请核对后重试，或请卖家重新生成"},
	"TRADE_NOT_FOUND":       {NotFound, "没有找到这笔交易"},
	"TRADE_BUSY":            {Conflict, "这笔交易正在处理中，请稍后查看结果"},
	"TRADE_ENDED":           {Conflict, "这笔交易已经结束"},
	"TRADE_EXPIRED":         {Conflict, "这笔交易已过期，请卖家重新生成"},
	"TRADE_NOT_EXPIRED":     {Conflict, "这笔交易还没有过期"},
	"TRADE_ALREADY_YOURS":   {Conflict, "您已经确认过这笔交易"},
	"EXPIRY_INVALID":        {Invalid, "有效期不在允许的范围内"},
	"RECEIVER_UNKNOWN":      {Invalid, "没有找到接收方，请核对"},
	"SELF_TRADE":            {Invalid, "不能把卡转给自己"},
	"REASON_INVALID":        {Invalid, "请选择一个拒收原因"},
	"NOT_RETURNABLE":        {Conflict, "这些卡不能退：不是这笔交易收到的，或已超过可退的天数"},
	"MODE_INVALID":          {Invalid, "交易方式不正确"},
	"RESTRICTION_INVALID":   {Invalid, "使用限制写法不正确"},
	"RETAIL_POLICY_INVALID": {Invalid, "零售策略只能是 OPEN 或 REAL_NAME"},
	"JOB_NOT_FOUND":         {NotFound, "没有找到这项任务"},
	"LOOKUP_LIMIT":          {TooMany, "输错次数过多，请稍后再试"},

	// Card files.
	"CARD_FILE_MIXED":            {Invalid, "文件里有不属于本企业的卡，请分开导入"},
	"CARD_FILE_BAD_ROWS":         {Invalid, "文件里有错误的行，没有导入任何卡；请下载错误清单，改好后重新导入"},
	"CARD_FILE_TOO_LARGE":        {Invalid, "文件太大，请拆分后导入"},
	"CARD_FILE_UNKNOWN":          {Invalid, "这不是能读取的表格，请上传 .xlsx、.xls 或 .csv 格式的卡文件"},
	"CARD_FILE_DAMAGED":          {Invalid, "文件已损坏，请用 Excel 或 WPS 打开确认内容完整，另存为 .xlsx 后重新上传"},
	"CARD_FILE_NO_ICCID_COLUMN":  {Invalid, "文件里没有 ICCID 列，请在表头写明 ICCID"},
	"CARD_FILE_AMBIGUOUS_COLUMN": {Invalid, "有两列都像是同一种号码，请只保留一列，或把另一列改名"},
	"CARD_FILE_EMPTY":            {Invalid, "文件里没有卡，请确认卡数据在第一个可见的工作表中"},
	"CARD_FILE_XLS_FULL":         {Invalid, "文件有 65536 行，已到 .xls 的上限，后面的行可能已丢失，请改用 .xlsx 重新导出"},
	"CARD_FILE_XLSX_FULL":        {Invalid, "文件有 1048576 行，已到 .xlsx 的上限，后面的行可能已丢失，请拆分后导入"},
	"CARD_FILE_ENCRYPTED":        {Invalid, "文件设有密码，请取消密码保护后重新上传"},
	"CARD_FILE_LOST":             {Conflict, "上传的文件已丢失，请重新上传"},
	"IMPORT_NOT_FOUND":           {NotFound, "没有找到这次导入"},
	"IMPORT_UNFINISHED":          {Conflict, "导入还没有结束，请稍后再下载错误清单"},
	"IMPORT_FAULTS_EXPIRED":      {NotFound, "错误清单已过保存期限，请重新导入文件"},
	"IMPORT_FAULTS_ELSEWHERE":    {Unavailable, "错误清单在另一台服务器上，请稍后再试；如果一直这样，请管理员让各服务器共用导入目录"},
	"IMPORT_INCOMPLETE":          {Conflict, "部分卡没有登记上账本，已登记的批次见导入结果"},
	"CARDS_ISSUED_BEFORE":        {Conflict, "有些卡以前已经登记过，请核对号段"},

	// Custodial keys.
	"CUSTODY_KEY_NOT_FOUND":  {NotFound, "没有找到这把托管密钥，请核对密钥编号"},
	"CUSTODY_KEY_TRANSITION": {Conflict, "密钥当前的状态不允许这项操作，请先查看密钥状态"},
	"KEY_OVERTAKEN":          {Conflict, "这项操作已被后来对同一把密钥的操作取代"},
	"KEY_PROTECTED":          {Conflict, "管理员密钥不能停用或撤销，只能轮换：停用后将没有人能恢复它"},
	"NOT_AUTHORISED":         {Conflict, "没有找到您本人对这笔业务的授权，未签名。请重新登录后再办理"},
	"KEY_REPLACED":           {Conflict, "您的签名密钥刚刚更换，请重新提交"},

	// Terminals.
	"DEVICE_NOT_FOUND": {NotFound, "没有找到这台终端"},
	"DEVICE_STATE":     {Conflict, "终端当前的状态不允许这项操作；停用、挂失、撤销的终端不能恢复，请更换终端"},
	"DEVICE_REFUSED":   {Forbidden, "终端未登记或已停用，请联系本单位管理员"},
	"DEVICE_INVALID":   {Invalid, "终端名称应为 1 至 64 个字，序列号应为 4 至 32 个大写字母、数字或连字符"},
	"HOLDER_UNKNOWN":   {Invalid, "没有找到这位持有人，请从本单位的人员中选择"},
	"TICKET_INVALID":   {Forbidden, "入网码无效或已过期，请管理员重新生成"},
	"TICKET_USED":      {Conflict, "入网码已用于另一台终端，请管理员核查并重新生成"},
	"POSSESSION_WRONG": {Invalid, "终端没有证明它持有这把密钥，请核对入网码属于哪个单位后重试"},
	"ENROLMENT_FAILED": {Conflict, "终端密钥没有登记上账本，请管理员查看原因并重新生成入网码"},

	// Real names.
	"CONSENT_REQUIRED":             {Invalid, "请先阅读并同意个人信息处理说明"},
	"NAME_INVALID":                 {Invalid, "姓名应与身份证上的一致，请核对后重新填写"},
	"ID_NUMBER_LENGTH":             {Invalid, "身份证号应为 18 位，请核对"},
	"ID_NUMBER_OLD":                {Invalid, "15 位的第一代身份证已停用，请填写 18 位的身份证号"},
	"ID_NUMBER_CHARACTERS":         {Invalid, "身份证号的前 17 位应为数字，最后一位为数字或 X，请核对"},
	"ID_NUMBER_REGION":             {Invalid, "身份证号的前两位不是有效的地区，请核对"},
	"ID_NUMBER_BIRTHDAY":           {Invalid, "身份证号第 7 到 14 位不是有效的出生日期，请核对"},
	"ID_NUMBER_CHECKSUM":           {Invalid, "身份证号的校验位不对，可能有一位填错，请核对"},
	"CREDENTIAL_FORMAT":            {Invalid, "网络身份凭证格式不对，请重新获取"},
	"REAL_NAME_METHOD":             {Invalid, "请填写姓名和身份证号，或使用网络身份凭证，只用其中一种"},
	"REAL_NAME_METHOD_UNAVAILABLE": {Invalid, "暂不支持这种核验方式，请填写姓名和身份证号"},
	"CARRIER_REQUIRED":             {Invalid, "请选择要登记的电信企业"},
	"CARRIER_UNKNOWN":              {Invalid, "没有找到这家电信企业，请核对"},
	"REAL_NAME_PENDING":            {Conflict, "您的实名登记正在审核，请等待结果"},
	"REAL_NAME_APPROVED":           {Conflict, "您在这家电信企业的实名登记仍然有效，不用再次登记"},
	"REAL_NAME_WITHDRAWING":        {Conflict, "您正在撤回实名登记，请在撤回完成后重新登记"},
	"REAL_NAME_BUSY":               {Conflict, "您的实名登记正在写入账本，请稍后再试"},
	"REAL_NAME_NOTHING":            {Conflict, "您在这家电信企业没有可以撤回的实名登记"},
	"REAL_NAME_LIMIT":              {TooMany, "今天提交实名登记的次数过多，请明天再试"},
	"APPROVAL_NOT_FOUND":           {NotFound, "没有找到这项实名登记"},
	"APPROVAL_DECIDED":             {Conflict, "这项实名登记已经处理过，请刷新后查看"},
	"SUBSCRIPTION_INVALID":         {Invalid, "没有这一种消息，请更新小程序后重试"},
	"REFUSAL_INVALID":              {Invalid, "请选择一个拒绝原因，说明不超过 2000 字节"},
	"WITHDRAWAL_BINDING":           {Conflict, "用户撤回登记不能拒绝，请确认撤回"},

	// Deleting one's data.
	"ERASURE_BUSY":          {Conflict, "您有一项操作还在处理，请等它结束后再删除"},
	"ERASURE_RETURN_OPEN":   {Conflict, "您有退卡还在等卖家确认，请等卖家答复，或先撤回退卡，再删除"},
	"ERASURE_FROZEN":        {Conflict, "您的账号已被冻结，核实结束之前不能删除，请联系客服"},
	"ERASURE_CARDS_CHANGED": {Conflict, "您名下的卡刚刚有变化，请重新核对后再删除"},
	"ERASURE_UNAVAILABLE":   {Unavailable, "现在暂时不能删除，您的数据没有变动，请稍后再试"},

	// Accounts.
	"ORGANISATION_EXISTS":  {Conflict, "这个单位已经登记过"},
	"PASSWORD_WEAK":        {Invalid, "密码至少 10 个字符，请换一个更长的"},
	"PASSWORD_SAME":        {Invalid, "新密码和原来的一样，请换一个"},
	"PERSON_EXISTS":        {Conflict, "这个用户名已被使用"},
	"LOGIN_TOO_OLD":        {Stale, "您登录已久，为保护您的卡，请重新登录后再办理"},
	"PERSON_UNKNOWN":       {NotFound, "没有找到这个用户"},
	"IDENTITY_INVALID":     {Invalid, "工号应为 1 到 32 个字母、数字或连字符，手机号应为 11 位数字"},
	"PARTICIPANT_PENDING":  {Conflict, "账号正在登记到账本，请稍后再试"},
	"KEY_STOPPED":          {Conflict, "您的签名密钥已停用，请联系客服"},
	"CUSTODY_SEALED":       {Unavailable, "签名服务正在维护，您的请求已收到，恢复后会自动完成"},
	"REAL_NAME_REQUIRED":   {Conflict, "这张卡需要先完成实名登记"},
	"CAP_EXCEEDED":         {Conflict, "您在这家电信企业名下的卡已达上限"},
	"LEDGER_INVALID":       {Internal, "账本没有接受这笔交易，我们已收到告警，请稍后查看"},
	"REQUEST_EXPIRED":      {Conflict, "请求已过期，请重新提交"},
	"PARTICIPANT_FROZEN":   {Conflict, "账号已被冻结，请联系客服"},
	"PARTICIPANT_UNKNOWN":  {Conflict, "账号还没有登记到账本，请稍后再试"},
	"PARTICIPANT_EXISTS":   {Conflict, "账号已经登记过"},
	"KEY_INACTIVE":         {Conflict, "签名密钥已停用，请联系客服"},
	"KEY_UNKNOWN":          {Conflict, "签名密钥还没有登记到账本，请稍后再试"},
	"KEY_EXISTS":           {Conflict, "这把密钥已经登记过"},
	"KEY_FUNCTION":         {Forbidden, "这把密钥不能用于这项操作"},
	"ROLE_FORBIDDEN":       {Forbidden, "您的身份不能做这项操作"},
	"NOT_OWNER":            {Conflict, "有些卡不在您的名下，请刷新后核对"},
	"NOT_RECEIVER":         {Forbidden, "这笔交易不是给您的"},
	"NOT_SELLER":           {Forbidden, "只有卖家可以取消这笔交易"},
	"INPUT_SPENT":          {Conflict, "这些卡已经转出，请刷新库存后重试"},
	"LOT_IN_TRADE":         {Conflict, "这些卡正在交易中，请先等它结束或取消它"},
	"LOT_RETIRED":          {Conflict, "这些卡已经注销"},
	"LOT_FROZEN":           {Conflict, "这些卡已被冻结，请联系电信企业"},
	"LOT_UNKNOWN":          {NotFound, "没有找到这批卡"},
	"LOT_EXISTS":           {Conflict, "这批卡已经登记过"},
	"LOTS_DIFFER":          {Conflict, "不同电信企业或不同编号规则的卡不能合在一起"},
	"NOT_FROZEN":           {Conflict, "这些卡没有被您冻结"},
	"ALREADY_FROZEN":       {Conflict, "这些卡已经被冻结"},
	"ALREADY_ISSUED":       {Conflict, "有些卡以前已经登记过，请核对号段"},
	"ALREADY_APPLIED":      {Conflict, "这项操作已经完成"},
	"NOT_ON_LEDGER":        {Conflict, "账本上没有这项操作，请刷新后核对，需要时重新提交"},
	"ALREADY_INITIALISED":  {Conflict, "账本已经初始化"},
	"NOT_INITIALISED":      {Unavailable, "账本还没有初始化，请稍后再试"},
	"ISSUER_UNKNOWN":       {Invalid, "这个卡号前缀还没有登记发卡方，请联系平台"},
	"ISSUE_KEY_WRONG":      {Internal, "登记密钥与账本不符，我们已收到告警"},
	"TOO_MANY_SEGMENTS":    {Invalid, "不连续的号段太多，请分批提交"},
	"VERSION_MISMATCH":     {Conflict, "内容刚刚被别人改过，请刷新后重试"},
	"CODE_WRONG":           {Conflict, "交易码与账本不符，请卖家重新生成"},
	"TICKET_MISSING":       {Internal, "系统没有给出收货凭证，我们已收到告警"},
	"BAD_ARGUMENTS":        {Internal, "账本没有接受这项请求，我们已收到告警"},
	"UNKNOWN_FUNCTION":     {Internal, "账本没有这项功能，我们已收到告警"},
	"SIGNATURE_INVALID":    {Internal, "签名没有通过账本的检查，我们已收到告警"},
	"SIGNATURE_MISSING":    {Internal, "签名没有通过账本的检查，我们已收到告警"},
	"NOT_AFTER_TOO_FAR":    {Internal, "签名期限超出账本允许的范围，我们已收到告警"},
	"POSSESSION_UNPROVEN":  {Internal, "密钥没有通过账本的检查，我们已收到告警"},
	"OPENING_MISSING":      {Internal, "账本没有拿到核对所需的内容，我们已收到告警"},
	"OPENING_MISMATCH":     {Internal, "内容与账本上的哈希不符，我们已收到告警"},
	"PARTITION_MISMATCH":   {Internal, "转出前后的卡不一致，账本已拒绝，我们已收到告警"},
	"TRADE_UNKNOWN":        {NotFound, "账本上没有这笔交易"},
	"TRADE_EXISTS":         {Conflict, "这笔交易已经在账本上"},
	"TRANSITION_FORBIDDEN": {Conflict, "当前状态不允许这项操作"},
	"POLICY_UNKNOWN":       {Invalid, "没有这项策略"},
	"SEQUENCE_PASSED":      {Conflict, "已有更新的记录"},

	// Terminals.
	"REQUEST_INVALID":         {Invalid, "请求内容不符合规定，请更新终端程序后重试"},
	"REQUEST_SIGNATURE_WRONG": {Invalid, "签名与请求不符，请在终端上重新签名"},
	"NOT_AFTER_WRONG":         {Invalid, "签名期限超出允许的范围，请校准终端时钟后重新签名"},
	"OFFER_TIME_WRONG":        {Invalid, "转出时间与平台时间相差太多，请校准终端时钟后重新生成"},
	"OPENING_WRONG":           {Invalid, "号段或交易码与请求里的哈希不符，请在终端上重新生成后再签名"},
	"PARTITION_WRONG":         {Invalid, "转出前后的卡不一致，请在终端上重新生成后再签名"},
	"CODE_TAKEN":              {Conflict, "交易码已被占用，请在终端上重新生成"},
	"LOT_BUSY":                {Conflict, "这批卡正在另一笔业务中，请稍后重试"},

	"WRONG_ORGANISATION": {Forbidden, "只有部署账本的单位可以初始化"},
}
