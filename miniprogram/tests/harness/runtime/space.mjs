// The component framework, as WeChat sets it up: one code space for its own components, one for the mini-program's, the
// browser's DOM below them, and a loader for scripts that know where they are registered.
import * as adapter from 'glass-easel-miniprogram-adapter'
import { defineBuiltins } from './builtin/define.mjs'

const { glassEasel, MiniProgramEnv } = adapter

const rpx = (v) => v.replace(/(-?(?:\d*\.)?\d+)rpx\b/g, (_, n) => `calc(var(--rpx) * ${Number(n)})`)

// Elements are called wx-…, so that none is one of the browser's by accident.
const elements = {
  createElement(tag) {
    const e = document.createElement(tag.startsWith('html-') ? tag.slice(5) : `wx-${tag}`)
    const set = e.setAttribute
    e.setAttribute = function (name, v) { set.call(this, name, name === 'style' && typeof v === 'string' ? rpx(v) : v) }
    return e
  },
  createTextNode: (text) => document.createTextNode(text),
  createDocumentFragment: () => document.createDocumentFragment(),
}

const touches = (event) => {
  if (!event) return undefined
  const all = event.touches ? [...event.touches] : [{ identifier: 0, clientX: event.clientX, clientY: event.clientY, pageX: event.pageX, pageY: event.pageY }]
  return { touches: all, changedTouches: event.changedTouches ? [...event.changedTouches] : all }
}

/** @param {object} program what the compiler made @param {object} phone */
export function makeSpace({ manifest, templates, modules }, phone) {
  glassEasel.globalOptions.throwGlobalError = false
  glassEasel.addGlobalErrorListener((err) => {
    phone.fault(err)
  })
  glassEasel.addGlobalWarningListener((text) => {
    phone.fault(`warning: ${text}`)
    return false
  })

  const backend = new glassEasel.CurrentWindowBackendContext()
  backend.document = elements
  backend.onEvent((target, type, detail, options) => {
    // The phone doesn't tap what is disabled, though the browser, for which it is an element like any other, does.
    if (type === 'tap' && options.originalEvent?.target?.closest?.('wx-button[aria-disabled="true"]')) return undefined
    const event = new glassEasel.Event(type, detail, { ...options, extraFields: touches(options.originalEvent) })
    // What WeChat does only for a finger it does before the handler waits for anything.
    phone.tapped = type === 'tap'
    try {
      glassEasel.Event.dispatchEvent(target, event)
    } finally {
      phone.tapped = false
    }
    return event.getEventBubbleStatus()
  })

  const env = new MiniProgramEnv()
  const builtin = env.createCodeSpace('__wx__', false)
  const space = env.createCodeSpace('', true)
  // A property called id or dataset must not hide the element's own.
  space.getComponentSpace().updateComponentOptions({ writeFieldsToNode: false })
  const view = env.associateBackend(backend)
  for (const [tag, definition] of Object.entries(defineBuiltins(builtin, templates, phone))) {
    space.getComponentSpace().setGlobalUsingComponent(tag, definition)
  }

  measureData(phone)
  const owners = new Map(Object.entries(manifest.components).map(([name, c]) => [c.script, name]))
  const loaded = new Map()
  const registered = new Set()
  // Libraries call Component from shared files: it means the component that is being registered at that moment.
  let current

  const load = (file) => {
    if (loaded.has(file)) return loaded.get(file).exports
    const owner = owners.get(file)
    if (owner && !registered.has(owner)) {
      register(owner)
      if (loaded.has(file)) return loaded.get(file).exports
    }
    const module = { exports: {} }
    loaded.set(file, module)
    const { deps, run } = modules[file]
    const require = (wanted) => {
      if (!(wanted in deps)) throw new Error(`${file}: module ${wanted} is not there`)
      return load(deps[wanted])
    }
    const behavior = (d) => current.Behavior(withoutPlatform(d))
    run(require, module, module.exports, phone.wx, phone.App, () => phone.app, () => phone.router.instances(),
      (d) => current.Page(d), (d) => current.Component(d), behavior)
    return module.exports
  }

  const register = (name) => {
    if (registered.has(name)) return
    registered.add(name)
    const { config, page, script, scope } = manifest.components[name]
    for (const used of Object.values(config.usingComponents)) register(used.slice(1))
    space.addComponentStaticConfig(name, page ? { ...config, component: undefined, styleIsolation: undefined } : { ...config, component: true })
    space.addStyleSheet(name, undefined, scope)
    space.addCompiledTemplate(name, { groupList: templates, content: templates[name] })
    let defined = false
    space.componentEnv(name, (e) => {
      const outer = current
      current = {
        Page: (d) => { defined = true; return e.Page(withoutPlatform(d)) },
        Component: (d) => { defined = true; return e.Component(withoutPlatform(d)) },
        Behavior: (d) => e.Behavior(d),
      }
      try {
        load(script)
      } finally {
        current = outer
      }
    })
    if (!defined) phone.fault(`${script} calls neither Page nor Component`)
  }

  return {
    load, register,
    root: (name) => view.createRoot('page', space, name),
  }
}

/** The most that WeChat takes well in one setData, in bytes of UTF-8. */
const mostData = 32 * 1024

// Every page and component, each time: whoever hands over more makes a phone slow.
function measureData(phone) {
  const proto = adapter.component.ComponentCaller.prototype
  const { setData } = proto
  const bytes = new TextEncoder()
  proto.setData = function (data, ...rest) {
    const size = bytes.encode(JSON.stringify(data) ?? '').length
    phone.measured.count++
    phone.measured.most = Math.max(phone.measured.most, size)
    if (size > mostData) phone.fault(`setData of ${size} bytes: ${Object.keys(data).join(', ')}`)
    return setData.call(this, data, ...rest)
  }
}

// Behaviors that WeChat gives to components by name (wx://form-field) are not the framework's.
function withoutPlatform(definition) {
  if (!definition?.behaviors) return definition
  return { ...definition, behaviors: definition.behaviors.filter((b) => typeof b !== 'string') }
}
