import { copy as toClipboard } from '../../services/clipboard'
import { now } from '../../services/clock'
import { giveBack, keepCards, trace as read, type Hop, type OwnedCard, type Trace } from '../../services/consumer'
import { asFailure } from '../../services/failure'
import { find, forgetCards } from '../../services/opened'
import { newKey } from '../../services/request'
import { askToTell } from '../../services/subscribe'
import { cardState, cardTrouble, device, grouped, hopTitle, limits, short, when, type Limit } from '../../services/words'

/** One moment of a card's way: who did what, and where it stands on the ledger. */
interface Point { key: string, title: string, text: string, txs: { id: string, short: string }[], block: number }

const keys = new WeakMap<object, string>()

Page({
  data: {
    id: '',
    card: undefined as OwnedCard | undefined,
    trace: undefined as Trace | undefined,
    number: '',
    time: '',
    state: '',
    bad: false,
    stopped: '',
    limits: [] as Limit[],
    points: [] as Point[],
    returnable: false,
    returnUntil: '',
    returning: '',
    trouble: '',
    asking: false,
    reasons: ['买错了', '卡不能用', '和卖家说的不一样', '其他原因'],
    reason: '',
    sending: false,
    returnProblem: '',
  },

  onLoad(options: Record<string, string | undefined>) {
    keys.set(this, newKey())
    this.setData({ id: options['id'] ?? '' })
    void this.load()
  },

  async load() {
    this.setData({ trouble: '' })
    try {
      const [t, card] = await Promise.all([read(this.data.id), find(this.data.id)])
      const state = card ? cardState(card) : { state: '已转出', bad: true }
      const until = card?.returnableUntil
      this.setData({
        trace: t, card: card ?? undefined, number: grouped(t.iccid), points: t.hops.flatMap(pointsOf).reverse(), time: when(card?.confirmedAt), ...state, stopped: cardTrouble(card),
        limits: limits(card?.restrictions ?? []), returnable: until !== undefined && Date.parse(until) > now() && card?.status === 'OWNED' && !card.frozen,
        returnUntil: when(until), returning: card?.status === 'IN_TRADE' ? card.seller.name : '',
      })
    } catch (err) {
      this.setData({ trouble: asFailure(err).message })
    }
  },

  copyNumber() {
    toClipboard(this.data.trace?.iccid ?? '')
  },

  copy(e: WechatMiniprogram.TouchEvent) {
    toClipboard(String(e.currentTarget.dataset['text']))
  },

  receipt() {
    void wx.navigateTo({ url: `/pages/receipt/receipt?id=${this.data.card?.confirmationId ?? ''}` })
  },

  askReturn() {
    this.setData({ asking: true, returnProblem: '' })
  },

  closeReturn() {
    if (!this.data.sending) this.setData({ asking: false })
  },

  /** He wants to keep the cards after all. The seller may be faster: then it is he who is right. */
  async takeBack() {
    const { card, sending } = this.data
    const key = keys.get(this)
    if (sending || card?.returnId === undefined || key === undefined) return
    const { confirm } = await wx.showModal({ title: '撤回退卡？', content: '同一笔交易里的卡都不退了，还是您的。', confirmText: '撤回' })
    if (!confirm || this.data.sending) return
    this.setData({ sending: true })
    try {
      const act = await keepCards(card.returnId, key)
      void wx.redirectTo({ url: `/pages/progress/progress?id=${act.confirmationId}` })
    } catch (err) {
      forgetCards()
      await this.load()
      void wx.showModal({ title: '没有撤回', content: asFailure(err).message, showCancel: false })
    } finally {
      this.setData({ sending: false })
    }
  },

  chooseReason(e: WechatMiniprogram.RadioGroupChange) {
    this.setData({ reason: e.detail.value })
  },

  async giveBack() {
    const { card, reason, sending } = this.data
    const key = keys.get(this)
    if (sending || !card || !reason || key === undefined) return
    askToTell('return')
    this.setData({ sending: true, returnProblem: '' })
    try {
      const act = await giveBack(card.tradeId, reason, key)
      void wx.redirectTo({ url: `/pages/progress/progress?id=${act.confirmationId}` })
    } catch (err) {
      this.setData({ returnProblem: asFailure(err).message })
    } finally {
      this.setData({ sending: false })
    }
  },
})

function pointsOf(h: Hop): Point[] {
  const txs = h.txIds.map((id) => ({ id, short: short(id) }))
  const by = (at: string | undefined, code: string | undefined) => [when(at), code !== undefined && `用${device(code)}`].filter(Boolean).join('，')
  const key = String(h.blockNumber)
  if (h.kind === 'ISSUE') return [{ key, title: hopTitle(h), text: [h.to, when(h.confirmedAt ?? h.offeredAt)].filter(Boolean).join(' · '), txs, block: h.blockNumber }]
  const [word, end] = h.kind === 'RETURN' ? ['退回', '确认收到'] : ['转出', '确认收卡']
  return [
    { key: `${key} from`, title: `${h.from ?? ''} ${word}`, text: by(h.offeredAt, h.device), txs: txs.slice(0, 1), block: 0 },
    { key: `${key} to`, title: `${h.to ?? ''} ${end}`, text: by(h.confirmedAt, h.endDevice), txs: txs.slice(1), block: h.blockNumber },
  ]
}
