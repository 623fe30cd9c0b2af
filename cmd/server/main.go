// Server is CardFlow's backend in one binary. This file and its neighbours only
// read the configuration and wire the other packages together.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	file := flag.String("config", "", "configuration file; without one the embedded mode's defaults apply")
	flag.Parse()
	if _, err := Load(*file, os.Environ()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("the configuration is sound")
}
