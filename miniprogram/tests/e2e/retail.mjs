// The shop: from stock to a code that a buyer confirms, seen from both phones.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Caller, Counter } from './support/server.mjs'
import { consumer, counter, shop, staff, url, withPhone } from './support/stage.mjs'

const retail = { open: 'subpackages/retail/pages/home/home' }

async function logIn(phone, username = 'xiaowang', password = 'cardflow-demo') {
  await phone.sees('商家登录')
  await phone.type('账号', username)
  await phone.type('密码', password)
  await phone.tap('登录')
}

/** Cards fresh from their carrier in the shop's drawer. */
async function toShop(segment) {
  const carrier = await staff('yidong')
  const { confirmations } = await carrier.post('/lots', { segments: [segment], retailPolicy: 'OPEN' })
  await Promise.all(confirmations.map((a) => carrier.ended(a)))
  let { trades: [t] } = await carrier.post('/trades', { mode: 'NAMED', to: 'xiaowang', segments: [segment] })
  while (t.state === 'offering') t = await carrier.get(`/trades/${t.tradeId}`)
  await shop.ended(await shop.post(`/trades/${t.tradeId}/confirm`))
}

const confirm = async (name, trade, last6) => {
  const buyer = await consumer(name)
  await buyer.ended(await buyer.post(`/trades/${trade.tradeId}/confirm`, { code: trade.code, iccidLast6: last6 }))
}

test('the shop sells a box and sees it confirmed', withPhone(retail, async (phone) => {
  await phone.shot('retail-login')
  await logIn(phone)
  await phone.sees('张可卖')
  await phone.shot('retail-home')
  await phone.tap('卖卡')
  const { start, end } = counter.take(3)
  await phone.page.getByRole('radio', { name: '整盒' }).tap()
  await phone.holds(end, start) // whichever end is scanned first
  await phone.tap('扫第一张的条码')
  await phone.tap('扫最后一张的条码')
  await phone.sees('卖出 3 张，生成交易码')
  await phone.shot('retail-sell')
  await phone.tap('生成交易码')
  await phone.sees('等买家确认')
  await phone.page.waitForFunction(() => [...document.querySelectorAll('.frame:not([hidden]) img')].every((i) => i.complete && i.naturalWidth > 0))
  await phone.shot('retail-code')
  const { items } = await shop.get('/trades?side=seller&state=offered&limit=5')
  const trade = items.find((t) => t.segments[0].start === start)
  await phone.sees(`${trade.code.slice(0, 4)} ${trade.code.slice(4)}`)
  await confirm(`收盒的人${start}`, trade, end.slice(-6))
  await phone.sees('买家已确认，卡已转出')
  await phone.shot('retail-sold')
}))

test('a code for each card of a box', withPhone(retail, async (phone) => {
  await logIn(phone)
  await phone.tap('卖卡')
  const { start, end } = counter.take(4)
  await phone.page.getByRole('radio', { name: '整盒' }).tap()
  await phone.type('卡号', start)
  await phone.tap('作为第一张')
  await phone.sees('重扫')
  await phone.type('卡号', end)
  await phone.tap('加上')
  await phone.sees('卖出 4 张')
  await phone.page.getByRole('switch', { name: '每张卡一个码' }).check()
  await phone.tap('生成 4 个交易码')
  await phone.sees('每张卡一个，按卡号对应')
  await phone.shot('retail-sheet')
  await phone.tap('打印')
  await phone.sees('4 个交易码，1 页')
  await phone.button('存进相册').waitFor()
  await phone.shot('retail-print')
  await phone.set({ album: 'denied' })
  await phone.tap('存进相册')
  await phone.sees('微信还没有相册权限')
  await phone.shot('retail-print-denied')
  await phone.tap('去打开权限')
  await phone.sees('已存进相册')
  await phone.shot('retail-print-saved')
  await phone.tap('第 1 页，发出去')
  const [[saved], [sent]] = [await phone.get('saved'), await phone.get('shared')]
  const paper = await phone.page.evaluate(async (file) => {
    const img = new window.Image()
    img.src = file
    await img.decode()
    return [img.naturalWidth, img.naturalHeight]
  }, saved)
  assert.deepEqual(paper, [1240, 1754])
  assert.equal(sent, saved)
  await phone.back()
  await phone.tap('复制成表格')
  const lines = (await phone.get('clipboard')).split('\n')
  assert.equal(lines.length, 5)
  const [iccid, code] = lines[1].split('\t')
  const buyer = await consumer(`拿第一张的人${start}`)
  const found = await buyer.post('/trade-codes/lookup', { code, iccidLast6: iccid.slice(-6) })
  assert.equal(found.count, 1)
}))

test('a code for each of hundreds is made as a job, and all of them are printed', withPhone(retail, async (phone) => {
  const many = 200
  const [start, end] = [700001, 700000 + many].map(Counter.iccid)
  await toShop({ start, end })
  // What is made at once is told as the server tells of thousands: by a job that is asked how far it is.
  let tradeIds
  let done = 40
  await phone.answers(/\/trades$/, async (route) => {
    if (route.request().method() !== 'POST') return route.continue()
    const answer = await route.fetch()
    tradeIds = (await answer.json()).trades.map((t) => t.tradeId)
    return route.fulfill({ response: answer, status: 202, json: { jobId: 'J' } })
  })
  await phone.answers(/\/jobs\/J$/, (route) => route.fulfill({ json: done < many
    ? { state: 'running', done, total: many }
    : { state: 'done', done: many, total: many, results: [{ cards: many, tradeIds }] } }))
  let requests = 0
  phone.page.on('request', (r) => { if (/\/api\/v1\/trades/.test(r.url())) requests++ })
  await logIn(phone)
  await phone.tap('卖卡')
  await phone.page.getByRole('radio', { name: '整盒' }).tap()
  await phone.holds(start, end)
  await phone.tap('扫第一张的条码')
  await phone.tap('扫最后一张的条码')
  await phone.sees(`卖出 ${many} 张`)
  await phone.page.getByRole('switch', { name: '每张卡一个码' }).check()
  await phone.tap(`生成 ${many} 个交易码`)
  await phone.sees('已生成 40 / 200')
  done = 80
  await phone.sees('已生成 80 / 200')
  done = many
  await phone.sees('每张卡一个，按卡号对应')
  await phone.page.waitForFunction((n) => document.querySelectorAll('.frame:not([hidden]) .row').length === n, many)
  assert.ok(requests < 40, `${requests} requests for trades`)
  await phone.tap('复制成表格')
  const lines = (await phone.get('clipboard')).split('\n')
  assert.equal(lines.length, many + 1)
  assert.deepEqual([lines[1], lines[many]].map((l) => l.split('\t')[0]), [start, end])
  await phone.tap('打印')
  await phone.sees(`${many} 个交易码，10 页`)
  await phone.button('存进相册').waitFor()
  // The app is closed, and the codes are found again among the sales, those that have not been scrolled to as well.
  await phone.start('subpackages/retail/pages/sheet/sheet')
  await phone.sees('交易码在销售记录里')
  await phone.tap('去销售记录')
  await phone.page.getByRole('radio', { name: '待确认' }).tap()
  await phone.tap('打印这些交易码')
  await phone.sees(/^2\d\d 个交易码/)
}))

test('cards that can not be sold', withPhone(retail, async (phone) => {
  const taken = await counter.sell()
  const other = counter.take()
  await logIn(phone)
  await phone.tap('卖卡')
  await phone.disabled('生成交易码')
  for (const [text, words] of [['1234', '这不是卡号'], ['898604B7192270274999', '这张卡不在库存里'], [taken.iccid, '这张卡正在另一笔交易中']]) {
    await phone.holds(text)
    await phone.tap('扫卡上的条码')
    await phone.sees(words)
  }
  await phone.holds(other.start, other.start)
  await phone.tap('扫卡上的条码')
  await phone.sees('卖出 1 张')
  await phone.tap('扫卡上的条码')
  await phone.sees('这张卡已经选过了')
  await phone.shot('retail-sell-problem')
  await phone.tap(`去掉 ${other.start}`)
  await phone.disabled('生成交易码')
}))

test('a sale is taken back', withPhone(retail, async (phone) => {
  const trade = await counter.sell()
  await logIn(phone)
  await phone.tap(`交易码 ${trade.code}`)
  await phone.sees('等买家确认')
  await phone.tap('复制发给买家')
  assert.match(await phone.get('clipboard'), new RegExp(trade.code.slice(0, 4)))
  await phone.tap('取消这笔交易')
  await phone.page.getByRole('dialog').getByRole('button', { name: '取消交易' }).tap()
  await phone.sees('已取消，卡已退回库存')
  await phone.shot('retail-cancelled')
}))

test('whatever the shop taps twice is wanted once', withPhone(retail, async (phone) => {
  const asked = []
  phone.page.on('request', (r) => { if (r.method() === 'POST') asked.push(new URL(r.url()).pathname.replace(/.*\//, '')) })
  const once = (what) => assert.deepEqual(asked.splice(0).filter((a) => a === what), [what])
  const back = await counter.sell()
  const buyer = await consumer('两次点的人')
  await buyer.ended(await buyer.post(`/trades/${back.tradeId}/confirm`, { code: back.code, iccidLast6: back.last6 }))
  await buyer.ended(await buyer.post(`/trades/${back.tradeId}/return`, { reason: '卡不能用' }))
  await logIn(phone)
  await phone.sees('张可卖')
  const { total } = await shop.get('/inventory')
  await phone.sees(new RegExp(`^${total}$`))
  await phone.tap('卖卡')
  await phone.type('卡号', counter.take().start)
  await phone.tap('加上')
  await phone.sees('卖出 1 张')
  await phone.tapTwice('卖出 1 张')
  await phone.sees('等买家确认')
  once('trades')
  await phone.tap('取消这笔交易')
  const sure = await phone.page.getByRole('dialog').getByRole('button', { name: '取消交易' }).boundingBox()
  const tap = () => phone.page.touchscreen.tap(sure.x + sure.width / 2, sure.y + sure.height / 2)
  await Promise.all([tap(), tap()])
  await phone.sees('已取消，卡已退回库存')
  once('cancel')
  await phone.start('subpackages/retail/pages/receive/receive')
  const row = phone.top.locator('.card', { hasText: back.iccid.slice(-4) })
  const { x, y, width, height } = await row.getByRole('button', { name: '确认收到' }).boundingBox()
  const receive = () => phone.page.touchscreen.tap(x + width / 2, y + height / 2)
  await Promise.all([receive(), receive()])
  await row.waitFor({ state: 'hidden' })
  once('confirm')
}))

test('a refusal is seen with its reason, and found among the sales', withPhone(retail, async (phone) => {
  const trade = await counter.sell()
  const buyer = await consumer('拒收的人')
  await buyer.ended(await buyer.post(`/trades/${trade.tradeId}/decline`, { code: trade.code, iccidLast6: trade.last6, reason: 'DAMAGED' }))
  await logIn(phone)
  await phone.tap('销售记录')
  await phone.sees('全部')
  await phone.page.getByRole('radio', { name: '被拒收' }).tap()
  await phone.page.getByRole('button', { name: /被拒收/ }).first().waitFor()
  await phone.shot('retail-sales')
  await phone.page.getByRole('button', { name: /被拒收/ }).first().tap()
  await phone.sees('卡损坏或拆过封')
}))

test('a sale is found by its code, its card and its day', withPhone(retail, async (phone) => {
  const box = await counter.sell(3)
  const other = await counter.sell()
  const only = async (trade) => {
    await phone.top.getByRole('button', { name: `${trade.count} 张，待确认` }).waitFor()
    await phone.page.waitForFunction(() => document.querySelectorAll('.frame:not([hidden]) .item').length === 1)
  }
  const search = async (text) => {
    await phone.type('查找', text)
    await phone.tap('查找')
  }
  await logIn(phone)
  await phone.tap('销售记录')
  await search(`${box.code.slice(0, 4).toLowerCase()} ${box.code.slice(4)}`)
  await only(box)
  await phone.shot('retail-search')
  await search(other.last6)
  await only(other)
  const inBox = `${box.iccid.slice(0, -6)}${String(Number(box.last6) + 1).padStart(6, '0')}`
  await phone.tap('清空')
  await phone.holds(inBox)
  await phone.tap('扫卡上的条码来查找')
  await only(box)
  await phone.choose('已确认')
  await phone.sees('没有找到')
  await phone.shot('retail-search-nothing')
  await phone.tap('看全部')
  await phone.sees(other.code.slice(0, 4))
  await phone.tap('日期')
  await phone.page.getByRole('dialog').getByLabel('日期').fill('2020-02-03')
  await phone.tap('确定')
  await phone.sees('2020年2月3日')
  await phone.sees('没有找到')
  await phone.tap('不限日期')
  await phone.sees(other.code.slice(0, 4))
  await search('12345')
  await phone.sees('卡号后六位，或整个卡号')
  await phone.shot('retail-search-odd')
}))

test('a card that comes back is received', withPhone(retail, async (phone) => {
  const trade = await counter.sell()
  const buyer = await consumer('又退卡的人')
  await buyer.ended(await buyer.post(`/trades/${trade.tradeId}/confirm`, { code: trade.code, iccidLast6: trade.last6 }))
  await buyer.ended(await buyer.post(`/trades/${trade.tradeId}/return`, { reason: '卡不能用' }))
  await logIn(phone)
  await phone.tap('待收货')
  await phone.sees('买家退回')
  await phone.shot('retail-receive')
  const row = phone.top.locator('.card', { hasText: trade.iccid.slice(-4) })
  await row.getByRole('button', { name: '确认收到' }).tap()
  await row.waitFor({ state: 'hidden' })
  assert.equal((await shop.post('/cards/find', { iccid: trade.iccid })).mine, true)
}))

test('custody is sealed while the shop sells: the sale ends by itself', withPhone(retail, async (phone) => {
  const ops = await staff('yunwei')
  const { start } = counter.take()
  await logIn(phone)
  await phone.tap('卖卡')
  await phone.type('卡号', start)
  await phone.tap('加上')
  await phone.sees('卖出 1 张')
  await ops.post('/custody/seal')
  try {
    await phone.page.clock.install()
    await phone.tap('卖出 1 张')
    await phone.sees('正在写入账本')
    await phone.page.clock.runFor(7000)
    await phone.sees('比平时慢一些')
    // A code that isn't on the ledger is wrong to whoever types it: nobody is shown it.
    await phone.sees('写好就能扫')
    await phone.gone('复制发给买家')
    assert.equal(await phone.top.getByLabel(/交易码|小程序码/).count(), 0)
    await phone.shot('retail-slow')
  } finally {
    await ops.post('/custody/seal/unseal')
  }
  await phone.sees('等买家确认')
  await phone.top.getByLabel(/^交易码 [0-9A-Z]{8}$/).waitFor()
  await phone.gone('比平时慢一些')
  const restore = await phone.answers(/\/trades\//, (route) => route.abort('internetdisconnected'))
  await phone.sees('正在重新连接')
  await phone.shot('retail-lost')
  await restore()
  await phone.gone('正在重新连接')
}))

test('without a camera the shop types', withPhone(retail, async (phone) => {
  const { start } = counter.take()
  await logIn(phone)
  await phone.tap('卖卡')
  await phone.set({ camera: 'denied' })
  await phone.tap('扫卡上的条码')
  await phone.sees('没有相机权限，请输入卡号')
  await phone.shot('retail-no-camera')
  await phone.holds(start)
  await phone.tap('打开相机权限')
  await phone.sees('卖出 1 张')
}))

test('a wrong password, and an account that sells nothing', withPhone(retail, async (phone) => {
  await logIn(phone, 'xiaowang', 'wrong-password')
  await phone.sees('用户名或密码不正确')
  await phone.shot('retail-login-wrong')
  await logIn(phone, 'jianguan')
  await phone.sees('这个账号不能卖卡')
}))

test('a login of the shop that has ended leads to the login', withPhone(retail, async (phone) => {
  await logIn(phone)
  await phone.sees('张可卖')
  await new Caller(url, await phone.page.evaluate(() => window.wx.getStorageSync('staff').token)).post('/auth/logout')
  await phone.tap('销售记录')
  await phone.sees('商家登录')
}))

test('who leaves the shop has left', withPhone({}, async (phone) => {
  await phone.tab('我的')
  await phone.tap('我是商家')
  await logIn(phone)
  await phone.tap('退出商家账号')
  await phone.page.getByRole('dialog').getByRole('button', { name: '退出' }).tap()
  await phone.sees('商家登录')
  assert.equal(await phone.page.evaluate(() => window.wx.getStorageSync('staff')), '')
}))

test('the distributor sends a box to the shop', withPhone(retail, async (phone) => {
  const { start, end } = { start: '898604B7192270274300', end: '898604B7192270274309' }
  const carrier = await staff('yidong')
  let { trades: [t] } = await carrier.post('/trades', { mode: 'NAMED', to: 'xiaowang', segments: [{ start, end }] })
  while (t.state === 'offering') t = await carrier.get(`/trades/${t.tradeId}`)
  await logIn(phone)
  await phone.tap('待收货')
  await phone.sees('上家转入')
  const row = phone.top.locator('.card', { hasText: '4309' })
  await row.getByRole('button', { name: '拒收' }).tap()
  await phone.page.getByRole('menuitem', { name: '拒收：卡号对不上' }).tap()
  await row.waitFor({ state: 'hidden' })
  assert.equal((await carrier.get(`/trades/${t.tradeId}`)).state, 'declined')
}))
