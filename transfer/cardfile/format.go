package cardfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

type format uint8

const (
	formatCSV format = iota
	formatXLSX
	formatXLS
)

// foreign are files that people send in place of a spreadsheet, by their first bytes.
var foreign = []struct{ magic, what string }{
	{"%PDF", "这是 PDF 文件，不是表格"},
	{"\x89PNG", "这是图片，不是表格"},
	{"\xff\xd8\xff", "这是图片，不是表格"},
	{"GIF8", "这是图片，不是表格"},
	{"Rar!", "这是 RAR 压缩包，请先解压"},
	{"7z\xbc\xaf", "这是 7z 压缩包，请先解压"},
	{"\x1f\x8b", "这是 gzip 压缩包，请先解压"},
	{"{\\rtf", "这是 RTF 文档，不是表格"},
	{"SQLite format 3", "这是数据库文件，不是表格"},
	{"MZ", "这是程序，不是表格"},
	{"\x7fELF", "这是程序，不是表格"},
}

// sniff tells the format by the content. The name only decides what a text with binary bytes in it was meant to be: a
// .csv that is damaged, or no spreadsheet at all.
func sniff(file io.ReaderAt, size int64, name string) (format, error) {
	if size == 0 {
		return 0, empty("文件是空的")
	}
	head := make([]byte, min(size, 4096))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read card file: %w", err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return formatXLSX, nil
	case bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
		return formatXLS, nil
	case len(head) > 3 && head[0] == 9 && strings.IndexByte("\x00\x02\x04\x08", head[1]) >= 0 && head[2] <= 16 && head[3] == 0:
		return 0, unknown("这是早期版本的 Excel 表格，请在 Excel 中另存为 .xlsx") // a bare BIFF stream
	case utf16Order(head) != nil:
		return formatCSV, nil
	}
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return 0, unknown(f.what)
		}
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))
	if bytes.HasPrefix(text, []byte("<")) {
		// Carriers' web systems export HTML tables under the name .xls, and Excel opens them without a word.
		return 0, unknown("这是网页（HTML/XML）而不是表格，请在 Excel 中打开并另存为 .xlsx")
	}
	if bytes.ContainsFunc(head, isBinary) {
		if ext := strings.ToLower(path.Ext(name)); ext == ".csv" || ext == ".txt" || ext == ".tsv" {
			return 0, damaged("文本中含有二进制内容")
		}
		return 0, unknown("无法识别的文件格式")
	}
	return formatCSV, nil
}

func isBinary(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' && r != '\f' && r != '\v' && r != 0x1a
}
