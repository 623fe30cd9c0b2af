import { copy as toClipboard } from '../../services/clipboard'
import { giveBack, trace as read, type Hop, type OwnedCard, type Trace } from '../../services/consumer'
import { asFailure } from '../../services/failure'
import { find } from '../../services/opened'
import { newKey } from '../../services/request'
import { cardState, device, grouped, hopTitle, limits, short, when, type Limit } from '../../services/words'

interface HopText {
  title: string
  from: string
  to: string
  offered: string
  confirmed: string
  device: string
  endDevice: string
  txs: { id: string, short: string }[]
  blockNumber: number
}

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
    limits: [] as Limit[],
    hops: [] as HopText[],
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
        trace: t, card: card ?? undefined, number: grouped(t.iccid), hops: t.hops.map(text).reverse(), time: when(card?.confirmedAt), ...state,
        limits: limits(card?.restrictions ?? []), returnable: until !== undefined && Date.parse(until) > Date.now() && card?.status === 'OWNED' && !card.frozen,
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

  chooseReason(e: WechatMiniprogram.RadioGroupChange) {
    this.setData({ reason: e.detail.value })
  },

  async giveBack() {
    const { card, reason, sending } = this.data
    const key = keys.get(this)
    if (sending || !card || !reason || key === undefined) return
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

function text(h: Hop): HopText {
  return {
    title: hopTitle(h), from: h.from ?? '', to: h.to ?? '', offered: when(h.offeredAt), confirmed: when(h.confirmedAt), device: device(h.device),
    endDevice: device(h.endDevice), txs: h.txIds.map((id) => ({ id, short: short(id) })), blockNumber: h.blockNumber,
  }
}
