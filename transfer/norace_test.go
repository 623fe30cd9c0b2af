//go:build !race

package transfer_test

// stride is how many boundaries lie between two kills.
const stride = 1

// histories is how many random histories are played.
const histories = 25
