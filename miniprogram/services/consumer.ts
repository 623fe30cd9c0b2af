import { request } from './request'

/** A run of consecutive ICCIDs. */
export interface Segment { start: string, end: string, count: number }

export interface Offered {
  tradeId: string
  seller: { name: string }
  /** Who issued the cards, and wants to know who uses them. */
  carrier?: { id: string, name?: string }
  segments: Segment[]
  count: number
  restrictions: string[]
  expiresAt: string
  requires: string[]
  state: string
  /** Of the caller's own confirmation, if he has made one. */
  confirmationId?: string
}

export type ActState = 'accepted' | 'signed' | 'submitted' | 'committed' | 'failed'

/** A write on its way to the ledger. */
export interface Act {
  confirmationId: string
  function: string
  state: ActState
  tradeId?: string
  txId?: string
  blockNumber?: number
  error?: { code: string, message: string }
  updatedAt: string
}

export interface OwnedCard {
  cardId: string
  iccid: string
  seller: { name: string }
  confirmedAt: string
  restrictions: string[]
  frozen: boolean
  status: string
  tradeId: string
  /** Has a receipt; not there if the cards were not taken by this program. */
  confirmationId?: string
  returnableUntil?: string
  /** The offer back to the seller that is under way. */
  returnId?: string
}

export interface Page<T> { items: T[], nextCursor?: string }

export interface Hop {
  kind: 'ISSUE' | 'TRADE' | 'RETURN'
  from?: string
  to?: string
  offeredAt?: string
  confirmedAt?: string
  device?: string
  endDevice?: string
  txIds: string[]
  blockNumber: number
}

export interface Trace { cardId: string, iccid: string, hops: Hop[] }

export interface Receipt {
  confirmationId: string
  tradeId: string
  seller: { name: string }
  buyer: string
  segments: Segment[]
  count: number
  lotHash: string
  txId: string
  blockNumber: number
  blockHash: string
  signature: string
  keyId: string
  salt: string
  canonical: string
  confirmedAt: string
}

/** What leads to a trade: its code, and the last six characters of a card in it. */
export interface Proof { code: string, iccidLast6: string }

export type Reason = 'NOT_MINE' | 'WRONG_CARDS' | 'DAMAGED' | 'CHANGED_MIND' | 'OTHER'

/** A look-up is never repeated by itself: a wrong one counts. */
export const lookUp = (proof: Proof) => request<Offered>({ method: 'POST', path: '/trade-codes/lookup', body: proof })

export const confirm = (tradeId: string, proof: Proof, key: string) =>
  request<Act>({ method: 'POST', path: `/trades/${tradeId}/confirm`, body: proof, key })

export const decline = (tradeId: string, proof: Proof, reason: Reason, key: string) =>
  request<Act>({ method: 'POST', path: `/trades/${tradeId}/decline`, body: { ...proof, reason }, key })

export const giveBack = (tradeId: string, reason: string, key: string) =>
  request<Act>({ method: 'POST', path: `/trades/${tradeId}/return`, body: { reason }, key })

/** Takes an offer back to the seller back, as long as he has not answered it. */
export const keepCards = (returnId: string, key: string) => request<Act>({ method: 'POST', path: `/trades/${returnId}/cancel`, key })

export const act = (id: string) => request<Act>({ method: 'GET', path: `/confirmations/${id}` })

export const myCards = (cursor: string, limit: number) =>
  request<Page<OwnedCard>>({ method: 'GET', path: '/me/cards', query: cursor ? { limit: String(limit), cursor } : { limit: String(limit) } })

export const trace = (cardId: string) => request<Trace>({ method: 'GET', path: `/cards/${cardId}/trace` })

export const receipt = (confirmationId: string) => request<Receipt>({ method: 'GET', path: `/me/receipts/${confirmationId}` })
