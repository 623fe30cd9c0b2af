// What a person has: cards and where they come from; and what he may do with them: refuse, return, leave.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { consumer, counter, fromCarrier, openPhone, shop, withPhone } from './support/stage.mjs'

test('a buyer refuses, with a reason', withPhone({}, async (phone) => {
  const trade = await counter.sell(2)
  await phone.looksUp(trade)
  await phone.sees('2 张')
  await phone.shot('offer-two')
  await phone.tap('不对，拒收')
  await phone.disabled('拒收这些卡')
  await phone.choose('卡号和卡对不上')
  await phone.shot('decline')
  await phone.tap('拒收这些卡')
  await phone.sees('卡已退回给卖家')
  await phone.shot('declined')
  await phone.tap('完成')
  await phone.sees('收到一张物联网卡')
  const t = await shop.get(`/trades/${trade.tradeId}`)
  assert.deepEqual([t.state, t.reason], ['declined', 'WRONG_CARDS'])
}))

const returners = { 退卡的人甲: {}, 退卡的人乙: { dark: true }, 退卡的人丙: { size: 'small', font: 22 } }
for (const [person, look] of Object.entries(returners)) test(`a buyer returns a card, ${JSON.stringify(look)}`, withPhone({ ...look, person }, async (phone) => {
  const trade = await counter.sell()
  const me = await consumer(person)
  await me.ended(await me.post(`/trades/${trade.tradeId}/confirm`, { code: trade.code, iccidLast6: trade.last6 }))
  await phone.tab('我的卡')
  await phone.top.getByRole('button', { name: /小王通讯店/ }).tap()
  await phone.tap('收卡凭证')
  await phone.sees('账本上的记录')
  await phone.back()
  await phone.tap('退给卖家')
  await phone.choose('卡不能用')
  await phone.shot('return')
  await phone.tap('退卡')
  await phone.sees('退卡已提交')
  await phone.tap('完成')
  await phone.tab('我的卡')
  await phone.sees('退回中')
  await phone.shot('cards-returning')
  await phone.top.getByRole('button', { name: /小王通讯店/ }).tap()
  await phone.sees('正在退给小王通讯店')
  await phone.gone('退给卖家')
  await phone.shot('card-returning')
  const { items } = await shop.get('/trades?side=receiver&state=offered')
  const [back, more] = items.filter((t) => t.reverses === trade.tradeId)
  assert.deepEqual([back.reasonText, more], ['卡不能用', undefined])
  // The shop says no: the card is his, and he may ask again.
  await shop.ended(await shop.post(`/trades/${back.tradeId}/decline`, { reason: 'DAMAGED' }))
  await phone.start(`pages/cards/cards`)
  await phone.gone('退回中')
  await phone.top.getByRole('button', { name: /小王通讯店/ }).tap()
  await phone.tap('退给卖家')
  await phone.choose('其他原因')
  await phone.tap('退卡')
  await phone.sees('退卡已提交')
}))

for (const look of [{}, { dark: true }, { size: 'small', font: 22 }]) test(`what became of it all is told in the inbox, ${JSON.stringify(look)}`, withPhone({ ...look, person: `消息${look.dark ? '乙' : look.font ? '丙' : '甲'}` }, async (phone) => {
  const me = await consumer(`消息${look.dark ? '乙' : look.font ? '丙' : '甲'}`)
  await phone.tab('我的')
  await phone.tap('消息')
  await phone.sees('还没有消息')
  await phone.shot('inbox-empty')
  await phone.back()
  const [kept, refused] = [await counter.sell(2), await counter.sell()]
  await me.ended(await me.post(`/trades/${kept.tradeId}/confirm`, { code: kept.code, iccidLast6: kept.last6 }))
  await me.ended(await me.post(`/trades/${refused.tradeId}/decline`, { code: refused.code, iccidLast6: refused.last6, reason: 'OTHER' }))
  await me.ended(await me.post(`/trades/${kept.tradeId}/return`, { reason: '卡不能用' }))
  const { items } = await shop.get('/trades?side=receiver&state=offered')
  await shop.ended(await shop.post(`/trades/${items.find((t) => t.reverses === kept.tradeId).tradeId}/decline`, { reason: 'DAMAGED' }))
  await phone.tab('我的卡')
  await phone.tab('我的')
  await phone.button('消息，3 条新的').waitFor()
  await phone.shot('me-news')
  await phone.tap('消息')
  await phone.sees('小王通讯店没有收退卡')
  await phone.sees('拒收了 1 张卡')
  await phone.shot('inbox')
  await phone.tap('收到 2 张卡')
  await phone.sees('账本上的记录')
  await phone.back()
  await phone.back()
  await phone.button('消息').waitFor()
  await phone.gone('3 条新的')
  await phone.network(false)
  await phone.tap('消息')
  await phone.sees('没有读到消息')
  await phone.network(true)
  await phone.tap('重试')
  await phone.sees('小王通讯店没有收退卡')
}))

test('a card is kept too long to be returned', withPhone({ person: '留着卡的人' }, async (phone) => {
  const trade = await counter.sell()
  const me = await consumer('留着卡的人')
  await me.ended(await me.post(`/trades/${trade.tradeId}/confirm`, { code: trade.code, iccidLast6: trade.last6 }))
  await phone.answers(/\/me\/cards$/, async (route) => {
    const answer = await route.fetch()
    const { items } = await answer.json()
    for (const card of items) delete card.returnableUntil
    await route.fulfill({ response: answer, json: { items } })
  })
  await phone.tab('我的卡')
  await phone.top.getByRole('button', { name: /小王通讯店/ }).tap()
  await phone.sees('退卡期限已过')
  await phone.gone('退给卖家')
  await phone.shot('card-late')
}))

test('who logs out has nothing left on the phone', withPhone({}, async (phone) => {
  await phone.tab('我的')
  await phone.sees('微信用户')
  await phone.shot('me')
  await phone.tap('账本怎样保护您')
  await phone.page.getByRole('dialog').getByRole('button', { name: '知道了' }).tap()
  await phone.tap('退出登录')
  await phone.page.getByRole('dialog').getByRole('button', { name: '退出' }).tap()
  await phone.sees('还没有登录')
  assert.deepEqual(await phone.page.evaluate(() => Object.keys(localStorage).filter((k) => !k.endsWith('/signed out'))), [])
  await phone.tab('我的卡')
  await phone.sees('您已退出登录')
  await phone.shot('cards-signed-out')
  await phone.tap('微信登录')
  await phone.sees('还没有卡')
}))

test('five thousand cards scroll', async () => {
  const t = await fromCarrier(500001, 5000, 'OPEN')
  const me = await consumer('大户')
  await me.ended(await me.post(`/trades/${t.tradeId}/confirm`, { code: t.code, iccidLast6: t.last6 }))

  const phone = await openPhone({ person: '大户' })
  const sizes = await phone.page.evaluate(() => {
    const seen = (window.__sizes = [])
    const page = window.__phone.router
    const open = page.switchTab
    page.switchTab = (...of) => {
      open(...of)
      const { instance } = page.top()
      const set = instance.setData
      instance.setData = function (data, ...rest) {
        seen.push(JSON.stringify(data).length)
        return set.call(this, data, ...rest)
      }
    }
    return seen
  })
  assert.deepEqual(sizes, [])
  await phone.tab('我的卡')
  await phone.sees('至少 50 张')
  const reached = () => phone.page.evaluate(() => {
    const frame = document.querySelector('.frame:not([hidden])')
    frame.scrollTop = frame.scrollHeight
    return Number(/(\d+) 张/.exec(frame.textContent)[1])
  })
  for (let n = 0; n < 5000;) {
    const now = await reached()
    if (now === n) await phone.page.waitForFunction((was) => Number(/(\d+) 张/.exec(document.querySelector('.frame:not([hidden])').textContent)[1]) > was, n)
    n = now
  }
  await phone.sees('共 5000 张')
  const { most, elements } = await phone.page.evaluate(() => ({ most: Math.max(...window.__sizes), elements: document.querySelectorAll('.frame:not([hidden]) .item').length }))
  assert.ok(most < 32 * 1024, `a setData of ${most} bytes`)
  assert.ok(elements <= 250, `${elements} cards are drawn at once`)
  await phone.top.getByRole('button', { name: /中国移动/ }).last().tap()
  await phone.sees('TXID')
  await phone.close()
})
