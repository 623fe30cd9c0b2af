//go:build !crash

package main

// at is called at the points of the crash suite: see transfer/point.go and its like. In a server that people run nothing
// is.
var at func(point string)
