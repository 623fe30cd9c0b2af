package custody

import "errors"

// Error is a refusal or a fault that a person may have to act on.
type Error struct {
	Code    string // stable, upper snake case
	Message string // for the person, in Chinese: what is wrong and what to do
}

// Error names the code only: the message is for the person, the log has the code.
func (e *Error) Error() string { return "custody: " + e.Code }

// The errors of this package. They come wrapped in what was being done; use
// errors.Is, or errors.As with *Error for code and message.
var (
	// ErrRootMismatch: the database was made with another root key. Nothing in it opens.
	ErrRootMismatch = &Error{"CUSTODY_ROOT_MISMATCH", "根密钥与数据库不匹配。请恢复创建该数据库时使用的根密钥文件，不要生成新的。"}

	// ErrRootFile: the root key file can't be used; the cause stands beside it.
	ErrRootFile = &Error{"CUSTODY_ROOT_FILE", "根密钥文件不可用：必须是只有本人可读写（chmod 600）的 32 字节普通文件。请检查文件和所在目录。"}

	// ErrClosed: the key-encryption keys have been cleared from memory.
	ErrClosed = &Error{"CUSTODY_CLOSED", "密钥托管服务正在停止，请稍后重试。"}

	// ErrKeyNotFound: the owner has no key there.
	ErrKeyNotFound = &Error{"CUSTODY_KEY_NOT_FOUND", "没有找到托管密钥。请先开通托管密钥后再操作。"}

	// ErrKeyNotActive: suspended, rotated, revoked or destroyed.
	ErrKeyNotActive = &Error{"CUSTODY_KEY_NOT_ACTIVE", "托管密钥已停用，暂时不能签名。请联系客服或运维人员。"}

	// ErrKeyReplaced: the attempt was fixed to a key that another one has replaced since, before it had signed.
	ErrKeyReplaced = &Error{"CUSTODY_KEY_REPLACED", "托管密钥已更换，请用新密钥重新提交。"}

	// ErrKeyTransition: the state of the key doesn't allow this.
	ErrKeyTransition = &Error{"CUSTODY_KEY_TRANSITION", "密钥当前的状态不允许这项操作。请先查看密钥状态。"}

	// ErrKeyUnfollowed: the ledger has a key of ours in a place that is taken here. It only raises an alarm.
	ErrKeyUnfollowed = &Error{"CUSTODY_KEY_UNFOLLOWED", "账本上登记的托管密钥与本地不一致，请运行 server fsck 核查。"}

	// ErrKeyUnreadable: the row doesn't open, or what it opens to isn't the key
	// it says. Rows were exchanged, edited or damaged. Raises an alarm.
	ErrKeyUnreadable = &Error{"CUSTODY_KEY_UNREADABLE", "托管密钥校验失败，已停止签名。请联系运维人员检查数据库。"}

	// ErrPost: no such post for this role, or the owner holds it in another role.
	ErrPost = &Error{"CUSTODY_POST_UNKNOWN", "该参与方的角色不能持有此类托管密钥。请检查参与方的角色。"}

	// ErrAsk: the ask is incomplete, or names are out of bounds. A fault of the caller's code.
	ErrAsk = &Error{"CUSTODY_ASK_INVALID", "签名请求不完整。请重新操作；如仍然出现，请联系运维人员。"}

	// ErrBody: not one of the request types that custody signs, or too long.
	ErrBody = &Error{"CUSTODY_BODY_REFUSED", "不支持对此类请求签名。"}

	// ErrOwner: the request names someone else as the one who signs. Raises an alarm.
	ErrOwner = &Error{"CUSTODY_OWNER_MISMATCH", "只能对本人的请求签名。请确认当前登录的账号。"}

	// ErrFunction: the key may not sign this function.
	ErrFunction = &Error{"CUSTODY_FUNCTION_FORBIDDEN", "当前角色的密钥不能办理此项业务。"}

	// ErrExpired: the deadline has passed before anything was signed.
	ErrExpired = &Error{"CUSTODY_REQUEST_EXPIRED", "请求已超过有效期，未签名。请重新发起。"}

	// ErrDigestConflict: this attempt at this act has been fixed to other bytes. Raises an alarm.
	ErrDigestConflict = &Error{"CUSTODY_DIGEST_CONFLICT", "同一笔业务已按另一份内容签名，本次请求被拒绝。请联系运维人员。"}

	// ErrAttemptOpen: the attempt before this one may still reach the ledger.
	ErrAttemptOpen = &Error{"CUSTODY_ATTEMPT_OPEN", "上一次提交的结果尚未确定，请稍候，不要重复提交。"}

	// ErrAttemptClosed: the attempt was closed; the next one has the next number.
	ErrAttemptClosed = &Error{"CUSTODY_ATTEMPT_CLOSED", "本次提交已作废，请重新提交。"}

	// ErrAttemptUnknown: no such attempt has been recorded.
	ErrAttemptUnknown = &Error{"CUSTODY_ATTEMPT_UNKNOWN", "没有找到对应的签名记录。"}

	// ErrUnnoted: the ledger has a signature of a key kept here that the sign log does not have. After a restore that is
	// as it should be. Nobody is refused anything by it; it only raises an alarm.
	ErrUnnoted = &Error{"CUSTODY_SIGNATURE_UNNOTED", "账本上有托管密钥的签名，签名记录中没有。除非刚刚恢复过数据库备份，否则请按入侵处理。"}

	// ErrAuditUnwritable: a record couldn't be appended, so nothing was done.
	ErrAuditUnwritable = &Error{"CUSTODY_AUDIT_UNWRITABLE", "审计日志无法写入，签名已暂停。请联系运维人员。"}

	// ErrAuditBroken: the head of the audit isn't the one that was written last. Raises an alarm.
	ErrAuditBroken = &Error{"CUSTODY_AUDIT_BROKEN", "审计日志校验失败，签名已暂停。请运维人员立即核查。"}
)

// alarming are the errors that someone has to look at, whoever caused them.
var alarming = map[*Error]bool{ErrKeyUnreadable: true, ErrOwner: true, ErrDigestConflict: true, ErrAuditBroken: true}

// codeOf finds the Error in what went wrong.
func codeOf(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
