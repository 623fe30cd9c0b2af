import { asFailure } from '../../services/failure'
import { registrations, renewable, stateOf, withdraw, type Registration } from '../../services/realname'
import { newKey } from '../../services/request'
import { when } from '../../services/words'

interface Row { id: string, name: string, state: { text: string, kind: string }, text: string, again: string, revocable: boolean }

// One wish for each carrier; after it has been granted the next is another.
const keys = new Map<string, string>()

Page({
  data: { rows: [] as Row[], loaded: false, trouble: '' },

  onShow() {
    void this.load()
  },

  async load() {
    this.setData({ trouble: '' })
    try {
      const { items } = await registrations()
      this.setData({ rows: items.filter((i) => i.state !== 'none').map(row), loaded: true })
    } catch (err) {
      this.setData({ trouble: asFailure(err).message })
    }
  },

  register(e: WechatMiniprogram.TouchEvent) {
    const { id, name } = e.currentTarget.dataset as { id: string, name: string }
    void wx.navigateTo({ url: `/pages/real-name/real-name?carrier=${id}&name=${encodeURIComponent(name)}&from=list` })
  },

  async withdraw(e: WechatMiniprogram.TouchEvent) {
    const { id, name } = e.currentTarget.dataset as { id: string, name: string }
    const { confirm } = await wx.showModal({
      title: '撤回实名登记？', content: `您给${name}的信息会删除。已经收到的卡仍是您的，以后再收要重新登记。`, confirmText: '撤回', confirmColor: '#b3261e',
    })
    if (!confirm) return
    const key = keys.get(id) ?? newKey()
    keys.set(id, key)
    try {
      await withdraw(id, key)
      keys.delete(id)
      await this.load()
    } catch (err) {
      void wx.showModal({ title: '没有撤回', content: asFailure(err).message, showCancel: false })
    }
  },
})

function row(r: Registration): Row {
  const until = when(r.validUntil).replace(/ .*/, '')
  const text = r.state === 'approved' ? `有效期到${until}` : r.state === 'expired' ? `${until}到期` : r.state === 'refused' ? [r.reason?.message, r.reason?.text].filter(Boolean).join('：') : `提交于${when(r.submittedAt)}`
  return {
    id: r.carrier.id, name: r.carrier.name ?? r.carrier.id, state: stateOf(r.state), text, again: r.state === 'refused' || r.state === 'expired' ? '重新登记' : r.state === 'pending' ? '看进度' : renewable(r) ? '续期' : '',
    revocable: r.state !== 'expired',
  }
}
