// The gateway, as a terminal sees it: it asks under a fresh envelope, and believes what one of its pinned keys has signed.
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import https from 'node:https'
import { type Answer, check, NoAnswer, Sent } from './answer.js'
import { requestBytes, type Request } from './envelope.js'
import { type PrivateKey, PublicKey, sm3 } from './sm2.js'
import { type Ticket } from './enrolment.js'

/** What the gateway refused, and signed that it did. */
export class Refusal extends Error {
  constructor(readonly status: number, readonly code: string, readonly details: Record<string, unknown> = {}) {
    super(`refused: ${code}`)
  }

  /** Whether the same bytes would be refused again, for ever. */
  get forGood(): boolean {
    return this.status < 500 && !passing.has(this.code)
  }
}

const passing = new Set(['UNAVAILABLE', 'RATE_LIMITED', 'LOOKUP_LIMIT', 'LOT_BUSY', 'TRADE_BUSY', 'REQUEST_TIMEOUT', 'REQUEST_ABANDONED', 'INTERNAL',
  'CUSTODY_SEALED', 'CLOCK_SKEW', 'REPLAYED', 'DEVICE_REFUSED', 'KEY_INACTIVE'])

/** The network, or a gateway that has no time to sign: ask again later. */
export class Away extends Error {}

const unsigned = new Set(['RATE_LIMITED', 'BODY_TOO_LARGE', 'BODY_TRUNCATED', 'UNAVAILABLE'])
const largest = 16 << 20

interface KeyList {
  channel: string
  now: number
  keys: { id: string; public: string; validUntil?: number; txId: string }[]
}

export interface Pins {
  channel: string
  keys: string[]
}

export class Gateway {
  private readonly sent = new Sent()

  private constructor(private readonly url: string, readonly channel: string, private keys: PublicKey[], readonly clock: () => number) {}

  /** Pins what the ticket's key vouches for. */
  static async first(url: string, ticket: Ticket, clock: () => number = Date.now): Promise<Gateway> {
    const asked = unsignedRequest()
    const answer = await exchange(url, asked, { 'Cardflow-Nonce': asked.nonce, 'Cardflow-Gateway': ticket.gateway })
    const list = parse<KeyList>(answer.body)
    const key = list.keys.map((k) => PublicKey.parse(k.public)).find((k) => k.id === ticket.gateway)
    if (!key) throw new NoAnswer('GATEWAY_UNKNOWN')
    check(list.channel, [key], sm3(requestBytes(list.channel, asked)), answer)
    if (answer.status !== 200) throw refusal(answer)
    return new Gateway(url, list.channel, readKeys(list), clock)
  }

  static pinned(url: string, pins: Pins, clock: () => number = Date.now): Gateway {
    return new Gateway(url, pins.channel, pins.keys.map((k) => PublicKey.parse(k)), clock)
  }

  get pins(): Pins {
    return { channel: this.channel, keys: this.keys.map((k) => k.hex) }
  }

  /** Asks which keys are valid now; the list takes the pinned ones' place if the key that signed it stands in it. */
  async refresh(): Promise<void> {
    const asked = unsignedRequest()
    const { list, by } = await this.exchange<KeyList>(asked, { 'Cardflow-Nonce': asked.nonce, 'Cardflow-Gateway': this.keys[0]!.id })
    const keys = readKeys(list)
    if (list.channel !== this.channel || !keys.some((k) => k.id === by)) throw new NoAnswer('GATEWAY_UNKNOWN')
    this.keys = keys
  }

  /** Asks as the device of key. What it throws is a Refusal that counts, a NoAnswer, or Away. */
  async ask<T>(key: PrivateKey, route: string, body: string): Promise<T> {
    const r: Request = { method: 'POST', path: `/api/v1/terminal/${route}`, keyId: key.public.id, nonce: nonce(), time: this.clock(), body }
    const { list } = await this.exchange<T>(r, {
      'Cardflow-Key': r.keyId,
      'Cardflow-Nonce': r.nonce,
      'Cardflow-Time': String(r.time),
      'Cardflow-Signature': key.sign(requestBytes(this.channel, r)),
      'Cardflow-Gateway': this.keys[0]!.id,
      'Content-Type': 'application/json',
    })
    return list
  }

  private async exchange<T>(r: Request, headers: Record<string, string>): Promise<{ list: T; by: string }> {
    const digest = sm3(requestBytes(this.channel, r))
    this.sent.add(digest)
    const answer = await exchange(this.url, r, headers)
    try {
      check(this.channel, this.keys, digest, answer, this.sent)
    } catch (err) {
      if (err instanceof NoAnswer && err.fault === 'NO_ENVELOPE' && unsigned.has(code(answer))) throw new Away(code(answer))
      throw err
    }
    this.sent.answered(digest)
    if (answer.status < 200 || answer.status > 299) throw refusal(answer)
    return { list: parse<T>(answer.body), by: answer.gateway[0]! }
  }
}

const nonce = (): string => randomBytes(16).toString('hex')

const unsignedRequest = (): Request => ({ method: 'GET', path: '/api/v1/terminal/gateway', keyId: '', nonce: nonce(), time: 0, body: '' })

function readKeys(list: KeyList): PublicKey[] {
  return list.keys.map((k) => {
    const key = PublicKey.parse(k.public)
    if (key.id !== k.id) throw new NoAnswer('GATEWAY_UNKNOWN')
    return key
  })
}

function parse<T>(body: Uint8Array): T {
  return JSON.parse(Buffer.from(body).toString('utf8')) as T
}

interface ErrorBody {
  error?: { code?: string; details?: Record<string, unknown> }
}

function code(answer: Answer): string {
  try {
    return parse<ErrorBody>(answer.body).error?.code ?? ''
  } catch {
    return ''
  }
}

function refusal(answer: Answer): Refusal {
  const { error } = parse<ErrorBody>(answer.body)
  return new Refusal(answer.status, error?.code ?? '', error?.details)
}

/** One request and its answer, as they are: no redirection is followed, no header joined to another. */
function exchange(url: string, r: Request, headers: Record<string, string>): Promise<Answer> {
  const to = new URL(r.path, url)
  return new Promise((resolve, reject) => {
    const away = (err: Error): void => { reject(new Away(err.message)) }
    const body = Buffer.from(r.body)
    const request = (to.protocol === 'https:' ? https : http).request(to, {
      method: r.method, timeout: 120_000, headers: r.method === 'GET' ? headers : { ...headers, 'Content-Length': String(body.length) },
    }, (response) => {
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > largest) request.destroy(new Error('the answer is too long'))
        else chunks.push(chunk)
      })
      response.on('error', away)
      response.on('end', () => {
        const all = (name: string): string[] => response.rawHeaders.filter((_, i) => i % 2 === 1 && response.rawHeaders[i - 1]!.toLowerCase() === name)
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks), gateway: all('cardflow-gateway'), signature: all('cardflow-signature') })
      })
    })
    request.on('timeout', () => request.destroy(new Error('no answer in time')))
    request.on('error', away)
    request.end(body)
  })
}
