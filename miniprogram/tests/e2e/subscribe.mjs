// Messages of WeChat's to who has left: asked for at the tap that begins the waiting, and holding up nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counter, fromCarrier, staff, url, withPhone } from './support/stage.mjs'

/** What the stand-in for WeChat was given to send to the person of a phone. */
async function told(phone) {
  const r = await fetch(`${url}/preview/messages?${new URLSearchParams({ person: phone.query.person })}`)
  return (await r.json()).items
}

test('who lets it be told hears, when he has left, how his name was decided about', withPhone({}, async (phone) => {
  const trade = await fromCarrier(650001, 1, 'REAL_NAME')
  await phone.looksUp(trade)
  await phone.tap('去登记实名')
  await phone.type('姓名', '冯五人工')
  await phone.type('身份证号', '11010519491231002X')
  await phone.page.getByRole('checkbox', { name: '我已阅读并同意' }).tap()
  assert.deepEqual(await phone.get('subscribed'), [], 'nobody is asked before he has anything to wait for')
  // His yes is with the server before anything is decided.
  const noted = phone.page.waitForResponse((r) => r.url().endsWith('/me/subscriptions'))
  await phone.tap('提交')
  assert.equal((await noted).status(), 204)
  assert.deepEqual(await phone.get('subscribed'), ['sandbox-real_name'])
  await phone.sees('中国移动正在核验')
  const carrier = await staff('yidong')
  const { items } = await carrier.get('/approvals?state=waiting')
  for (const { id } of items) await carrier.post(`/approvals/${id}/refuse`, { reason: 'MISMATCH' }).catch(() => {})
  await phone.sees('上次没有通过')
  let messages = []
  while (messages.length === 0) messages = await told(phone)
  assert.equal(messages.length, 1)
  const [{ templateId, page, data }] = messages
  assert.deepEqual([templateId, page, data.phrase1, Object.keys(data)], ['sandbox-real_name', 'pages/registrations/registrations', '未通过', ['phrase1', 'thing3', 'time2']])
  assert.match(data.time2, /^\d{4}年\d{1,2}月\d{1,2}日 \d{2}:\d{2}$/)
}))

test('who doesn\'t want to be told goes on all the same', withPhone({}, async (phone) => {
  for (const answer of ['reject', 'off']) {
    await phone.set({ subscribe: answer, subscribed: [] })
    await phone.looksUp(await counter.sell())
    await phone.tap('确认收卡')
    await phone.sees('卡已归您')
    assert.deepEqual(await phone.get('subscribed'), ['sandbox-confirmation'])
    await phone.start()
  }
  assert.deepEqual(await told(phone), [])
}))
