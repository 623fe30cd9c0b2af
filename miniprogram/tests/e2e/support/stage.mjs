// One server and one browser for all tests of a lane, and a phone of its own for each.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { after } from 'node:test'
import { compile } from '../../harness/compile/compile.mjs'
import { openBrowser } from './browser.mjs'
import { Phone } from './phone.mjs'
import { Caller, Counter, startServer } from './server.mjs'

const out = fs.mkdtempSync(path.join(os.tmpdir(), 'cardflow-phone-'))
compile(fileURLToPath(new URL('../../../', import.meta.url)), out)
const [browser, server] = await Promise.all([openBrowser(), startServer(out)])
const servers = [server]
after(async () => {
  await browser.close()
  await Promise.all(servers.map((s) => s.stop()))
  fs.rmSync(out, { recursive: true, force: true })
})

export const url = server.url
export const shop = await Caller.staff(url, 'xiaowang')
export const counter = new Counter(shop)
export const staff = (name) => Caller.staff(url, name)
export const consumer = (name) => Caller.consumer(url, name)

/** Somebody new at an organisation of the demo's: his one-time password. */
export async function newStaff(username, organisation, role) {
  const { password } = await server.command('people', 'add', username, '--organisation', organisation, '--roles', role, '--staff-number', username, '--yes')
  return password
}

/** Another server, with a configuration of its own, and the shop there. */
export async function serverWith(more) {
  const other = await startServer(out, more)
  servers.push(other)
  return { url: other.url, counter: new Counter(await Caller.staff(other.url, 'xiaowang')) }
}

/** A desk with a browser. */
export const openDesk = () => browser.newPage({ viewport: { width: 1280, height: 960 }, locale: 'zh-CN', timezoneId: 'Asia/Shanghai' })

/** Cards fresh from their carrier, and an open trade of them. policy says whether their buyer must give a name. */
export async function fromCarrier(first, count, policy) {
  const carrier = await staff('yidong')
  const segments = [{ start: Counter.iccid(first), end: Counter.iccid(first + count - 1) }]
  const { confirmations } = await carrier.post('/lots', { segments, retailPolicy: policy })
  await Promise.all(confirmations.map((a) => carrier.ended(a)))
  const t = await carrier.offers({ mode: 'BEARER', segments })
  return { ...t, last6: segments[0].start.slice(-6) }
}

let people = 0

/** No test takes this long, in ms, not even where ten others run. */
const longest = 600_000

/** A phone of somebody whom no other test knows. */
export function openPhone(options = {}, at = url) {
  return Phone.open(browser, at, { person: `顾客${++people}`, ...options })
}

/** Runs a test with a phone, which must have no fault at the end. */
export const withPhone = (options, run) => async (t) => {
  const phone = await openPhone(options)
  let hangs
  try {
    await Promise.race([run(phone), new Promise((_, reject) => {
      hangs = setTimeout(() => reject(new Error(`hangs: not done after ${longest / 60_000} min`)), longest)
    })])
  } catch (err) {
    await phone.keep(`failed-${t.name.replace(/[^\p{L}\p{N}]+/gu, '-')}`).catch(() => {})
    err.message += `\n  on the phone: ${JSON.stringify([...phone.logged, ...await phone.page.evaluate(() => window.__phone?.faults ?? []).catch(() => [])])}`
    await phone.context.close()
    throw err
  } finally {
    clearTimeout(hangs)
  }
  await phone.close()
}
