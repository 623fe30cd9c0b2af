type Resolve = (answer: { event: 'exposureAuthorization' | 'agree' | 'disagree', buttonId?: string }) => void

let resolve: Resolve | undefined

/** WeChat's question before personal data: a page that asks for any has this component, and calls wx.requirePrivacyAuthorize. */
Component({
  data: { asking: false, contract: '《隐私保护指引》' },
  lifetimes: {
    attached() {
      wx.onNeedPrivacyAuthorization((answer) => {
        resolve = answer as unknown as Resolve
        this.setData({ asking: true })
        resolve({ event: 'exposureAuthorization' })
      })
      wx.getPrivacySetting({
        success: (r) => {
          if (r.privacyContractName) this.setData({ contract: r.privacyContractName })
        },
      })
    },
  },
  methods: {
    read() {
      wx.openPrivacyContract({})
    },
    agree() {
      this.setData({ asking: false })
      resolve?.({ event: 'agree', buttonId: 'agree' })
    },
    refuse() {
      this.setData({ asking: false })
      resolve?.({ event: 'disagree' })
    },
  },
})
