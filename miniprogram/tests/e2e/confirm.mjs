// The main flow: a code leads to a trade, the trade to the ledger, the ledger to "my cards".
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counter, shop, withPhone } from './support/stage.mjs'

test('a buyer types the code and confirms', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.sees('收到一张物联网卡')
  await phone.shot('home')
  await phone.disabled('下一步')
  await phone.type('交易码', trade.code.toLowerCase())
  await phone.shot('home-code')
  await phone.tap('下一步')

  await phone.sees('卡在您手里，才能看到这笔交易')
  await phone.type('卡号后六位', trade.last6)
  await phone.shot('prove')
  await phone.tap('查看交易')

  await phone.sees('小王通讯店')
  await phone.sees('只能上网')
  await phone.shot('offer')
  await phone.tap('确认收卡')

  await phone.sees('卡已归您')
  await phone.shot('done')
  await phone.tap('凭证')
  await phone.sees('账本上的记录')
  await phone.shot('receipt')
  await phone.back()
  await phone.tap('转发')
  assert.deepEqual(await phone.get('shared'), [{ title: '我的物联网卡已登记上链', path: '/pages/home/home' }]) // no code, no card
  await phone.tap('查看我的卡')

  await phone.sees('共 1 张')
  await phone.shot('cards')
  await phone.top.getByRole('button', { name: /小王通讯店/ }).tap()
  await phone.sees('TXID')
  await phone.shot('card')

  const sold = await shop.get(`/trades/${trade.tradeId}`)
  assert.equal(sold.state, 'confirmed')
}))
