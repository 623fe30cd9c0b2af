package realname

import "fmt"

// Example makes a number that nobody has, for tests and demonstrations: of region 110000, which is no district where
// anybody was ever registered, with a check character that fits. n is 0 to 999.
func Example(n int) string {
	number := fmt.Sprintf("11000019000101%03d", n%1000)
	sum := 0
	for i, c := range number {
		sum += (1 << (17 - i) % 11) * int(c-'0')
	}
	check := (12 - sum%11) % 11
	if check == 10 {
		return number + "X"
	}
	return number + fmt.Sprint(check)
}
