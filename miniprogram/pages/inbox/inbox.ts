import { asFailure } from '../../services/failure'
import { decisions, lastRead, lineOf, markRead, newestFirst, notices, type Line } from '../../services/inbox'
import { registrations } from '../../services/realname'

interface Shown extends Line { fresh: boolean }

Page({
  data: { lines: [] as Shown[], cursor: '', more: false, loaded: false, busy: false, trouble: '' },

  onShow() {
    void this.read('', false)
  },
  async onPullDownRefresh() {
    await this.reload()
    void wx.stopPullDownRefresh()
  },
  onReachBottom() {
    if (this.data.more) void this.read(this.data.cursor)
  },

  reload() {
    return this.read('')
  },

  async read(cursor: string, anew = true) {
    if (this.data.busy) return
    this.setData({ busy: true, trouble: '' })
    try {
      // What carriers decided is little, and comes whole with the first page.
      const [page, names] = await Promise.all([notices(cursor), cursor ? undefined : registrations()])
      const since = lastRead()
      const fresh = newestFirst([...page.items.map(lineOf), ...(names ? decisions(names) : [])])
      const shown = fresh.map((l) => ({ ...l, fresh: Date.parse(l.at) > since }))
      const n = cursor ? this.data.lines.length : 0
      const rest = { cursor: page.nextCursor ?? '', more: page.nextCursor !== undefined, loaded: true }
      // The same as before at its beginning: who comes back finds the rest of it where he left it.
      const same = !cursor && !anew && shown.length > 0 && shown.every((l, i) => l.key === this.data.lines[i]?.key)
      if (same) this.setData(Object.fromEntries(shown.map((l, i) => [`lines[${i}]`, l])))
      else if (n === 0) this.setData({ lines: shown, ...rest })
      else this.setData({ ...Object.fromEntries(shown.map((l, i) => [`lines[${n + i}]`, l])), ...rest })
      markRead(fresh)
    } catch (err) {
      this.setData({ trouble: asFailure(err).message, loaded: true })
    } finally {
      this.setData({ busy: false })
    }
  },

  open(e: WechatMiniprogram.TouchEvent) {
    const url = String(e.currentTarget.dataset['url'])
    if (url) void wx.navigateTo({ url })
  },

  home() {
    void wx.switchTab({ url: '/pages/home/home' })
  },
})
