import { copy } from '../../services/clipboard'
import { request } from '../../services/request'
import { asFailure } from '../../services/failure'
import { decisions, lastRead, lineOf, notices, unread } from '../../services/inbox'
import { forgetCards } from '../../services/opened'
import { registrations } from '../../services/realname'
import { comeBack, gone, leave, present, signIn } from '../../services/session'
import { short } from '../../services/words'

Page({
  data: { name: '', nameShort: '', signedOut: false, trouble: '', news: 0 },

  onShow() {
    this.setData({ signedOut: gone() })
    if (!gone()) void this.know()
  },

  async know() {
    try {
      const { participant } = await signIn()
      this.setData({ name: participant.id, nameShort: short(participant.id), trouble: '' })
      const [page, names] = await Promise.all([notices(''), registrations()])
      this.setData({ news: unread([...page.items.map(lineOf), ...decisions(names)], lastRead()) })
    } catch (err) {
      this.setData({ trouble: asFailure(err).message })
    }
  },

  signIn() {
    comeBack()
    this.setData({ signedOut: false })
    void this.know()
  },

  copyName() {
    copy(this.data.name)
  },

  inbox() {
    void wx.navigateTo({ url: '/pages/inbox/inbox' })
  },

  realName() {
    void wx.navigateTo({ url: '/pages/registrations/registrations' })
  },

  retail() {
    void wx.navigateTo({ url: '/subpackages/retail/pages/home/home' })
  },

  erase() {
    void wx.navigateTo({ url: '/pages/erasure/erasure' })
  },

  privacy() {
    wx.openPrivacyContract({})
  },

  explain() {
    void wx.showModal({
      title: '账本怎样保护您', showCancel: false, confirmText: '知道了',
      content: '每次转出和确认都由双方签名，记在多家共同保管的账本上。账本上只有哈希和化名，没有卡号和姓名；以后谁都不能说这张卡是别人的。',
    })
  },

  async signOut() {
    const { confirm } = await wx.showModal({ title: '退出登录？', content: '这部手机上不再保留您的信息，您的卡仍在您名下。', confirmText: '退出' })
    if (!confirm) return
    if (present()) await request<undefined>({ method: 'POST', path: '/auth/logout' }).catch(() => undefined) // over there it ends by itself
    leave()
    forgetCards()
    this.setData({ name: '', news: 0, signedOut: true })
  },
})
