// Drafts that are not what the person asked for, or don't hold together, are not signed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toBase64 } from '../src/bytes.js'
import { Cards } from '../src/cards.js'
import * as contract from '../src/contract.js'
import { checkDraft, makeDraft, type Draft, type StockLot, type Wish } from '../src/draft.js'
import { lotHash, type LotOpening } from '../src/lot.js'

const now = 1772438400000
const salt = toBase64(new Uint8Array(32).fill(7))
const iccid = (n: number): string => `898604B719227${String(n).padStart(7, '0')}`
const opening = (from: number, to: number): LotOpening => ({ rule: 'SERIAL', salt, canonical: Cards.of('SERIAL', [{ start: iccid(from), end: iccid(to) }]).canonical })
const lot = (from: number, to: number, issuer = 'cmcc'): StockLot => ({ lot: lotHash(opening(from, to)), opening: opening(from, to), count: to - from + 1, issuer: { id: issuer } })
const stock = [lot(0, 99), lot(200, 299), lot(300, 399, 'unicom')]
const wish: Wish = { function: 'Offer', mode: 'BEARER', life: 3_600_000, cards: [{ start: iccid(90), end: iccid(99) }, { start: iccid(200), end: iccid(209) }] }
const make = (w: Wish = wish): Draft => structuredClone(makeDraft('cardflow', 'shop', w, stock, now))
const check = (draft: Draft, w: Wish = wish, at = now): void => { checkDraft('cardflow', 'shop', w, draft, at) }

/** A draft whose offer was changed and spelled again, with an ID that fits. */
function changed(change: (offer: contract.Offer, draft: Draft) => void): Draft {
  const draft = make()
  const offer = contract.read<contract.Offer>('Offer', draft.args)
  change(offer, draft)
  draft.args = contract.spell('Offer', offer)
  draft.requestId = contract.requestId('cardflow', 'Offer', draft.args)
  return draft
}

test('a draft that is sound', () => {
  check(make())
  const named: Wish = { ...wish, mode: 'NAMED', receiver: 'other' }
  check(make(named), named)
})

const lies: Record<string, () => Draft> = {
  'another function': () => ({ ...make(), function: 'Return' }),
  'another spelling': () => ({ ...make(), args: make().args.replace(',', ', ') }),
  'another ID': () => ({ ...make(), requestId: '00'.repeat(32) }),
  'a member more': () => ({ ...make(), args: make().args.replace('{', '{"more":1,') }),
  'a member twice': () => ({ ...make(), args: make().args.replace('{', '{"seller":"shop",') }),
  'another seller': () => changed((o) => { o.seller = 'thief' }),
  'another mode': () => changed((o) => { o.mode = 'NAMED'; o.receiver = 'thief' }),
  'a receiver': () => changed((o) => { o.receiver = 'thief' }),
  'another life': () => changed((o) => { o.expiresAt += 1 }),
  'another time': () => changed((o) => { o.offeredAt -= 3_600_000; o.expiresAt -= 3_600_000 }),
  'an input twice': () => changed((o) => { o.inputs.push(o.inputs[0]!) }),
  'an input that is not opened': () => changed((o) => { o.inputs.push('00'.repeat(32)) }),
  'an input too many': () => changed((o, d) => { o.inputs.push(stock[2]!.lot); d.openings.lots![stock[2]!.lot] = stock[2]!.opening }),
  'no inputs': () => changed((o) => { o.inputs = [] }),
  'a remainder gone': () => changed((o) => { o.remainders?.pop() }),
  'two outputs': () => changed((o) => { o.outputs.push({ trade: '00'.repeat(16), lot: o.remainders!.pop()! }) }),
  'another output': () => changed((o) => { const [first] = o.remainders!; o.remainders![0] = o.outputs[0]!.lot; o.outputs[0]!.lot = first! }),
  'another code hash': () => changed((o) => { o.outputs[0]!.codeHash = '00'.repeat(32) }),
  'another code': () => changed((_, d) => { Object.values(d.openings.codes!)[0]!.code = '00000000' }),
  'no code': () => changed((_, d) => { delete d.openings.codes }),
  'another count': () => ({ ...make(), count: 19 }),
  'an opening with another salt': () => changed((o, d) => { d.openings.lots![o.inputs[0]!]!.salt = toBase64(new Uint8Array(32)) }),
  'an opening of other cards': () => changed((o, d) => { d.openings.lots![o.outputs[0]!.lot]!.canonical = iccid(90) }),
}

for (const [what, lie] of Object.entries(lies)) test(`not signed: ${what}`, () => { assert.throws(() => { check(lie()) }) })

test('what the stock does not have', () => {
  assert.throws(() => make({ ...wish, cards: [{ start: iccid(99), end: iccid(100) }] }), /not all/)
  assert.throws(() => make({ ...wish, cards: [{ start: iccid(299), end: iccid(300) }] }), /several issuers/)
  assert.throws(() => make({ ...wish, cards: [{ start: iccid(1) }, { start: iccid(1) }] }))
})
