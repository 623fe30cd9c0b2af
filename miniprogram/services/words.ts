import type { Hop, Segment } from './consumer'

/** What a limit means to whoever uses the card. */
const restrictions: Record<string, { short: string, long: string }> = {
  DATA_ONLY: { short: '仅流量', long: '只能上网，不能打电话、发短信' },
  NO_VOICE: { short: '无语音', long: '不能打电话' },
  NO_SMS: { short: '无短信', long: '不能收发短信' },
  NO_DATA: { short: '无流量', long: '不能上网' },
}

export interface Limit { short: string, long: string }

export const limits = (codes: string[]): Limit[] => codes.map((c) => restrictions[c] ?? { short: c, long: `使用限制：${c}` })

const devices: Record<string, string> = { WECHAT: '微信', ACCOUNT: '管理端', TERMINAL: '区块链终端' }

export const device = (code: string | undefined): string => (code === undefined ? '' : devices[code] ?? code)

export const hopTitle = (h: Hop): string => ({ ISSUE: '电信企业登记', TRADE: '转出并确认', RETURN: '退回' })[h.kind]

/** An ICCID in groups of four, to be compared with the card. */
export const grouped = (iccid: string): string => iccid.replace(/(.{4})(?=.)/g, '$1 ')

export interface SegmentText { start: string, end: string, count: number }

export const segmentTexts = (segments: Segment[]): SegmentText[] =>
  segments.map((s) => ({ start: grouped(s.start), end: s.count > 1 ? grouped(s.end) : '', count: s.count }))

/** A hash or transaction ID, shortened in the middle. */
export const short = (id: string): string => (id.length > 20 ? `${id.slice(0, 8)}…${id.slice(-8)}` : id)

const two = (n: number) => String(n).padStart(2, '0')

/** 今天 14:05, 昨天 09:30, 11月3日 14:05, 2025年11月3日. */
export function when(iso: string | undefined, now = Date.now()): string {
  if (!iso) return ''
  const at = new Date(iso)
  const today = new Date(now)
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}`
  const midnight = new Date(today.getFullYear(), today.getMonth(), today.getDate()).getTime()
  if (at.getTime() >= midnight && at.getTime() < midnight + 86_400_000) return `今天 ${clock}`
  if (at.getTime() < midnight && at.getTime() >= midnight - 86_400_000) return `昨天 ${clock}`
  const day = `${at.getMonth() + 1}月${at.getDate()}日`
  return at.getFullYear() === today.getFullYear() ? `${day} ${clock}` : `${at.getFullYear()}年${day}`
}

/** How long is left: 2 天 3 小时, 5 小时 10 分, 09:59, or nothing once it is over. */
export function left(ms: number): string {
  if (ms <= 0) return ''
  const s = Math.ceil(ms / 1000)
  const [days, hours, minutes] = [Math.floor(s / 86_400), Math.floor((s % 86_400) / 3600), Math.floor((s % 3600) / 60)]
  if (days > 0) return `${days} 天${hours > 0 ? ` ${hours} 小时` : ''}`
  if (hours > 0) return `${hours} 小时${minutes > 0 ? ` ${minutes} 分` : ''}`
  return `${two(Math.floor(s / 60))}:${two(s % 60)}`
}

/** What it means to its owner that a card can't be used as others are; nothing, if it can. */
export function cardTrouble(c: { frozen: boolean, status: string } | undefined): string {
  if (!c) return '这张卡已经不在您名下。'
  if (c.status === 'RETIRED') return '电信企业已经注销这张卡，它不能再用。'
  if (c.frozen) return '电信企业或监管部门冻结了这张卡。它还是您的，解冻以前不能退。有疑问请找卖家或电信企业。'
  return ''
}

/** What is special about a card, if anything is. */
export function cardState(c: { frozen: boolean, status: string }): { state: string, bad: boolean } {
  if (c.status === 'RETIRED') return { state: '已注销', bad: true }
  if (c.frozen) return { state: '已冻结', bad: true }
  if (c.status === 'IN_TRADE') return { state: '退回中', bad: false }
  return { state: '', bad: false }
}
