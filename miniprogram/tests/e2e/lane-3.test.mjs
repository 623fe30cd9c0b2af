// See lane-1.
import './realname.mjs'
import './mine.mjs'
