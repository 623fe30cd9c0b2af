/** A button as wide as its place. While it is busy it can't be tapped again. Event "press". */
Component({
  properties: {
    text: { type: String, value: '' },
    /** "" (the main thing to do), "plain" or "danger". */
    kind: { type: String, value: '' },
    disabled: { type: Boolean, value: false },
    busy: { type: Boolean, value: false },
  },
  methods: {
    press() {
      if (!this.data.disabled && !this.data.busy) this.triggerEvent('press')
    },
  },
})
