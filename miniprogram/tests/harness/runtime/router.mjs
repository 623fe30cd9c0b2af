// Pages on a stack and tabs beside it, as WeChat keeps them: ten deep, tabs for ever, queries as they were written.
import { withNodes } from './nodes.mjs'

const deepest = 10

/** Reads "/pages/x/x?a=b". WeChat decodes nothing: neither does this. */
export function parse(url) {
  const [path, query = ''] = url.split('?')
  const pairs = query.split('&').filter(Boolean).map((pair) => {
    const i = pair.indexOf('=')
    return i < 0 ? [pair, ''] : [pair.slice(0, i), pair.slice(i + 1)]
  })
  return { route: path.replace(/^\//, ''), query: Object.fromEntries(pairs) }
}

export function makeRouter(manifest, space, phone, chrome) {
  const tabs = (manifest.app.tabBar?.list ?? []).map((t) => t.pagePath)
  const kept = new Map() // tab → page that is alive
  let stack = []
  const top = () => stack[stack.length - 1]

  const life = (page, what) => {
    page.root.getComponent().triggerPageLifetime(what, [])
    page.instance[what === 'show' ? 'onShow' : 'onHide']?.()
  }

  const paint = () => {
    for (const page of [...stack, ...kept.values()]) page.frame.hidden = page !== top()
    chrome.show(top(), stack.length)
  }

  const open = (url) => {
    const { route, query } = parse(url)
    space.register(route)
    const root = space.root(route)
    const instance = root.get()
    instance.route = route
    instance.options = query
    const element = root.getComponent().$$
    element.dataset.route = route
    const frame = document.createElement('div')
    frame.className = `frame${tabs.includes(route) ? ' with-tabs' : ''}`
    const place = document.createElement('span')
    // What is fixed stays where it is while the page moves below it.
    const scroller = document.createElement('div')
    scroller.className = 'scroller'
    scroller.append(place)
    frame.append(scroller)
    document.body.append(frame)
    withNodes(instance, root.getComponent().getShadowRoot())
    const page = { route, query, root, instance, frame, scroller, window: { ...manifest.app.window, ...manifest.components[route].config } }
    page.title = page.window.navigationBarTitleText ?? ''
    stack.push(page)
    if (tabs.includes(route)) kept.set(route, page)
    root.attach(scroller, place)
    instance.onLoad?.(query)
    life(page, 'show')
    instance.onReady?.()
    scroller.addEventListener('scroll', () => {
      instance.onPageScroll?.({ scrollTop: scroller.scrollTop })
      if (scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - (page.window.onReachBottomDistance ?? 50)) instance.onReachBottom?.()
    })
    paint()
    return page
  }

  const close = (page) => {
    page.instance.onUnload?.()
    page.root.release()
    page.frame.remove()
    stack = stack.filter((p) => p !== page)
    kept.delete(page.route)
  }

  const absolute = (url) => (url.startsWith('/') ? url : new URL(url, `http://x/${top()?.route ?? ''}`).href.slice('http://x'.length))

  // check gives the absolute url, or calls fail as WeChat does.
  const check = (url, fail, tab) => {
    const whole = absolute(url)
    const { route } = parse(whole)
    if (!manifest.pages.includes(route)) return void fail(`page "${route}" is not found`)
    if (tabs.includes(route) !== tab) return void fail(tab ? 'can not switch to no-tabBar page' : 'can not open a tabbar page')
    return whole
  }

  return {
    top, life, open, paint,
    instances: () => stack.map((p) => p.instance),
    routes: () => stack.map((p) => p.route),
    navigateTo({ url }, ok, fail) {
      const whole = check(url, fail, false)
      if (!whole) return
      if (stack.length >= deepest) return fail('webview count limit exceed')
      life(top(), 'hide')
      open(whole)
      ok()
    },
    redirectTo({ url }, ok, fail) {
      const whole = check(url, fail, false)
      if (!whole) return
      close(top())
      open(whole)
      ok()
    },
    switchTab({ url }, ok, fail) {
      const whole = check(url, fail, true)
      if (!whole) return
      const { route } = parse(whole)
      if (top().route === route) return ok()
      for (const page of [...stack].reverse()) {
        if (tabs.includes(page.route)) life(page, 'hide')
        else close(page)
      }
      stack = []
      const there = kept.get(route)
      if (there) {
        stack = [there]
        life(there, 'show')
        paint()
      } else open(whole)
      ok()
    },
    reLaunch({ url }, ok, fail) {
      const whole = absolute(url)
      if (!manifest.pages.includes(parse(whole).route)) return fail('page is not found')
      for (const page of new Set([...[...stack].reverse(), ...kept.values()])) close(page)
      open(whole)
      ok()
    },
    navigateBack({ delta = 1 } = {}, ok) {
      const n = Math.min(delta, stack.length - 1)
      for (let i = 0; i < n; i++) close(top())
      if (n > 0) {
        life(top(), 'show')
        paint()
      }
      ok()
    },
    setTitle(title) {
      top().title = title
      paint()
    },
    /** Tells the whole program that it has gone to the background, or come back. */
    background(hidden) {
      life(top(), hidden ? 'hide' : 'show')
      phone.app[hidden ? 'onHide' : 'onShow']?.(phone.launch)
      phone.emit(hidden ? 'appHide' : 'appShow', phone.launch)
    },
    isTab: (route) => tabs.includes(route),
  }
}
