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

  // Every colour that may lie behind an element: a gradient has several.
  const behind = (element) => {
    const layers = []
    for (let e = element; e; e = e.parentElement) {
      const style = getComputedStyle(e)
      const stops = style.backgroundImage.includes('gradient') ? style.backgroundImage.match(/rgba?\([^)]+\)/g)?.map(colour) ?? [] : []
      if (stops.length) layers.push(stops)
      const plain = colour(style.backgroundColor)
      if (plain[3] > 0) layers.push([plain])
      if (plain[3] === 1 || (stops.length && stops.every((s) => s[3] === 1))) break
    }
    let grounds = [[255, 255, 255]]
    for (const layer of layers.reverse()) grounds = layer.flatMap((c) => grounds.map((g) => over(c, g)))
    return grounds
  }

  const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent.trim()
    const e = node.parentElement
    if (!text || !e || ['SCRIPT', 'STYLE'].includes(e.tagName) || !shown(e)) continue
    const box = e.getBoundingClientRect()
    if (box.width === 0 || box.bottom < 0 || box.top > innerHeight || box.right < 0 || box.left > innerWidth) continue
    const style = getComputedStyle(e)
    const ink = colour(style.color)
    const worst = Math.min(...behind(e).map((g) => contrast(over(ink, g), g)))
    if (worst < 4.5) faults.push(`contrast ${worst.toFixed(2)}: “${text.slice(0, 24)}”, ${style.color}`)
    const range = document.createRange()
    range.selectNodeContents(node)
    for (const line of range.getClientRects()) {
      if (line.right > innerWidth + 1 || line.left < -1) {
        faults.push(`runs out of the page: “${text.slice(0, 24)}”`)
        break
      }
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
