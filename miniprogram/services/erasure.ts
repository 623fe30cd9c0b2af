import { request } from './request'

/** What deleting one's data would mean now: cards that are left behind, and what stands in the way, if anything does. */
export interface ErasureAhead {
  cards: number
  obstacle?: { code: string, message: string }
}

export const erasureAhead = () => request<ErasureAhead>({ method: 'GET', path: '/me/erasure' })

/** cards is what the person was told. It may be asked again: the same login hears the same answer. */
export const erase = (cards: number, key: string) => request<{ cards: number }>({ method: 'POST', path: '/me/erasure', body: { cards }, key })
