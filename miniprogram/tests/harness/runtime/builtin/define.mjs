// How WeChat's own components behave, each on top of a glass-easel component with the template of the same name.
import { controls } from './controls.mjs'
import { fields } from './fields.mjs'
import { truthy, dom, mark } from './element.mjs'

// Properties that every component has.
const aria = [
  'role', 'label', 'hidden', 'disabled', 'checked', 'live', 'modal', 'labelledby', 'describedby', 'expanded', 'selected',
  'roledescription', 'current', 'valuenow', 'valuemin', 'valuemax', 'valuetext', 'haspopup', 'controls', 'invalid', 'required', 'level', 'busy',
  'pressed', 'orientation', 'atomic', 'posinset', 'setsize', 'readonly', 'errormessage', 'owns',
]
const property = (name) => `aria${name[0].toUpperCase()}${name.slice(1)}`

const plain = {
  view: {},
  'root-portal': { properties: ['enable'] },
  text: { properties: ['selectable', 'userSelect', 'space', 'decode', 'overflow', 'maxLines'] },
  'page-meta': {
    properties: ['rootFontSize', 'pageStyle', 'backgroundColor', 'rootBackgroundColor', 'backgroundTextStyle', 'pageFontSize'],
    observers: {
      pageStyle(v) { dom(this)?.closest('wx-page')?.setAttribute('style', v ?? '') },
    },
  },
  'scroll-view': {
    properties: [
      'scrollX', 'scrollY', 'scrollTop', 'scrollLeft', 'scrollIntoView', 'scrollWithAnimation', 'enhanced', 'showScrollbar', 'enablePassive', 'enableFlex',
      'upperThreshold', 'lowerThreshold', 'bounces', 'refresherEnabled', 'refresherTriggered',
    ],
    created() {
      const e = dom(this)
      e.addEventListener('scroll', (event) => {
        event.stopImmediatePropagation()
        this.triggerEvent('scroll', { scrollTop: e.scrollTop, scrollLeft: e.scrollLeft, scrollHeight: e.scrollHeight, scrollWidth: e.scrollWidth })
        if (e.scrollTop + e.clientHeight >= e.scrollHeight - 50) this.triggerEvent('scrolltolower', { direction: 'bottom' })
      })
    },
  },
  image: {
    properties: ['src', 'mode', 'lazyLoad', 'webp', 'showMenuByLongpress', 'fadeIn'],
    created() {
      const img = document.createElement('img')
      this.control = img
      img.alt = ''
      img.addEventListener('load', () => this.triggerEvent('load', { width: img.naturalWidth, height: img.naturalHeight }))
      img.addEventListener('error', () => this.triggerEvent('error', { errMsg: 'load fail' }))
      dom(this).append(img)
    },
    observers: {
      src(v) { if (v) this.control.src = this.phone.file(v) },
      mode(v) { this.control.style.objectFit = { aspectFit: 'contain', aspectFill: 'cover' }[v] ?? 'fill' },
      ariaLabel(v) { this.control.alt = v ?? '' },
    },
  },
  canvas: {
    properties: ['type', 'canvasId', 'disableScroll'],
    created() {
      this.control = document.createElement('canvas')
      dom(this).append(this.control)
    },
    observers: {
      type(v) { if (v !== '2d') throw new Error(`canvas: type ${v} is not there`) },
    },
  },
  navigator: {
    role: 'link',
    properties: ['url', 'openType', 'delta', 'target', 'appId', 'path'],
    tapped() {
      const how = { redirect: 'redirectTo', switchTab: 'switchTab', reLaunch: 'reLaunch', navigateBack: 'navigateBack' }[this.data.openType] ?? 'navigateTo'
      this.phone.wx[how]({ url: this.data.url, delta: this.data.delta })
    },
  },
}

/**
 * @param space glass-easel's code space for built-in components
 * @param templates compiled templates by path
 * @param phone what the components reach beyond themselves
 * @returns {Record<string, object>} tag → component definition
 */
export function defineBuiltins(space, templates, phone) {
  const made = {}
  for (const [tag, d] of Object.entries({ ...plain, ...fields, ...controls })) {
    const path = `__wx__/${tag}`
    space.addComponentStaticConfig(path, { component: true, styleIsolation: 'shared' })
    space.addCompiledTemplate(path, { groupList: templates, content: templates[path] })
    const names = [...(d.properties ?? []), ...aria.map(property), 'role', 'hidden', 'hoverClass', 'hoverStopPropagation', 'hoverStartTime', 'hoverStayTime', 'tabindex', 'animation']
    const observers = {}
    for (const a of aria) observers[property(a)] = function (v) { mark(this.control ?? dom(this), a === 'role' ? 'role' : `aria-${a}`, v) }
    // A role belongs to what a screen reader meets: the element, not the field within it.
    observers.ariaRole = observers.role = function (v) { if (v) mark(dom(this), 'role', v) }
    observers.hidden = function (v) { if (dom(this)) dom(this).style.display = truthy(v) ? 'none' : '' }
    observers.hoverClass = function (v) { mark(dom(this), 'data-hover', v && v !== 'none' ? 'true' : undefined) }
    for (const [k, f] of Object.entries(d.observers ?? {})) {
      const common = observers[k]
      observers[k] = common ? function (v) { common.call(this, v); f.call(this, v) } : f
    }
    const definition = space.component(path).definition({
      properties: Object.fromEntries(names.map((n) => [n, d.types?.[n] ?? null])),
      observers,
      methods: d.methods ?? {},
      lifetimes: {
        created() {
          this.phone = phone
          dom(this).__component = this
          if (d.role) mark(dom(this), 'role', d.role)
          d.created?.call(this)
        },
        attached() {
          d.attached?.call(this)
          if (d.tapped) this._$.addListener('tap', () => { if (dom(this)) d.tapped.call(this) })
        },
      },
    }).register()
    made[tag] = definition._$
  }
  return made
}
