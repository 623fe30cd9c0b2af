// The end-to-end tests run in three lanes, side by side: each a process with a server and a browser of its own. A new file goes
// where there is room; a file alone is run by `node --test tests/e2e/FILE.mjs`.
import './net.mjs'
import './confirm.mjs'
import './preview.mjs'
import './troubles.mjs'
import './pages.mjs'
import './stepup.mjs' // the last: what it waits for comes to pass while the others run
