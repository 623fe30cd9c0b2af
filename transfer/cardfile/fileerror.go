package cardfile

import "fmt"

// Codes of a FileError.
const (
	CodeUnknown   = "CARD_FILE_UNKNOWN"          // no spreadsheet, or one of a kind that isn't read
	CodeDamaged   = "CARD_FILE_DAMAGED"          // a spreadsheet that can't be read to its end
	CodeTooLarge  = "CARD_FILE_TOO_LARGE"        // over a limit, packed, unpacked or in rows
	CodeNoColumn  = "CARD_FILE_NO_ICCID_COLUMN"  // no header names an ICCID column
	CodeAmbiguous = "CARD_FILE_AMBIGUOUS_COLUMN" // two columns claim to be the same
	CodeEmpty     = "CARD_FILE_EMPTY"            // no data row
	CodeXLSFull   = "CARD_FILE_XLS_FULL"         // 65,536 rows: the file may have been cut there
	CodeXLSXFull  = "CARD_FILE_XLSX_FULL"        // 1,048,576 rows: likewise
	CodeEncrypted = "CARD_FILE_ENCRYPTED"        // needs a password
)

// FileError says why a file as a whole can't be used. Code is stable; Message is Chinese, holds no card, and says what
// the person who sent the file should do.
type FileError struct{ Code, Message string }

// Error answers code and message: safe to log.
func (e *FileError) Error() string { return e.Code + ": " + e.Message }

func fileError(code, format string, args ...any) *FileError {
	return &FileError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func damaged(what string) *FileError {
	return fileError(CodeDamaged, "文件已损坏（%s）。请用 Excel 或 WPS 打开确认内容完整，另存为 .xlsx 后重新上传。", what)
}

func tooLarge(what string) *FileError {
	return fileError(CodeTooLarge, "文件过大（%s）。请拆分成几个较小的文件分别上传。", what)
}

func encrypted() *FileError {
	return fileError(CodeEncrypted, "文件设有密码，无法读取。请取消密码保护后重新上传。")
}

func unknown(what string) *FileError {
	return fileError(CodeUnknown, "%s。请上传 .xlsx、.xls 或 .csv 格式的卡文件。", what)
}

func empty(what string) *FileError {
	return fileError(CodeEmpty, "%s。请确认卡数据在第一个可见的工作表中。", what)
}
