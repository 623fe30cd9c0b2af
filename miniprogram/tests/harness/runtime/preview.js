// Phones side by side, each with the mini-program and somebody whose phone it is.
const phones = [
  { title: '买家的手机', who: '小李', note: '收卡、看我的卡。', open: '' },
]
const main = document.querySelector('main')
for (const { title, who, note, open } of phones) {
  const section = document.createElement('section')
  const head = document.createElement('h2')
  head.textContent = title
  const text = document.createElement('p')
  text.textContent = note
  const frame = document.createElement('iframe')
  frame.title = title
  const name = document.createElement('input')
  name.value = who
  name.setAttribute('aria-label', `${title}：微信用户`)
  const label = document.createElement('label')
  label.append('微信用户 ', name)
  const show = () => {
    frame.src = `phone.html?${new URLSearchParams({ person: name.value || who, open })}`
  }
  name.addEventListener('change', show)
  show()
  const body = document.createElement('div')
  body.className = 'phone'
  body.append(frame)
  section.append(head, text, body, label)
  main.append(section)
}
