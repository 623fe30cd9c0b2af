import { unagreed } from '../../../../services/clipboard'
import { drawPage, pagesOf, paper, type Heading, type Label, type Pen } from '../../services/print'

interface Canvas { width: number, height: number, getContext: (kind: '2d') => Pen }

/** What is to be printed comes from another page, in memory: codes stand in no address. */
export interface ToPrint { heading: Heading, labels: Label[] }

const given = () => getApp<{ globalData: { print?: ToPrint } }>().globalData.print

Page({
  data: { count: 0, total: 0, pages: [] as string[], trouble: '', denied: false, saving: false, saved: false },

  onReady() {
    void this.draw()
  },

  async draw() {
    const what = given()
    if (!what || what.labels.length === 0) {
      this.setData({ trouble: '没有要打印的交易码，请从销售记录里选。' })
      return
    }
    const sheets = pagesOf(what.labels)
    this.setData({ count: what.labels.length, total: sheets.length, pages: [], trouble: '' })
    try {
      const canvas = await this.canvas()
      canvas.width = paper.width
      canvas.height = paper.height
      for (const [i, labels] of sheets.entries()) {
        drawPage(canvas.getContext('2d'), what.heading, labels, i + 1, sheets.length)
        const { tempFilePath } = await wx.canvasToTempFilePath({ canvas: canvas as unknown as WechatMiniprogram.IAnyObject, fileType: 'png' })
        this.setData({ [`pages[${i}]`]: tempFilePath })
      }
    } catch (err) {
      console.error(err)
      this.setData({ trouble: '没有画出来，请退出其他程序后重试。' })
    }
  },

  canvas(): Promise<Canvas> {
    return new Promise((resolve, reject) => {
      this.createSelectorQuery().select('#paper').fields({ node: true }).exec((found: ({ node?: Canvas } | null)[]) => {
        const canvas = found[0]?.node
        if (canvas) resolve(canvas)
        else reject(new Error('the page has no canvas'))
      })
    })
  },

  async save() {
    if (this.data.saving) return
    this.setData({ saving: true, denied: false })
    try {
      for (const filePath of this.data.pages) await wx.saveImageToPhotosAlbum({ filePath })
      this.setData({ saved: true })
    } catch (err) {
      const reason = (err as { errMsg?: string }).errMsg ?? ''
      if (unagreed(err)) void wx.showModal({ title: '没有存进相册', content: '要先同意隐私保护指引。', showCancel: false })
      else if (reason.includes('auth')) this.setData({ denied: true })
      else if (!reason.includes('cancel')) void wx.showModal({ title: '没有存进相册', content: '手机的空间可能不够。', showCancel: false })
    } finally {
      this.setData({ saving: false })
    }
  },

  /** Back from the phone's settings: what was asked for is done if it may be. */
  allowed(e: WechatMiniprogram.CustomEvent<{ authSetting: Record<string, boolean | undefined> }>) {
    if (e.detail.authSetting['scope.writePhotosAlbum']) void this.save()
  },

  send(e: WechatMiniprogram.TouchEvent) {
    wx.showShareImageMenu({ path: String(e.currentTarget.dataset['file']), fail: () => undefined }) // closing the menu is no fault
  },

  sales() {
    void wx.redirectTo({ url: '../sales/sales' })
  },
})
