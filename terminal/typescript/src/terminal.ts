// A terminal: who it is, what it asks, and what it signs. It keeps its key in a file, as a program for tests may.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { toHex } from './bytes.js'
import { Cards } from './cards.js'
import * as contract from './contract.js'
import { checkDraft, makeDraft, type Draft, type StockLot, type Wish } from './draft.js'
import { parseTicket, possessionBytes, serialHash } from './enrolment.js'
import { Away, Gateway, Refusal, type Pins } from './gateway.js'
import { lotHash, open, type LotOpening } from './lot.js'
import { Queue } from './queue.js'
import { PrivateKey } from './sm2.js'

export interface Device {
  id: string
  state: string
  serial: string
  serialHash: string
  keyId: string
  participant: { id: string; name: string; role: string }
}

export interface Offered {
  trade: string
  lot: string
  opening: LotOpening
  count: number
  mode: string
  seller: { id: string }
  expiresAt: number
  reverses?: string
}

export interface Trade {
  trade: string
  state: string
  mode: string
  lot: string
  seller: { id: string }
  receiver?: { id: string }
  reverses?: string
  reason?: string
}

export interface Hop {
  kind: string
  from?: string
  to?: string
  device?: string
  endDevice?: string
  txIds: string[]
  trade?: string
}

interface Submitted {
  requestId: string
  state: string
  txId?: string
  blockNumber?: number
  error?: { code: string }
}

interface Transaction {
  txId: string
  blockNumber: number
  contract: string
  function: string
  args: object
  requestId: string
  validation: string
}

/** What became of a request: waiting means that it will be sent again. */
export type Outcome =
  | { state: 'committed'; txId: string; blockNumber: number }
  | { state: 'failed' | 'refused'; code: string }
  | { state: 'waiting'; why: string }

interface Saved {
  scalar: string
  serial: string
  participant: string
  pins: Pins
}

export class Terminal {
  private constructor(
    private readonly dir: string, readonly gateway: Gateway, private readonly key: PrivateKey, readonly serial: string, readonly participant: string,
    private readonly queue: Queue,
  ) {}

  /** Enrols by a ticket; what must not change until it is answered is on the disk before it is shown. */
  static async enrol(dir: string, url: string, copied: string, serial: string): Promise<Terminal> {
    const ticket = parseTicket(copied)
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 })
    const kept = path.join(dir, 'enrolling.json')
    if (!fs.existsSync(kept)) fs.writeFileSync(kept, JSON.stringify({ scalar: PrivateKey.generate().scalar, salt: toHex(randomBytes(32)) }), { mode: 0o600 })
    const { scalar, salt } = JSON.parse(fs.readFileSync(kept, 'utf8')) as { scalar: string; salt: string }
    const key = new PrivateKey(scalar)
    const gateway = await Gateway.first(url, ticket)
    const body = JSON.stringify({
      ticket: ticket.text, serial, serialSalt: salt, public: key.public.hex, possession: key.sign(possessionBytes(gateway.channel, ticket.participant, key.public)),
    })
    let device: Device
    for (;;) {
      device = await gateway.ask<Device>(key, 'enrol', body)
      if (device.state !== 'enrolling') break
      await pause(250)
    }
    const own = device.serialHash === serialHash(salt, serial) && device.serial === serial && device.keyId === key.public.id && device.participant.id === ticket.participant
    if (!own) throw new Error('the gateway has enrolled another device than this one')
    if (device.state !== 'active') throw new Error(`the device is ${device.state}`)
    fs.writeFileSync(path.join(dir, 'terminal.json'), JSON.stringify({ scalar, serial, participant: ticket.participant, pins: gateway.pins } satisfies Saved), { mode: 0o600 })
    return Terminal.load(dir, url)
  }

  /** Takes up a terminal where it was left, at a gateway's address. */
  static load(dir: string, url: string, clock?: () => number): Terminal {
    const saved = JSON.parse(fs.readFileSync(path.join(dir, 'terminal.json'), 'utf8')) as Saved
    return new Terminal(dir, Gateway.pinned(url, saved.pins, clock), new PrivateKey(saved.scalar), saved.serial, saved.participant, new Queue(path.join(dir, 'queue')))
  }

  /** The same terminal at another address. */
  at(url: string, clock?: () => number): Terminal {
    return Terminal.load(this.dir, url, clock)
  }

  /** Asks for the gateway's keys, and pins what a pinned one vouches for. */
  async repin(): Promise<void> {
    await this.gateway.refresh()
    const file = path.join(this.dir, 'terminal.json')
    const saved = JSON.parse(fs.readFileSync(file, 'utf8')) as Saved
    fs.writeFileSync(`${file}.new`, JSON.stringify({ ...saved, pins: this.gateway.pins } satisfies Saved), { mode: 0o600 })
    fs.renameSync(`${file}.new`, file)
  }

  private ask<T>(route: string, body: object): Promise<T> {
    return this.gateway.ask<T>(this.key, route, JSON.stringify(body))
  }

  device(): Promise<Device> {
    return this.ask('query', { what: 'device' })
  }

  trace(iccid: string): Promise<{ iccid: string; mine: boolean; hops: Hop[] }> {
    return this.ask('query', { what: 'trace', iccid })
  }

  participants(): Promise<{ participants: { id: string; name: string; role: string }[] }> {
    return this.ask('query', { what: 'participants' })
  }

  settle(txId: string): Promise<{ txId: string; lots: { lot: string; status: string; mine: boolean }[]; trades: { trade: string; state: string; lot: string }[] }> {
    return this.ask('transSuccess', { txId })
  }

  /** The stock, each lot opened and its hash computed again. */
  async stock(): Promise<StockLot[]> {
    const all: StockLot[] = []
    let cursor: string | undefined
    do {
      const page: { lots: StockLot[]; next?: string } = await this.ask('query', { what: 'stock', ...(cursor === undefined ? {} : { cursor }) })
      for (const lot of page.lots) {
        if (open(lot.lot, { lots: { [lot.lot]: lot.opening } }).count !== lot.count) throw new Error('a lot of the stock has other cards than it says')
        all.push(lot)
      }
      cursor = page.next
    } while (cursor !== undefined && cursor !== '')
    return all
  }

  /** The newest trades in a state; without one, those that wait for their receiver. */
  async trades(state?: string): Promise<Trade[]> {
    return (await this.ask<{ trades: Trade[] }>('query', { what: 'trades', ...(state === undefined ? {} : { state }), limit: 200 })).trades
  }

  /** A draft of the platform's. */
  draft(wish: Wish): Promise<Draft> {
    return this.ask('transRecentHash', { segments: wish.cards, mode: wish.mode, to: wish.receiver, expiresIn: wish.life, reverses: wish.reverses })
  }

  /** Signs an offer or a return that was checked: it waits in the queue. */
  offer(wish: Wish, draft: Draft): { id: string; trade: string; lot: string; code?: string } {
    const checked = checkDraft(this.gateway.channel, this.participant, wish, draft, this.gateway.clock())
    return { id: this.enqueue(draft.function, draft.args, 24 * 3_600_000, { openings: draft.openings }), ...checked }
  }

  /** Drafts by itself, from a stock that it knew, and signs. */
  offerOffline(wish: Wish, stock: readonly StockLot[]): { id: string; trade: string; lot: string; code?: string } {
    return this.offer(wish, makeDraft(this.gateway.channel, this.participant, wish, stock, this.gateway.clock()))
  }

  /** What a trade holds: its opening gives its lot. */
  async offered(by: { trade: string } | { code: string; iccidLast6: string }): Promise<Offered> {
    const offered = await this.ask<Offered>('transConfirm', by)
    if ('trade' in by && offered.trade !== by.trade) throw new Error('another trade was opened')
    open(offered.lot, { lots: { [offered.lot]: offered.opening } })
    return offered
  }

  /** Signs that these very goods have come. */
  confirm(offered: Offered, scanned: { start: string; end?: string }[], proof?: { code: string; iccidLast6: string }): string {
    const cards = open(offered.lot, { lots: { [offered.lot]: offered.opening } })
    if (Cards.of(cards.rule, scanned).canonical !== cards.canonical) throw new Error('the goods are not what is offered')
    const args = contract.spell('Confirm', { trade: offered.trade, lot: offered.lot, receiver: this.participant })
    return this.enqueue('Confirm', args, Math.min(24 * 3_600_000, offered.expiresAt - this.gateway.clock()), proof)
  }

  decline(offered: Offered, reason: contract.Reason, proof?: { code: string; iccidLast6: string }): string {
    const args = contract.spell('Decline', { trade: offered.trade, receiver: this.participant, reason })
    return this.enqueue('Decline', args, Math.min(24 * 3_600_000, offered.expiresAt - this.gateway.clock()), proof)
  }

  cancel(trade: string): string {
    return this.enqueue('Cancel', contract.spell('Cancel', { trade }), 3_600_000)
  }

  merge(inputs: StockLot[]): { id: string; lot: string } {
    const cards = inputs.map((lot) => open(lot.lot, { lots: { [lot.lot]: lot.opening } })).reduce((sum, more) => sum.and(more))
    const opening: LotOpening = { rule: cards.rule, salt: randomBytes(32).toString('base64'), canonical: cards.canonical }
    const lots = Object.fromEntries(inputs.map((lot) => [lot.lot, lot.opening]))
    const output = lotHash(opening)
    const args = contract.spell('Merge', { owner: this.participant, inputs: inputs.map((lot) => lot.lot), output })
    return { id: this.enqueue('Merge', args, 3_600_000, { openings: { lots: { ...lots, [output]: opening } } }), lot: output }
  }

  /** Signs and stores; nothing is sent yet. */
  private enqueue(name: string, args: string, life: number, more?: Pick<contract.Submit, 'openings' | 'code' | 'iccidLast6'>): string {
    const submit = contract.sign(this.gateway.channel, this.key, name, args, this.gateway.clock() + life, more)
    const id = contract.requestId(this.gateway.channel, name, args)
    this.queue.put(id, JSON.stringify(submit))
    return id
  }

  waiting(): string[] {
    return this.queue.waiting()
  }

  /** Sends a stored request once, as it is stored. An answer that doesn't count is thrown, and the request still waits. */
  async send(id: string): Promise<Outcome> {
    const body = this.queue.read(id)
    let answer: Submitted
    try {
      answer = await this.gateway.ask<Submitted>(this.key, 'submit', body)
    } catch (err) {
      if (err instanceof Away) return { state: 'waiting', why: err.message }
      if (!(err instanceof Refusal)) throw err
      return err.forGood ? this.end(id, { state: 'refused', code: err.code }) : { state: 'waiting', why: err.code }
    }
    if (answer.requestId !== id) throw new Error('the gateway answers for another request')
    switch (answer.state) {
      case 'committed':
        return this.end(id, await this.verified(id, JSON.parse(body) as contract.Submit, answer))
      case 'failed':
        return this.end(id, { state: 'failed', code: answer.error?.code ?? '' })
      default:
        return { state: 'waiting', why: answer.state }
    }
  }

  /** Sends until there is an end. */
  async finish(id: string): Promise<Outcome> {
    for (;;) {
      const outcome = await this.send(id)
      if (outcome.state !== 'waiting') return outcome
      await pause(250)
    }
  }

  private end(id: string, outcome: Outcome): Outcome {
    if (outcome.state !== 'waiting') this.queue.end(id, outcome)
    return outcome
  }

  /** Asks for the transaction that is said to have carried a request, and holds it against the request. */
  private async verified(id: string, submit: contract.Submit, answer: Submitted): Promise<Outcome> {
    const { txId, blockNumber } = answer
    if (txId === undefined || blockNumber === undefined) throw new Error('committed, and no transaction')
    const tx = await this.ask<Transaction>('query', { what: 'transaction', txId })
    const args = contract.spell(tx.function, tx.args)
    const same = tx.txId === txId && tx.blockNumber === blockNumber && tx.validation === 'VALID' && tx.requestId === id && tx.contract === submit.contract
      && tx.function === submit.function && contract.requestId(this.gateway.channel, tx.function, args) === id
    if (!same) throw new Error('the transaction is not that of the request')
    return { state: 'committed', txId, blockNumber }
  }
}

