// Hashes and what opens them: lots, trade codes, code hashes.
import { createHash, createHmac } from 'node:crypto'
import { concat, fields, fromBase64, u64, utf8 } from './bytes.js'
import { Cards, type Rule } from './cards.js'

export interface LotOpening {
  rule: Rule
  salt: string
  canonical: string
}

export interface CodeOpening {
  salt: string
  code: string
}

export interface Openings {
  lots?: Record<string, LotOpening>
  codes?: Record<string, CodeOpening>
}

export const lotHash = (o: LotOpening): string =>
  createHash('sha256').update(concat(utf8(`cardflow/lot/1/${o.rule}`), fromBase64(o.salt, 32), utf8(o.canonical))).digest('hex')

/** Opens a lot: the cards that its hash stands for. */
export function open(lot: string, openings: Openings): Cards {
  const opening = openings.lots?.[lot]
  if (!opening) throw new Error('a lot is not opened')
  if (lotHash(opening) !== lot) throw new Error('an opening does not give its lot')
  const cards = Cards.parse(opening.rule, opening.canonical)
  if (cards.length > 1000) throw new Error('a lot has more than 1000 runs')
  return cards
}

/** CRC-40/GSM. */
export function crc40(bytes: Uint8Array): bigint {
  const top = 1n << 39n
  const mask = (1n << 40n) - 1n
  let crc = 0n
  for (const byte of bytes) {
    crc ^= BigInt(byte) << 32n
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1n) ^ (crc & top ? 0x0004820009n : 0n)) & mask
  }
  return crc ^ mask
}

const crockford = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** The 8 characters by which whoever has them takes a BEARER trade. */
export function tradeCode(offeredAt: number, seller: string, lot: string, salt: Uint8Array): string {
  const crc = crc40(fields(u64(offeredAt), seller, lot, salt))
  return Array.from({ length: 8 }, (_, i) => crockford[Number((crc >> BigInt(35 - 5 * i)) & 31n)]).join('')
}

export const codeHash = (trade: string, code: string, salt: Uint8Array): string =>
  createHmac('sha256', salt).update(fields(trade, code)).digest('hex')
