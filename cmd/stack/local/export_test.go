package local

import "runtime"

// canTie: see tie.
var CanTie = runtime.GOOS == "linux"
