import { spaced } from '../../../../services/code'
import { asFailure } from '../../../../services/failure'
import { when } from '../../../../services/words'
import { trade, type Trade } from '../../services/shop'
import { askLogin } from '../../services/staff'

interface Row { tradeId: string, iccid: string, code: string, codeText: string }

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
      const rows = all.map((t) => ({ tradeId: t.tradeId, iccid: t.segments[0]?.start ?? '', code: t.code ?? '', codeText: spaced(t.code ?? '') }))
      this.setData({ rows, until: when(all[0]?.expiresAt) })
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ trouble: failure.message })
    }
  },

  open(e: WechatMiniprogram.TouchEvent) {
    void wx.navigateTo({ url: `../code/code?id=${String(e.currentTarget.dataset['id'])}` })
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
