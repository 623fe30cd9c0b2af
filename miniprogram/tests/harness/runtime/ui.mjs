// What WeChat shows over a page: toasts, dialogs, sheets, the scanner.
const make = (tag, className, text) => {
  const e = document.createElement(tag)
  if (className) e.className = className
  if (text !== undefined) e.textContent = text
  return e
}

let toast
let timer

const over = () => {
  const cover = make('div', 'phone-cover')
  // The browser sends a click after the touch that opened this, to whatever lies there by then. Who means it touches it first.
  let meant = false
  cover.addEventListener('pointerdown', () => { meant = true }, true)
  cover.addEventListener('click', (e) => {
    if (!meant && e.detail > 0) e.stopImmediatePropagation()
  }, true)
  document.body.append(cover)
  return cover
}

export const ui = {
  toast({ title, icon = 'success', duration = 1500, loading = false }) {
    ui.hideToast()
    toast = make('div', 'phone-toast')
    toast.setAttribute('role', 'status')
    const kind = loading ? 'loading' : icon
    if (kind !== 'none') toast.append(make('i', `toast-${kind}`))
    toast.append(make('span', '', title))
    document.body.append(toast)
    if (!loading) timer = setTimeout(ui.hideToast, duration)
  },
  hideToast() {
    clearTimeout(timer)
    toast?.remove()
    toast = undefined
  },
  /** What WeChat has been asked to tell, at the top of the screen until it is touched, or for a while. */
  notice(title, text) {
    const box = make('div', 'phone-notice')
    box.setAttribute('role', 'status')
    box.append(make('b', '', `服务通知 · ${title}`), make('span', '', text))
    box.addEventListener('click', () => box.remove())
    document.body.append(box)
    setTimeout(() => box.remove(), 8000)
  },
  modal({ title = '', content = '', showCancel = true, cancelText = '取消', confirmText = '确定', confirmColor }, done) {
    const cover = over()
    const box = make('div', 'phone-dialog')
    box.setAttribute('role', 'dialog')
    box.setAttribute('aria-modal', 'true')
    box.setAttribute('aria-label', title || content)
    if (title) box.append(make('h3', '', title))
    box.append(make('p', '', content))
    const feet = make('footer')
    const end = (confirm) => {
      cover.remove()
      done({ confirm, cancel: !confirm })
    }
    if (showCancel) {
      const no = make('button', '', cancelText)
      no.addEventListener('click', () => end(false))
      feet.append(no)
    }
    const yes = make('button', 'main', confirmText)
    if (confirmColor) yes.style.color = confirmColor
    yes.addEventListener('click', () => end(true))
    feet.append(yes)
    box.append(feet)
    cover.append(box)
  },
  sheet(items, done, cancelled) {
    const cover = over()
    const box = make('div', 'phone-sheet')
    box.setAttribute('role', 'menu')
    items.forEach((text, index) => {
      const b = make('button', '', text)
      b.setAttribute('role', 'menuitem')
      b.addEventListener('click', () => {
        cover.remove()
        done(index)
      })
      box.append(b)
    })
    const no = make('button', 'cancel', '取消')
    no.addEventListener('click', () => {
      cover.remove()
      cancelled()
    })
    box.append(no)
    cover.append(box)
  },
  /** A day between two, all as 2026-11-27. */
  date({ value, start, end }, done, cancelled) {
    const cover = over()
    const box = make('div', 'phone-scan')
    box.setAttribute('role', 'dialog')
    box.setAttribute('aria-label', '选日期')
    const field = make('input')
    field.type = 'date'
    field.setAttribute('aria-label', '日期')
    Object.assign(field, { value, min: start ?? '', max: end ?? '' })
    const feet = make('footer')
    const no = make('button', '', '取消')
    const yes = make('button', 'main', '确定')
    no.addEventListener('click', () => {
      cover.remove()
      cancelled()
    })
    yes.addEventListener('click', () => {
      if (!field.value || !field.checkValidity()) return
      cover.remove()
      done(field.value)
    })
    feet.append(no, yes)
    box.append(make('p', '', '选日期'), field, feet)
    cover.append(box)
  },
  /** A camera for those who have none: what it would have read is typed or pasted. */
  scanner(seen, done, cancelled) {
    const cover = over()
    cover.classList.add('phone-scanner')
    const box = make('div', 'phone-scan')
    box.setAttribute('role', 'dialog')
    box.setAttribute('aria-label', '扫码')
    box.append(make('div', 'phone-view'))
    box.append(make('p', '', '这里没有摄像头：点选要扫的东西，或把二维码、条码的内容贴在下面'))
    const things = make('div', 'phone-seen')
    void seen.then((all) => things.append(...all.map(({ name, text }) => {
      const b = make('button', '', name)
      b.addEventListener('click', () => {
        cover.remove()
        done(text)
      })
      return b
    })))
    box.append(things)
    const field = make('input')
    field.setAttribute('aria-label', '二维码或条码的内容')
    const feet = make('footer')
    const no = make('button', '', '取消')
    const yes = make('button', 'main', '识别')
    no.addEventListener('click', () => {
      cover.remove()
      cancelled()
    })
    yes.addEventListener('click', () => {
      cover.remove()
      if (field.value) done(field.value)
      else cancelled()
    })
    feet.append(no, yes)
    box.append(field, feet)
    cover.append(box)
    field.focus()
  },
}
