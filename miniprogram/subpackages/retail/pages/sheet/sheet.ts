import { copy as toClipboard } from '../../../../services/clipboard'
import { spaced } from '../../../../services/code'
import { asFailure } from '../../../../services/failure'
import { grouped, when } from '../../../../services/words'
import { printable } from '../../services/print'
import { newest, stateOf, type Trade } from '../../services/shop'
import { askLogin, staff } from '../../services/staff'
import type { ToPrint } from '../print/print'

interface Row { tradeId: string, number: string, code: string }

/** How often the trades are read until all are on the ledger, in ms. */
const pace = 700
/** Rows of one setData. */
const step = 50

// A box of thousands is no page's data: what is drawn of it is.
const boxes = new WeakMap<object, Trade[]>()
const closed = new WeakSet()

Page({
  data: { rows: [] as Row[], count: 0, done: 0, until: '', trouble: '', lost: false },

  onLoad() {
    void this.load()
  },
  onUnload() {
    closed.add(this)
  },

  async load() {
    const ids = getApp<{ globalData: { made?: string[] } }>().globalData.made ?? []
    this.setData({ trouble: '', lost: ids.length === 0 })
    if (ids.length === 0) return
    try {
      const all = await this.settled(ids)
      boxes.set(this, all)
      this.setData({ rows: [], count: all.length, until: when(printable(all).until) })
      for (let i = 0; i < all.length; i += step) {
        this.setData(Object.fromEntries(all.slice(i, i + step).map((t, n) => [`rows[${i + n}]`, row(t)])))
      }
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ trouble: failure.message })
    }
  },

  /** The trades once all are on the ledger: their codes work from then on. */
  async settled(ids: string[]): Promise<Trade[]> {
    for (;;) {
      const all = await newest(ids)
      const done = all.filter((t) => t.state !== 'offering').length
      if (done === all.length || closed.has(this)) return all
      this.setData({ count: ids.length, done })
      await new Promise((resolve) => setTimeout(resolve, pace))
    }
  },

  open(e: WechatMiniprogram.TouchEvent) {
    void wx.navigateTo({ url: `../code/code?id=${String(e.currentTarget.dataset['id'])}` })
  },

  print() {
    const { labels } = printable(boxes.get(this) ?? [])
    const print: ToPrint = { heading: { shop: staff()?.participant.name ?? '', until: this.data.until }, labels }
    getApp<{ globalData: { print?: ToPrint } }>().globalData.print = print
    void wx.navigateTo({ url: '../print/print' })
  },

  copy() {
    const { labels } = printable(boxes.get(this) ?? [])
    toClipboard(['卡号\t交易码', ...labels.map((l) => `${l.iccid}\t${l.code}`)].join('\n'))
  },

  sales() {
    void wx.redirectTo({ url: '../sales/sales' })
  },
})

function row(t: Trade): Row {
  return { tradeId: t.tradeId, number: grouped(t.segments[0]?.start ?? ''), code: t.code ? spaced(t.code) : stateOf(t.state).text }
}
