//go:build !linux

package main

// temporary is where the folder of `run` is made: where the system has such folders.
func temporary() string { return "" }
