//go:build !race

package transfer_test

// How much the longest tests do.
const (
	stride     = 1   // boundaries from one kill to the next
	histories  = 25  // random histories
	boxOfCards = 500 // cards of one each-card offer
)
