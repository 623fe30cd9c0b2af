// A server of the program's own, with demo data in a fresh directory, on a free port, and the people of its shop.
import { execFile, spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const repository = fileURLToPath(new URL('../../../../', import.meta.url))
const binary = process.env.SERVER ?? path.join(repository, 'bin/server')

/** Starts the server; preview is the folder that it shows at /preview/. Resolves when it serves. */
export async function startServer(preview, more = {}) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'cardflow-e2e-'))
  const env = { ...process.env, CARDFLOW_HTTP_LISTEN: '127.0.0.1:0', CARDFLOW_HTTP_PREVIEW_DIR: preview, CARDFLOW_LOG_LEVEL: 'warn', ...limits, ...more }
  const child = spawn(binary, ['serve', '--demo', '--data', path.join(data, 'data')], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  const url = await new Promise((resolve, reject) => {
    const hear = (chunk) => {
      said += chunk
      const [, found] = /(http:\/\/127\.0\.0\.1:\d+)\/readyz/.exec(said) ?? []
      if (found) resolve(found)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}:\n${said}`)))
  })
  return {
    url,
    said: () => said,
    /** Runs a command of the program beside the server, on the same data, and reads its JSON. */
    async command(...words) {
      const { stdout } = await promisify(execFile)(binary, [...words, '--data', path.join(data, 'data'), '--json'], { env })
      return JSON.parse(stdout)
    },
    async stop() {
      child.removeAllListeners('exit')
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
      fs.rmSync(data, { recursive: true, force: true })
    },
  }
}

// All phones of the tests have one address. Who guesses codes is still limited for himself.
const limits = {
  CARDFLOW_LIMITS_LOGINS_PER_ADDRESS: '100000 per 1m', CARDFLOW_LIMITS_LOOKUPS_PER_ADDRESS: '100000 per 1m', CARDFLOW_LIMITS_REQUESTS_PER_ADDRESS: '100000 per 1m',
  CARDFLOW_LIMITS_WRONG_CODES_PER_ADDRESS: '100000 per 1m',
}

/** Asks until the answer will do, with a breath between. */
export async function until(ask, done) {
  for (;;) {
    const answer = await ask()
    if (done(answer)) return answer
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** A caller of the API, beside the phones. */
export class Caller {
  constructor(url, token) {
    this.url = url
    this.token = token
  }

  static async staff(url, username) {
    const { token } = await new Caller(url).post('/auth/login', { username, password: 'cardflow-demo' })
    return new Caller(url, token)
  }

  static async consumer(url, name) {
    const { token } = await new Caller(url).post('/wechat/login', { code: `demo:${name}` })
    return new Caller(url, token)
  }

  async ask(method, route, body) {
    const headers = { 'content-type': 'application/json', 'idempotency-key': `test-${Math.random().toString(36).slice(2)}-${Date.now()}` }
    if (this.token) headers.authorization = `Bearer ${this.token}`
    const r = await fetch(`${this.url}/api/v1${route}`, { method, headers, body: body && JSON.stringify(body) })
    const text = await r.text()
    if (!r.ok) throw new Error(`${method} ${route}: ${r.status} ${text}`)
    return text ? JSON.parse(text) : undefined
  }

  get(route) {
    return this.ask('GET', route)
  }

  post(route, body) {
    return this.ask('POST', route, body)
  }

  /** Waits until a write has ended. */
  ended(act) {
    return until(() => this.get(`/confirmations/${act.confirmationId}`), (a) => a.state === 'committed' || a.state === 'failed')
  }

  /** Makes one trade, and waits until it is on the ledger. */
  async offers(wanted) {
    const { trades: [trade] } = await this.post('/trades', wanted)
    return until(() => this.get(`/trades/${trade.tradeId}`), (t) => t.state !== 'offering')
  }
}

/**
 * The shop's stock, sold card by card from its end: each sale takes the next ones, so that no test meets another's. Who opens
 * the drawer finds its first cards.
 */
export class Counter {
  next = 274199

  constructor(shop) {
    this.shop = shop
  }

  static iccid = (n) => `898604B719227${String(n).padStart(7, '0')}`

  /** The next cards, for a test to sell. */
  take(count = 1) {
    const last = this.next
    this.next -= count
    return { start: Counter.iccid(this.next + 1), end: Counter.iccid(last) }
  }

  /** An open BEARER trade of so many cards. */
  async sell(count = 1, more = {}) {
    const { start, end } = this.take(count)
    const t = await this.shop.offers({ mode: 'BEARER', segments: [{ start, end }], ...more })
    return { ...t, iccid: start, last6: start.slice(-6) }
  }
}
