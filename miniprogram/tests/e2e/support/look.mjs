// What is wrong with how a page looks, found in the browser: text that can't be read against what lies behind it, and text
// that doesn't fit. Runs inside the page: it may use nothing from here.

/** @returns {string[]} faults */
export function lookAround() {
  const faults = []
  const channel = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255)
  const contrast = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x)
    return (high + 0.05) / (low + 0.05)
  }
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const known = new Map()
  const colour = (text) => {
    if (!known.has(text)) {
      canvas.clearRect(0, 0, 1, 1)
      canvas.fillStyle = text
      canvas.fillRect(0, 0, 1, 1)
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
      known.set(text, [r, g, b, a / 255])
    }
    return known.get(text)
  }
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)]

  // What is seen of an element's ink, and right behind it: every pair that may be, since a gradient has several colours. A group that
  // is half transparent lets through what lies behind all of it.
  const mix = (top, under, o) => top.map((v, i) => v * o + under[i] * (1 - o))
  const seen = (element, ink) => {
    const chain = []
    for (let e = element; e; e = e.parentElement) chain.unshift(getComputedStyle(e))
    const at = (i, under) => {
      const style = chain[i]
      const plain = over(colour(style.backgroundColor), under)
      const stops = style.backgroundImage.includes('gradient') ? style.backgroundImage.match(/rgba?\([^)]+\)/g)?.map(colour) ?? [] : []
      const grounds = stops.length ? stops.map((c) => over(c, plain)) : [plain]
      const o = Number(style.opacity)
      return grounds.flatMap((g) => (i === chain.length - 1 ? [{ ink: over(ink, g), ground: g }] : at(i + 1, g)))
        .map((p) => (o < 1 ? { ink: mix(p.ink, under, o), ground: mix(p.ground, under, o) } : p))
    }
    return at(0, [255, 255, 255])
  }
  const worstOf = (element, ink) => Math.min(...seen(element, ink).map((p) => contrast(p.ink, p.ground)))
  const fixed = (e) => { // the layer that an element is part of
    for (; e; e = e.parentElement) if (getComputedStyle(e).position === 'fixed' || e.classList.contains('frame')) return e
    return null
  }

  const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent.trim()
    const e = node.parentElement
    if (!text || !e || ['SCRIPT', 'STYLE'].includes(e.tagName) || !shown(e)) continue
    const box = e.getBoundingClientRect()
    if (box.width === 0) continue // below the screen it is looked at too: it will be scrolled to
    const style = getComputedStyle(e)
    const ink = colour(style.color)
    const worst = worstOf(e, ink)
    if (worst < 4.5) faults.push(`contrast ${worst.toFixed(2)}: “${text.slice(0, 24)}”, ${style.color}`)
    const range = document.createRange()
    range.selectNodeContents(node)
    for (const line of range.getClientRects()) {
      if (line.right > innerWidth + 1 || line.left < -1) {
        faults.push(`runs out of the page: “${text.slice(0, 24)}”`)
        break
      }
      const [x, y] = [(line.left + line.right) / 2, (line.top + line.bottom) / 2]
      const top = document.elementFromPoint(x, y)
      if (!top || e === top || top.contains(e) || fixed(top) !== fixed(e) || style.pointerEvents === 'none') continue
      const view = fixed(e)?.getBoundingClientRect()
      if (view && (y < view.top || y > view.bottom)) continue
      if (!top.checkVisibility({ checkOpacity: true })) continue // a field over its boxes
      faults.push(`lies under something: “${text.slice(0, 24)}”, under ${top.className || top.tagName}`)
    }
    for (let around = e; around && !around.classList.contains('scroller'); around = around.parentElement) {
      const s = getComputedStyle(around)
      if (s.overflowX !== 'hidden' && s.overflowY !== 'hidden') continue
      const limit = around.getBoundingClientRect()
      const rect = range.getBoundingClientRect()
      if (rect.bottom > limit.bottom + 2 || rect.right > limit.right + 2) faults.push(`is cut off: “${text.slice(0, 24)}”`)
      break
    }
  }
  // What is drawn must be seen, if less well than what is written.
  for (const e of document.querySelectorAll('.frame:not([hidden]) *')) {
    const style = getComputedStyle(e)
    if (!style.maskImage.startsWith('url') || !shown(e) || e.getBoundingClientRect().width === 0) continue
    const worst = worstOf(e.parentElement, colour(style.backgroundColor))
    if (worst < 3) faults.push(`contrast ${worst.toFixed(2)}: ${e.className.split('--').at(-1)}`)
  }
  // What can be tapped has a name and a role, and is large enough for a finger.
  for (const e of document.querySelectorAll('.frame:not([hidden]) [data-hover], .frame:not([hidden]) wx-button')) {
    if (!shown(e)) continue
    const role = e.getAttribute('role')
    if (!role) faults.push(`has no role: “${e.textContent.trim().slice(0, 24)}”`)
    if (!e.textContent.trim() && !e.getAttribute('aria-label')) faults.push(`has no name: ${e.className}`)
    const box = e.getBoundingClientRect()
    if (box.height < 30 || box.width < 30) faults.push(`is small for a finger (${box.width.toFixed(0)}×${box.height.toFixed(0)}): “${e.textContent.trim().slice(0, 24)}”`)
  }
  for (const field of document.querySelectorAll('.frame:not([hidden]) input, .frame:not([hidden]) textarea')) {
    if (shown(field.parentElement) && !field.getAttribute('aria-label') && !field.closest('label') && !field.placeholder) faults.push('a field has no label')
  }
  return [...new Set(faults)]
}
