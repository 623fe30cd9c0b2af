// All the ways that lead to a trade, and those that lead nowhere.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counter, openPhone, url, withPhone } from './support/stage.mjs'

const atTrade = async (phone, trade) => {
  await phone.sees('卡在您手里，才能看到这笔交易')
  await phone.sees(`${trade.code.slice(0, 4)} ${trade.code.slice(4)}`)
}

test('a mini-program code opens the trade by its scene', async () => {
  const trade = await counter.sell()
  const phone = await openPhone({ open: `pages/trade/trade?scene=${encodeURIComponent(`c=${trade.code}`)}` })
  await atTrade(phone, trade)
  await phone.close()
})

test('a plain link opens it', async () => {
  const trade = await counter.sell()
  const phone = await openPhone({ open: `pages/trade/trade?q=${encodeURIComponent(`${url}/t/${trade.code}`)}` })
  await atTrade(phone, trade)
  await phone.close()
})

test('scanning the plain QR code opens it', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.holds(`${url}/t/${trade.code}`)
  await phone.tap('扫一扫')
  await atTrade(phone, trade)
}))

test('scanning a mini-program code within the mini-program opens it', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.holds({ result: '', path: `pages/trade/trade?scene=c%3D${trade.code}`, scanType: 'WX_CODE' })
  await phone.tap('扫一扫')
  await atTrade(phone, trade)
}))

test('pasting a message with a code fills the boxes', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.type('交易码', `您的交易码：${trade.code.slice(0, 4)} ${trade.code.slice(4).toLowerCase()}，今天内有效`)
  await phone.tap('下一步')
  await atTrade(phone, trade)
}))

test('the button pastes from the clipboard', withPhone({}, async (phone) => {
  await phone.set({ clipboard: '没有码' })
  await phone.tap('粘贴交易码')
  await phone.sees('剪贴板里没有交易码')
  await phone.set({ clipboard: `${url}/t/K7Q2M9XA` })
  await phone.tap('粘贴交易码')
  await phone.gone('剪贴板里没有交易码')
  await phone.tap('下一步')
  await phone.sees('K7Q2 M9XA')
}))

test('the clipboard waits for the privacy guide, also after a page that asked for it was left', async () => {
  const phone = await openPhone({ query: { privacy: 'unasked' }, open: 'pages/real-name/real-name?carrier=yidong&name=x' })
  const later = () => phone.page.evaluate(() => { window.__phone.privacy.refusedAt = -Infinity })
  await phone.tap('不同意')
  await phone.tap('返回')
  await phone.set({ clipboard: `${url}/t/K7Q2M9XA` })
  await later()
  await phone.tap('粘贴交易码')
  await phone.sees('先看看我们怎样保护您的信息')
  await phone.tap('不同意')
  await phone.sees('没有读到剪贴板')
  await later()
  await phone.tap('粘贴交易码')
  await phone.page.getByRole('button', { name: '同意', exact: true }).tap()
  await phone.tap('下一步')
  await phone.sees('K7Q2 M9XA')
  await phone.close()
})

test('who does not agree copies nothing, and is told', async () => {
  const trade = await counter.sell()
  const phone = await openPhone({ query: { privacy: 'unasked' } })
  await phone.looksUp(trade)
  await phone.tap('确认收卡')
  await phone.sees('卡已归您')
  await phone.tap('复制交易号')
  await phone.tap('不同意')
  await phone.sees('没有复制：要先同意隐私保护指引')
  assert.equal(await phone.get('clipboard'), '')
  await phone.close()
})

test('scanning something else says so', withPhone({}, async (phone) => {
  await phone.holds('https://example.com/')
  await phone.tap('扫一扫')
  await phone.sees('这不是卖家的二维码')
  await phone.shot('home-wrong-scan')
}))

test('closing the scanner says nothing', withPhone({}, async (phone) => {
  await phone.holds({ fail: 'cancel' })
  await phone.tap('扫一扫')
  await phone.sees('收到一张物联网卡')
  assert.equal(await phone.top.getByRole('status').first().textContent(), '')
}))

test('without a camera there is another way', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.set({ camera: 'denied' })
  await phone.tap('扫一扫')
  await phone.sees('没有相机权限')
  await phone.shot('home-no-camera')
  await phone.type('交易码', trade.code)
  await phone.tap('下一步')
  await phone.tap('扫卡上的条码')
  await phone.sees('没有相机权限，请直接输入后六位')
  await phone.shot('prove-no-camera')
  await phone.type('卡号后六位', trade.last6)
  await phone.tap('查看交易')
  await phone.sees('确认收卡')
}))

test('the camera is allowed, and scans', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.set({ camera: 'denied' })
  await phone.tap('扫一扫')
  await phone.sees('没有相机权限')
  await phone.holds(`${url}/t/${trade.code}`)
  await phone.shot('home-camera')
  await phone.tap('打开相机权限')
  await atTrade(phone, trade)
  await phone.set({ camera: 'denied' })
  await phone.tap('扫卡上的条码')
  await phone.sees('没有相机权限，请直接输入后六位')
  await phone.holds(trade.iccid)
  await phone.shot('prove-camera')
  await phone.tap('打开相机权限')
  await phone.sees('来自 小王通讯店')
}))

test('the barcode on the card proves that it is in hand', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.type('交易码', trade.code)
  await phone.tap('下一步')
  await phone.holds('12')
  await phone.tap('扫卡上的条码')
  await phone.sees('这不是卡上的条码')
  await phone.holds(trade.iccid)
  await phone.tap('扫卡上的条码')
  await phone.sees('来自 小王通讯店')
}))

test('a whole card number that is pasted is cut to its end', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  await phone.type('交易码', trade.code)
  await phone.tap('下一步')
  await phone.type('卡号后六位', trade.iccid)
  await phone.tap('查看交易')
  await phone.sees('来自 小王通讯店')
}))

test('a wrong code, a wrong card, and too many of them', withPhone({}, async (phone) => {
  const trade = await counter.sell()
  for (let i = 0; i < 5; i++) {
    await phone.type('交易码', i % 2 ? 'ZZZZ9999' : trade.code)
    await phone.tap('下一步')
    await phone.type('卡号后六位', '999999')
    await phone.tap('查看交易')
    await phone.sees('交易码无效或已过期')
    if (i === 0) await phone.shot('prove-wrong')
    await phone.back()
  }
  await phone.looksUp(trade)
  await phone.sees('输错次数过多')
}))

test('a link without a code leads home', async () => {
  const phone = await openPhone({ open: 'pages/trade/trade?q=https%3A%2F%2Fexample.com' })
  await phone.sees('收到一张物联网卡')
  await phone.close()
})
