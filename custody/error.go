package custody

import (
	"errors"
	"maps"
	"slices"
)

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
	// ErrRootMismatch: the database is under another root key, from the start or since a rotation. Nothing in it opens.
	ErrRootMismatch = &Error{"CUSTODY_ROOT_MISMATCH", "根密钥与数据库不匹配。请使用该数据库现在的根密钥（创建时的，或更换后的）并重启服务，不要生成新的。"}

	// ErrRootFile: the root key file can't be used; the cause stands beside it.
	ErrRootFile = &Error{"CUSTODY_ROOT_FILE", "根密钥文件不可用：必须是只有本人可读写（chmod 600）的 32 字节普通文件。请检查文件和所在目录。"}

	// ErrNoRoot: the database has no root key yet, and one in shares isn't made by starting.
	ErrNoRoot = &Error{"CUSTODY_NO_ROOT", "还没有根密钥。请先执行密钥仪式：server root init。"}

	// ErrRootExists: the database has a root key; another one takes its place by rotation only.
	ErrRootExists = &Error{"CUSTODY_ROOT_EXISTS", "已有根密钥，不能重新初始化。更换根密钥请用 server root rotate。"}

	// ErrRootMoved: another root took this one's place meanwhile.
	ErrRootMoved = &Error{"CUSTODY_ROOT_MOVED", "根密钥或密钥加密密钥刚被他人更换，本次操作未生效。请查看状态后重试。"}

	// ErrRootNotPrepared: no such root waits to take over.
	ErrRootNotPrepared = &Error{"CUSTODY_ROOT_NOT_PREPARED", "没有这把待启用的新根密钥：它已过期、已被另一把取代，或尚未制作。请用 server root rotate 重新制作。"}

	// ErrShareCount: no such split.
	ErrShareCount = &Error{"CUSTODY_SHARE_COUNT", "份额数量不合适：至少需要 2 份才能恢复，总数不超过 16 份，且不少于恢复所需份数。"}

	// ErrShareMistyped: no share, or one with a slip in it. The error never says where, nor what was typed.
	ErrShareMistyped = &Error{"CUSTODY_SHARE_MISTYPED", "份额格式不对或有输错的字符，请对照纸面重新输入。"}

	// ErrShareForeign: a share of another set.
	ErrShareForeign = &Error{"CUSTODY_SHARE_FOREIGN", "这一份不属于当前的根密钥，可能是旧的或其他系统的份额。"}

	// ErrShareRepeated: the share of this number has been entered already.
	ErrShareRepeated = &Error{"CUSTODY_SHARE_REPEATED", "这个编号的份额已经输入过，请换另一位持有人输入。"}

	// ErrSharesWrong: there were enough shares, and they didn't give the root: one was false. All were dropped.
	ErrSharesWrong = &Error{"CUSTODY_SHARES_WRONG", "份额数量已够，但不能恢复根密钥，其中至少有一份是错的。已全部清除，请重新输入。"}

	// ErrShareUnwanted: the root isn't in shares.
	ErrShareUnwanted = &Error{"CUSTODY_SHARE_UNWANTED", "当前的根密钥不是份额方式，不需要输入份额。"}

	// ErrSealed: the keys can't be used until somebody opens the custody. Nothing was decided; asking again later is right.
	ErrSealed = &Error{"CUSTODY_SEALED", "密钥托管已封存，暂时不能签名。请持有人解封（server unseal）后重试。"}

	// ErrToken: the token that has the root key, or its library, doesn't do its work; the cause stands beside it.
	ErrToken = &Error{"CUSTODY_TOKEN", "密码设备（PKCS#11）不可用。请检查设备、驱动库、令牌和密钥标签。"}

	// ErrPIN: the token refuses the PIN. It isn't tried again: tokens lock after a few wrong ones.
	ErrPIN = &Error{"CUSTODY_PIN", "密码设备拒绝了 PIN。为避免锁死不再重试，请更正 PIN 后重启服务。"}

	// ErrNoPKCS11: this program was built without it.
	ErrNoPKCS11 = &Error{"CUSTODY_NO_PKCS11", "此程序编译时未包含 PKCS#11 支持。请使用启用 cgo 编译的版本。"}

	// ErrClosed: the key-encryption keys have been cleared from memory.
	ErrClosed = &Error{"CUSTODY_CLOSED", "密钥托管服务正在停止，请稍后重试。"}

	// ErrUnreconciled: the database was put back from a bundle, and the ledger has not been followed to its end since.
	ErrUnreconciled = &Error{"CUSTODY_UNRECONCILED", "数据库刚从备份恢复，正在与账本核对，核对完成前不签名。请稍候，无须重复操作。"}

	// ErrKeyNotFound: the owner has no key there.
	ErrKeyNotFound = &Error{"CUSTODY_KEY_NOT_FOUND", "没有找到托管密钥。请先开通托管密钥后再操作。"}

	// ErrKeyNotActive: suspended, rotated, revoked or destroyed.
	ErrKeyNotActive = &Error{"CUSTODY_KEY_NOT_ACTIVE", "托管密钥已停用，暂时不能签名。请联系客服或运维人员。"}

	// ErrKeyReplaced: the attempt was fixed to a key that another one has replaced since, before it had signed.
	ErrKeyReplaced = &Error{"CUSTODY_KEY_REPLACED", "托管密钥已更换，请用新密钥重新提交。"}

	// ErrKeyTransition: the state of the key doesn't allow this.
	ErrKeyTransition = &Error{"CUSTODY_KEY_TRANSITION", "密钥当前的状态不允许这项操作。请先查看密钥状态。"}

	// ErrKeyOvertaken: who ordered this of the key has been overtaken, or it has come true.
	ErrKeyOvertaken = &Error{"CUSTODY_KEY_OVERTAKEN", "这项对密钥的操作已被后来的操作取代，或已完成。请先查看密钥状态。"}

	// ErrKeyProtected: administrators' keys are not stopped: both of them must sign to let one go on.
	ErrKeyProtected = &Error{"CUSTODY_KEY_PROTECTED", "管理员密钥不能停用或撤销，请改为轮换。"}

	// ErrRecovery: there is nothing to release.
	ErrRecovery = &Error{"CUSTODY_RECOVERY_NOT_WAITING", "这个参与方没有等待核实身份的失窃恢复，请先用 server keys recover 查看进度。"}

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

	// ErrAuditUnwritable: a record couldn't be appended, so nothing was done. The first of a row raises an alarm; the
	// same may succeed later.
	ErrAuditUnwritable = &Error{"CUSTODY_AUDIT_UNWRITABLE", "审计日志无法写入，签名已暂停。请联系运维人员。"}

	// ErrDailyQuota: the key has signed as much as it may in a day. Over tomorrow, or when the quota is raised.
	ErrDailyQuota = &Error{"CUSTODY_DAILY_QUOTA", "今天的签名次数已用完，明天零点（北京时间）后自动继续；急需时请联系运维人员提高限额。"}

	// ErrPlatformQuota: all keys together have. Raises an alarm.
	ErrPlatformQuota = &Error{"CUSTODY_PLATFORM_QUOTA", "平台今天的签名次数已用完，请求会等待。请联系运维人员核查，必要时提高限额。"}

	// ErrRate: the key has signed as much as it may in a minute. Over in seconds.
	ErrRate = &Error{"CUSTODY_RATE", "签名太频繁，请求会稍等片刻后自动继续。"}

	// ErrUnusual: the key would have signed far more today than it ever does. It stops itself. Raises an alarm.
	ErrUnusual = &Error{"CUSTODY_KEY_UNUSUAL", "签名次数远超平时，该密钥已自动停用。请联系运维人员核查。"}

	// ErrKeyStopped: it has stopped itself, and two people have to let it go on.
	ErrKeyStopped = &Error{"CUSTODY_KEY_STOPPED", "该密钥因签名次数异常已自动停用。请联系运维人员核查后恢复。"}

	// ErrSessionOver: nobody is logged in with this token, or not any more.
	ErrSessionOver = &Error{"CUSTODY_SESSION_OVER", "登录已过期或已退出。请重新登录后再办理。"}

	// ErrUnauthorised: the consumer didn't ask for this, or asked for something else. Raises an alarm.
	ErrUnauthorised = &Error{"CUSTODY_UNAUTHORISED", "没有找到本人对这笔业务的授权，未签名。请重新登录后再办理。"}

	// ErrAuthorisationConflict: something else was asked for as this act. Raises an alarm.
	ErrAuthorisationConflict = &Error{"CUSTODY_AUTHORISATION_CONFLICT", "同一笔业务已按另一份内容授权，本次请求被拒绝。请联系运维人员。"}

	// ErrLoginForged: custody didn't write the row of a login, or of what somebody asked for. Raises an alarm.
	ErrLoginForged = &Error{"CUSTODY_LOGIN_FORGED", "登录或授权记录校验失败，未签名。请按入侵处理，立即核查数据库。"}

	// ErrKeyForeign: the platform was to publish a key that isn't kept here. Raises an alarm.
	ErrKeyForeign = &Error{"CUSTODY_KEY_FOREIGN", "要登记的公钥不是托管保存的密钥，未签名。请按入侵处理。"}

	// ErrRights: the database lets a web process read or write what is the custodian's alone.
	ErrRights = &Error{"CUSTODY_RIGHTS_TOO_WIDE", "服务的数据库账号权限过大：能读写只属于密钥托管进程的数据。请为服务另建账号，只授予 server custodian --grants 列出的权限，并收回其余权限。"}

	// ErrLoginOld: the consumer's login was too old when he asked, or nobody knows of one.
	ErrLoginOld = &Error{"CUSTODY_LOGIN_TOO_OLD", "登录已久，未签名。请重新登录后再办理。"}

	// ErrQuota: no such quota, or a number that makes no sense.
	ErrQuota = &Error{"CUSTODY_QUOTA_INVALID", "限额不正确：名称应为 platform、role:角色/槽位 或 owner:参与方/槽位，次数应在 0 到 10 亿之间。"}

	// ErrQuotaRaise: raising takes two people.
	ErrQuotaRaise = &Error{"CUSTODY_QUOTA_RAISE", "提高限额需要双人复核：请提交 quota.raise 提案，由另一位同事批准。"}

	// ErrQuotaLower: what is no raise needs no second person.
	ErrQuotaLower = &Error{"CUSTODY_QUOTA_LOWER", "这不是提高限额。降低限额不需要提案，可直接办理。"}

	// ErrNotStopped: the key hasn't stopped itself.
	ErrNotStopped = &Error{"CUSTODY_KEY_NOT_STOPPED", "该密钥没有因异常停用，不需要恢复。"}

	// ErrOperationUnknown: no dangerous operation has that name.
	ErrOperationUnknown = &Error{"CUSTODY_OPERATION_UNKNOWN", "没有这项需要双人复核的操作。请核对操作名称。"}

	// ErrArguments: the arguments of an operation make no sense.
	ErrArguments = &Error{"CUSTODY_ARGUMENTS_INVALID", "操作参数不正确：应为该操作规定的 JSON 对象，不能有多余的字段。"}

	// ErrReason: none, too long, or with control characters in it.
	ErrReason = &Error{"CUSTODY_REASON_INVALID", "请写明理由（一行，不超过 500 字），供另一位同事判断。"}

	// ErrNotOperator: no active account with the role ops.
	ErrNotOperator = &Error{"CUSTODY_NOT_OPERATOR", "只有在职的运维账号（ops）可以提议或决定。"}

	// ErrNotColleague: no active account of the organisation's own, with its role.
	ErrNotColleague = &Error{"CUSTODY_NOT_COLLEAGUE", "只有本单位在职、角色相符的人员可以提议或决定。"}

	// ErrTwoPeople: what takes two people was asked for by one, past the proposals. Raises an alarm.
	ErrTwoPeople = &Error{"CUSTODY_TWO_PEOPLE", "此项业务需要双人复核：请提交提案，由另一位同事批准。"}

	// ErrNotFrozen: there is nothing of the kind to unfreeze.
	ErrNotFrozen = &Error{"CUSTODY_NOT_FROZEN", "没有可以解冻的卡：批次不存在或已变动，或其中没有由本单位冻结的这些卡。请核对批次和号段。"}

	// ErrProposalNotFound: no such proposal.
	ErrProposalNotFound = &Error{"CUSTODY_PROPOSAL_NOT_FOUND", "没有找到这份提案。"}

	// ErrProposalDecided: it was approved, rejected or withdrawn before.
	ErrProposalDecided = &Error{"CUSTODY_PROPOSAL_DECIDED", "这份提案已有结论，不能再次决定。请刷新后查看。"}

	// ErrProposalExpired: nobody approved it in time.
	ErrProposalExpired = &Error{"CUSTODY_PROPOSAL_EXPIRED", "这份提案已过期，没有执行。如仍需要，请重新提议。"}

	// ErrProposalChanged: as things stand now, something else would happen than what was proposed.
	ErrProposalChanged = &Error{"CUSTODY_PROPOSAL_CHANGED", "情况已变：现在执行的结果与提议时不同，没有执行。请核对后重新提议。"}

	// ErrProposalForged: custody didn't write the row, or somebody put an older one back. Raises an alarm.
	ErrProposalForged = &Error{"CUSTODY_PROPOSAL_FORGED", "提案记录校验失败，没有执行。请按入侵处理，立即核查数据库。"}

	// ErrSelfApproval: proposer and approver are one person, as far as the directory shows. Raises an alarm.
	ErrSelfApproval = &Error{"CUSTODY_SELF_APPROVAL", "不能批准自己的提案，换一个账号也不行。请另一位同事决定。"}

	// ErrApproverNew: the account was made after the proposal.
	ErrApproverNew = &Error{"CUSTODY_APPROVER_NEW", "您的账号是在这份提案之后开通的，不能决定它。请另一位同事决定，或重新提议。"}

	// ErrProposerGone: the proposer's account was disabled, or has lost its role.
	ErrProposerGone = &Error{"CUSTODY_PROPOSER_GONE", "提议人的账号已停用或不再是运维，提案不能批准。如仍需要，请重新提议。"}

	// ErrNotProposer: it is the proposer who withdraws, and another one who rejects.
	ErrNotProposer = &Error{"CUSTODY_NOT_PROPOSER", "撤回只能由提议人办理，否决只能由另一位同事办理。"}

	// ErrWish: the name of this wish has been used for another one.
	ErrWish = &Error{"CUSTODY_WISH_REUSED", "这个请求编号已用于另一份提案，请刷新页面后重试。"}

	// ErrClockBack: this server's clock is before the proposal was made.
	ErrClockBack = &Error{"CUSTODY_CLOCK_BACK", "服务器时钟早于提案时间，无法判断是否过期。请先校准时钟。"}

	// ErrNoRestore: what verification found is not what a restore leaves, or there is nothing.
	ErrNoRestore = &Error{"CUSTODY_NO_RESTORE", "没有可声明的恢复：审计链与账本锚定一致，或存在恢复之外的问题。请先执行 server audit verify 查看。"}

	// ErrAuditRows: the audit has no such rows.
	ErrAuditRows = &Error{"CUSTODY_AUDIT_ROWS", "审计日志中没有这些行。请检查起止行号或时间。"}

	// ErrAuditBroken: the head of the audit isn't the one that was written last. Raises an alarm.
	ErrAuditBroken = &Error{"CUSTODY_AUDIT_BROKEN", "审计日志校验失败，签名已暂停。请运维人员立即核查。"}
)

// alarming are the errors that someone has to look at, whoever caused them.
var alarming = map[*Error]bool{ErrKeyUnreadable: true, ErrOwner: true, ErrDigestConflict: true, ErrAuditBroken: true,
	ErrProposalForged: true, ErrSelfApproval: true, ErrPlatformQuota: true, ErrUnusual: true,
	ErrUnauthorised: true, ErrAuthorisationConflict: true, ErrLoginForged: true, ErrKeyForeign: true, ErrTwoPeople: true}

// Alarms lists what Metrics.Alarm can be called with, in no order.
func Alarms() []*Error {
	return slices.AppendSeq([]*Error{ErrUnnoted, ErrKeyUnfollowed, ErrAuditUnwritable}, maps.Keys(alarming))
}

// codeOf finds the Error in what went wrong.
func codeOf(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// MessageOf is the sentence for the code with which a proposal failed.
func MessageOf(code string) string {
	for _, e := range []*Error{ErrQuota, ErrQuotaLower, ErrNotStopped, ErrProposalChanged, ErrArguments, ErrOperationUnknown,
		ErrKeyNotFound, ErrKeyTransition, ErrKeyProtected, ErrRecovery, ErrNotFrozen} {
		if e.Code == code {
			return e.Message
		}
	}
	return "操作没有成功（" + code + "）。请核对后重新提议，或联系运维人员。"
}
