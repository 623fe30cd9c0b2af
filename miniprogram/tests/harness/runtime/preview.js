// Two phones side by side, each with the mini-program: who sells, and who buys.
const demo = { username: 'xiaowang', password: 'cardflow-demo' }
const phones = [
  { title: '店员的手机', who: '小王', note: '① 点“卖卡”，扫一张卡，生成交易码', open: 'subpackages/retail/pages/home/home', ready: logInShop },
  { title: '买家的手机', who: '小李', note: '② 点“扫一扫”，核对，确认收卡。要实名时可填：张三，11010519491231002X', open: '' },
]

// The shop of the demo is logged in: nobody has to look up its password. Without the demo the phone asks for one.
async function logInShop(who) {
  const place = `${who}/staff`
  if (Date.parse(JSON.parse(localStorage.getItem(place) || '{}').expiresAt) > Date.now()) {
    const { token } = JSON.parse(localStorage.getItem(place))
    const r = await fetch('/api/v1/me', { headers: { authorization: `Bearer ${token}` } })
    if (r.ok) return
  }
  const r = await fetch('/api/v1/auth/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(demo) })
  if (r.ok) localStorage.setItem(place, await r.text())
}

const main = document.querySelector('main')
for (const { title, who, note, open, ready } of phones) {
  const section = document.createElement('section')
  const head = document.createElement('h2')
  head.textContent = title
  const text = document.createElement('p')
  text.textContent = note
  const frame = document.createElement('iframe')
  frame.title = title
  const body = document.createElement('div')
  body.className = 'phone'
  body.append(frame)
  section.append(head, text, body)
  main.append(section)
  const show = async (person) => {
    await ready?.(person)
    frame.src = `phone.html?${new URLSearchParams({ person, open, subscribe: 'ask' })}`
  }
  show(who)
  if (ready) continue
  const name = document.createElement('input')
  name.value = who
  name.setAttribute('aria-label', `${title}：微信用户`)
  const label = document.createElement('label')
  label.append('微信用户 ', name)
  name.addEventListener('change', () => show(name.value.trim() || who))
  section.append(label)
}
