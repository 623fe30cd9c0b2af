import { asFailure } from '../../../../services/failure'
import { changePassword, logIn, type Staff } from '../../services/staff'

const home = '/subpackages/retail/pages/home/home'

Page({
  data: { username: '', password: '', fresh: '', problem: '', busy: false, changing: false, staff: undefined as Staff | undefined },

  typeName(e: WechatMiniprogram.Input) {
    this.setData({ username: e.detail.value.trim(), problem: '' })
  },
  typePassword(e: WechatMiniprogram.Input) {
    this.setData({ password: e.detail.value, problem: '' })
  },
  typeFresh(e: WechatMiniprogram.Input) {
    this.setData({ fresh: e.detail.value, problem: '' })
  },

  async logIn() {
    const { username, password, busy } = this.data
    if (busy || !username || !password) return
    await this.attempt(async () => {
      const s = await logIn(username, password)
      if (s.mustChangePassword) this.setData({ changing: true, staff: s })
      else void wx.redirectTo({ url: home })
    })
  },

  async change() {
    const { staff, password, fresh, busy } = this.data
    if (busy || !staff || fresh.length < 10) return
    await this.attempt(async () => {
      await changePassword(staff, password, fresh)
      void wx.redirectTo({ url: home })
    })
  },

  async attempt(what: () => Promise<void>) {
    this.setData({ busy: true, problem: '' })
    try {
      await what()
    } catch (err) {
      this.setData({ problem: asFailure(err).message })
    } finally {
      this.setData({ busy: false })
    }
  },
})
