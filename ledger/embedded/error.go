package embedded

import (
	"errors"
	"fmt"
)

// Why a ledger can't be used. Each says what to do about it to the person who runs the machine.
var (
	ErrInUse   = errors.New("LEDGER_IN_USE: 账本文件正被另一个进程使用；请先停止那个进程，或换一个数据目录")
	ErrDamaged = errors.New("LEDGER_DAMAGED: 账本文件已损坏或被截断；请停止服务，保留该文件，并从备份恢复")
	ErrForeign = errors.New("LEDGER_FOREIGN: 账本文件属于另一个通道或组织；请检查配置中的账本路径、通道和组织")
	ErrStopped = errors.New("LEDGER_STOPPED: 账本写入失败，已停止写入；请检查磁盘空间和磁盘，然后重启服务")
	ErrClosed  = errors.New("LEDGER_CLOSED: 账本已关闭；请重启服务")
)

// Why a transaction was not sent.
var (
	errForged = errors.New("proposal: its ID is not the hash of its nonce and creator, or its creator is someone else")
	errLate   = errors.New("proposal: its time is outside the time window")
)

// damage names a record that isn't what it was when it was written.
func damage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// damaged, deferred, turns a panic into damage. bbolt panics on pages that make no sense, and the operating system
// faults on pages that are no longer there; both mean that the file is not what was written.
func damaged(err *error) {
	if p := recover(); p != nil {
		*err = damage("%v", p)
	}
}
