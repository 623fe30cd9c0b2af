//go:build !race

package transfer_test

// stride is how many boundaries lie between two kills.
const stride = 1
