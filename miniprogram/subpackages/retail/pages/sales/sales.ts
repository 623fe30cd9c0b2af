import { spaced } from '../../../../services/code'
import { asFailure } from '../../../../services/failure'
import { scan } from '../../../../services/scan'
import { grouped, when } from '../../../../services/words'
import { day, dayAt, dayText, wanted } from '../../services/search'
import { sales, stateOf, trade, type SaleQuery, type Trade } from '../../services/shop'
import { askLogin, staff } from '../../services/staff'
import { printable } from '../../services/print'
import type { ToPrint } from '../print/print'

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
  data: {
    filters, state: '', day: '', dayText: '', today: dayAt(Date.now()), text: '', asked: '', problem: '', denied: false,
    rows: [] as Row[], cursor: '', more: false, loaded: false, trouble: '', busy: false, printing: false, turn: 0, opened: '',
  },

  onShow() {
    this.setData({ today: dayAt(Date.now()) })
    if (this.data.rows.length > 0) void this.renew()
    else void this.reload()
  },
  async onPullDownRefresh() {
    await this.reload()
    void wx.stopPullDownRefresh()
  },
  onReachBottom() {
    if (this.data.more) void this.read(this.data.cursor)
  },

  type(e: WechatMiniprogram.Input) {
    this.setData({ text: e.detail.value, problem: '' })
  },

  async scan() {
    this.setData({ denied: false })
    const scanned = await scan(['barCode', 'qrCode', 'datamatrix'])
    if (!scanned) return
    if ('denied' in scanned) {
      this.setData({ denied: scanned.denied, problem: scanned.denied ? '没有相机权限，请输入卡号后六位' : '没有扫出来，请输入卡号后六位' })
      return
    }
    this.setData({ text: scanned.text })
    this.search()
  },

  search() {
    const { text } = this.data
    if (text.trim() && !wanted(text)) this.setData({ problem: '请输入 8 位交易码、卡号后六位，或整个卡号' })
    else this.anew({ asked: text.trim() })
  },
  clear() {
    const { asked } = this.data
    this.setData({ text: '', problem: '' })
    if (asked) this.anew({ asked: '' })
  },
  filter(e: WechatMiniprogram.TouchEvent) {
    this.anew({ state: String(e.currentTarget.dataset['state']) })
  },
  setDay(e: WechatMiniprogram.PickerChange) {
    const day = String(e.detail.value)
    this.anew({ day, dayText: dayText(day) })
  },
  anyDay() {
    this.anew({ day: '', dayText: '' })
  },
  everything() {
    this.setData({ text: '', problem: '' })
    this.anew({ asked: '', state: '', day: '', dayText: '' })
  },

  /** Another question: what is still on its way belongs to the one before. */
  anew(change: Partial<{ asked: string, state: string, day: string, dayText: string }>) {
    this.setData({ ...change, problem: '', denied: false, rows: [], loaded: false, busy: false, turn: this.data.turn + 1 })
    void this.reload()
  },

  reload() {
    return this.read('')
  },

  /** Reads again what may have changed while another page was shown: who comes back finds the list where he left it. */
  async renew() {
    if (this.data.busy) return
    const { turn, opened } = this.data
    let other = false
    this.setData({ busy: true, trouble: '' })
    try {
      const [page, looked] = await Promise.all([sales(this.question()), opened ? trade(opened) : undefined])
      if (turn !== this.data.turn) return
      const fresh = page.items.map(row)
      other = fresh.some((r, i) => r.tradeId !== this.data.rows[i]?.tradeId)
      const at = this.data.rows.findIndex((r) => r.tradeId === opened)
      if (!other) {
        this.setData({ ...(looked && at >= 0 && { [`rows[${at}]`]: row(looked) }), ...Object.fromEntries(fresh.map((r, i) => [`rows[${i}]`, r])) })
      }
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure) && turn === this.data.turn) this.setData({ trouble: failure.message })
    } finally {
      if (turn === this.data.turn) this.setData({ busy: false })
    }
    if (other) await this.reload()
  },

  question(): SaleQuery {
    const { state, day: of, asked } = this.data
    return { ...(state && { state }), ...(of && day(of)), ...wanted(asked) }
  },

  async read(cursor: string) {
    if (this.data.busy) return
    const { turn } = this.data
    this.setData({ busy: true, trouble: '' })
    try {
      const page = await sales({ ...this.question(), ...(cursor && { cursor }) })
      if (turn !== this.data.turn) return
      const n = cursor ? this.data.rows.length : 0
      const fresh = page.items.map(row)
      const rest = { cursor: page.nextCursor ?? '', more: page.nextCursor !== undefined, loaded: true }
      if (n === 0) this.setData({ rows: fresh, ...rest })
      else this.setData({ ...Object.fromEntries(fresh.map((r, i) => [`rows[${n + i}]`, r])), ...rest })
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure) && turn === this.data.turn) this.setData({ trouble: failure.message, loaded: true })
    } finally {
      if (turn === this.data.turn) this.setData({ busy: false })
    }
  },

  open(e: WechatMiniprogram.TouchEvent) {
    const opened = String(e.currentTarget.dataset['id'])
    this.setData({ opened })
    void wx.navigateTo({ url: `../code/code?id=${opened}` })
  },

  /** Prints every code that can still be used and answers the question, not only those that have been scrolled to. */
  async print() {
    if (this.data.printing) return
    this.setData({ printing: true })
    try {
      const all: Trade[] = []
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const page: { items: Trade[], nextCursor?: string } = await sales({ ...this.question(), limit: 200, ...(cursor && { cursor }) })
        all.push(...page.items)
        cursor = page.nextCursor
      }
      const { labels, until } = printable(all)
      const print: ToPrint = { heading: { shop: staff()?.participant.name ?? '', until: when(until) }, labels }
      getApp<{ globalData: { print?: ToPrint } }>().globalData.print = print
      void wx.navigateTo({ url: '../print/print' })
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) void wx.showModal({ title: '没有读到交易码', content: failure.message, showCancel: false })
    } finally {
      this.setData({ printing: false })
    }
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
