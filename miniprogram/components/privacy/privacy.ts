type Answer = (answer: { event: 'exposureAuthorization' | 'agree' | 'disagree', buttonId?: string }) => void

let answer: Answer | undefined
let made = 0
/** The one that WeChat asks: that of the page on top. */
let asked = 0

/**
 * WeChat's question before personal data, the clipboard and the album among them: a page that touches any has this component. A page
 * that is closed leaves nobody waiting for an answer.
 */
Component({
  data: { id: 0, asking: false, contract: '《隐私保护指引》' },
  lifetimes: {
    attached() {
      this.data.id = ++made
      this.listen()
      wx.getPrivacySetting({
        success: (r) => {
          if (r.privacyContractName) this.setData({ contract: r.privacyContractName })
        },
      })
    },
    detached() {
      if (this.data.asking) answer?.({ event: 'disagree' })
      if (asked !== this.data.id) return
      asked = 0
      wx.onNeedPrivacyAuthorization((a) => {
        (a as unknown as Answer)({ event: 'disagree' })
      })
    },
  },
  pageLifetimes: {
    show() {
      this.listen()
    },
  },
  methods: {
    listen() {
      asked = this.data.id
      wx.onNeedPrivacyAuthorization((a) => {
        answer = a as unknown as Answer
        this.setData({ asking: true })
        answer({ event: 'exposureAuthorization' })
      })
    },
    read() {
      wx.openPrivacyContract({})
    },
    agree() {
      this.setData({ asking: false })
      answer?.({ event: 'agree', buttonId: 'agree' })
    },
    refuse() {
      this.setData({ asking: false })
      answer?.({ event: 'disagree' })
    },
  },
})
