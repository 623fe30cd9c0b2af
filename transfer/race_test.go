//go:build race

package transfer_test

// How much the longest tests do: under the race detector each signature takes ten times as long.
const (
	stride     = 7  // boundaries from one kill to the next
	histories  = 2  // random histories
	boxOfCards = 60 // cards of one each-card offer
)
