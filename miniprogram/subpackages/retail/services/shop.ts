import type { Act, Page, Segment } from '../../../services/consumer'
import { Failure } from '../../../services/failure'
import { request } from './staff'

export interface Inventory { total: number, lines: { issuer?: { id: string, name?: string }, status: string, lots: number, cards: number }[] }

/** A run of cards that the shop holds. */
export interface Holding { start: string, end: string, count: number, status: string }

export interface Trade {
  tradeId: string
  mode: 'BEARER' | 'NAMED'
  code?: string
  link?: string
  seller?: { id: string, name?: string }
  receiver?: { id: string, name?: string }
  segments: Segment[]
  count: number
  state: string
  offeredAt: string
  expiresAt: string
  endedAt?: string
  endTx?: string
  endBlock?: number
  reason?: string
  reasonText?: string
  reverses?: string
}

export interface Sale { segments: { start: string, end: string }[], each: boolean, expiresIn: string }

/** A sale is made at once, or, of many codes, as a job. */
export type Made = { trades: Trade[], jobId?: undefined } | { jobId: string, trades?: undefined }

export interface Job {
  state: 'queued' | 'running' | 'done' | 'failed'
  total: number
  done: number
  results?: { cards: number, tradeIds?: string[], error?: { message: string } }[]
  error?: { code: string, message: string }
}

export const inventory = () => request<Inventory>({ method: 'GET', path: '/inventory' })

export const holdings = (start: string, end: string) =>
  request<Page<Holding>>({ method: 'POST', path: '/cards/search', body: { start, end, limit: 200 }, reads: true })

/** What can be sold, run by run. */
export const stock = (cursor: string) =>
  request<Page<Holding>>({ method: 'GET', path: '/cards', query: { status: 'OWNED', limit: '50', ...(cursor && { cursor }) } })

export const sell = (sale: Sale, key: string) => request<Made>({ method: 'POST', path: '/trades', body: { mode: 'BEARER', ...sale }, key })

export const job = (id: string) => request<Job>({ method: 'GET', path: `/jobs/${id}` })

export const trade = (id: string) => request<Trade>({ method: 'GET', path: `/trades/${id}` })

export const trades = (query: Record<string, string>) => request<Page<Trade>>({ method: 'GET', path: '/trades', query })

/**
 * The trades that were just made, in the order of their names. They are read in pages, the newest first: one by one, a box would be
 * as many requests as a shop may make in a minute.
 */
export async function newest(ids: string[]): Promise<Trade[]> {
  const wanted = new Set(ids)
  const found = new Map<string, Trade>()
  for (let cursor = ''; found.size < wanted.size;) {
    const page = await trades({ side: 'seller', limit: '200', ...(cursor && { cursor }) })
    for (const t of page.items) if (wanted.has(t.tradeId)) found.set(t.tradeId, t)
    if (page.nextCursor === undefined) break
    cursor = page.nextCursor
  }
  return ids.flatMap((id) => found.get(id) ?? [])
}

/** What is wanted of the shop's sales; what is not there is not asked for. */
export interface SaleQuery { code?: string, card?: string, state?: string, from?: string, to?: string, cursor?: string, limit?: number }

export const sales = (query: SaleQuery) => request<Page<Trade>>({ method: 'POST', path: '/trades/search', body: { limit: 20, ...query, side: 'seller' }, reads: true })

export const cancel = (id: string, key: string) => request<Act>({ method: 'POST', path: `/trades/${id}/cancel`, key })

export const receive = (id: string, key: string) => request<Act>({ method: 'POST', path: `/trades/${id}/confirm`, key })

export const refuse = (id: string, reason: string, key: string) => request<Act>({ method: 'POST', path: `/trades/${id}/decline`, body: { reason }, key })

export const act = (id: string) => request<Act>({ method: 'GET', path: `/confirmations/${id}` })

let pictures = 0

/**
 * A picture of a trade's code, for <image>: the mini-program code, or a plain QR code. It is kept in a file, since a page's data are
 * no place for tens of KB; discard removes it.
 */
export async function picture(id: string, kind: 'wxacode' | 'qr.png'): Promise<string> {
  const data = await request<ArrayBuffer>({ method: 'GET', path: `/trades/${id}/${kind}`, bytes: true })
  const filePath = `${wx.env.USER_DATA_PATH}/code-${Date.now()}-${++pictures}`
  await new Promise<void>((resolve, reject) => {
    wx.getFileSystemManager().writeFile({ filePath, data, success: () => { resolve() }, fail: () => { reject(new Failure('NO_SPACE', '手机的空间不够，显示不了二维码')) } })
  })
  return filePath
}

export function discard(filePath: string): void {
  if (filePath) wx.getFileSystemManager().unlink({ filePath, fail: () => undefined }) // nobody reads it any more
}

const states: Record<string, { text: string, kind: string }> = {
  offering: { text: '生成中', kind: 'warn' },
  offered: { text: '待确认', kind: '' },
  confirming: { text: '确认中', kind: 'warn' },
  declining: { text: '拒收中', kind: 'warn' },
  cancelling: { text: '取消中', kind: 'warn' },
  releasing: { text: '退回中', kind: 'warn' },
  confirmed: { text: '已确认', kind: 'ok' },
  declined: { text: '被拒收', kind: 'bad' },
  cancelled: { text: '已取消', kind: 'quiet' },
  released: { text: '已过期', kind: 'quiet' },
  failed: { text: '没有生成', kind: 'bad' },
}

export const stateOf = (state: string): { text: string, kind: string } => states[state] ?? { text: state, kind: '' }

/** Whether a buyer finds the trade by its code. */
export const works = (state: string): boolean => state === 'offered' || state === 'confirming'

/** Whether nothing more will come of a trade. */
export const over = (state: string): boolean => ['confirmed', 'declined', 'cancelled', 'released', 'failed'].includes(state)

const reasons: Record<string, string> = { NOT_MINE: '没有买这张卡', WRONG_CARDS: '卡号对不上', DAMAGED: '卡损坏或拆过封', CHANGED_MIND: '不想要了', OTHER: '其他原因' }

export const reasonOf = (code: string | undefined): string => (code === undefined ? '' : reasons[code] ?? code)
