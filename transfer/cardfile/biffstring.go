package cardfile

import (
	"unicode/utf16"
)

// pieces reads over the borders between a record and its CONTINUE records. Reading past the end gives zeros and sets
// short: the caller looks once, at the end of a string.
type pieces struct {
	all   [][]byte
	short bool
}

func (p *pieces) byte() byte {
	for len(p.all) > 0 && len(p.all[0]) == 0 {
		p.all = p.all[1:]
	}
	if len(p.all) == 0 {
		p.short = true
		return 0
	}
	b := p.all[0][0]
	p.all[0] = p.all[0][1:]
	return b
}

func (p *pieces) u16() int { return int(p.byte()) | int(p.byte())<<8 }
func (p *pieces) u32() int { return p.u16() | p.u16()<<16 }

func (p *pieces) skip(n int) {
	for n > 0 {
		if len(p.all) == 0 {
			p.short = true
			return
		}
		step := min(n, len(p.all[0]))
		p.all[0] = p.all[0][step:]
		if n -= step; len(p.all[0]) == 0 {
			p.all = p.all[1:]
		}
	}
}

// chars reads n characters, of one byte (the lower half of UTF-16) or with bit 0 of flags set of two. Where characters
// go on in a CONTINUE record, that begins with new flags ([MS-XLS] §2.5.293).
func (p *pieces) chars(n, flags int) (string, error) {
	units := make([]uint16, 0, min(n, 1<<15))
	for range n {
		if len(p.all) > 1 && len(p.all[0]) == 0 {
			p.all = p.all[1:]
			flags = int(p.byte())
		}
		c := uint16(p.byte())
		if flags&1 != 0 {
			c |= uint16(p.byte()) << 8
		}
		if p.short {
			return "", damaged("字符串提前结束")
		}
		units = append(units, c)
	}
	return string(utf16.Decode(units)), nil
}

// readStrings reads the shared strings ([MS-XLS] §2.4.265), without the runs and guides behind each.
func readStrings(p *pieces) ([]string, error) {
	p.u32() // how often they are used
	n := p.u32()
	var all []string
	for range n {
		length, flags := p.u16(), int(p.byte())
		behind := 0
		if flags&0x08 != 0 {
			behind += 4 * p.u16()
		}
		if flags&0x04 != 0 {
			behind += p.u32()
		}
		s, err := p.chars(length, flags)
		if err != nil {
			return nil, err
		}
		p.skip(behind)
		if p.short {
			return nil, damaged("字符串提前结束")
		}
		all = append(all, trim(s))
	}
	return all, nil
}
