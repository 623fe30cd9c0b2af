import { paste } from '../../services/clipboard'
import { codeIn, codeLength, tidy } from '../../services/code'
import { recall, settle, type Pending } from '../../services/pending'
import { act } from '../../services/consumer'
import { scan } from '../../services/scan'

Page({
  data: {
    code: '',
    problem: '',
    denied: false,
    pending: undefined as Pending | undefined,
    steps: [
      { icon: 'sim', title: '拿到卡', text: '先从卖家手里拿到卡，再确认' },
      { icon: 'keyboard', title: '核对', text: '用交易码和卡号后六位，看清卖家、卡号和限制' },
      { icon: 'shield', title: '确认', text: '记上区块链账本，谁也改不了' },
    ],
  },

  onLoad(options: Record<string, string | undefined>) {
    // An old link or a code that was made for this page: both lead to the trade.
    const code = codeIn(options['scene'] ?? options['q'] ?? '')
    if (code) this.open(code)
  },

  onShow() {
    const pending = recall()
    this.setData({ pending: pending ?? undefined })
    if (pending) void this.look(pending)
  },

  /** A confirmation that has ended meanwhile needs no reminder. */
  async look(pending: Pending) {
    try {
      const a = await act(pending.confirmationId)
      if (a.state !== 'committed' && a.state !== 'failed') return
    } catch {
      return // it is looked at again when the page is shown again
    }
    settle(pending.confirmationId)
    this.setData({ pending: undefined })
  },

  typed(e: WechatMiniprogram.CustomEvent<{ text: string }>) {
    const { text } = e.detail
    // A pasted link or message has a code somewhere in it; typing goes character by character.
    const code = text.length > codeLength ? codeIn(text) || tidy(text) : tidy(text)
    const left = text.length > codeLength && !code ? '没有从这段文字里找到交易码' : ''
    this.setData({ code, problem: left })
  },

  async paste() {
    const text = await paste()
    if (text === undefined) {
      this.setData({ problem: '没有读到剪贴板，请在格子里长按粘贴' })
      return
    }
    const code = codeIn(text)
    this.setData({ code: code || this.data.code, problem: code ? '' : '剪贴板里没有交易码' })
  },

  async scan() {
    this.setData({ denied: false })
    const scanned = await scan(['qrCode', 'barCode'], true)
    if (!scanned) return
    if ('denied' in scanned) {
      this.setData({ denied: scanned.denied, problem: scanned.denied ? '没有相机权限，也可以输入交易码' : '没有扫出来，请输入交易码' })
      return
    }
    const code = codeIn(scanned.text)
    if (code) this.open(code)
    else this.setData({ problem: '这不是卖家的二维码，请换一个扫，或输入交易码' })
  },

  next() {
    if (this.data.code.length === codeLength) this.open(this.data.code)
  },

  open(code: string) {
    this.setData({ code: '', problem: '', denied: false })
    void wx.navigateTo({ url: `/pages/trade/trade?code=${code}` })
  },

  resume() {
    if (this.data.pending) void wx.navigateTo({ url: `/pages/progress/progress?id=${this.data.pending.confirmationId}` })
  },

  onShareAppMessage() {
    return { title: '卡流转：买物联网卡，确认了才是您的', path: '/pages/home/home' }
  },
})
