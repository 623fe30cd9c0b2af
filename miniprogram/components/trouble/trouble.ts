/** A state in which nothing can be shown: what it is, and the way out of it. Events "act" and "other". */
Component({
  properties: {
    icon: { type: String, value: 'info' },
    kind: { type: String, value: '' },
    title: { type: String, value: '' },
    text: { type: String, value: '' },
    action: { type: String, value: '' },
    other: { type: String, value: '' },
    requestId: { type: String, value: '' },
  },
  methods: {
    act() {
      this.triggerEvent('act')
    },
    alternative() {
      this.triggerEvent('other')
    },
  },
})
