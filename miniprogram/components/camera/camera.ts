/** The way out when the camera may not be used: to the phone's settings. Event "allowed" when it may be now. */
Component({
  methods: {
    back(e: WechatMiniprogram.CustomEvent<{ authSetting: Record<string, boolean | undefined> }>) {
      if (e.detail.authSetting['scope.camera']) this.triggerEvent('allowed')
    },
  },
})
