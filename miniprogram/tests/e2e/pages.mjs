// Every page that reads something: what it shows meanwhile, what it says when that fails, and that it goes on by a tap.
import { test } from 'node:test'
import { consumer, counter, withPhone } from './support/stage.mjs'

/** Opens each page while no request is answered, has them refused, and lets the next ones through. */
async function each(phone, pages) {
  const held = []
  let way
  const ways = {
    hold: (route) => held.push(route),
    // Whoever says when to come back is not asked once more meanwhile.
    refuse: (route) => route.fulfill({ status: 503, headers: { 'retry-after': '30' }, json: { error: { code: 'UNAVAILABLE', message: '服务暂时不可用，请稍后再试', requestId: 'r' } } }),
    open: (route) => route.continue(),
  }
  await phone.answers(/^\/api\//, (route) => ways[way](route))
  for (const [open, trouble, there] of pages) {
    const name = (open.startsWith('subpackages/retail') ? 'retail-' : '') + open.replace(/\?.*/, '').split('/').at(-1)
    way = 'hold'
    await phone.start(open)
    await phone.top.getByRole('status', { name: '正在读取' }).waitFor()
    if (open === pages[0][0]) await phone.shot(`${name}-reading`)
    way = 'refuse'
    await Promise.all(held.splice(0).map(ways.refuse))
    await phone.sees(trouble)
    await phone.shot(`${name}-unread`)
    way = 'open'
    await phone.tap('重试')
    await phone.sees(there)
  }
}

test('each page of a buyer reads again', withPhone({ person: '网络不好的人' }, async (phone) => {
  const me = await consumer('网络不好的人')
  const trade = await counter.sell()
  const { confirmationId } = await me.ended(await me.post(`/trades/${trade.tradeId}/confirm`, { code: trade.code, iccidLast6: trade.last6 }))
  const { items: [{ cardId }] } = await me.get('/me/cards')
  await phone.tab('我的卡') // and he is logged in
  await phone.sees('共 1 张')
  await each(phone, [
    ['pages/cards/cards', '没有读到您的卡', '共 1 张'],
    [`pages/card/card?id=${cardId}`, '没有读到这张卡', '来历'],
    [`pages/receipt/receipt?id=${confirmationId}`, '没有读到凭证', '账本上的记录'],
    ['pages/registrations/registrations', '没有读到实名情况', '还没有登记过'],
    [`pages/real-name/real-name?carrier=cmcc&name=${encodeURIComponent('中国移动')}`, '没有读到实名情况', '只需一次'],
    ['pages/inbox/inbox', '没有读到消息', '收到 1 张卡'],
    ['pages/erasure/erasure', '没有读到您的情况', '会删除'],
  ])
}))

test('each page of a shop reads again', withPhone({ open: 'subpackages/retail/pages/home/home' }, async (phone) => {
  const trade = await counter.sell()
  await phone.staff()
  await phone.sees('张可卖')
  const shop = 'subpackages/retail/pages'
  await each(phone, [
    [`${shop}/home/home`, '没有读到库存', '张可卖'],
    [`${shop}/sales/sales`, '没有读到销售记录', '待确认'],
    [`${shop}/receive/receive`, '没有读到待收的货', /没有待收的货|确认收到/],
    [`${shop}/code/code?id=${trade.tradeId}`, '没有读到这笔交易', '等买家确认'],
  ])
}))
