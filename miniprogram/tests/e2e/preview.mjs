// What `make run` shows to people without WeChat: a shop and a buyer, side by side.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDesk, url } from './support/stage.mjs'

const shots = fileURLToPath(new URL('../shots/', import.meta.url))

test('a card goes from the left phone to the right one, with a real name between', async () => {
  const desk = await openDesk()
  const errors = []
  desk.on('console', (m) => { if (m.type() === 'error') errors.push(m.text()) })
  desk.on('pageerror', (e) => errors.push(String(e)))
  await desk.goto(`${url}/preview`)
  const seller = desk.frameLocator('iframe[title=店员的手机]')
  const buyer = desk.frameLocator('iframe[title=买家的手机]')
  const tap = (phone, name) => phone.getByRole('button', { name }).filter({ visible: true }).first().click()

  await tap(seller, '卖卡')
  await tap(seller, '扫卡上的条码')
  await tap(seller, /抽屉里的中国电信卡（要实名）/)
  await tap(seller, '卖出 1 张')
  await seller.getByText('等买家确认', { exact: true }).waitFor()

  await tap(buyer, '扫一扫')
  await tap(buyer, '旁边手机上的二维码')
  await tap(buyer, '扫卡上的条码')
  await tap(buyer, /旁边要卖的卡/)
  await buyer.getByText('来自 小王通讯店').waitFor()
  await tap(buyer, '去登记实名')
  await buyer.getByRole('textbox', { name: '姓名' }).fill('张三')
  await buyer.getByRole('textbox', { name: '身份证号' }).fill('11010519491231002X')
  await buyer.getByRole('checkbox', { name: '我已阅读并同意' }).click()
  await desk.screenshot({ path: `${shots}preview.png` })
  await tap(buyer, '提交')
  await tap(buyer, '允许') // WeChat asks whether she wants to be told
  await tap(buyer, '继续确认收卡')
  await tap(buyer, '确认收卡')
  await tap(buyer, '拒绝')
  await buyer.getByText('卡已归您').first().waitFor()
  await seller.getByText('买家已确认，卡已转出').waitFor()
  await desk.screenshot({ path: `${shots}preview-done.png` })
  for (const frame of desk.frames().slice(1)) assert.deepEqual(await frame.evaluate(() => window.__phone.faults), [])
  await desk.close()
  assert.deepEqual(errors, [])
})
