// All end-to-end tests, in one process: one server, one browser.
import './support/clear.mjs'
import './net.mjs'
import './confirm.mjs'
import './ways.mjs'
import './troubles.mjs'
import './mine.mjs'
import './preview.mjs'
import './retail.mjs'
import './realname.mjs'
import './stepup.mjs' // the last: what it waits for comes to pass while the others run
