import { erase, erasureAhead } from '../../services/erasure'
import { asFailure } from '../../services/failure'
import { forgetCards } from '../../services/opened'
import { newKey } from '../../services/request'
import { leave } from '../../services/session'

/** One wish for each page: a second tap asks for the same. */
const keys = new WeakMap<object, string>()

Page({
  data: { stage: 'reading' as 'reading' | 'trouble' | 'screen' | 'gone', cards: 0, obstacle: '', problem: '', understood: false, busy: false },

  onLoad() {
    keys.set(this, newKey())
  },

  onShow() {
    if (this.data.stage !== 'gone' && !this.data.busy) void this.load()
  },

  async load() {
    this.setData({ problem: '' })
    try {
      const { cards, obstacle } = await erasureAhead()
      // Whoever has agreed has agreed to what he saw.
      this.setData({ stage: 'screen', cards, obstacle: obstacle?.message ?? '', understood: this.data.understood && cards === this.data.cards })
    } catch (err) {
      this.setData({ stage: 'trouble', problem: asFailure(err).message })
    }
  },

  understand(e: WechatMiniprogram.CheckboxGroupChange) {
    this.setData({ understood: e.detail.value.includes('yes') })
  },

  async erase() {
    const { understood, obstacle, busy, cards } = this.data
    const key = keys.get(this)
    if (!understood || obstacle || busy || key === undefined) return
    const { confirm } = await wx.showModal({ title: '确定删除？', content: '删除后不能恢复。再次登录时，您是一个新用户。', confirmText: '删除', confirmColor: '#b3261e' })
    if (!confirm || this.data.busy) return
    this.setData({ busy: true, problem: '' })
    try {
      await erase(cards, key)
      leave()
      forgetCards()
      this.setData({ stage: 'gone' })
    } catch (err) {
      const failure = asFailure(err)
      await this.load()
      if (this.data.stage === 'screen' && !this.data.obstacle) this.setData({ problem: failure.message })
    } finally {
      this.setData({ busy: false })
    }
  },

  cards() {
    void wx.switchTab({ url: '/pages/cards/cards' })
  },

  done() {
    void wx.switchTab({ url: '/pages/me/me' })
  },
})
