package cardfile

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/xuri/excelize/v2"
)

// headings is the header of the files written here.
var headings = [fields]string{"ICCID（卡号）", "IMSI", "MSISDN（物联网号码）"}

// WriteXLSX writes a card file as a carrier should: one sheet, a header, every value a text cell, and the columns
// formatted as text, so that what a person types into them stays whole as well. Of a row only ICCID, IMSI and MSISDN
// are used. It fails beyond 1,048,575 rows, the sheet's limit.
func WriteXLSX(w io.Writer, rows iter.Seq[Row]) error {
	f := excelize.NewFile()
	defer f.Close()
	if err := writeSheet(f, rows); err != nil {
		return fmt.Errorf("write card file: %w", err)
	}
	if _, err := f.WriteTo(w); err != nil {
		return fmt.Errorf("write card file: %w", err)
	}
	return nil
}

func writeSheet(f *excelize.File, rows iter.Seq[Row]) error {
	const name = "卡清单"
	if err := f.SetSheetName("Sheet1", name); err != nil {
		return err
	}
	const textFormat = 49 // "@", ECMA-376 part 1, §18.8.30
	asText, err := f.NewStyle(&excelize.Style{NumFmt: textFormat})
	if err != nil {
		return err
	}
	bold, err := f.NewStyle(&excelize.Style{NumFmt: textFormat, Font: &excelize.Font{Bold: true}})
	if err != nil {
		return err
	}
	sw, err := f.NewStreamWriter(name)
	if err != nil {
		return err
	}
	if err := sw.SetColStyle(1, fields, asText); err != nil {
		return err
	}
	if err := sw.SetColWidth(1, fields, 26); err != nil {
		return err
	}
	line := 0
	put := func(style int, values [fields]string) error {
		line++
		cells := make([]any, fields)
		for i, v := range values {
			if v != "" {
				cells[i] = excelize.Cell{StyleID: style, Value: v}
			}
		}
		return sw.SetRow(fmt.Sprintf("A%d", line), cells)
	}
	if err := put(bold, headings); err != nil {
		return err
	}
	for r := range rows {
		if err := put(asText, [fields]string{r.ICCID, r.IMSI, r.MSISDN}); err != nil {
			return err
		}
	}
	return sw.Flush()
}

// WriteCSV writes a card file as UTF-8 with a byte order mark. Excel rounds the ICCIDs of a .csv when it opens one: give
// people WriteXLSX's, and this one to programs.
func WriteCSV(w io.Writer, rows iter.Seq[Row]) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	if _, err := buffered.Write(utf8Mark); err != nil {
		return fmt.Errorf("write card file: %w", err)
	}
	c := csv.NewWriter(buffered)
	c.UseCRLF = true
	err := c.Write(headings[:])
	for r := range rows {
		if err != nil {
			break
		}
		err = c.Write([]string{r.ICCID, r.IMSI, r.MSISDN})
	}
	c.Flush()
	if err == nil {
		err = c.Error()
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fmt.Errorf("write card file: %w", err)
	}
	return nil
}

// Template answers an empty .xlsx for people to fill in: WriteXLSX's without a row.
func Template() ([]byte, error) {
	var b bytes.Buffer
	err := WriteXLSX(&b, slices.Values([]Row(nil)))
	return b.Bytes(), err
}
