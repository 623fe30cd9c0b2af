import { codeIn, halfWidth, last6In, spaced, tidy } from '../../services/code'
import { confirm, decline, lookUp, type Offered, type Proof, type Reason } from '../../services/consumer'
import { asFailure } from '../../services/failure'
import { remember } from '../../services/pending'
import { comeBack } from '../../services/session'
import { newKey } from '../../services/request'
import { scan } from '../../services/scan'
import { askToTell } from '../../services/subscribe'
import { limits, segmentTexts, type Limit, type SegmentText } from '../../services/words'

const reasons: { code: Reason, text: string }[] = [
  { code: 'NOT_MINE', text: '我没有买这张卡' },
  { code: 'WRONG_CARDS', text: '卡号和卡对不上' },
  { code: 'DAMAGED', text: '卡损坏或拆过封' },
  { code: 'CHANGED_MIND', text: '不想要了' },
  { code: 'OTHER', text: '其他原因' },
]

// One wish each: a double tap, or another try after a lost answer, is the same wish.
const keys = new WeakMap<object, { confirm: string, decline: string }>()

Page({
  data: {
    stage: 'prove' as 'prove' | 'offer' | 'over',
    code: '',
    codeText: '',
    last6: '',
    problem: '',
    denied: false,
    busy: false,
    trade: undefined as Offered | undefined,
    segments: [] as SegmentText[],
    limits: [] as Limit[],
    mustRegister: false,
    asking: false,
    reasons,
    reason: '' as Reason | '',
    declining: false,
    declineProblem: '',
  },

  onLoad(options: Record<string, string | undefined>) {
    keys.set(this, { confirm: newKey(), decline: newKey() })
    // From the home page as code; from a mini-program code as scene; from a plain link as q.
    const code = tidy(options['code'] ?? '') || codeIn(options['scene'] ?? options['q'] ?? '')
    if (code.length === 8) this.setData({ code, codeText: spaced(code) })
    else void wx.switchTab({ url: '/pages/home/home' })
  },

  // Back from the registration: whether it is still wanted is the server's to say.
  onShow() {
    if (this.data.stage === 'offer' && this.data.mustRegister) void this.look()
  },

  register() {
    const { trade } = this.data
    if (!trade?.carrier) return
    void wx.navigateTo({ url: `/pages/real-name/real-name?carrier=${trade.carrier.id}&name=${encodeURIComponent(trade.carrier.name ?? '')}&from=trade` })
  },

  typed(e: WechatMiniprogram.CustomEvent<{ text: string }>) {
    const letters = halfWidth(e.detail.text).toUpperCase().replace(/[^0-9A-Z]/g, '')
    // A whole ICCID that was pasted: its end counts.
    this.setData({ last6: letters.length > 7 ? last6In(letters) : letters.slice(0, 6), problem: '' })
  },

  async scan() {
    this.setData({ denied: false })
    const scanned = await scan(['barCode', 'qrCode'])
    if (!scanned) return
    if ('denied' in scanned) {
      this.setData({ denied: scanned.denied, problem: scanned.denied ? '没有相机权限，请直接输入后六位' : '没有扫出来，请直接输入后六位' })
      return
    }
    const last6 = last6In(scanned.text)
    if (!last6) {
      this.setData({ problem: '这不是卡上的条码，请直接输入后六位' })
      return
    }
    this.setData({ last6, problem: '' })
    await this.look()
  },

  proof(): Proof {
    return { code: this.data.code, iccidLast6: this.data.last6 }
  },

  async look() {
    if (this.data.busy || this.data.last6.length !== 6) return
    this.setData({ busy: true, problem: '' })
    comeBack() // who asks for a trade wants to be known
    try {
      const trade = await lookUp(this.proof())
      if (trade.confirmationId) {
        this.follow(trade.confirmationId, trade)
        return
      }
      this.setData({ stage: 'offer', mustRegister: trade.requires.includes('real_name'), trade, segments: segmentTexts(trade.segments), limits: limits(trade.restrictions) })
      void wx.pageScrollTo({ scrollTop: 0, duration: 0 })
    } catch (err) {
      this.setData({ problem: asFailure(err).message })
    } finally {
      this.setData({ busy: false })
    }
  },

  async confirm() {
    const { trade } = this.data
    const key = keys.get(this)?.confirm
    if (this.data.busy || !trade || key === undefined) return
    askToTell('confirmation')
    this.setData({ busy: true, problem: '' })
    try {
      const act = await confirm(trade.tradeId, this.proof(), key)
      this.follow(act.confirmationId, trade)
    } catch (err) {
      const failure = asFailure(err)
      if (failure.code === 'TRADE_CODE_NOT_FOUND' || failure.code === 'TRADE_EXPIRED' || failure.code === 'TRADE_ENDED') this.setData({ stage: 'over' })
      else this.setData({ problem: failure.message, mustRegister: failure.code === 'REAL_NAME_REQUIRED' && trade.carrier !== undefined })
    } finally {
      this.setData({ busy: false })
    }
  },

  follow(confirmationId: string, trade: Offered) {
    remember({ confirmationId, seller: trade.seller.name, count: trade.count })
    void wx.redirectTo({ url: `/pages/progress/progress?id=${confirmationId}` })
  },

  expired() {
    // What is under way goes on: the ledger decides whether it came in time.
    if (!this.data.busy) this.setData({ stage: 'over', asking: false })
  },

  askReason() {
    this.setData({ asking: true, declineProblem: '' })
  },

  closeReason() {
    if (!this.data.declining) this.setData({ asking: false })
  },

  chooseReason(e: WechatMiniprogram.RadioGroupChange) {
    this.setData({ reason: e.detail.value as Reason })
  },

  async decline() {
    const { trade, reason, declining } = this.data
    const key = keys.get(this)?.decline
    if (declining || !trade || !reason || key === undefined) return
    this.setData({ declining: true, declineProblem: '' })
    try {
      const act = await decline(trade.tradeId, this.proof(), reason, key)
      void wx.redirectTo({ url: `/pages/progress/progress?id=${act.confirmationId}` })
    } catch (err) {
      this.setData({ declineProblem: asFailure(err).message })
    } finally {
      this.setData({ declining: false })
    }
  },

  home() {
    void wx.switchTab({ url: '/pages/home/home' })
  },
})
