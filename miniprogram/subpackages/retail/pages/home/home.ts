import { spaced } from '../../../../services/code'
import { asFailure } from '../../../../services/failure'
import { inventory, trades, type Inventory, type Trade } from '../../services/shop'
import { askLogin, logOut, staff } from '../../services/staff'

interface Open extends Trade { codeText: string }

Page({
  data: {
    name: '',
    inventory: undefined as Inventory | undefined,
    lines: [] as { text: string }[],
    open: [] as Open[],
    arriving: '',
    trouble: '',
  },

  onShow() {
    this.setData({ name: staff()?.participant.name ?? '' })
    void this.load()
  },

  async onPullDownRefresh() {
    await this.load()
    void wx.stopPullDownRefresh()
  },

  async load() {
    this.setData({ trouble: '' })
    try {
      const [stock, open, arriving] = await Promise.all([
        inventory(),
        trades({ side: 'seller', state: 'offered', limit: '20' }),
        trades({ side: 'receiver', state: 'offered', limit: '50' }),
      ])
      const lines = linesOf(stock)
      this.setData({
        inventory: stock, lines, arriving: arriving.items.length ? `${arriving.items.length}${arriving.nextCursor === undefined ? '' : '+'}` : '',
        open: open.items.filter((t) => t.code).map((t) => ({ ...t, codeText: spaced(t.code ?? '') })),
      })
    } catch (err) {
      const failure = asFailure(err)
      if (!askLogin(failure)) this.setData({ trouble: failure.message })
    }
  },

  sell() {
    void wx.navigateTo({ url: '../sell/sell' })
  },
  sales() {
    void wx.navigateTo({ url: '../sales/sales' })
  },
  receive() {
    void wx.navigateTo({ url: '../receive/receive' })
  },
  show(e: WechatMiniprogram.TouchEvent) {
    void wx.navigateTo({ url: `../code/code?id=${String(e.currentTarget.dataset['id'])}` })
  },

  async leave() {
    const { confirm } = await wx.showModal({ title: '退出商家账号？', content: '下次卖卡时要重新输入密码。', confirmText: '退出' })
    if (!confirm) return
    await logOut()
    void wx.redirectTo({ url: '../login/login' })
  },
})

/** One line for each carrier: what can be sold, and what stands in a trade. */
function linesOf(stock: Inventory): { text: string }[] {
  const issuers = new Map<string, { free: number, busy: number }>()
  for (const l of stock.lines) {
    const name = l.issuer?.name ?? '其他'
    const sum = issuers.get(name) ?? { free: 0, busy: 0 }
    if (l.status === 'OWNED') sum.free += l.cards
    else if (l.status === 'IN_TRADE') sum.busy += l.cards
    issuers.set(name, sum)
  }
  return [...issuers].map(([name, { free, busy }]) => ({ text: `${name} ${free} 张${busy ? `，另有 ${busy} 张在交易中` : ''}` }))
}
