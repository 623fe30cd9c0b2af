import { spaced } from '../../../../services/code'
import { asFailure } from '../../../../services/failure'
import { when } from '../../../../services/words'
import type { Label } from '../../services/print'
import { trade, type Trade } from '../../services/shop'
import { askLogin, staff } from '../../services/staff'
import type { ToPrint } from '../print/print'

interface Row extends Label { tradeId: string, codeText: string }

/** Trades that are read at once: a phone has few connections. */
const width = 6

Page({
  data: { rows: [] as Row[], until: '', trouble: '' },

  onLoad() {
    void this.load()
  },

  async load() {
    const ids = getApp<{ globalData: { made?: string[] } }>().globalData.made ?? []
    this.setData({ trouble: ids.length ? '' : '请在销售记录里查看' })
    try {
      const all: Trade[] = []
      for (let i = 0; i < ids.length; i += width) all.push(...await Promise.all(ids.slice(i, i + width).map(settled)))
      const rows = all.map((t) => ({ tradeId: t.tradeId, iccid: t.segments[0]?.start ?? '', count: t.count, code: t.code ?? '', link: t.link ?? '', codeText: spaced(t.code ?? '') }))
      this.setData({ rows, until: when(all[0]?.expiresAt) })
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ trouble: failure.message })
    }
  },

  open(e: WechatMiniprogram.TouchEvent) {
    void wx.navigateTo({ url: `../code/code?id=${String(e.currentTarget.dataset['id'])}` })
  },

  print() {
    const { rows: labels, until } = this.data
    const print: ToPrint = { heading: { shop: staff()?.participant.name ?? '', until }, labels }
    getApp<{ globalData: { print?: ToPrint } }>().globalData.print = print
    void wx.navigateTo({ url: '../print/print' })
  },

  copy() {
    void wx.setClipboardData({ data: ['卡号\t交易码', ...this.data.rows.map((r) => `${r.iccid}\t${r.code}`)].join('\n') })
  },
})

/** A trade once it is on the ledger: its code works from then on. */
async function settled(id: string): Promise<Trade> {
  for (;;) {
    const t = await trade(id)
    if (t.state !== 'offering') return t
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}
