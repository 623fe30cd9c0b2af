import { copy as toClipboard } from '../../services/clipboard'
import type { Act, ActState } from '../../services/consumer'
import { recall, settle } from '../../services/pending'
import { watch } from '../../services/watch'
import { short, when } from '../../services/words'

interface Step { title: string, text: string, state: 'done' | 'now' | 'next', spoken: string }

/** What the person is told of each kind of write: while it is under way, and when it is done. */
const stories: Record<string, { doing: string, last: string, done: string, after: string, failed: string }> = {
  Confirm: { doing: '正在确认', last: '卡登记在您名下', done: '卡已归您', after: '记录在区块链账本上，谁也改不了', failed: '没有确认成功' },
  Decline: { doing: '正在拒收', last: '卡退回给卖家', done: '已拒收', after: '卡已退回给卖家', failed: '没有拒收成功' },
  Return: { doing: '正在提交退卡', last: '等卖家确认', done: '退卡已提交', after: '卖家确认收到后，卡就不在您名下了', failed: '退卡没有成功' },
  Cancel: { doing: '正在撤回退卡', last: '卡回到您名下', done: '退卡已撤回', after: '卡还是您的', failed: '没有撤回成功' },
}
const other = { doing: '正在处理', last: '完成', done: '完成', after: '', failed: '没有成功' }

/** Nobody waits this long, in ms, without a word. */
const patience = 6000

interface Following { id: string, stop: (() => void) | undefined, slow: ReturnType<typeof setTimeout> | undefined }
const following = new WeakMap<object, Following>()

Page({
  data: {
    stage: 'under way' as 'under way' | 'done' | 'failed',
    act: undefined as Act | undefined,
    title: '正在确认',
    hint: '一般只要几秒钟',
    steps: stepsOf('accepted', stories['Confirm'] ?? other),
    txShort: '',
    time: '',
    slow: false,
    lost: '',
  },

  onLoad(options: Record<string, string | undefined>) {
    following.set(this, { id: options['id'] ?? '', stop: undefined, slow: undefined })
  },

  // In the background nothing is followed: what has happened meanwhile is read when the page is shown again.
  onShow() {
    if (this.data.stage === 'under way') this.begin()
  },
  onHide() {
    this.end()
  },
  onUnload() {
    this.end()
  },

  begin() {
    const f = following.get(this)
    if (!f || f.stop) return
    f.slow = setTimeout(() => {
      this.setData({ slow: true })
    }, patience)
    f.stop = watch(f.id, {
      state: (act) => {
        this.show(act)
      },
      lost: (failure) => {
        // It is not the network: the server knows no such request of this person's, and the home page needs no reminder of it.
        if (failure.status === 404 || failure.status === 403) {
          this.end()
          settle(f.id)
          this.setData({ stage: 'failed', title: '没有找到这个请求', hint: failure.message })
          return
        }
        this.setData({ lost: failure.message.replace(/[，。].*$/, '') })
      },
    })
  },

  end() {
    const f = following.get(this)
    if (!f) return
    f.stop?.()
    if (f.slow !== undefined) clearTimeout(f.slow)
    f.stop = undefined
  },

  show(act: Act) {
    const story = stories[act.function] ?? other
    if (act.state === 'committed') {
      this.end()
      settle(act.confirmationId)
      this.setData({ stage: 'done', act, title: story.done, hint: story.after, txShort: short(act.txId ?? ''), time: when(act.updatedAt), lost: '' })
      void wx.setNavigationBarTitle({ title: story.done })
      void wx.vibrateShort({ type: 'light' })
      return
    }
    if (act.state === 'failed') {
      this.end()
      settle(act.confirmationId)
      this.setData({ stage: 'failed', title: story.failed, hint: act.error?.message ?? '请稍后再试' })
      return
    }
    this.setData({ act, title: story.doing, steps: stepsOf(act.state, story), lost: '' })
  },

  copy() {
    toClipboard(this.data.act?.txId ?? '')
  },

  cards() {
    void wx.switchTab({ url: '/pages/cards/cards' })
  },

  receipt() {
    void wx.navigateTo({ url: `/pages/receipt/receipt?id=${this.data.act?.confirmationId ?? ''}` })
  },

  leave() {
    void wx.switchTab({ url: '/pages/home/home' })
  },

  onShareAppMessage() {
    const pending = recall()
    return { title: pending ? '我正在确认一张物联网卡' : '我的物联网卡已登记上链', path: '/pages/home/home' }
  },
})

function stepsOf(state: ActState, story: { last: string }): Step[] {
  const order: ActState[] = ['accepted', 'signed', 'submitted', 'committed']
  const reached = order.indexOf(state)
  const texts = [
    ['已收到', '您的请求已经记下，不会丢'],
    ['签名', '用您的专属密钥签名'],
    ['提交账本', '由电信企业等多方共同核对'],
    ['记入区块', story.last],
  ]
  return texts.map(([title = '', text = ''], i) => {
    const now = i === reached + 1
    const done = i <= reached
    return { title, text, state: done ? 'done' : now ? 'now' : 'next', spoken: done ? '已完成' : now ? '正在进行' : '还没开始' }
  })
}
