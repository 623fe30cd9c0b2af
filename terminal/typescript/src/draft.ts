// Offers and returns before they are signed: those of the platform, checked from end to end, and those made without it.
import { randomBytes } from 'node:crypto'
import { fromBase64, toBase64, toHex } from './bytes.js'
import { Cards } from './cards.js'
import * as contract from './contract.js'
import { codeHash, lotHash, open, type LotOpening, type Openings, tradeCode } from './lot.js'

/** What a person asks for. */
export interface Wish {
  function: 'Offer' | 'Return'
  mode: 'NAMED' | 'BEARER'
  receiver?: string
  reverses?: string
  /** How long the offer stands, in ms. */
  life: number
  /** What was scanned. */
  cards: { start: string; end?: string }[]
}

export interface Draft {
  contract: string
  function: string
  args: string
  requestId: string
  openings: Openings
  count: number
}

/** A lot of the stock, as query stock shows it. */
export interface StockLot {
  lot: string
  opening: LotOpening
  count: number
  issuer: { id: string }
}

const slack = 5 * 60_000

function demand(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`the draft is not what was asked for: ${what}`)
}

/** Checks a draft wholly, and answers its trade and, of a BEARER trade, its code. */
export function checkDraft(channel: string, seller: string, wish: Wish, draft: Draft, now: number): { trade: string; lot: string; code?: string } {
  demand(draft.contract === contract.contract && draft.function === wish.function, 'the function')
  const offer = contract.read<contract.Offer>(draft.function, draft.args)
  demand(draft.requestId === contract.requestId(channel, draft.function, draft.args), 'the request ID')
  demand(offer.seller === seller, 'the seller')
  demand(offer.mode === wish.mode && offer.receiver === wish.receiver, 'the receiver')
  demand(offer.reverses === wish.reverses, 'the trade that is reversed')
  demand(Math.abs(offer.offeredAt - now) <= slack, 'the time')
  demand(offer.expiresAt - offer.offeredAt === wish.life, 'the life')
  const [output, ...others] = offer.outputs
  demand(output !== undefined && others.length === 0, 'one output')
  demand(/^[0-9a-f]{32}$/.test(output.trade), 'the trade')
  const lots = [...offer.inputs, output.lot, ...(offer.remainders ?? [])]
  demand(offer.inputs.length > 0 && new Set(lots).size === lots.length, 'a lot twice')

  const sold = open(output.lot, draft.openings)
  demand(sold.canonical === Cards.of(sold.rule, wish.cards).canonical && sold.count === draft.count, 'the cards')
  const all = (hashes: string[]): Cards => hashes.map((hash) => open(hash, draft.openings)).reduce((sum, cards) => sum.and(cards))
  demand(all(offer.inputs).canonical === all([output.lot, ...(offer.remainders ?? [])]).canonical, 'the rest')

  const code = draft.openings.codes?.[output.trade]
  if (wish.mode === 'NAMED') {
    demand(output.codeHash === undefined && code === undefined, 'no code')
    return { trade: output.trade, lot: output.lot }
  }
  demand(code !== undefined, 'the code')
  const salt = fromBase64(code.salt, 16)
  demand(code.code === tradeCode(offer.offeredAt, seller, output.lot, salt), 'the code')
  demand(output.codeHash === codeHash(output.trade, code.code, salt), 'the code hash')
  return { trade: output.trade, lot: output.lot, code: code.code }
}

/** Makes a draft from the stock, without the platform. */
export function makeDraft(channel: string, seller: string, wish: Wish, stock: readonly StockLot[], now: number): Draft {
  const openings: Openings & { lots: Record<string, LotOpening> } = { lots: {} }
  const seal = (cards: Cards): string => {
    const opening = { rule: cards.rule, salt: toBase64(randomBytes(32)), canonical: cards.canonical }
    const hash = lotHash(opening)
    openings.lots[hash] = opening
    return hash
  }
  const used = new Map<StockLot, Cards>()
  let sold: Cards | undefined
  for (const lot of stock) {
    const held = open(lot.lot, { lots: { [lot.lot]: lot.opening } })
    let wanted: Cards
    try {
      wanted = Cards.of(held.rule, wish.cards)
    } catch {
      continue // numbers of another rule
    }
    const rest = held.without(wanted)
    if (rest.count === held.count) continue
    used.set(lot, rest)
    sold = sold ? sold.and(held.without(rest)) : held.without(rest)
  }
  if (!sold || sold.canonical !== Cards.of(sold.rule, wish.cards).canonical) throw new Error('not all of these cards are in the stock')
  if (new Set([...used.keys()].map((lot) => lot.issuer.id)).size > 1) throw new Error('cards of several issuers')
  for (const lot of used.keys()) openings.lots[lot.lot] = lot.opening

  const output: contract.Output = { trade: toHex(randomBytes(16)), lot: seal(sold) }
  if (wish.mode === 'BEARER') {
    const salt = randomBytes(16)
    const code = tradeCode(now, seller, output.lot, salt)
    output.codeHash = codeHash(output.trade, code, salt)
    openings.codes = { [output.trade]: { salt: toBase64(salt), code } }
  }
  const args = contract.spell(wish.function, {
    seller, mode: wish.mode, receiver: wish.receiver, offeredAt: now, expiresAt: now + wish.life, inputs: [...used.keys()].map((lot) => lot.lot), outputs: [output],
    remainders: [...used.values()].filter((rest) => rest.count > 0).map(seal), reverses: wish.reverses,
  } satisfies contract.Offer)
  return { contract: contract.contract, function: wish.function, args, requestId: contract.requestId(channel, wish.function, args), openings, count: sold.count }
}
