// See lane-1.
import './retail.mjs'
import './ways.mjs'
