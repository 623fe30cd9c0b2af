import { myCards, type OwnedCard } from '../../services/consumer'
import { asFailure } from '../../services/failure'
import { keep } from '../../services/opened'
import { comeBack, gone } from '../../services/session'
import { cardState, grouped, when } from '../../services/words'

interface Line { cardId: string, number: string, about: string, state: string, bad: boolean }

interface Chunk { first: string, lines: Line[] }

/** Cards of one chunk: each is one answer of the server and one setData, of some 10 KB. */
const chunkSize = 50
/** Chunks that are drawn before and after the one on the screen; the rest is as high as it would be, and empty. */
const around = 1

/** Where each chunk begins, for the server; and the one of the card that was opened last. */
const places = new WeakMap<object, { cursors: string[], opened: number }>()

Page({
  data: {
    loaded: false,
    signedOut: false,
    chunks: [] as Chunk[],
    count: 0,
    more: false,
    trouble: '',
    from: 0,
    to: around * 2,
    chunkHeight: 0,
    cursor: '',
    busy: false,
  },

  onLoad() {
    places.set(this, { cursors: [], opened: 0 })
  },
  // Who comes back finds the list where he left it: the first cards and those around the one that he looked at are renewed.
  onShow() {
    this.setData({ signedOut: gone() })
    if (gone()) this.setData({ chunks: [], count: 0, loaded: false })
    else if (this.data.chunks.length > 0) void this.renew()
    else void this.reload()
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

  async read(cursor: string) {
    if (this.data.busy) return
    this.setData({ busy: true, trouble: '' })
    try {
      const page = await myCards(cursor, chunkSize)
      keep(page.items)
      const n = cursor ? this.data.chunks.length : 0
      const place = places.get(this)
      if (place) place.cursors[n] = cursor
      const count = (cursor ? this.data.count : 0) + page.items.length
      const rest = { count, cursor: page.nextCursor ?? '', more: page.nextCursor !== undefined, loaded: true }
      if (n === 0) this.setData({ chunks: [chunk(page.items)], from: 0, to: around * 2, ...rest })
      else this.setData({ [`chunks[${n}]`]: chunk(page.items), ...rest })
      if (n === 0 && rest.more) this.measure()
    } catch (err) {
      this.setData({ trouble: asFailure(err).message, loaded: true })
    } finally {
      this.setData({ busy: false })
    }
  },

  /** Reads again what may have changed. Cards that came or went make it another list. */
  async renew() {
    const place = places.get(this)
    if (!place || this.data.busy) return
    this.setData({ busy: true, trouble: '' })
    let other = false
    try {
      for (const n of new Set([0, place.opened])) {
        const page = await myCards(place.cursors[n] ?? '', chunkSize)
        keep(page.items)
        const [was, is] = [this.data.chunks[n], chunk(page.items)]
        other ||= was?.lines.map((l) => l.cardId).join() !== is.lines.map((l) => l.cardId).join()
        if (!other && JSON.stringify(was) !== JSON.stringify(is)) this.setData({ [`chunks[${n}]`]: is })
      }
    } catch (err) {
      this.setData({ trouble: asFailure(err).message })
    } finally {
      this.setData({ busy: false })
    }
    if (other) await this.reload()
  },

  measure() {
    wx.createSelectorQuery().select('.chunk').boundingClientRect((box: { height: number } | null) => {
      if (box) this.setData({ chunkHeight: box.height })
    }).exec()
  },

  onPageScroll(e: { scrollTop: number }) {
    const { chunkHeight, from } = this.data
    if (!chunkHeight) return
    const at = Math.floor(e.scrollTop / chunkHeight)
    const first = Math.max(0, at - around)
    if (first !== from) this.setData({ from: first, to: at + around + 1 })
  },

  open(e: WechatMiniprogram.TouchEvent) {
    const place = places.get(this)
    if (place) place.opened = Number(e.currentTarget.dataset['chunk'])
    void wx.navigateTo({ url: `/pages/card/card?id=${String(e.currentTarget.dataset['id'])}` })
  },

  signIn() {
    comeBack()
    this.setData({ signedOut: false, loaded: false })
    void this.reload()
  },

  home() {
    void wx.switchTab({ url: '/pages/home/home' })
  },
})

const chunk = (cards: OwnedCard[]): Chunk => ({ first: cards[0]?.cardId ?? '', lines: cards.map(line) })

function line(c: OwnedCard): Line {
  return { cardId: c.cardId, number: grouped(c.iccid), about: [c.seller.name, when(c.confirmedAt)].filter(Boolean).join(' · '), ...cardState(c) }
}
