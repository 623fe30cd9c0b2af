// A phone with one mini-program on it. Query parameters say whose it is and what was scanned:
//
//	person   who is logged in to WeChat (default 小李)
//	open     the page that opens, with its query (default: app.json's first)
//	code     what wx.login answers (default demo:<person>, which the server's stand-in for WeChat knows)
//	font     WeChat's text size in px (default 16)
//	subscribe what is answered when a message may be sent: accept (default), reject, off, or ask: the person is asked
//	patience how many times longer than it says a request may take (default 1): on a busy machine a test is no proof of a bad network
import { makeChrome } from './chrome.mjs'
import { makeRouter, parse } from './router.mjs'
import { makeSpace } from './space.mjs'
import { makeSubscribe } from './subscribe.mjs'
import { ui } from './ui.mjs'
import { makeWx } from './wx/wx.mjs'

const program = window.__miniprogram
const asked = new URLSearchParams(location.search)
const listeners = {}

const phone = {
  /** Whatever should not have happened. A test that ends with any has failed. */
  faults: [],
  fault(err) {
    const text = String(err?.stack ?? err)
    phone.faults.push(text)
    console.error(text)
  },
  /** Calls of setData, and the largest, in bytes. */
  measured: { count: 0, most: 0 },
  /** What a test may change while the program runs. */
  settings: {
    person: asked.get('person') || '小李', loginCode: asked.get('code') || undefined, logins: 0, loginFails: '', offline: false, scans: [], camera: 'allowed', album: 'allowed', saved: [], clipboard: '',
    guides: 0, subscribe: asked.get('subscribe') || 'accept', subscribed: [], fontSize: Number(asked.get('font') || 16), patience: Number(asked.get('patience') || 1), shared: [],
  },
  // The address of a trial server in the mini-program's config.ts is whichever server has served this page.
  domains: { 'http://127.0.0.1:8080': location.origin },
  ui,
  app: { globalData: {} },
  App(definition) {
    phone.app = Object.assign(definition, { globalData: definition.globalData ?? {} })
  },
  file: (src) => phone.written(src) ?? (/^(data:|blob:|https?:)/.test(src) ? src : `files/${src.startsWith('/') ? src.slice(1) : new URL(src, `http://x/${phone.router.top().route}`).pathname.slice(1)}`),
  listen: (event, f) => (listeners[event] ??= []).push(f),
  unlisten: (event, f) => { listeners[event] = f ? (listeners[event] ?? []).filter((l) => l !== f) : [] },
  emit: (event, v) => { for (const f of listeners[event] ?? []) f(v) },
  permissions: () => ({ 'scope.camera': phone.settings.camera === 'allowed', 'scope.writePhotosAlbum': phone.settings.album === 'allowed' }),
  /** The person goes to the settings and allows everything. */
  permit() {
    Object.assign(phone.settings, { camera: 'allowed', album: 'allowed' })
    return phone.permissions()
  },
  network(on) {
    phone.settings.offline = !on
    phone.emit('network', { isConnected: on, networkType: on ? 'wifi' : 'none' })
  },
  share() {
    const made = phone.router.top().instance.onShareAppMessage?.({ from: 'button' })
    phone.settings.shared.push(made)
    ui.toast({ title: '已转发', icon: 'success' })
  },
  privacy: {
    agreed: asked.get('privacy') !== 'unasked', ask: undefined, waiting: [], refusedAt: -Infinity,
    require(ok, fail) {
      if (this.agreed) return ok()
      const refused = () => fail('privacy permission is not authorized', { errno: 104 })
      // Who has just refused is not asked again.
      if (Date.now() - this.refusedAt < 10_000) return refused()
      if (!this.ask) return phone.fault('personal data are wanted, and nobody asks for them')
      this.waiting.push([ok, refused])
      this.ask((answer) => {
        if (answer.event === 'exposureAuthorization') return
        this.agreed = answer.event === 'agree'
        if (!this.agreed) this.refusedAt = Date.now()
        for (const [yes, no] of this.waiting.splice(0)) (this.agreed ? yes : no)()
      }, { referrer: 'requirePrivacyAuthorize' })
    },
    agree(button) {
      this.agreed = true
      button.triggerEvent('agreeprivacyauthorization', {})
    },
  },
}
phone.subscribe = makeSubscribe(phone)
window.__phone = phone

addEventListener('error', (e) => phone.fault(e.error ?? e.message))
addEventListener('unhandledrejection', (e) => phone.fault(e.reason?.stack ?? JSON.stringify(e.reason)))

document.documentElement.style.fontSize = `${phone.settings.fontSize}px`
phone.wx = makeWx(phone)
window.wx = phone.wx
const space = makeSpace(program, phone)
phone.chrome = makeChrome(program.manifest, phone)
phone.router = makeRouter(program.manifest, space, phone, phone.chrome)

const open = asked.get('open') || program.manifest.app.entryPagePath || program.manifest.pages[0]
const { route, query } = parse(`/${open}`)
phone.launch = { path: route, query, scene: Number(asked.get('scene') || 1001), referrerInfo: {} }
if (program.manifest.script) space.load(program.manifest.script)
phone.app.onLaunch?.(phone.launch)
phone.app.onShow?.(phone.launch)
phone.router.open(`/${open}`)
document.addEventListener('visibilitychange', () => phone.router.background(document.hidden))
phone.ready = performance.now()
