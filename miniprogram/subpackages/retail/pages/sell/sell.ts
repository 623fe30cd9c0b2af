import { asFailure, Failure } from '../../../../services/failure'
import { newKey } from '../../../../services/request'
import { scan } from '../../../../services/scan'
import { grouped } from '../../../../services/words'
import { iccidIn, left, nth, overlap, weigh, type Piece, type Run } from '../../services/selection'
import { holdings, job, sell, stock } from '../../services/shop'
import { askLogin } from '../../services/staff'

interface Chosen extends Piece { startText: string, endText: string }

/** The runs that the stock has shown so far, and where it goes on. */
interface Shelf { runs: Piece[], cursor: string | undefined }
const shelves = new WeakMap<object, Shelf>()

const expiries = [
  { text: '30 分钟', value: '30m' },
  { text: '2 小时', value: '2h' },
  { text: '24 小时', value: '24h' },
  { text: '7 天', value: '168h' },
]

/** How often a job is asked how far it is, in ms. */
const pace = 700

// The wish and what it was for: another selection is another wish.
const wishes = new WeakMap<object, { body: string, key: string }>()

Page({
  data: {
    box: false,
    first: '',
    firstText: '',
    text: '',
    problem: '',
    denied: false,
    runs: [] as Chosen[],
    fromStock: false,
    shelf: [] as Piece[],
    shelfRead: false,
    shelfMore: false,
    reading: false,
    picked: '',
    amount: '1',
    count: 0,
    each: false,
    expiries,
    expiry: 2,
    busy: false,
    trouble: '',
    progress: '',
  },

  mode(e: WechatMiniprogram.TouchEvent) {
    const way = e.currentTarget.dataset['way'] as string
    this.setData({ box: way === 'box', fromStock: way === 'stock', first: '', problem: '', picked: '' })
    if (way === 'stock' && !shelves.has(this)) void this.moreStock()
  },

  /** Shows what the stock has, or more of it. */
  async moreStock() {
    const shelf = shelves.get(this) ?? { runs: [], cursor: '' }
    if (shelf.cursor === undefined || this.data.reading) return
    this.setData({ problem: '', reading: true })
    try {
      const { items, nextCursor } = await stock(shelf.cursor)
      shelves.set(this, { runs: [...shelf.runs, ...items.filter((h) => h.status === 'OWNED')], cursor: nextCursor })
      this.showStock()
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ problem: failure.message })
    } finally {
      this.setData({ reading: false })
    }
  },

  /** What of it has not been chosen yet. */
  showStock() {
    const shelf = shelves.get(this)
    if (shelf) this.setData({ shelf: shelf.runs.flatMap((r) => left(r, this.data.runs)), shelfRead: true, shelfMore: shelf.cursor !== undefined })
  },

  pick(e: WechatMiniprogram.TouchEvent) {
    const start = String(e.currentTarget.dataset['start'])
    this.setData({ picked: start === this.data.picked ? '' : start, amount: '1', problem: '' })
  },

  typeAmount(e: WechatMiniprogram.Input) {
    this.setData({ amount: e.detail.value, problem: '' })
  },

  /** Takes so many of the picked run from its beginning, or all of it. */
  async addPicked(e: WechatMiniprogram.TouchEvent) {
    const run = this.data.shelf.find((r) => r.start === this.data.picked)
    if (!run) return
    const n = e.currentTarget.dataset['all'] ? run.count : Number(this.data.amount)
    if (!Number.isInteger(n) || n < 1 || n > run.count) {
      this.setData({ problem: `请填 1 到 ${run.count} 之间的张数` })
      return
    }
    if (await this.take({ start: run.start, end: nth(run, n) })) this.setData({ picked: '' })
  },

  async scan() {
    this.setData({ denied: false })
    const scanned = await scan(['barCode', 'qrCode', 'datamatrix'])
    if (!scanned) return
    if ('denied' in scanned) this.setData({ denied: scanned.denied, problem: scanned.denied ? '没有相机权限，请输入卡号' : '没有扫出来，请再试或输入卡号' })
    else await this.add(scanned.text)
  },

  type(e: WechatMiniprogram.Input) {
    this.setData({ text: e.detail.value, problem: '' })
  },

  async addTyped() {
    if (!this.data.text.trim()) return
    if (await this.add(this.data.text)) this.setData({ text: '' })
  },

  /** Takes one card, or one end of a box. Tells whether it could. */
  async add(text: string): Promise<boolean> {
    const iccid = iccidIn(text)
    if (!iccid) {
      this.setData({ problem: '这不是卡号：应为 19 或 20 位，以 89 开头' })
      return false
    }
    if (!this.data.box) return this.take({ start: iccid, end: iccid })
    if (!this.data.first) {
      this.setData({ first: iccid, firstText: grouped(iccid), problem: '' })
      return true
    }
    // Whichever end was scanned first.
    const [start = '', end = ''] = [this.data.first, iccid].sort()
    const taken = await this.take({ start, end })
    if (taken) this.setData({ first: '' })
    return taken
  },

  /** Holds a run against the stock before it is added: whoever sells knows how many cards it is. */
  async take(run: Run): Promise<boolean> {
    if (this.data.runs.some((r) => overlap(r, run))) {
      this.setData({ problem: '这张卡已经选过了' })
      return false
    }
    try {
      const { free, busy, whole } = weigh(run, (await holdings(run.start, run.end)).items)
      if (!whole) {
        const single = run.start === run.end
        const problem = busy > 0 ? (single ? '这张卡正在另一笔交易中' : `其中 ${busy} 张正在另一笔交易中`) : single ? '这张卡不在库存里' : `这两张之间只有 ${free} 张在库存里`
        this.setData({ problem })
        return false
      }
      const runs = [...this.data.runs, { ...run, count: free, startText: grouped(run.start), endText: grouped(run.end) }]
      this.setRuns(runs)
      return true
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ problem: failure.message })
      return false
    }
  },

  setRuns(runs: Chosen[]) {
    const count = runs.reduce((n, r) => n + r.count, 0)
    this.setData({ runs, count, problem: '', trouble: '', each: this.data.each && count > 1 })
    this.showStock()
  },

  drop(e: WechatMiniprogram.TouchEvent) {
    this.setRuns(this.data.runs.filter((r) => r.start !== e.currentTarget.dataset['start']))
  },

  dropFirst() {
    this.setData({ first: '' })
  },

  setEach(e: WechatMiniprogram.SwitchChange) {
    this.setData({ each: e.detail.value })
  },

  setExpiry(e: WechatMiniprogram.PickerChange) {
    this.setData({ expiry: Number(e.detail.value) })
  },

  async make() {
    const { runs, each, expiry, busy } = this.data
    if (busy || runs.length === 0) return
    const sale = { segments: runs.map(({ start, end }) => ({ start, end })), each, expiresIn: expiries[expiry]?.value ?? '24h' }
    const body = JSON.stringify(sale)
    let wish = wishes.get(this)
    if (wish?.body !== body) {
      wish = { body, key: newKey() }
      wishes.set(this, wish)
    }
    this.setData({ busy: true, trouble: '' })
    try {
      const made = await sell(sale, wish.key)
      const ids = made.trades ? made.trades.map((t) => t.tradeId) : await this.follow(made.jobId)
      wishes.delete(this)
      if (ids.length === 1) void wx.redirectTo({ url: `../code/code?id=${ids[0] ?? ''}` })
      else {
        // Too many names for an address: they are handed over in memory.
        getApp<{ globalData: { made?: string[] } }>().globalData.made = ids
        void wx.redirectTo({ url: '../sheet/sheet' })
      }
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ trouble: failure.message })
    } finally {
      this.setData({ busy: false, progress: '' })
    }
  },

  /** Waits for a sale of many codes, and says how far it is. */
  async follow(id: string): Promise<string[]> {
    for (;;) {
      const j = await job(id)
      if (j.state === 'done' || j.state === 'failed') {
        const ids = (j.results ?? []).flatMap((r) => r.tradeIds ?? [])
        if (ids.length === 0) throw new Failure(j.error?.code ?? 'JOB_FAILED', j.error?.message ?? '没有生成交易码，请稍后再试', 409)
        return ids
      }
      this.setData({ progress: `已生成 ${j.done} / ${j.total}` })
      await new Promise((resolve) => setTimeout(resolve, pace))
    }
  },
})
