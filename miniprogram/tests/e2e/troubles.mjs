// Bad networks, ended logins, sealed custody, nervous fingers: each has a way on, and none confirms twice.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Caller } from './support/server.mjs'
import { counter, shop, staff, url, withPhone } from './support/stage.mjs'

/** Brings a phone to the offer of a trade. */
async function offered(phone, more) {
  const trade = await counter.sell(1, more)
  await phone.looksUp(trade)
  await phone.sees('来自 小王通讯店')
  return trade
}

test('a login that has ended is renewed in silence', withPhone({}, async (phone) => {
  await offered(phone)
  await new Caller(url, await phone.token()).post('/auth/logout')
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
  assert.equal(await phone.get('logins'), 2)
}))

test('a double tap is one confirmation', withPhone({}, async (phone) => {
  let asked = 0
  await phone.answers(/\/confirm$/, (route) => {
    asked++
    return route.continue()
  })
  await offered(phone)
  await phone.tapTwice('确认收卡')
  await phone.sees('卡已归您')
  assert.equal(asked, 1)
}))

test('whatever is tapped twice is wanted once', withPhone({}, async (phone) => {
  const asked = []
  phone.page.on('request', (r) => { if (r.method() === 'POST') asked.push(new URL(r.url()).pathname.replace(/.*\//, '')) })
  const once = (what) => assert.deepEqual(asked.splice(0).filter((a) => a === what), [what])
  await offered(phone)
  await phone.tap('不对，拒收')
  await phone.choose('其他原因')
  await phone.tapTwice('拒收这张卡')
  await phone.sees('卡已退回给卖家')
  once('decline')
  await phone.start()
  await offered(phone)
  await phone.tap('确认收卡')
  await phone.tap('查看我的卡')
  await phone.top.getByRole('button', { name: /小王通讯店/ }).tap()
  await phone.tap('退给卖家')
  await phone.choose('卡不能用')
  await phone.tapTwice('退卡')
  await phone.sees('退卡已提交')
  once('return')
}))

test('an answer that is lost is asked for again under the same key', withPhone({}, async (phone) => {
  const keys = []
  await phone.answers(/\/confirm$/, async (route) => {
    keys.push(route.request().headers()['idempotency-key'])
    if (keys.length > 1) return route.continue()
    await route.fetch() // the server has it; its answer gets lost
    return route.abort('connectionreset')
  })
  const trade = await offered(phone)
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
  assert.deepEqual(keys, [keys[0], keys[0]])
  assert.equal((await shop.get(`/trades/${trade.tradeId}`)).state, 'confirmed')
}))

test('without a network the page says so, and goes on when it is back', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.type('交易码', trade.code)
  await phone.tap('下一步')
  await phone.type('卡号后六位', trade.last6)
  await phone.network(false)
  await phone.tap('查看交易')
  await phone.sees('网络连接不上')
  await phone.shot('prove-offline')
  await phone.network(true)
  await phone.tap('查看交易')
  await phone.sees('来自 小王通讯店')
}))

test('a network that is too slow says so, and goes on when it is faster', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  const restore = await phone.answers(/\/lookup$/, () => {}) // nobody answers
  await phone.set({ patience: 0.01 })
  await phone.looksUp(trade)
  await phone.sees('网络有点慢')
  await phone.shot('prove-slow')
  await phone.set({ patience: 10 })
  await restore()
  await phone.tap('查看交易')
  await phone.sees('来自 小王通讯店')
}))

test('my cards without a network', withPhone({}, async (phone) => {
  await phone.network(false)
  await phone.tab('我的卡')
  await phone.sees('没有读到您的卡')
  await phone.shot('cards-offline')
  await phone.network(true)
  await phone.tap('重试')
  await phone.sees('还没有卡')
  await phone.shot('cards-empty')
}))

test('the network goes while the ledger decides, and the page finds out', withPhone({}, async (phone) => {
  await offered(phone)
  const restore = await phone.answers(/\/confirmations\//, (route) => route.abort('internetdisconnected'))
  await phone.tap('确认收卡')
  await phone.sees('正在重新连接')
  await phone.shot('progress-lost')
  await restore()
  await phone.sees('卡已归您')
}))

test('custody is sealed: the request is kept, and ends by itself', withPhone({}, async (phone) => {
  const ops = await staff('yunwei')
  const trade = await offered(phone)
  await ops.post('/custody/seal')
  try {
    await phone.page.clock.install()
    await phone.tap('确认收卡')
    await phone.sees('已收到')
    await phone.page.clock.runFor(7000)
    await phone.sees('比平时慢一些')
    await phone.shot('progress-slow')
    await phone.tap('先离开')
    await phone.sees('正在确认，点这里看进度')
    await phone.shot('home-pending')
  } finally {
    await ops.post('/custody/seal/unseal')
  }
  await phone.tap('点这里看进度')
  await phone.sees('卡已归您')
  assert.equal((await shop.get(`/trades/${trade.tradeId}`)).state, 'confirmed')
}))

test('the end is told by events: nobody asks for it', withPhone({}, async (phone) => {
  const ops = await staff('yunwei')
  const asked = { state: 0, events: 0 }
  phone.page.on('request', (r) => {
    if (/\/confirmations\/[^/]+$/.test(r.url())) asked.state++
    if (/\/confirmations\/[^/]+\/events$/.test(r.url())) asked.events++
  })
  await offered(phone)
  await ops.post('/custody/seal')
  try {
    const listening = phone.page.waitForResponse(/\/events$/) // its head: the stream is open
    await phone.tap('确认收卡')
    await listening
  } finally {
    await ops.post('/custody/seal/unseal')
  }
  await phone.sees('卡已归您')
  assert.deepEqual(asked, { state: 1, events: 1 })
}))

test('a login that ends before the events is renewed', withPhone({}, async (phone) => {
  const ops = await staff('yunwei')
  let refused = 0
  await offered(phone)
  await phone.answers(/\/events$/, (route) => (refused++ ? route.continue() : route.fulfill({ status: 401, json: { error: { code: 'UNAUTHENTICATED', message: '请重新登录', requestId: 'r' } } })))
  await ops.post('/custody/seal')
  try {
    const again = phone.page.waitForResponse((r) => r.url().endsWith('/events') && r.status() === 200)
    await phone.tap('确认收卡')
    await again
  } finally {
    await ops.post('/custody/seal/unseal')
  }
  await phone.sees('卡已归您')
  assert.equal(await phone.get('logins'), 2)
}))

test('each step is told as it is done', withPhone({}, async (phone) => {
  const ops = await staff('yunwei')
  const step = (name, spoken) => phone.top.getByRole('listitem', { name: `${name}，${spoken}` }).waitFor()
  await offered(phone)
  let state = 'accepted'
  await phone.answers(/\/confirmations\/[^/]+$/, async (route) => {
    if (!state) return route.continue()
    const answer = await route.fetch()
    return route.fulfill({ response: answer, json: { ...await answer.json(), state } })
  })
  await phone.answers(/\/events$/, (route) => (!state ? route.continue() : route.fulfill({ contentType: 'text/event-stream', body: '' })))
  await ops.post('/custody/seal')
  try {
    await phone.tap('确认收卡')
    await step('已收到', '已完成')
    await step('签名', '正在进行')
    state = 'signed'
    await step('签名', '已完成')
    await step('提交账本', '正在进行')
    await phone.shot('progress-signed')
    state = 'submitted'
    await step('提交账本', '已完成')
    await step('记入区块', '正在进行')
  } finally {
    await ops.post('/custody/seal/unseal')
  }
  state = ''
  await phone.sees('卡已归您')
}))

test('a request that nobody knows any more leaves no reminder', withPhone({}, async (phone) => {
  await offered(phone)
  await phone.answers(/\/confirmations\//, (route) => route.fulfill({ status: 404, json: { error: { code: 'NOT_FOUND', message: '没有找到', requestId: 'r' } } }))
  await phone.tap('确认收卡')
  await phone.sees('没有找到这个请求')
  await phone.shot('progress-unknown')
  await phone.tap('回到首页')
  await phone.sees('收到一张物联网卡')
  await phone.gone('点这里看进度')
  assert.equal(await phone.page.evaluate(() => window.wx.getStorageSync('pending')), '')
}))

test('the app goes to the background while it confirms', withPhone({}, async (phone) => {
  await offered(phone)
  const restore = await phone.answers(/\/confirmations\//, () => {}) // nobody answers
  await phone.tap('确认收卡')
  await phone.sees('签名')
  await phone.shot('progress')
  await phone.background(true)
  await restore()
  await phone.background(false)
  await phone.sees('卡已归您')
}))

test('the app is closed while it confirms, and opened again', withPhone({}, async (phone) => {
  await offered(phone)
  const restore = await phone.answers(/\/confirmations\//, () => {})
  await phone.tap('确认收卡')
  await phone.sees('提交账本')
  await restore()
  await phone.start()
  // Whether it ended before the home page asked, or after: the phone finds out.
  const token = await phone.token()
  const { items } = await new Caller(url, token).get('/me/cards')
  if (items.length === 0) {
    await phone.tap('点这里看进度')
    await phone.sees('卡已归您')
    await phone.tap('查看我的卡')
  } else await phone.tab('我的卡')
  await phone.sees('共 1 张')
  await phone.tab('收卡')
  await phone.gone('点这里看进度')
}))

test('a phone whose clock is a day ahead confirms like any other', withPhone({}, async (phone) => {
  await phone.page.clock.install({ time: Date.now() + 86_400_000 })
  await phone.start()
  await offered(phone, { expiresIn: '1h' })
  await phone.sees(/还剩 (1 小时|[345]\d:\d\d)/)
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
  assert.ok(await phone.get('logins') <= 2)
}))

test('the offer expires while it is looked at', withPhone({}, async (phone) => {
  await phone.page.clock.install()
  await phone.start()
  const trade = await counter.sell(1, { expiresIn: '4m' })
  await phone.looksUp(trade)
  await phone.sees(/0\d:\d\d/)
  await phone.shot('offer-soon')
  await phone.page.clock.fastForward('11:00')
  await phone.sees('这笔交易已经失效')
}))

test('the seller takes it back while it is looked at', withPhone({}, async (phone) => {
  const trade = await offered(phone)
  await shop.ended(await shop.post(`/trades/${trade.tradeId}/cancel`))
  await phone.tap('确认收卡')
  await phone.sees('这笔交易已经失效')
  await phone.shot('offer-over')
  await phone.tap('输入新的交易码')
  await phone.sees('收到一张物联网卡')
}))

test('somebody else was faster', withPhone({}, async (phone) => {
  const trade = await offered(phone)
  const other = await Caller.consumer(url, '手快的人')
  await other.ended(await other.post(`/trades/${trade.tradeId}/confirm`, { code: trade.code, iccidLast6: trade.last6 }))
  await phone.tap('确认收卡')
  await phone.sees('这笔交易已经失效')
}))

test('the server is down for a moment', withPhone({}, async (phone) => {
  await offered(phone)
  let down = 2
  await phone.answers(/\/confirm$/, (route) => (down-- > 0
    ? route.fulfill({ status: 503, headers: { 'retry-after': '1' }, json: { error: { code: 'UNAVAILABLE', message: '服务暂时不可用，请稍后再试', requestId: 'r' } } })
    : route.continue()))
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
}))

test('the server is down for longer', withPhone({}, async (phone) => {
  await offered(phone)
  const restore = await phone.answers(/\/confirm$/, (route) =>
    route.fulfill({ status: 503, headers: { 'retry-after': '30' }, json: { error: { code: 'UNAVAILABLE', message: '服务暂时不可用，请稍后再试', requestId: 'r' } } }))
  await phone.tap('确认收卡')
  await phone.sees('服务暂时不可用')
  await phone.shot('offer-unavailable')
  await restore()
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
}))

test('WeChat gives no login', withPhone({}, async (phone) => {
  await phone.page.evaluate(() => window.wx.removeStorageSync('session'))
  await phone.set({ loginFails: 'system error' })
  await phone.tab('我的卡')
  await phone.sees('微信登录没有成功')
  await phone.set({ loginFails: '' })
  await phone.tap('重试')
  await phone.sees('还没有卡')
}))
