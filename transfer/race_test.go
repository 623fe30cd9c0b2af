//go:build race

package transfer_test

// stride is how many boundaries lie between two kills: under the race detector each signature takes ten times as long.
const stride = 4

// histories is how many random histories are played.
const histories = 4
