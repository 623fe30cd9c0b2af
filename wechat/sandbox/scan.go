package sandbox

import (
	"bytes"
	"errors"
	"image/color"
	"image/png"
)

// Scan reads the text of an image that this sandbox drew: what a phone's camera would do, for tests and demonstrations
// that must know whether the code says what it should. It trusts the picture: no rotation, no error correction, byte
// mode only, versions 1 to 10 of level L. The numbers below are those of ISO/IEC 18004.
func Scan(picture []byte) (text string, err error) {
	modules, err := modulesOf(picture)
	if err != nil {
		return "", err
	}
	size := len(modules)
	version := (size - 17) / 4
	if size%4 != 1 || version < 1 || version > 10 {
		return "", errUnreadable
	}
	mask, err := maskOf(modules)
	if err != nil {
		return "", err
	}
	return decode(deinterleave(codewords(modules, version, mask), version), version)
}

var errUnreadable = errors.New("sandbox: not a picture of this sandbox")

// eccPerBlock and blocks: table 9, level L, by version.
var (
	eccPerBlock = [11]int{0, 7, 10, 15, 20, 26, 18, 20, 24, 30, 18}
	blocks      = [11]int{0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 4}
	// alignment: table E.1, the centres beside row and column 6.
	alignment = [11][]int{2: {18}, 3: {22}, 4: {26}, 5: {30}, 6: {34}, 7: {22, 38}, 8: {24, 42}, 9: {26, 46}, 10: {28, 50}}
)

// modulesOf cuts the picture into its modules, true for dark, [row][column].
func modulesOf(picture []byte) ([][]bool, error) {
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, errors.Join(errUnreadable, err)
	}
	b := img.Bounds()
	dark := func(x, y int) bool { return color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y < 128 }
	// The first dark pixel on the diagonal is the corner of the finder pattern; its upper edge is 7 modules long.
	edge := b.Min.X
	for edge < b.Max.X && !dark(edge, edge) {
		edge++
	}
	run := 0
	for edge+run < b.Max.X && dark(edge+run, edge) {
		run++
	}
	if run < 7 || run%7 != 0 {
		return nil, errUnreadable
	}
	module := run / 7
	size := (b.Dx() - 2*(edge-b.Min.X)) / module
	modules := make([][]bool, size)
	for row := range modules {
		modules[row] = make([]bool, size)
		for col := range modules[row] {
			modules[row][col] = dark(edge+col*module+module/2, edge+row*module+module/2)
		}
	}
	return modules, nil
}

// maskOf reads the format information beside the upper left finder: 2 bits of level, 3 of mask, under a fixed mask of
// their own (§7.9). Level L is 01.
func maskOf(m [][]bool) (int, error) {
	format := 0
	for col := range 5 {
		format <<= 1
		if m[8][col] {
			format |= 1
		}
	}
	format ^= 0b10101
	if format>>3 != 0b01 {
		return 0, errUnreadable
	}
	return format & 7, nil
}

// masks: table 10, by row i and column j.
var masks = [8]func(i, j int) bool{
	func(i, j int) bool { return (i+j)%2 == 0 },
	func(i, _ int) bool { return i%2 == 0 },
	func(_, j int) bool { return j%3 == 0 },
	func(i, j int) bool { return (i+j)%3 == 0 },
	func(i, j int) bool { return (i/2+j/3)%2 == 0 },
	func(i, j int) bool { return i*j%2+i*j%3 == 0 },
	func(i, j int) bool { return (i*j%2+i*j%3)%2 == 0 },
	func(i, j int) bool { return ((i+j)%2+i*j%3)%2 == 0 },
}

// reserved reports whether a module belongs to a pattern instead of the data.
func reserved(row, col, size, version int) bool {
	switch {
	case row < 9 && (col < 9 || col >= size-8), row >= size-8 && col < 9: // finders, format
		return true
	case row == 6 || col == 6: // timing
		return true
	case version >= 7 && (row < 6 && col >= size-11 || col < 6 && row >= size-11): // version
		return true
	}
	centres := append([]int{6}, alignment[version]...)
	last := centres[len(centres)-1]
	for _, r := range centres {
		for _, c := range centres {
			finder := r == 6 && (c == 6 || c == last) || c == 6 && r == last
			if !finder && abs(row-r) <= 2 && abs(col-c) <= 2 {
				return true
			}
		}
	}
	return false
}

func abs(n int) int { return max(n, -n) }

// codewords walks the zigzag of §7.7.3 from the lower right corner: two columns at a time, up, then down, past the
// timing column.
func codewords(m [][]bool, version, mask int) []byte {
	size := len(m)
	var words []byte
	var word byte
	bits := 0
	up := true
	for right := size - 1; right > 0; right -= 2 {
		if right == 6 {
			right--
		}
		for step := range size {
			row := step
			if up {
				row = size - 1 - step
			}
			for _, col := range [2]int{right, right - 1} {
				if reserved(row, col, size, version) {
					continue
				}
				word <<= 1
				if m[row][col] != masks[mask](row, col) {
					word |= 1
				}
				if bits++; bits%8 == 0 {
					words = append(words, word)
				}
			}
		}
		up = !up
	}
	return words
}

// deinterleave gives the data of all blocks in order (§7.6); the later blocks may be one longer.
func deinterleave(words []byte, version int) []byte {
	n := blocks[version]
	total := len(words) - n*eccPerBlock[version]
	short, longer := total/n, total%n
	data := make([][]byte, n)
	at := 0
	for i := range short + 1 {
		for b := range data {
			if i < short || b >= n-longer {
				data[b] = append(data[b], words[at])
				at++
			}
		}
	}
	return bytes.Join(data, nil)
}

// decode reads a byte segment: 4 bits of mode, 8 or 16 of length, then the text (§7.4.5).
func decode(data []byte, version int) (string, error) {
	if len(data) < 4 || data[0]>>4 != 0b0100 {
		return "", errUnreadable
	}
	at := func(i int) byte { return data[i]<<4 | data[i+1]>>4 } // the i-th byte after the mode
	length, start := int(at(0)), 1
	if version >= 10 {
		length, start = length<<8|int(at(1)), 2
	}
	if start+length+1 > len(data) {
		return "", errUnreadable
	}
	text := make([]byte, length)
	for i := range text {
		text[i] = at(start + i)
	}
	return string(text), nil
}
