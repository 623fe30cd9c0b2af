// A shop that is new and has nothing yet, what becomes of its sales by time and bad luck, and the code that it shows.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counter, newStaff, url, withPhone } from './support/stage.mjs'

const retail = { open: 'subpackages/retail/pages/home/home' }

/** The picture of the code that is shown, once it is there. */
async function shownCode(phone) {
  const picture = phone.top.getByLabel('交易的小程序码')
  await phone.page.waitForFunction(() => [...document.querySelectorAll('.frame:not([hidden]) img')].some((i) => i.complete && i.naturalWidth > 0))
  return picture
}

test('the code on the screen leads a camera to the trade', withPhone(retail, async (phone) => {
  const trade = await counter.sell()
  await phone.staff()
  await phone.tap(`交易码 ${trade.code}`)
  for (const colorScheme of ['light', 'dark']) {
    await phone.page.emulateMedia({ colorScheme })
    const [page, scene] = (await phone.reads(await shownCode(phone))).split('?scene=')
    assert.deepEqual([page, decodeURIComponent(scene)], ['pages/trade/trade', `c=${trade.code}`], colorScheme)
  }
  // Where WeChat makes no mini-program code the page shows a plain one.
  await phone.answers(/\/wxacode$/, (route) => route.fulfill({ status: 503, json: { error: { code: 'WECHAT_UNAVAILABLE', message: '微信暂时没有回应', requestId: 'r' } } }))
  await phone.back()
  await phone.tap(`交易码 ${trade.code}`)
  const link = await phone.reads(await shownCode(phone))
  assert.equal(link, `${url}/t/${trade.code}`)
  await phone.start('pages/home/home')
  await phone.holds(link)
  await phone.tap('扫一扫')
  await phone.type('卡号后六位', trade.last6)
  await phone.tap('查看交易')
  await phone.sees('来自 小王通讯店')
}))

test('who is new changes his password first, and finds nothing in stock', withPhone(retail, async (phone) => {
  const once = await newStaff('xiaolin', 'hualian', 'distributor')
  await phone.staff('xiaolin', once)
  await phone.sees('设置新密码')
  await phone.disabled('保存并登录')
  await phone.shot('retail-new-password')
  await phone.type('新密码', once)
  await phone.tap('保存并登录')
  await phone.sees('新密码和原来的一样，请换一个')
  await phone.shot('retail-new-password-problem')
  await phone.type('新密码', 'wo-zi-ji-de-mima-2026')
  await phone.tap('保存并登录')
  await phone.sees('张可卖')
  await phone.shot('retail-home-empty')
  await phone.tap('待收货')
  await phone.sees('没有待收的货')
  await phone.shot('retail-receive-empty')
  await phone.back()
  await phone.tap('卖卡')
  await phone.page.getByRole('radio', { name: '从库存选' }).tap()
  await phone.sees('没有可以卖的卡')
  await phone.shot('retail-stock-empty')
  await phone.start(retail.open)
  await phone.tap('退出商家账号')
  await phone.page.getByRole('dialog').getByRole('button', { name: '退出' }).tap()
  await phone.staff('xiaolin', 'wo-zi-ji-de-mima-2026')
  await phone.sees('张可卖')
}))

test('who has sold nothing sees no sales', withPhone(retail, async (phone) => {
  await phone.staff('liantong')
  await phone.tap('销售记录')
  await phone.sees('还没有卖过卡')
  await phone.shot('retail-sales-empty')
  await phone.tap('去卖卡')
  await phone.sees('扫卡上的条码')
}))

const ends = {
  failed: ['没有写入账本，卡还在库存里', { endTx: undefined }],
  released: ['过期未确认，卡已退回库存', {}],
  cancelling: ['正在取消', {}],
  declined: ['买家拒收，卡已退回库存', { reason: 'OTHER', reasonText: '颜色不对' }],
}

test('each end of a sale is told', withPhone(retail, async (phone) => {
  const trade = await counter.sell()
  let edit
  await phone.answers(new RegExp(`/trades/${trade.tradeId}$`), async (route) => {
    const answer = await route.fetch()
    return route.fulfill({ response: answer, json: { ...await answer.json(), ...edit } })
  })
  await phone.staff()
  for (const [state, [words, more]] of Object.entries(ends)) {
    edit = { state, endedAt: state === 'cancelling' ? undefined : new Date().toISOString(), ...more }
    await phone.tap(`交易码 ${trade.code}`)
    await phone.sees(words)
    await phone.gone('复制发给买家')
    if (more.reasonText) await phone.sees(`：${more.reasonText}`)
    await phone.shot(`retail-${state}`)
    await phone.back()
  }
}))

test('a sale is looked for without a camera', withPhone(retail, async (phone) => {
  const trade = await counter.sell()
  await phone.staff()
  await phone.tap('销售记录')
  await phone.set({ camera: 'denied' })
  await phone.tap('扫卡上的条码来查找')
  await phone.sees('没有相机权限，请输入卡号后六位')
  await phone.shot('retail-search-no-camera')
  await phone.holds(trade.iccid)
  await phone.tap('打开相机权限')
  await phone.top.getByRole('button', { name: '1 张，待确认' }).waitFor()
  await phone.page.waitForFunction(() => document.querySelectorAll('.frame:not([hidden]) .item').length === 1)
}))
