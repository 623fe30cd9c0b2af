import { copy as toClipboard } from '../../../../services/clipboard'
import { spaced } from '../../../../services/code'
import { asFailure } from '../../../../services/failure'
import { newKey } from '../../../../services/request'
import { segmentTexts, short, when, type SegmentText } from '../../../../services/words'
import { cancel, discard, over, picture, reasonOf, stateOf, trade as read, works, type Trade } from '../../services/shop'
import { askLogin } from '../../services/staff'

/** How often the trade is read while the page is shown, in ms. */
const pace = 1200

/** Nobody waits this long for the ledger, in ms, without a word. */
const patience = 6000

const statuses: Record<string, string> = {
  offering: '正在写入账本', offered: '等买家确认', confirming: '买家正在确认', confirmed: '买家已确认，卡已转出', declined: '买家拒收，卡已退回库存', cancelling: '正在取消',
  cancelled: '已取消，卡已退回库存', released: '过期未确认，卡已退回库存', failed: '没有写入账本，卡还在库存里',
}

interface Watch { id: string, key: string, since: number, timer: ReturnType<typeof setTimeout> | undefined, shown: boolean }
const watches = new WeakMap<object, Watch>()

Page({
  data: {
    trade: undefined as Trade | undefined,
    codeText: '',
    /** Whether a buyer who has the code gets on with it: before and after, it is as good as wrong. */
    works: false,
    picture: '',
    segments: [] as SegmentText[],
    state: { text: '', kind: '' },
    status: '',
    ended: false,
    offered: '',
    endedAt: '',
    reason: '',
    txShort: '',
    trouble: '',
    slow: false,
    lost: '',
    cancelling: false,
  },

  onLoad(options: Record<string, string | undefined>) {
    watches.set(this, { id: options['id'] ?? '', key: newKey(), since: 0, timer: undefined, shown: false })
  },
  onShow() {
    const w = watches.get(this)
    if (!w) return
    w.shown = true
    w.since = Date.now()
    void this.load()
  },
  onHide() {
    this.rest()
  },
  onUnload() {
    this.rest()
    discard(this.data.picture)
  },

  rest() {
    const w = watches.get(this)
    if (!w) return
    w.shown = false
    if (w.timer !== undefined) clearTimeout(w.timer)
  },

  async load() {
    const w = watches.get(this)
    if (!w) return
    if (w.timer !== undefined) clearTimeout(w.timer)
    try {
      const t = await read(w.id)
      this.show(t)
      const underWay = t.state !== 'offered' && !over(t.state)
      if (!underWay) w.since = Date.now()
      this.setData({ slow: underWay && Date.now() - w.since > patience, lost: '' })
      if (this.data.works && !this.data.picture) this.setData({ picture: await picture(w.id, 'wxacode').catch(() => picture(w.id, 'qr.png')) })
    } catch (err) {
      const failure = asFailure(err)
      if (askLogin(failure)) return
      this.setData({ trouble: failure.message, lost: this.data.trade ? failure.message.replace(/[，。].*$/, '') : '' })
    }
    if (w.shown && !this.data.ended) {
      w.timer = setTimeout(() => {
        void this.load()
      }, pace)
    }
  },

  show(t: Trade) {
    const before = this.data.trade?.state
    if (before === t.state) return
    if (t.state === 'confirmed' && before !== undefined) void wx.vibrateShort({ type: 'medium' })
    this.setData({
      trade: t, codeText: spaced(t.code ?? ''), segments: segmentTexts(t.segments), state: stateOf(t.state), status: statuses[t.state] ?? stateOf(t.state).text, ended: over(t.state),
      works: works(t.state),
      offered: when(t.offeredAt), endedAt: when(t.endedAt), reason: [reasonOf(t.reason), t.reasonText].filter(Boolean).join('：'), txShort: short(t.endTx ?? ''), trouble: '',
    })
  },

  copy() {
    const { trade } = this.data
    if (!trade?.code) return
    toClipboard(`您的交易码：${spaced(trade.code)}\n请在微信小程序“卡流转”里确认收卡，需要卡号后六位。\n${trade.link ?? ''}`)
  },

  copyTx() {
    toClipboard(this.data.trade?.endTx ?? '')
  },

  async cancel() {
    const w = watches.get(this)
    if (!w || this.data.cancelling) return
    const { confirm } = await wx.showModal({ title: '取消这笔交易？', content: '交易码立刻失效，卡回到库存。', confirmText: '取消交易', cancelText: '再等等', confirmColor: '#b3261e' })
    if (!confirm) return
    this.setData({ cancelling: true })
    try {
      await cancel(w.id, w.key)
      await this.load()
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) void wx.showModal({ title: '没有取消', content: failure.message, showCancel: false })
    } finally {
      this.setData({ cancelling: false })
    }
  },

  again() {
    void wx.redirectTo({ url: '../sell/sell' })
  },
})
