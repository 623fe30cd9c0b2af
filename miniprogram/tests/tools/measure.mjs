// How fast it is to a person, in the tests' browser and against a server of its own: rows for docs/performance.md.
//
//   node tests/tools/measure.mjs [ROUNDS]      medians and 99 percents of so many buyers, each with a fresh phone (default 20)
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { openBrowser } from '../e2e/support/browser.mjs'
import { Phone } from '../e2e/support/phone.mjs'
import { Caller, Counter, startServer } from '../e2e/support/server.mjs'
import { compile } from '../harness/compile/compile.mjs'

const rounds = Number(process.argv[2] ?? 20)
const many = 5000

const out = fs.mkdtempSync(path.join(os.tmpdir(), 'cardflow-measure-'))
compile(fileURLToPath(new URL('../../', import.meta.url)), out)
const [browser, server] = await Promise.all([openBrowser(), startServer(out)])
try {
  const found = { open: [], lookup: [], shown: [], told: [] }
  const counter = new Counter(await Caller.staff(server.url, 'xiaowang'))
  for (let n = 0; n < rounds; n++) await buyer(counter, `买家${n}`, found)
  row('a cold start, until the boxes of the code take letters', found.open)
  row("the code is looked up: the server's answer", found.lookup)
  row('… and the trade is on the screen, from the tap', found.shown)
  row('the screen says "confirmed", after the server wrote that it is', found.told)
  await list()
} finally {
  await browser.close()
  await server.stop()
  fs.rmSync(out, { recursive: true, force: true })
}

/** Somebody's first card, on a phone that has never seen the mini-program. */
async function buyer(counter, person, found) {
  const trade = await counter.sell()
  const phone = await Phone.open(browser, server.url, { person })
  await phone.page.waitForFunction(() => document.querySelector('.frame:not([hidden]) input'))
  found.open.push(await phone.page.evaluate(() => performance.now()))
  await phone.type('交易码', trade.code)
  await phone.tap('下一步')
  await phone.type('卡号后六位', trade.last6)
  const answer = phone.page.waitForResponse(/trade-codes\/lookup/)
  await watch(phone, '查看交易', '确认收卡', 'shown')
  const { requestStart, responseEnd } = await answer.then(async (r) => { await r.finished(); return r.request().timing() })
  found.lookup.push(responseEnd - requestStart)
  found.shown.push(await phone.page.evaluate(() => window.seen.shown - window.seen.tapped))
  const accepted = phone.page.waitForResponse(/\/confirm$/)
  await watch(phone, '确认收卡', '卡已归您', 'done')
  const me = await Caller.consumer(server.url, person)
  const act = await me.get(`/confirmations/${(await (await accepted).json()).confirmationId}`)
  found.told.push(await phone.page.evaluate(() => window.seen.doneAt) - Date.parse(act.updatedAt))
  await phone.close()
}

/** Taps a button, and notes in the page when a text is first on the screen. */
async function watch(phone, button, text, name) {
  await phone.page.evaluate(([text, name]) => {
    const seen = window.seen = { ...window.seen }
    document.addEventListener('touchend', () => { seen.tapped = performance.now() }, { once: true, capture: true })
    seen.wait = new Promise((resolve) => {
      const look = () => {
        const frame = document.querySelector('.frame:not([hidden])')
        if (!frame?.innerText.includes(text)) return requestAnimationFrame(look)
        seen[name] = performance.now()
        seen[`${name}At`] = Date.now()
        resolve()
      }
      requestAnimationFrame(look)
    })
  }, [text, name])
  await phone.tap(button)
  await phone.page.evaluate(() => window.seen.wait)
}

/** A buyer who has thousands of cards scrolls through all of them. */
async function list() {
  const person = '批量买家'
  const [carrier, me] = [await Caller.staff(server.url, 'yidong'), await Caller.consumer(server.url, person)]
  const segments = [{ start: Counter.iccid(300_000), end: Counter.iccid(300_000 + many - 1) }]
  const { confirmations } = await carrier.post('/lots', { segments })
  for (const c of confirmations) await carrier.ended(c)
  const owners = ['yidong', 'hualian', 'xiaowang']
  for (const [n, seller] of owners.entries()) {
    const to = owners[n + 1]
    const from = await Caller.staff(server.url, seller)
    const t = await from.offers(to ? { mode: 'NAMED', to, segments } : { mode: 'BEARER', segments })
    const taker = to ? await Caller.staff(server.url, to) : me
    await taker.ended(await taker.post(`/trades/${t.tradeId}/confirm`, to ? undefined : { code: t.code, iccidLast6: segments[0].start.slice(-6) }))
  }
  const phone = await Phone.open(browser, server.url, { person })
  await phone.tab('我的卡')
  await phone.sees('至少 50 张')
  const { frames, elements } = await phone.page.evaluate(async (many) => {
    const frames = []
    let last = performance.now()
    const scroller = [...document.querySelectorAll('.frame:not([hidden]), .frame:not([hidden]) *')].find((e) => e.scrollHeight > e.clientHeight + 10 && /auto|scroll/.test(getComputedStyle(e).overflowY)) ?? document.scrollingElement
    while (!document.body.innerText.includes(`共 ${many} 张`)) {
      scroller.scrollBy(0, 400)
      await new Promise(requestAnimationFrame)
      const now = performance.now()
      frames.push(now - last)
      last = now
    }
    return { frames, elements: document.querySelectorAll('*').length }
  }, many)
  row(`${many} cards are scrolled through: a frame`, frames)
  console.log(`${elements} elements at their end`)
  await phone.close()
}

function row(what, times) {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (q) => `${sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))].toFixed(0)} ms`
  console.log(`| ${what} | ${times.length} | ${at(0.5)} | ${at(0.99)} |`)
}
