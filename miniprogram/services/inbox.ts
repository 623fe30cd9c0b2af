import type { Page } from './consumer'
import type { Registrations } from './realname'
import { request } from './request'
import { when } from './words'

/** What became of something that the person asked for. */
export interface Notice {
  id: string
  function: 'Confirm' | 'Decline' | 'Return'
  state: 'accepted' | 'signed' | 'submitted' | 'committed' | 'failed'
  seller: { name: string }
  count: number
  /** To a return: the state of the offer back to the seller. */
  reply?: string
  reason?: string
  error?: { code: string, message: string }
  at: string
}

/** A line of the inbox. url is where it leads; nowhere if it is empty. */
export interface Line { key: string, icon: string, kind: '' | 'ok' | 'warn' | 'bad', title: string, text: string, at: string, time: string, url: string }

export const notices = (cursor: string) => request<Page<Notice>>({ method: 'GET', path: '/me/inbox', query: { limit: '20', ...(cursor && { cursor }) } })

const reasons: Record<string, string> = { NOT_MINE: '不是从这里买的', WRONG_CARDS: '卡号对不上', DAMAGED: '卡损坏或拆过封' }

export function lineOf(n: Notice): Line {
  const cards = `${n.count} 张卡`
  const line = (icon: string, kind: Line['kind'], title: string, text: string, url = ''): Line => ({ key: n.id, icon, kind, title, text, at: n.at, time: when(n.at), url })
  const progress = `/pages/progress/progress?id=${n.id}`
  const from = n.seller.name || '卖家'
  if (n.state !== 'committed' && n.state !== 'failed') {
    const doing = { Confirm: '正在确认', Decline: '正在拒收', Return: '正在提交退卡' }[n.function]
    return line('clock', 'warn', doing, `${from}，${cards}。点这里看进度`, progress)
  }
  if (n.state === 'failed') {
    const failed = { Confirm: '没有确认成功', Decline: '没有拒收成功', Return: '退卡没有成功' }[n.function]
    return line('warning', 'bad', failed, n.error?.message ?? '请稍后再试')
  }
  if (n.function === 'Confirm') return line('check', 'ok', `收到 ${cards}`, `来自${from}，已登记在您名下`, `/pages/receipt/receipt?id=${n.id}`)
  if (n.function === 'Decline') return line('close', '', `拒收了 ${cards}`, `已退回给${from}`)
  switch (n.reply) {
    case 'confirmed':
      return line('back', 'ok', `${from}收到了退卡`, `${cards}已不在您名下`)
    case 'declined':
      return line('back', 'bad', `${from}没有收退卡`, [reasons[n.reason ?? ''], `${cards}还是您的`].filter(Boolean).join('。'))
    case 'cancelled':
      return line('back', '', '退卡已撤回', `${cards}还是您的`)
    case 'released':
      return line('back', 'warn', '退卡过期了', `${from}没有在期限内确认，${cards}还是您的`)
    default:
      return line('back', 'warn', '退卡已提交', `等${from}确认收到 ${cards}`)
  }
}

/** What carriers have decided about the person's name. */
export function decisions({ items }: Registrations): Line[] {
  return items.flatMap(({ carrier, state, decidedAt, validUntil, reason }): Line[] => {
    if (decidedAt === undefined || (state !== 'approved' && state !== 'refused')) return []
    const about = { key: `name ${carrier.id} ${decidedAt}`, icon: 'id', at: decidedAt, time: when(decidedAt), url: '/pages/registrations/registrations' }
    const name = carrier.name ?? '电信企业'
    return [state === 'approved'
      ? { ...about, kind: 'ok', title: `${name}通过了实名登记`, text: validUntil === undefined ? '' : `有效期到 ${when(validUntil)}` }
      : { ...about, kind: 'bad', title: `${name}没有通过实名登记`, text: reason?.message ?? reason?.text ?? '可以改正后再试' }]
  })
}

/** Lines in the order in which things happened, the last first. */
export const newestFirst = (lines: Line[]): Line[] => [...lines].sort((a, b) => Date.parse(b.at) - Date.parse(a.at))

const place = 'inbox read'

/** When the person last looked, in ms; 0 if he never did. */
export const lastRead = (): number => {
  const at = wx.getStorageSync<number | ''>(place)
  return at === '' ? 0 : at
}

/** He has seen everything up to the newest of these. */
export function markRead(lines: Line[]): void {
  wx.setStorageSync(place, Math.max(lastRead(), ...lines.map((l) => Date.parse(l.at))))
}

export const unread = (lines: Line[], since: number): number => lines.filter((l) => Date.parse(l.at) > since).length
