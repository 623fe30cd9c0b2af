// What people type into: input, textarea, switch.
import { dom, mark, truthy } from './element.mjs'

const field = (tag) => ({
  properties: [
    'value', 'placeholder', 'type', 'password', 'maxlength', 'disabled', 'name', 'focus', 'autoFocus', 'placeholderClass', 'placeholderStyle', 'confirmType',
    'confirmHold', 'cursorSpacing', 'cursor', 'selectionStart', 'selectionEnd', 'adjustPosition', 'holdKeyboard', 'autoHeight', 'fixed', 'showConfirmBar',
    'alwaysEmbed', 'disableDefaultPadding', 'cursorColor', 'safePasswordCertPath', 'safePasswordLength', 'safePasswordTimeStamp', 'safePasswordNonce',
    'safePasswordSalt', 'safePasswordCustomHash', 'worklet:onkeyboardheightchange',
  ],
  created() {
    const e = document.createElement(tag)
    this.control = e
    e.autocomplete = 'off'
    e.maxLength = 140
    // What is shown while nothing is typed is an element of its own, as in WeChat, with the page's class.
    this.hint = document.createElement('span')
    this.hint.className = 'wx-placeholder'
    dom(this).append(e, this.hint)
    // The framework listens to the browser's events of the same names on the host: none may get there.
    e.addEventListener('change', (event) => event.stopPropagation())
    e.addEventListener('input', (event) => {
      event.stopPropagation()
      this.hint.hidden = e.value !== ''
      this.setData({ value: e.value })
      this.triggerEvent('input', { value: e.value, cursor: e.selectionStart ?? e.value.length, keyCode: 0 })
    })
    e.addEventListener('focus', () => this.triggerEvent('focus', { value: e.value, height: 0 }))
    e.addEventListener('blur', () => this.triggerEvent('blur', { value: e.value, cursor: 0 }))
    e.addEventListener('keydown', (event) => { if (event.key === 'Enter' && tag === 'input') this.triggerEvent('confirm', { value: e.value }) })
  },
  observers: {
    value(v) {
      const text = v === undefined || v === null ? '' : String(v)
      if (this.control.value !== text) this.control.value = text
      this.hint.hidden = text !== ''
    },
    placeholder(v) { this.hint.textContent = this.control.placeholder = v ?? '' },
    placeholderClass(v) { this.hint.className = `wx-placeholder ${v ?? ''}` },
    placeholderStyle(v) { this.hint.setAttribute('style', v ?? '') },
    maxlength(v) { if (Number(v) >= 0) this.control.maxLength = Number(v); else this.control.removeAttribute('maxlength') },
    type(v) { this.control.inputMode = { number: 'numeric', digit: 'decimal' }[v] ?? 'text' },
    password(v) { if (truthy(v)) this.control.type = 'password'; else if (tag === 'input') this.control.type = 'text' },
    disabled(v) { this.control.disabled = truthy(v) },
    focus(v) { if (truthy(v)) requestAnimationFrame(() => this.control.focus()) },
  },
  methods: {
    formValue() { return this.control.value },
    formReset() { this.setData({ value: '' }) },
  },
})

export const fields = {
  input: field('input'),
  textarea: field('textarea'),
  switch: {
    properties: ['checked', 'disabled', 'type', 'color', 'name'],
    created() {
      const e = document.createElement('input')
      this.control = e
      e.type = 'checkbox'
      e.setAttribute('role', 'switch')
      dom(this).append(e)
      e.addEventListener('input', (event) => event.stopPropagation())
      e.addEventListener('change', (event) => {
        event.stopPropagation()
        this.setData({ checked: e.checked })
        this.triggerEvent('change', { value: e.checked })
      })
    },
    observers: {
      checked(v) { this.control.checked = truthy(v) },
      disabled(v) { this.control.disabled = truthy(v); mark(dom(this), 'aria-disabled', truthy(v) || undefined) },
      color(v) { dom(this).style.setProperty('--chosen', v ?? '') },
    },
    methods: { formValue() { return this.control.checked }, formReset() { this.setData({ checked: false }) } },
  },
}
