interface Box { at: number, char: string, here: boolean, gap: boolean }

/**
 * Boxes for a code of so many characters. Whatever is typed or pasted goes to the parent as it is (event "typed", {text}); the
 * parent says what stands in the boxes. The keyboard's "done" is the event "done".
 */
Component({
  properties: {
    value: { type: String, value: '' },
    length: { type: Number, value: 8 },
    /** Every so many boxes there is a wider gap. */
    group: { type: Number, value: 4 },
    label: { type: String, value: '' },
    bad: { type: Boolean, value: false },
    focus: { type: Boolean, value: false },
  },
  data: { boxes: [] as Box[], focused: false },
  observers: {
    'value, length, group'(value: string, length: number, group: number) {
      const boxes: Box[] = []
      for (let i = 0; i < length; i++) {
        boxes.push({ at: i, char: value[i] ?? '', here: i === Math.min(value.length, length - 1), gap: (i + 1) % group === 0 && i + 1 < length })
      }
      this.setData({ boxes })
    },
  },
  methods: {
    typed(e: WechatMiniprogram.Input) {
      this.triggerEvent('typed', { text: e.detail.value })
    },
    entered() {
      this.setData({ focused: true })
    },
    left() {
      this.setData({ focused: false })
    },
    done() {
      this.triggerEvent('done')
    },
  },
})
