import { asFailure } from '../../../../services/failure'
import { newKey } from '../../../../services/request'
import { segmentTexts, when, type SegmentText } from '../../../../services/words'
import { act, receive, reasonOf, refuse, trades, type Trade } from '../../services/shop'
import { askLogin } from '../../services/staff'
import type { Act } from '../../../../services/consumer'

interface Row { tradeId: string, from: string, back: boolean, count: number, time: string, segments: SegmentText[], reason: string, busy: boolean, problem: string }

/** How often a write is asked how far it is, in ms. */
const pace = 400

// One wish for each trade and answer.
const keys = new Map<string, string>()
const keyOf = (wish: string): string => {
  const key = keys.get(wish) ?? newKey()
  keys.set(wish, key)
  return key
}

Page({
  data: { rows: [] as Row[], loaded: false, trouble: '' },

  onShow() {
    void this.load()
  },
  async onPullDownRefresh() {
    await this.load()
    void wx.stopPullDownRefresh()
  },

  async load() {
    this.setData({ trouble: '' })
    try {
      const { items } = await trades({ side: 'receiver', state: 'offered', limit: '50' })
      this.setData({ rows: items.map(row), loaded: true })
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ trouble: failure.message, loaded: true })
    }
  },

  accept(e: WechatMiniprogram.TouchEvent) {
    const id = String(e.currentTarget.dataset['id'])
    return this.settle(id, () => receive(id, keyOf(`receive ${id}`)))
  },

  async refuse(e: WechatMiniprogram.TouchEvent) {
    const id = String(e.currentTarget.dataset['id'])
    const codes = ['WRONG_CARDS', 'DAMAGED', 'NOT_MINE', 'OTHER']
    let tapped: number
    try {
      tapped = (await wx.showActionSheet({ itemList: codes.map((c) => `拒收：${reasonOf(c)}`) })).tapIndex
    } catch {
      return
    }
    const code = codes[tapped] ?? 'OTHER'
    await this.settle(id, () => refuse(id, code, keyOf(`refuse ${id} ${code}`)))
  },

  /** Makes a write and waits for its end: then the row goes. */
  async settle(id: string, write: () => Promise<Act>) {
    const at = this.data.rows.findIndex((r) => r.tradeId === id)
    if (at < 0 || this.data.rows[at]?.busy) return
    this.setData({ [`rows[${at}].busy`]: true, [`rows[${at}].problem`]: '' })
    try {
      let a = await write()
      while (a.state !== 'committed' && a.state !== 'failed') {
        await new Promise((resolve) => setTimeout(resolve, pace))
        a = await act(a.confirmationId)
      }
      if (a.error) this.setData({ [`rows[${at}].problem`]: a.error.message, [`rows[${at}].busy`]: false })
      else this.setData({ rows: this.data.rows.filter((r) => r.tradeId !== id) })
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ [`rows[${at}].problem`]: failure.message, [`rows[${at}].busy`]: false })
    }
  },
})

function row(t: Trade): Row {
  return {
    tradeId: t.tradeId, from: t.seller?.name ?? '买家', back: t.reverses !== undefined, count: t.count, time: when(t.offeredAt), segments: segmentTexts(t.segments),
    reason: t.reasonText ?? '', busy: false, problem: '',
  }
}
