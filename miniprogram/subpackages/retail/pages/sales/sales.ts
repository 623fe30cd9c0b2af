import { spaced } from '../../../../services/code'
import { asFailure } from '../../../../services/failure'
import { grouped, when } from '../../../../services/words'
import { stateOf, trades, type Trade } from '../../services/shop'
import { askLogin } from '../../services/staff'

interface Row { tradeId: string, state: { text: string, kind: string }, time: string, number: string, count: number, code: string, to: string }

const filters = [
  { text: '全部', state: '' },
  { text: '待确认', state: 'offered' },
  { text: '已确认', state: 'confirmed' },
  { text: '被拒收', state: 'declined' },
  { text: '已取消', state: 'cancelled' },
  { text: '已过期', state: 'released' },
]

Page({
  data: { filters, state: '', rows: [] as Row[], cursor: '', more: false, loaded: false, trouble: '', busy: false },

  onShow() {
    void this.reload()
  },
  async onPullDownRefresh() {
    await this.reload()
    void wx.stopPullDownRefresh()
  },
  onReachBottom() {
    if (this.data.more) void this.read(this.data.cursor)
  },

  filter(e: WechatMiniprogram.TouchEvent) {
    this.setData({ state: String(e.currentTarget.dataset['state']), rows: [], loaded: false, busy: false })
    void this.reload()
  },

  reload() {
    return this.read('')
  },

  async read(cursor: string) {
    if (this.data.busy) return
    const { state } = this.data
    this.setData({ busy: true, trouble: '' })
    try {
      const page = await trades({ side: 'seller', limit: '20', ...(state && { state }), ...(cursor && { cursor }) })
      if (state !== this.data.state) return // another filter has been chosen meanwhile
      const n = cursor ? this.data.rows.length : 0
      const fresh = page.items.map(row)
      const rest = { cursor: page.nextCursor ?? '', more: page.nextCursor !== undefined, loaded: true }
      if (n === 0) this.setData({ rows: fresh, ...rest })
      else this.setData({ ...Object.fromEntries(fresh.map((r, i) => [`rows[${n + i}]`, r])), ...rest })
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ trouble: failure.message, loaded: true })
    } finally {
      this.setData({ busy: false })
    }
  },

  open(e: WechatMiniprogram.TouchEvent) {
    void wx.navigateTo({ url: `../code/code?id=${String(e.currentTarget.dataset['id'])}` })
  },

  sell() {
    void wx.navigateTo({ url: '../sell/sell' })
  },
})

function row(t: Trade): Row {
  const [first] = t.segments
  return {
    tradeId: t.tradeId, state: stateOf(t.state), time: when(t.endedAt ?? t.offeredAt), count: t.count, code: t.code ? spaced(t.code) : '',
    number: first ? grouped(first.start) + (t.count > 1 ? ` 起` : '') : '', to: t.mode === 'NAMED' ? t.receiver?.name ?? '' : '',
  }
}
