import { request } from '../../services/request'
import { asFailure } from '../../services/failure'
import { forgetCards } from '../../services/opened'
import { comeBack, gone, leave, present, signIn } from '../../services/session'

Page({
  data: { name: '', signedOut: false, trouble: '' },

  onShow() {
    this.setData({ signedOut: gone() })
    if (!gone()) void this.know()
  },

  async know() {
    try {
      const { participant } = await signIn()
      this.setData({ name: participant.id, trouble: '' })
    } catch (err) {
      this.setData({ trouble: asFailure(err).message })
    }
  },

  signIn() {
    comeBack()
    this.setData({ signedOut: false })
    void this.know()
  },

  realName() {
    void wx.navigateTo({ url: '/pages/registrations/registrations' })
  },

  retail() {
    void wx.navigateTo({ url: '/subpackages/retail/pages/home/home' })
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
    this.setData({ name: '', signedOut: true })
  },
})
