package cardfile

import (
	"archive/zip"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"strings"
)

const (
	// maxDirectory is the most bytes that the directory of a .zip may take: archive/zip holds all of it in memory.
	maxDirectory = 4 << 20
	// maxPart is the most bytes of the small parts that are decoded whole.
	maxPart = 4 << 20
	// maxRatio is how many times its packed size a file may unpack to, once that is more than freeRatio bytes. Sheets
	// full of cards stay below 30; a bomb has 1,000.
	maxRatio  = 200
	freeRatio = 32 << 20
)

// xlsx is an open .xlsx workbook.
type xlsx struct {
	parts   map[string]*zip.File // by lower-case path
	visible []*zip.File          // worksheets in the order of their tabs
	hidden  int
	strings *stringTable
	opts    Options
}

func openXLSX(file io.ReaderAt, size int64, opts Options) (*xlsx, error) {
	// archive/zip reads directory entries as long as there are any, whatever the count says: the budget bounds them.
	budget := &budgetReader{r: file, left: maxDirectory}
	archive, err := zip.NewReader(budget, size)
	if errors.Is(err, errBudget) {
		return nil, tooLarge("压缩包内的文件太多")
	}
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, damaged("压缩包结构不完整")
	}
	budget.open = true
	x := &xlsx{parts: make(map[string]*zip.File, len(archive.File)), opts: opts}
	var unpacked uint64
	for _, f := range archive.File {
		if f.Flags&1 != 0 {
			return nil, encrypted()
		}
		name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(f.Name, `\`, "/"), "/"))
		if _, twice := x.parts[name]; twice {
			return nil, damaged("压缩包内有重名文件")
		}
		x.parts[name] = f
		if unpacked += f.UncompressedSize64; f.UncompressedSize64 > uint64(opts.MaxBytes) || unpacked > uint64(opts.MaxBytes) {
			return nil, tooLarge("解压后超过上限")
		}
	}
	if unpacked > freeRatio && unpacked/uint64(size) > maxRatio {
		return nil, tooLarge("压缩比异常")
	}
	if err := x.readWorkbook(); err != nil {
		return nil, err
	}
	return x, nil
}

// relationships is a .rels part.
type relationships struct {
	Relationship []struct {
		ID     string `xml:"Id,attr"`
		Type   string `xml:"Type,attr"`
		Target string `xml:"Target,attr"`
	}
}

// readWorkbook finds the sheets and the shared strings. Relationship types are told by their last word, because the
// strict and the transitional form of the standard differ in all before it.
func (x *xlsx) readWorkbook() error {
	var root relationships
	switch {
	case x.parts["xl/workbook.bin"] != nil:
		return unknown("这是 .xlsb 二进制工作簿，请在 Excel 中另存为 .xlsx")
	case x.parts["mimetype"] != nil && x.parts["content.xml"] != nil:
		return unknown("这是 OpenDocument 文档，请另存为 .xlsx")
	case x.parts["[content_types].xml"] == nil:
		return unknown("这是压缩包而不是表格，请先解压")
	}
	if err := x.decode("_rels/.rels", &root); err != nil {
		return err
	}
	workbook := ""
	for _, r := range root.Relationship {
		if strings.HasSuffix(r.Type, "/officeDocument") {
			workbook = resolve("", r.Target)
		}
	}
	if x.parts[workbook] == nil {
		return damaged("缺少工作簿")
	}
	var sheets struct {
		XMLName xml.Name
		Sheets  struct {
			Sheet []struct {
				State string     `xml:"state,attr"`
				Attrs []xml.Attr `xml:",any,attr"`
			} `xml:"sheet"`
		} `xml:"sheets"`
	}
	if err := x.decode(workbook, &sheets); err != nil {
		return err
	}
	if sheets.XMLName.Local != "workbook" {
		return unknown("这是 Office 文档，但不是表格")
	}
	var rels relationships
	if err := x.decode(path.Join(path.Dir(workbook), "_rels", path.Base(workbook)+".rels"), &rels); err != nil {
		return err
	}
	worksheet := map[string]string{}
	for _, r := range rels.Relationship {
		target := resolve(path.Dir(workbook), r.Target)
		switch path.Base(r.Type) {
		case "worksheet":
			worksheet[r.ID] = target
		case "sharedStrings":
			x.strings = &stringTable{part: x.parts[target], dir: x.opts.TempDir}
		}
	}
	for _, s := range sheets.Sheets.Sheet {
		id := ""
		for _, a := range s.Attrs {
			if a.Name.Local == "id" && a.Name.Space != "" {
				id = a.Value
			}
		}
		target, ok := worksheet[id]
		switch {
		case !ok: // a chart sheet or a dialog
		case s.State == "hidden" || s.State == "veryHidden":
			x.hidden++
		case x.parts[target] == nil:
			return damaged("缺少工作表")
		default:
			x.visible = append(x.visible, x.parts[target])
		}
	}
	if x.strings != nil && x.strings.part == nil {
		return damaged("缺少共享字符串表")
	}
	return nil
}

// resolve answers the lower-case path of a relationship's target.
func resolve(dir, target string) string {
	target = strings.ToLower(strings.ReplaceAll(target, `\`, "/"))
	if rest, absolute := strings.CutPrefix(target, "/"); absolute {
		return path.Clean(rest)
	}
	return path.Join(dir, target)
}

// decode reads a small part whole.
func (x *xlsx) decode(name string, into any) error {
	f := x.parts[name]
	if f == nil {
		return damaged("缺少 " + clean(path.Base(name)))
	}
	if f.UncompressedSize64 > maxPart {
		return tooLarge("工作簿结构异常")
	}
	r, err := f.Open()
	if err != nil {
		return unpackError(err)
	}
	defer r.Close()
	d := xml.NewDecoder(r)
	if err := d.Decode(into); err != nil {
		return unpackError(err)
	}
	_, err = io.Copy(io.Discard, r) // to the checksum
	return unpackError(err)
}

// unpackError says what an error of archive/zip or encoding/xml means for the person; nil stays nil.
func unpackError(err error) error {
	var ours *FileError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return ours
	case errors.Is(err, zip.ErrFormat):
		return tooLarge("解压后的大小超过声明") // that is what it means once an entry is open
	case errors.Is(err, errBudget):
		return damaged("单元格内容过长")
	case errors.Is(err, zip.ErrChecksum):
		return damaged("校验和不符")
	default:
		return damaged("内容无法读取")
	}
}

func (x *xlsx) tables() int       { return len(x.visible) }
func (x *xlsx) hiddenTables() int { return x.hidden }

func (x *xlsx) table(i int) (table, error) {
	if x.strings != nil && !x.strings.loaded {
		if err := x.strings.load(); err != nil {
			return nil, err
		}
	}
	return newSheet(x, x.visible[i])
}

// Close frees the shared strings' temporary files.
func (x *xlsx) Close() error {
	if x.strings == nil {
		return nil
	}
	return x.strings.Close()
}

var errBudget = errors.New("read budget is used up")

// budgetReader fails once more than left bytes were read, until it is opened.
type budgetReader struct {
	r    io.ReaderAt
	left int
	open bool
}

func (b *budgetReader) ReadAt(p []byte, off int64) (int, error) {
	if !b.open {
		if b.left -= len(p); b.left < 0 {
			return 0, errBudget
		}
	}
	return b.r.ReadAt(p, off)
}
