// The law's gate: a carrier wants to know who uses its cards, once, before one of them changes hands.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from './support/server.mjs'
import { consumer, fromCarrier, openPhone, staff, withPhone } from './support/stage.mjs'

const id = '11010519491231002X'
let next = 600001

/** A card that its carrier gives only to people whose name it knows. */
const gated = (count = 1) => {
  next += count
  return fromCarrier(next - count, count, 'REAL_NAME')
}

async function toForm(phone, trade) {
  await phone.looksUp(trade)
  await phone.sees('要先向中国移动登记实名')
  await phone.shot('offer-real-name')
  await phone.tap('去登记实名')
  await phone.sees('向中国移动登记实名')
}

/** The carrier's people say yes to whoever waits, until this phone knows. */
async function approved(phone) {
  const carrier = await staff('yidong')
  let known = false
  const knows = phone.sees('已实名').finally(() => {
    known = true
  })
  await until(async () => {
    const { items } = await carrier.get('/approvals?state=waiting')
    // Somebody else may have been faster: the demo's own approver.
    for (const { id: waiting } of items) await carrier.post(`/approvals/${waiting}/approve`).catch(() => {})
  }, () => known)
  await knows
}

const agree = (phone) => phone.page.getByRole('checkbox', { name: '我已阅读并同意' }).tap()

async function fill(phone, name, number = id) {
  await phone.type('姓名', name)
  await phone.type('身份证号', number)
  await agree(phone)
}

test('a buyer registers, then confirms', withPhone({}, async (phone) => {
  await toForm(phone, await gated())
  await phone.shot('real-name')
  await phone.disabled('提交')
  await fill(phone, '张三')
  await phone.shot('real-name-filled')
  await phone.tap('提交')
  await approved(phone)
  await phone.shot('real-name-approved')
  await phone.tap('继续确认收卡')
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
  // The next card of this carrier asks for nothing.
  const again = await gated()
  await phone.start()
  await phone.looksUp(again)
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
  // The number is nowhere on the phone.
  assert.ok(!(await phone.page.evaluate(() => JSON.stringify({ ...localStorage }))).includes(id))
}))

test('more cards than one person may have are not confirmed', withPhone({}, async (phone) => {
  const trade = await gated(11)
  await toForm(phone, trade)
  // An ID of his own: what others took counts for them.
  await fill(phone, '郑九', '110101199003074477')
  await phone.tap('提交')
  await approved(phone)
  await phone.tap('继续确认收卡')
  await phone.tap('确认收卡')
  await phone.sees('没有确认成功')
  await phone.sees(/最多|超过|上限/)
  await phone.shot('progress-failed')
  await phone.tap('回到首页')
  await phone.sees('收到一张物联网卡')
  await phone.gone('点这里看进度')
  await phone.tab('我的')
  await phone.tap('消息')
  await phone.sees('没有确认成功')
  await phone.shot('inbox-failed')
}))

test('a number that can not be one is told at once', withPhone({}, async (phone) => {
  await toForm(phone, await gated())
  await phone.type('姓名', '李四')
  await phone.type('身份证号', '110105194912310021')
  await phone.sees('身份证号有误，请核对')
  await phone.shot('real-name-wrong')
  await agree(phone)
  await phone.disabled('提交')
  await phone.type('身份证号', '11010519491231002x')
  await phone.gone('身份证号有误，请核对')
  await phone.tap('提交')
  await approved(phone)
}))

test('who is refused is told why, and may try again', withPhone({}, async (phone) => {
  await toForm(phone, await gated())
  await fill(phone, '王五不符')
  await phone.tap('提交')
  await phone.sees('上次没有通过')
  await phone.shot('real-name-refused')
  await fill(phone, '王五')
  await phone.tap('提交')
  await approved(phone)
}))

test('what is tapped twice is registered once', withPhone({}, async (phone) => {
  const asked = []
  phone.page.on('request', (r) => { if (r.method() === 'POST' && r.url().endsWith('/me/real-name')) asked.push(r.url()) })
  await toForm(phone, await gated())
  await fill(phone, '冯十一')
  await phone.tapTwice('提交')
  await approved(phone)
  assert.equal(asked.length, 1)
}))

test('each registration is told as it stands', withPhone({ person: '登记两家的人' }, async (phone) => {
  const me = await consumer('登记两家的人')
  await me.post('/me/real-name', { carrier: 'cmcc', name: '陈十二不符', idNumber: id, consent: true })
  await me.post('/me/real-name', { carrier: 'telecom', name: '陈十二人工', idNumber: id, consent: true })
  await phone.tab('我的')
  // The carrier's people take a moment to refuse.
  await until(() => me.get('/me/real-name'), ({ items }) => items.some((i) => i.state === 'refused'))
  await phone.tap('实名登记')
  await phone.sees('没有通过')
  await phone.sees('审核中')
  await phone.shot('registrations-refused')
  await phone.tap('重新登记')
  await phone.sees('上次没有通过')
  await phone.back()
  await phone.tap('看进度')
  await phone.sees('中国电信正在核验')
}))

test('a person at the carrier decides', withPhone({}, async (phone) => {
  await toForm(phone, await gated())
  await fill(phone, '赵六人工')
  await phone.tap('提交')
  await phone.sees('中国移动正在核验')
  await phone.shot('real-name-pending')
  const carrier = await staff('yidong')
  const { items } = await carrier.get('/approvals?state=waiting')
  assert.equal(items.length, 1)
  assert.ok(!JSON.stringify(items).includes(id), 'the list shows the whole number')
  await carrier.post(`/approvals/${items[0].id}/approve`)
  await phone.sees('已实名')
  await phone.tap('继续确认收卡')
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
}))

test('by the national network identity', withPhone({}, async (phone) => {
  await toForm(phone, await gated())
  await phone.page.getByRole('radio', { name: '网号网证' }).tap()
  await phone.type('网证凭证', `demo:孙七:${id}`)
  await agree(phone)
  await phone.shot('real-name-credential')
  await phone.tap('提交')
  await approved(phone)
}))

test('a registration is taken back', withPhone({}, async (phone) => {
  await toForm(phone, await gated())
  await fill(phone, '周八')
  await phone.tap('提交')
  await approved(phone)
  await phone.tap('继续确认收卡')
  await phone.back()
  await phone.tab('我的')
  await phone.tap('实名登记')
  await phone.sees('有效期到')
  await phone.shot('registrations')
  await phone.tap('撤回向中国移动的登记')
  await phone.page.getByRole('dialog').getByRole('button', { name: '撤回' }).tap()
  await phone.sees('还没有登记过')
}))

test('a registration that ends soon is renewed, and one that has ended is made anew', withPhone({}, async (phone) => {
  let edit = { state: 'approved', validUntil: new Date(Date.now() + 20 * 86_400_000).toISOString() }
  const first = await gated()
  await toForm(phone, first)
  await fill(phone, '吴十')
  await phone.tap('提交')
  await approved(phone)
  // Years pass: the answer is edited.
  await phone.answers(/\/me\/real-name$/, async (route) => {
    if (route.request().method() !== 'GET' || !edit) return route.continue()
    const answer = await route.fetch()
    const all = await answer.json()
    return route.fulfill({ response: answer, json: { ...all, items: all.items.map((i) => ({ ...i, ...edit })) } })
  })
  await phone.tap('继续确认收卡')
  await phone.back()
  await phone.tab('我的')
  await phone.tap('实名登记')
  await phone.tap('续期')
  await phone.sees('只需一次')
  await phone.back()
  edit = { state: 'expired', validUntil: new Date(Date.now() - 86_400_000).toISOString() }
  await phone.back()
  await phone.tap('实名登记')
  await phone.sees('已到期')
  await phone.shot('registrations-expired')
  await phone.tap('重新登记')
  await phone.sees('只需一次')
  // An offer asks again, too.
  await phone.answers(/\/lookup$/, async (route) => {
    const answer = await route.fetch()
    return route.fulfill({ response: answer, json: { ...await answer.json(), requires: ['real_name'] } })
  })
  await phone.start()
  await toForm(phone, first)
}))

test('who does not agree to the privacy guide gives nothing', async () => {
  const trade = await gated()
  const phone = await openPhone({ query: { privacy: 'unasked' } })
  await phone.looksUp(trade)
  await phone.tap('去登记实名')
  await phone.sees('先看看我们怎样保护您的信息')
  await phone.shot('privacy')
  await phone.tap('不同意')
  await phone.sees('没有同意隐私保护指引')
  await phone.shot('real-name-unagreed')
  await phone.tap('返回')
  await phone.sees('要先向中国移动登记实名')
  // At once WeChat doesn't ask again: the page says so, and is no dead end.
  await phone.tap('去登记实名')
  await phone.sees('没有同意隐私保护指引')
  await phone.page.evaluate(() => { window.__phone.privacy.refusedAt = -Infinity })
  await phone.tap('再看一次')
  await phone.page.getByRole('button', { name: '同意', exact: true }).tap()
  await phone.sees('只需一次')
  await phone.close()
})
