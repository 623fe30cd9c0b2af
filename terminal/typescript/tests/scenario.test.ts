// Two terminals of this client and the people of the demo data trade with each other, on a real server.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { NoAnswer, type Fault } from '../src/answer.js'
import { Cards, checkDigit } from '../src/cards.js'
import { type Wish } from '../src/draft.js'
import { Away, Gateway, Refusal } from '../src/gateway.js'
import { PublicKey } from '../src/sm2.js'
import { Terminal, type Outcome, type Trade } from '../src/terminal.js'
import { Liar, type Lie, type Passed } from './liar.js'
import { bin, Person, run, startServer, type Server } from './server.js'

const day = 24 * 3_600_000
let server: Server
let liar: Liar
let carrier: Terminal
let shop: Terminal
let shopkeeper: Person

before(async () => {
  server = await startServer()
  liar = await Liar.start(server.url)
  shopkeeper = await Person.staff(server.url, 'xiaowang')
  carrier = await enrol('yidong', 'SN-2026-000001')
  shop = await enrol('xiaowang', 'SN-2026-000002')
})

after(async () => {
  await liar.stop()
  await server.stop()
})

async function enrol(username: string, serial: string): Promise<Terminal> {
  const { ticket } = await (await Person.staff(server.url, username)).post<{ ticket: string }>('/devices', { name: `${username} 的终端` })
  return Terminal.enrol(path.join(server.dir, username), server.url, ticket, serial)
}

/** The first cards of what a terminal may sell, from a lot that holds enough. */
async function pick(from: Terminal, count: number): Promise<{ start: string; end: string }> {
  const stock = await from.stock()
  for (const lot of stock) {
    if (lot.count < count + 1 || lot.opening.rule !== 'SERIAL') continue
    const { start, end } = Cards.parse(lot.opening.rule, lot.opening.canonical).segments[0]!
    const last = start.slice(0, -7) + String(Number(start.slice(-7)) + count - 1).padStart(7, '0')
    if (last <= end) return { start, end: last }
  }
  throw new Error('nothing to sell')
}

/** The card so many places after another, by the rule of the check digit. */
function next(iccid: string, by: number): string {
  const number = (BigInt(iccid.slice(0, -1)) + BigInt(by)).toString()
  return number + checkDigit(number)
}

const named = (cards: { start: string; end: string }): Wish => ({ function: 'Offer', mode: 'NAMED', receiver: shop.participant, life: day, cards: [cards] })
const bearer = (cards: { start: string; end: string }): Wish => ({ function: 'Offer', mode: 'BEARER', life: day, cards: [cards] })

const committed = (outcome: Outcome): { txId: string; blockNumber: number } => {
  assert.equal(outcome.state, 'committed', JSON.stringify(outcome))
  return outcome as { txId: string; blockNumber: number } & Outcome
}

async function held(by: Terminal, iccid: string): Promise<boolean> {
  return (await by.trace(iccid)).mine
}

test('enrolled: the platform knows the device, and its key', async () => {
  for (const [terminal, serial] of [[carrier, 'SN-2026-000001'], [shop, 'SN-2026-000002']] as const) {
    const device = await terminal.device()
    assert.equal(device.state, 'active')
    assert.equal(device.serial, serial)
    assert.equal(device.participant.id, terminal.participant)
    await terminal.repin()
  }
  const { participants } = await carrier.participants()
  assert.ok(participants.some((p) => p.id === shop.participant))
})

test('a box from terminal to terminal, by the draft of the platform, with the answer lost', async () => {
  const box = await pick(carrier, 50)
  const wish = named(box)
  const draft = await carrier.draft(wish)
  assert.throws(() => carrier.offer({ ...wish, cards: [{ start: box.start }] }, draft), /the cards/)
  const { id, trade } = carrier.offer(wish, draft)

  // The answer is lost on the way: nobody knows, and the same bytes go out again under a fresh envelope.
  const through = carrier.at(liar.url)
  liar.next(() => undefined)
  assert.equal((await through.send(id)).state, 'waiting')
  assert.deepEqual(through.waiting(), [id])
  const { txId } = committed(await through.finish(id))
  const [first, second] = liar.passed.filter((p) => p.path.endsWith('/submit')) as [Passed, Passed]
  assert.ok(first.body.equals(second.body))
  assert.notEqual(first.headers['cardflow-nonce'], second.headers['cardflow-nonce'])
  assert.deepEqual(through.waiting(), [])
  assert.deepEqual(committed(await through.send(id)).txId, txId, 'sent again after its end it is the same act')

  const offered = await shop.offered({ trade })
  assert.equal(offered.seller.id, carrier.participant)
  assert.throws(() => shop.confirm(offered, [{ start: box.start }]), /not what is offered/)
  const done = committed(await shop.finish(shop.confirm(offered, [box])))
  const settled = await shop.settle(done.txId)
  assert.deepEqual(settled.trades, [{ trade, state: 'CONFIRMED', lot: offered.lot }])
  assert.ok(settled.lots.some((lot) => lot.lot === offered.lot && lot.mine))
  assert.ok(await held(shop, box.start))
  assert.ok(!await held(carrier, box.end))
})

test('an offer that the terminal drafts by itself, and the shop declines', async () => {
  const stock = await carrier.stock()
  const box = await pick(carrier, 10)
  const { id, trade } = carrier.offerOffline(named(box), stock)
  committed(await carrier.finish(id))
  const offered = await shop.offered({ trade })
  committed(await shop.finish(shop.decline(offered, 'WRONG_CARDS')))
  assert.equal((await carrier.trades('declined')).find((t) => t.trade === trade)?.reason, 'WRONG_CARDS')
  assert.ok(await held(carrier, box.start))
  // The stock that was known before is spent now.
  const again = carrier.offerOffline(named(box), stock)
  const outcome = await carrier.finish(again.id)
  assert.deepEqual(outcome, { state: 'refused', code: 'INPUT_SPENT' })
})

test('a card to a consumer in WeChat, and back again', async () => {
  const stock = await shop.stock()
  const card = await pick(shop, 1)
  const { id, trade, code } = shop.offerOffline(bearer(card), stock)
  assert.ok(code)
  committed(await shop.finish(id))
  const li = await Person.consumer(server.url, '小李')
  const proof = { code, iccidLast6: card.start.slice(-6) }
  const { tradeId } = await li.post<{ tradeId: string }>('/trade-codes/lookup', proof)
  assert.equal(tradeId, trade)
  await li.act(`/trades/${trade}/confirm`, proof)
  assert.ok(!await held(shop, card.start))

  await li.act(`/trades/${trade}/return`, { reason: '买错了' })
  const back = (await shop.trades()).find((t) => t.reverses === trade)?.trade
  assert.ok(back)
  const offered = await shop.offered({ trade: back })
  assert.equal(offered.reverses, trade)
  committed(await shop.finish(shop.confirm(offered, [{ start: card.start }])))
  assert.ok(await held(shop, card.start))

  const { hops } = await shop.trace(card.start)
  const sold = hops.find((hop) => hop.trade === trade)
  assert.equal(sold?.device, 'SN-2026-000002')
  assert.equal(sold.endDevice, 'WECHAT')
  const returned = hops.find((hop) => hop.trade === back)
  assert.deepEqual([returned?.kind, returned?.device, returned?.endDevice], ['RETURN', 'WECHAT', 'SN-2026-000002'])
})

test('a BEARER trade from terminal to terminal, and its return', async () => {
  const box = await pick(carrier, 3)
  const { id, trade, code } = carrier.offer(bearer(box), await carrier.draft(bearer(box)))
  committed(await carrier.finish(id))
  const proof = { code: code ?? '', iccidLast6: box.end.slice(-6) }
  await assert.rejects(shop.offered({ code: proof.code, iccidLast6: '000000' }), (err) => err instanceof Refusal && err.code === 'TRADE_CODE_NOT_FOUND')
  const offered = await shop.offered(proof)
  assert.equal(offered.trade, trade)
  committed(await shop.finish(shop.confirm(offered, [box], proof)))

  const wish: Wish = { function: 'Return', mode: 'NAMED', receiver: carrier.participant, reverses: trade, life: day, cards: [box] }
  const back = shop.offer(wish, await shop.draft(wish))
  committed(await shop.finish(back.id))
  committed(await carrier.finish(carrier.confirm(await carrier.offered({ trade: back.trade }), [box])))
  assert.ok(await held(carrier, box.start))
})

test('cancelled by the seller; two lots made one', async () => {
  const box = await pick(carrier, 5)
  const { id, trade } = carrier.offer(named(box), await carrier.draft(named(box)))
  committed(await carrier.finish(id))
  const offered = await shop.offered({ trade })
  committed(await carrier.finish(carrier.cancel(trade)))
  assert.equal((await shop.finish(shop.confirm(offered, [box]))).state, 'refused')
  const stock = await carrier.stock()
  const inputs = stock.filter((lot) => lot.issuer.id === stock[0]?.issuer.id && lot.opening.rule === stock[0].opening.rule).slice(0, 2)
  assert.equal(inputs.length, 2)
  const merged = carrier.merge(inputs)
  committed(await carrier.finish(merged.id))
  assert.ok((await carrier.stock()).some((lot) => lot.lot === merged.lot))
})

test('cards with a check digit, of two lots at once', async () => {
  const stock = (await shop.stock()).filter((lot) => lot.opening.rule === 'LUHN')
  const { start = '' } = stock.flatMap((lot) => Cards.parse('LUHN', lot.opening.canonical).segments)[0] ?? {}
  const { id, trade, code } = shop.offerOffline(bearer({ start, end: start }), stock)
  committed(await shop.finish(id))
  const proof = { code: code ?? '', iccidLast6: start.slice(-6) }
  const offered = await carrier.offered(proof)
  committed(await carrier.finish(carrier.decline(offered, 'CHANGED_MIND', proof)))

  // What was declined came back as a lot of its own: the next box is cut from two lots.
  const cards = (await shop.stock()).filter((lot) => lot.opening.rule === 'LUHN').map((lot) => Cards.parse('LUHN', lot.opening.canonical)).reduce((sum, more) => sum.and(more))
  const box = { ...cards.segments[0]!, end: next(start, 2) }
  const again = shop.offer(bearer(box), await shop.draft(bearer(box)))
  assert.notEqual(again.trade, trade)
  committed(await shop.finish(again.id))
  assert.equal((await carrier.offered({ code: again.code ?? '', iccidLast6: box.end.slice(-6) })).count, 3)
})

const lies: Record<string, [Fault, Lie]> = {
  'no signature': ['NO_ENVELOPE', (p) => ({ ...p, signature: [] })],
  'two signatures': ['NO_ENVELOPE', (p) => ({ ...p, signature: [...p.signature, ...p.signature] })],
  'a gateway that is not pinned': ['GATEWAY_UNKNOWN', (p) => ({ ...p, gateway: ['00'.repeat(16)] })],
  'another status': ['STATUS_CHANGED', (p) => ({ ...p, status: 409 })],
  'another body': ['SIGNATURE_WRONG', (p) => ({ ...p, answer: Buffer.concat([p.answer, Buffer.from(' ')]) })],
  'an answer that was given before': ['ANSWERED_BEFORE', (_, before) => before.at(-1)],
  'a signature of another answer': ['SIGNATURE_WRONG', (p, before) => ({ ...p, signature: before.at(-1)!.signature })],
  'a redirection': ['NO_ENVELOPE', (p) => ({ ...p, status: 302, gateway: [], signature: [] })],
}

test('a gateway that lies is told so, and nothing is believed', async () => {
  const through = shop.at(liar.url)
  for (const [what, [fault, lie]] of Object.entries(lies)) {
    await through.device()
    liar.next(lie)
    await assert.rejects(through.trace('898604B7192270274199'), (err) => err instanceof NoAnswer && err.fault === fault, what)
  }
  liar.next((p) => ({ ...p, status: 503, gateway: [], signature: [], answer: Buffer.from('{"error":{"code":"UNAVAILABLE"}}') }))
  await assert.rejects(through.device(), Away)
})

test('what a lying gateway says of a submit is no end of it', async () => {
  const through = shop.at(liar.url)
  const card = await pick(shop, 1)
  const { id } = shop.offerOffline(bearer(card), await shop.stock())
  for (const lie of [lies['another status']!, lies['another body']!, lies['a signature of another answer']!]) {
    liar.next(lie[1])
    await assert.rejects(through.send(id), NoAnswer)
    assert.deepEqual(through.waiting(), [id])
  }
  committed(await through.finish(id))
})

test('a clock that is off is told by how much, and set by a person', async () => {
  const late = shop.at(server.url, () => Date.now() + 10 * 60_000)
  await assert.rejects(late.device(), (err) => {
    assert.ok(err instanceof Refusal)
    assert.equal(err.code, 'CLOCK_SKEW')
    assert.ok(Math.abs(Number(err.details['now']) - Date.now()) < 5 * 60_000)
    return !err.forGood
  })
})

test('the gateway passes the self-test of somebody whom it does not know', async () => {
  const { keys } = shop.gateway.pins
  const said = JSON.parse(await run(path.join(bin, 'terminal'), ['--json', 'selftest', server.url, '--gateway', PublicKey.parse(keys[0]!).id], '')) as { sound: boolean; checks: unknown[] }
  assert.ok(said.sound && said.checks.length > 10)
})

test('this terminal and the Go program trade with each other', async () => {
  const dir = path.join(server.dir, 'go')
  const pin = path.join(server.dir, 'pin')
  fs.writeFileSync(pin, '270418\n', { mode: 0o600 })
  const go = (input: string, ...args: string[]): Promise<string> => run(path.join(bin, 'terminal'), ['--dir', dir, '--pin-file', pin, '--json', ...args], input)
  const hualian = await Person.staff(server.url, 'hualian')
  const { ticket } = await hualian.post<{ ticket: string }>('/devices', { name: '仓库' })
  await go('', 'enrol', '--server', server.url, '--ticket', ticket, '--serial', 'SN-2026-000003')

  const box = await pick(carrier, 20)
  const wish: Wish = { ...named(box), receiver: 'hualian' }
  const { id, trade } = carrier.offer(wish, await carrier.draft(wish))
  committed(await carrier.finish(id))
  const scanned = `box\n${box.start}\n${box.end}\ndone\n`
  await go(scanned, 'in', '--trade', trade, '--yes')
  while (await held(carrier, box.start)) await go('', 'queue', 'send')

  await go(scanned, 'out', '--to', shop.participant, '--yes')
  let theirs: Trade | undefined
  while (!(theirs = (await shop.trades()).find((t) => t.seller.id === 'hualian'))) await go('', 'queue', 'send')
  const offered = await shop.offered({ trade: theirs.trade })
  committed(await shop.finish(shop.confirm(offered, [box])))
  const hop = (await shop.trace(box.end)).hops.find((h) => h.trade === offered.trade)
  assert.deepEqual([hop?.device, hop?.endDevice], ['SN-2026-000003', 'SN-2026-000002'])
})

test('the console sells to a terminal', async () => {
  const card = await pick(shop, 1)
  const { trades } = await shopkeeper.post<{ trades: { tradeId: string; code: string }[] }>('/trades', { mode: 'BEARER', segments: [card] })
  while ((await shopkeeper.get<{ state: string }>(`/trades/${trades[0]!.tradeId}`)).state === 'offering') await pause(100)
  const proof = { code: trades[0]!.code, iccidLast6: card.start.slice(-6) }
  const offered = await carrier.offered(proof)
  committed(await carrier.finish(carrier.confirm(offered, [card], proof)))
  const hop = (await carrier.trace(card.start)).hops.find((h) => h.trade === offered.trade)
  assert.deepEqual([hop?.device, hop?.endDevice], ['ACCOUNT', 'SN-2026-000001'])
})

test('a device that was suspended is refused', async () => {
  const { id } = await shop.device()
  await shopkeeper.post(`/devices/${id}/suspend`)
  await assert.rejects(shop.device(), (err) => err instanceof Refusal && err.code === 'DEVICE_REFUSED')
})


test('gateway keys roll over: old and new, then the new alone', async () => {
  const keys = async (...args: string[]): Promise<void> => {
    await server.stop(true)
    await run(path.join(bin, 'server'), ['gateway-key', ...args, '--yes', '--data', path.join(server.dir, 'data')], '')
    server = await startServer(server.dir)
  }
  const [old = ''] = carrier.gateway.pins.keys
  await keys('rotate')
  const early = carrier.at(server.url) // pins the old one, and doesn't ask
  assert.equal((await early.device()).state, 'active')
  const asks = carrier.at(server.url)
  await asks.repin()
  assert.equal(asks.gateway.pins.keys.length, 2)
  assert.ok(asks.gateway.pins.keys.includes(old))

  // Terminals that have not asked since would believe nobody any more: retiring it all the same has to be said.
  await keys('retire', PublicKey.parse(old).id, '--anyway')
  const knows = carrier.at(server.url)
  await knows.repin()
  assert.deepEqual(knows.gateway.pins.keys, asks.gateway.pins.keys.filter((k) => k !== old))
  assert.equal((await knows.device()).state, 'active')
  const stale = Gateway.pinned(server.url, { channel: knows.gateway.channel, keys: [old] })
  await assert.rejects(stale.refresh(), (err) => err instanceof NoAnswer && err.fault === 'GATEWAY_UNKNOWN')
})
