// See lane-1.
import './retail.mjs'
import './shop.mjs'
import './ways.mjs'
import './subscribe.mjs'
