// What `make run` shows to people without WeChat: the phones side by side.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { counter, openDesk, url } from './support/stage.mjs'

const shots = fileURLToPath(new URL('../shots/', import.meta.url))

test('the preview sells and buys, with a mouse', async () => {
  const desk = await openDesk()
  const errors = []
  desk.on('console', (m) => { if (m.type() === 'error') errors.push(m.text()) })
  desk.on('pageerror', (e) => errors.push(String(e)))
  await desk.goto(`${url}/preview`)
  const buyer = desk.frameLocator('iframe[title=买家的手机]')
  const trade = await counter.sell()
  await buyer.getByRole('textbox', { name: '交易码' }).fill(trade.code)
  await buyer.getByRole('button', { name: '下一步' }).click()
  await buyer.getByRole('textbox', { name: '卡号后六位' }).fill(trade.last6)
  await buyer.getByRole('button', { name: '查看交易' }).click()
  await buyer.getByText('来自 小王通讯店').waitFor()
  await desk.screenshot({ path: `${shots}preview.png` })
  await buyer.getByRole('button', { name: '确认收卡' }).click()
  await buyer.getByText('卡已归您').first().waitFor()
  await desk.close()
  assert.deepEqual(errors, [])
})
