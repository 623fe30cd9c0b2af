// What people tap: buttons, choices, labels, pickers, and the form around them.
import { dom, mark, truthy } from './element.mjs'

const components = (root, selector) => [...root.querySelectorAll(selector)].map((e) => e.__component).filter(Boolean)

const choice = (group, many) => ({
  role: many ? 'checkbox' : 'radio',
  properties: ['value', 'checked', 'disabled', 'color', 'name'],
  created() {
    mark(dom(this), 'aria-checked', false)
    mark(dom(this), 'tabindex', '0')
  },
  observers: {
    checked(v) { mark(dom(this), 'aria-checked', truthy(v)) },
    disabled(v) { mark(dom(this), 'aria-disabled', truthy(v) || undefined) },
    color(v) { dom(this).style.setProperty('--chosen', v ?? '') },
  },
  tapped() { this.toggle() },
  methods: {
    toggle() {
      if (truthy(this.data.disabled)) return
      const around = dom(this).closest(`wx-${group}`)?.__component
      if (many) this.setData({ checked: !truthy(this.data.checked) })
      else for (const c of around ? around.choices() : [this]) c.setData({ checked: c === this })
      around?.triggerEvent('change', { value: around.formValue() })
    },
  },
})

const choices = (item, many) => ({
  role: many ? 'group' : 'radiogroup',
  properties: ['name'],
  methods: {
    choices() { return components(dom(this), `wx-${item}`) },
    formValue() {
      const values = this.choices().filter((c) => truthy(c.data.checked)).map((c) => c.data.value)
      return many ? values : values[0] ?? ''
    },
    formReset() { for (const c of this.choices()) c.setData({ checked: false }) },
  },
})

export const controls = {
  checkbox: choice('checkbox-group', true),
  radio: choice('radio-group', false),
  'checkbox-group': choices('checkbox', true),
  'radio-group': choices('radio', false),

  button: {
    role: 'button',
    properties: [
      'type', 'size', 'plain', 'disabled', 'loading', 'formType', 'openType', 'lang', 'sessionFrom', 'sendMessageTitle', 'sendMessagePath', 'sendMessageImg',
      'appParameter', 'showMessageCard', 'phoneNumberNoQuotaToast', 'activityType', 'entrancePath', 'needShowEntrance', 'name',
    ],
    created() {
      mark(dom(this), 'tabindex', '0')
      dom(this).addEventListener('keydown', (event) => { if (event.key === 'Enter') dom(this).click() })
    },
    observers: {
      type(v) { mark(dom(this), 'type', v) },
      size(v) { mark(dom(this), 'size', v) },
      plain(v) { mark(dom(this), 'plain', truthy(v) || undefined) },
      loading(v) { mark(dom(this), 'loading', truthy(v) || undefined) },
      // A disabled button taps nobody: see the events in space.mjs.
      disabled(v) { mark(dom(this), 'aria-disabled', truthy(v) || undefined) },
    },
    tapped() {
      if (truthy(this.data.disabled)) return
      const form = dom(this).closest('wx-form')?.__component
      if (this.data.formType === 'submit') form?.submit()
      if (this.data.formType === 'reset') form?.reset()
      const asked = this.data.openType ?? ''
      if (asked.includes('agreePrivacyAuthorization')) this.phone.privacy.agree(this)
      if (asked === 'share') this.phone.share('button')
      if (asked === 'openSetting') this.triggerEvent('opensetting', { authSetting: this.phone.permit() })
    },
  },

  label: {
    properties: ['for'],
    attached() {
      dom(this).addEventListener('click', (event) => {
        const target = dom(this).querySelector('wx-checkbox, wx-radio, wx-switch, wx-input')
        if (!target || target.contains(event.target)) return
        const c = target.__component
        if (c.toggle) c.toggle()
        else c.control.focus()
      })
    },
  },

  picker: {
    role: 'button',
    properties: ['mode', 'range', 'rangeKey', 'value', 'start', 'end', 'fields', 'disabled', 'name', 'headerText', 'level', 'customItem'],
    created() { mark(dom(this), 'tabindex', '0') },
    tapped() {
      if (truthy(this.data.disabled)) return
      const { range = [], rangeKey, mode } = this.data
      const chosen = (value) => {
        this.setData({ value })
        this.triggerEvent('change', { value })
      }
      if (mode === 'date') {
        this.phone.ui.date(this.data, chosen, () => this.triggerEvent('cancel', {}))
        return
      }
      if ((mode ?? 'selector') !== 'selector') throw new Error(`picker: mode ${mode} is not there`)
      this.phone.ui.sheet(range.map((r) => (rangeKey ? r[rangeKey] : r)), chosen, () => this.triggerEvent('cancel', {}))
    },
    methods: { formValue() { return this.data.value } },
  },

  form: {
    role: 'form',
    properties: ['reportSubmit', 'reportSubmitTimeout'],
    methods: {
      fields() { return components(dom(this), '*').filter((c) => c.formValue && c.data.name) },
      submit() {
        const value = Object.fromEntries(this.fields().map((c) => [c.data.name, c.formValue()]))
        this.triggerEvent('submit', { value, formId: 'the formId is a mock one' })
      },
      reset() {
        for (const c of this.fields()) c.formReset?.()
        this.triggerEvent('reset', {})
      },
    },
  },
}
