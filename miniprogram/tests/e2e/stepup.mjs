// With custody.step_up_age cards change hands by a young login only: the phone logs in again in silence, and asks again.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPhone, serverWith } from './support/stage.mjs'

const age = 60_000 // the shortest that a configuration may have

/** A phone that looks at an offer. */
async function offered({ url, counter }) {
  const phone = await openPhone({}, url)
  await phone.looksUp(await counter.sell())
  await phone.sees('来自 小王通讯店')
  return phone
}

/** Two phones with a login: one is about to confirm, the other has its card already, and will return it. */
async function logIn() {
  const there = await serverWith({ CARDFLOW_CUSTODY_STEP_UP_AGE: '1m' })
  const [buyer, owner] = [await offered(there), await offered(there)]
  await owner.tap('确认收卡')
  await owner.sees('卡已归您')
  assert.equal(await owner.get('logins'), 1)
  return { buyer, owner, old: new Promise((resolve) => setTimeout(resolve, age + 1000)) }
}
const begun = logIn()
begun.catch(() => {}) // each test says so

/** What a phone asks for, and is told, at a path. */
async function heard(phone, path) {
  const all = []
  await phone.answers(path, async (route) => {
    const answer = await route.fetch()
    all.push([answer.status(), (await answer.json()).error?.code, route.request().headers()['idempotency-key']])
    await route.fulfill({ response: answer })
  })
  return all
}

async function onceMore(phone, all) {
  assert.equal(await phone.get('logins'), 2)
  assert.deepEqual(all.map(([status, code]) => [status, code]), [[401, 'LOGIN_TOO_OLD'], [202, undefined]])
  assert.equal(all[0][2], all[1][2], 'it is the same wish')
  await phone.close()
}

test('a card is confirmed by a login that is too old: another one, and it is his', async () => {
  const { buyer, old } = await begun
  const all = await heard(buyer, /\/confirm$/)
  await old
  await buyer.tap('确认收卡')
  await buyer.sees('卡已归您')
  await onceMore(buyer, all)
})

test('a card is returned by a login that is too old: another one, and it is on its way', async () => {
  const { owner, old } = await begun
  const all = await heard(owner, /\/return$/)
  await old
  await owner.tap('查看我的卡')
  await owner.top.getByRole('button', { name: /小王通讯店/ }).tap()
  await owner.tap('退给卖家')
  await owner.choose('卡不能用')
  await owner.tap('退卡')
  await owner.sees('退卡已提交')
  await onceMore(owner, all)
})
