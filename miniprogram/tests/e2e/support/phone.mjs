// A person's phone in the browser, in the words of a test: what he sees, taps and types.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { lookAround } from './look.mjs'

const shots = fileURLToPath(new URL('../../shots/', import.meta.url))

const camera = fileURLToPath(new URL('../../../node_modules/jsqr/dist/jsQR.js', import.meta.url))

const sizes = { usual: { width: 390, height: 844 }, small: { width: 320, height: 568 }, large: { width: 430, height: 932 } }

/** How every picture is looked at. */
const looks = [
  { suffix: '', size: 'usual', font: 16 },
  { suffix: '-dark', size: 'usual', font: 16, dark: true },
  { suffix: '-small-large', size: 'small', font: 22 },
  { suffix: '-large-dark', size: 'large', font: 16, dark: true },
]

/** Pictures that are kept in another look than the usual, too: the READMEs show them, or people look at them first. */
const pictured = new Set(['offer-dark', 'card-dark', 'home-dark', 'receipt-small-large', 'retail-code-dark', 'retail-home-small-large', 'real-name-dark'])

export class Phone {
  /** @param {import('playwright-core').Browser} browser */
  static async open(browser, url, { person, open = '', query = {} } = {}) {
    const context = await browser.newContext({ viewport: sizes.usual, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'light', locale: 'zh-CN', timezoneId: 'Asia/Shanghai' })
    context.setDefaultTimeout(60_000)
    const phone = new Phone()
    phone.context = context
    phone.page = await context.newPage()
    phone.logged = []
    phone.page.on('console', (m) => {
      // A refusal of the server is no fault: the tests look at what is made of it.
      if (m.type() === 'error' && !m.text().startsWith('Failed to load resource')) phone.logged.push(m.text())
    })
    phone.page.on('response', (r) => {
      if (r.status() >= 400 && new URL(r.url()).pathname.startsWith('/preview/')) phone.logged.push(`${r.status()}: ${r.url()}`)
    })
    phone.page.on('pageerror', (e) => phone.logged.push(e.stack ?? String(e)))
    phone.base = `${url}/preview/phone.html`
    phone.query = { person, patience: 10, ...query }
    await phone.start(open)
    return phone
  }

  /** Opens the mini-program anew, at a page: what is stored on the phone stays. */
  async start(open = '') {
    await this.page.goto(`${this.base}?${new URLSearchParams({ ...this.query, open })}`)
    await this.page.waitForFunction(() => window.__phone?.ready !== undefined)
  }

  /** The page on top. */
  get top() {
    return this.page.locator('.frame:not([hidden])')
  }

  async sees(text) {
    await this.page.getByText(text).filter({ visible: true }).first().waitFor()
  }

  async gone(text) {
    await this.page.getByText(text).filter({ visible: true }).first().waitFor({ state: 'hidden' })
  }

  button(name) {
    return this.page.getByRole('button', { name }).filter({ visible: true }).first()
  }

  async tap(name) {
    await this.button(name).tap()
  }

  /** Two taps, as nervous fingers make them. */
  async tapTwice(name) {
    const { x, y, width, height } = await this.button(name).boundingBox()
    const tap = () => this.page.touchscreen.tap(x + width / 2, y + height / 2)
    await Promise.all([tap(), tap()])
  }

  async disabled(name) {
    assert.equal(await this.button(name).getAttribute('aria-disabled'), 'true', `${name} can be tapped`)
  }

  async tab(name) {
    await this.page.getByRole('tab', { name, exact: true }).tap()
  }

  async back() {
    await this.page.getByRole('button', { name: '返回' }).tap()
  }

  async type(label, text) {
    await this.top.getByRole('textbox', { name: label }).fill(text)
  }

  /** A member of the shop's staff, at its login. */
  async staff(username = 'xiaowang', password = 'cardflow-demo') {
    await this.sees('商家登录')
    await this.type('账号', username)
    await this.type('密码', password)
    await this.tap('登录')
  }

  /** From the home page to a trade: its code, and the end of a card in hand. */
  async looksUp({ code, last6 }) {
    await this.type('交易码', code)
    await this.tap('下一步')
    await this.type('卡号后六位', last6)
    await this.tap('查看交易')
  }

  /** What a camera reads from a picture on the screen. It is no part of the phone, whose page lets nothing else run. */
  async reads(locator) {
    const picture = await locator.screenshot()
    const lens = await this.context.newPage()
    await lens.addScriptTag({ path: camera })
    const text = await lens.evaluate(async (png) => {
      const image = new window.Image()
      image.src = `data:image/png;base64,${png}`
      await image.decode()
      const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height })
      const pen = canvas.getContext('2d')
      pen.drawImage(image, 0, 0)
      return window.jsQR(pen.getImageData(0, 0, image.width, image.height).data, image.width, image.height)?.data
    }, picture.toString('base64'))
    await lens.close()
    return text
  }

  async choose(name) {
    await this.page.getByRole('radio', { name }).filter({ visible: true }).tap()
  }

  /** What the camera reads next. */
  async holds(...scans) {
    await this.page.evaluate((s) => window.__phone.settings.scans.push(...s), scans.map((s) => (typeof s === 'string' ? { result: s } : s)))
  }

  async set(settings) {
    await this.page.evaluate((s) => Object.assign(window.__phone.settings, s), settings)
  }

  get(name) {
    return this.page.evaluate((n) => window.__phone.settings[n], name)
  }

  async network(on) {
    await this.page.evaluate((o) => window.__phone.network(o), on)
  }

  async background(hidden) {
    await this.page.evaluate((h) => window.__phone.router.background(h), hidden)
  }

  /** The token with which this phone speaks to the server. */
  token() {
    return this.page.evaluate(() => window.wx.getStorageSync('session').token)
  }

  /** What the server would answer to paths that match, until the returned function is called. */
  async answers(path, handler) {
    const url = (u) => path.test(new URL(u).pathname)
    await this.page.route(url, handler)
    return () => this.page.unroute(url, handler)
  }

  /**
   * Keeps a picture, and looks for what can't be read or doesn't fit: as it is, in the dark, on a small phone of somebody who needs
   * large letters, and on a large one.
   */
  async shot(name) {
    await this.page.evaluate(() => document.documentElement.classList.add('still')) // no finger is on anything
    const faults = []
    for (const look of looks) {
      await this.page.emulateMedia({ colorScheme: look.dark ? 'dark' : 'light' })
      await this.page.setViewportSize(sizes[look.size])
      await this.page.evaluate((font) => { document.documentElement.style.fontSize = `${font}px` }, look.font)
      // What moves has arrived when it is looked at: what moves for ever is the only thing that still does.
      await this.page.waitForFunction(() => document.getAnimations().every((a) => a.playState !== 'running' || a.effect.getComputedTiming().iterations === Infinity))
      faults.push(...(await this.page.evaluate(lookAround)).map((f) => `${look.suffix.slice(1) || 'usual'}: ${f}`))
      if (look.suffix === '' || pictured.has(name + look.suffix)) {
        fs.mkdirSync(shots, { recursive: true })
        await this.page.screenshot({ path: path.join(shots, `${name}${look.suffix}.png`) })
      }
    }
    await this.page.emulateMedia({ colorScheme: 'light' })
    await this.page.setViewportSize(sizes.usual)
    await this.page.evaluate((font) => {
      document.documentElement.style.fontSize = `${font}px`
      document.documentElement.classList.remove('still')
    }, looks[0].font)
    if (faults.length > 0) await this.keep(`${name}-odd`)
    assert.deepEqual(faults, [], `how ${name} looks`)
  }

  /** A picture of a page that should be another, and what it is made of. */
  async keep(name) {
    fs.mkdirSync(shots, { recursive: true })
    await this.page.screenshot({ path: path.join(shots, `${name}.png`) })
    fs.writeFileSync(path.join(shots, `${name}.html`), await this.page.content())
  }

  /** Ends the test of this phone: nothing that should not have happened has. */
  async close() {
    const faults = await this.page.evaluate(() => window.__phone.faults)
    await this.context.close()
    assert.deepEqual([...new Set([...faults, ...this.logged])], [], 'faults on the phone')
  }
}
