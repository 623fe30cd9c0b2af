// What WeChat draws around a page: the bar with title, back and capsule, and the tabs.
export function makeChrome(manifest, phone) {
  const bar = document.createElement('header')
  bar.id = 'bar'
  bar.innerHTML = '<button class="back" aria-label="返回"></button><span class="bar-title"></span><span class="capsule" aria-hidden="true"><i></i><i></i></span>'
  const [back, title] = bar.children
  back.addEventListener('click', () => phone.wx.navigateBack())
  const tabs = document.createElement('nav')
  tabs.id = 'tabs'
  tabs.setAttribute('role', 'tablist')
  const badges = new Map()
  document.body.append(bar, tabs)

  const dark = matchMedia('(prefers-color-scheme: dark)')
  // theme.json names colours and pictures: "@name".
  const themed = (v) => (v?.startsWith?.('@') ? manifest.theme[dark.matches ? 'dark' : 'light'][v.slice(1)] : v)
  let shown
  dark.addEventListener('change', () => {
    paint()
    phone.emit('themeChange', { theme: dark.matches ? 'dark' : 'light' })
  })

  const paint = () => {
    if (!shown) return
    const [page, depth] = shown
    bar.style.background = themed(page.window.navigationBarBackgroundColor)
    bar.style.color = themed(page.window.navigationBarTextStyle)
    title.textContent = page.title
    document.title = page.title
    document.body.style.background = themed(page.window.backgroundColor)
    back.hidden = depth < 2
    const bottom = manifest.app.tabBar
    tabs.hidden = !bottom?.list.some((t) => t.pagePath === page.route)
    if (tabs.hidden) return
    tabs.style.background = themed(bottom.backgroundColor)
    tabs.style.borderColor = bottom.borderStyle === 'white' ? '#e7e7e7' : themed(bottom.borderStyle)
    tabs.replaceChildren(...bottom.list.map((t, i) => {
      const selected = t.pagePath === page.route
      const b = document.createElement('button')
      b.setAttribute('role', 'tab')
      b.setAttribute('aria-selected', String(selected))
      b.style.color = themed(selected ? bottom.selectedColor : bottom.color)
      const icon = document.createElement('img')
      icon.alt = ''
      icon.src = phone.file(`/${themed(selected ? t.selectedIconPath : t.iconPath)}`)
      b.append(icon, t.text)
      if (badges.has(i)) {
        const badge = document.createElement('em')
        badge.textContent = badges.get(i)
        b.append(badge)
      }
      b.addEventListener('click', () => phone.wx.switchTab({ url: `/${t.pagePath}` }))
      return b
    }))
  }

  return {
    show(page, depth) {
      shown = [page, depth]
      paint()
    },
    badge(index, text) {
      if (text === undefined) badges.delete(index)
      else badges.set(index, text)
      paint()
    },
  }
}
