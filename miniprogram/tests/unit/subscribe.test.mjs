import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers'
import { load } from './load.mjs'

const templates = { confirmation: 'template-1' }

/** A wx that answers what it is told, where somebody is logged in. */
function phone(answer, { session = { templates }, status = 204 } = {}) {
  const asked = []
  const sent = []
  const wx = {
    getStorageSync: (k) => (k === 'session' && session ? { token: 't', expiresAt: new Date(Date.now() + 60_000).toISOString(), ...session } : ''),
    setStorageSync() {}, removeStorageSync() {},
    requestSubscribeMessage(o) {
      asked.push(...o.tmplIds)
      if (typeof answer === 'string') o.success({ errMsg: 'requestSubscribeMessage:ok', [o.tmplIds[0]]: answer })
      else o.fail(answer)
    },
    request(o) {
      sent.push(o)
      queueMicrotask(() => o.success({ statusCode: status, header: {}, data: status === 204 ? '' : { error: { code: 'X', message: 'x' } } }))
    },
  }
  return { ...load('services/subscribe.ts', wx), asked, sent }
}

const settled = () => new Promise((done) => setImmediate(done))

test('a yes is told to the server, once and with a key', async () => {
  for (const yes of ['accept', 'acceptWithAudio']) {
    const p = phone(yes)
    p.askToTell('confirmation')
    assert.deepEqual(p.asked, ['template-1'], 'WeChat is asked before the tap is over')
    await settled()
    assert.equal(p.sent.length, 1)
    const [{ url, method, data, header }] = p.sent
    assert.ok(url.endsWith('/me/subscriptions'))
    assert.deepEqual([method, data], ['POST', { kind: 'confirmation' }])
    assert.match(header['idempotency-key'], /^mp-/)
  }
})

test('a no is told to nobody, and neither is a failure', async () => {
  for (const no of ['reject', 'ban', 'filter', { errMsg: 'requestSubscribeMessage:fail', errCode: 20004 }]) {
    const p = phone(no)
    p.askToTell('confirmation')
    await settled()
    assert.equal(p.sent.length, 0)
  }
})

test('nobody is asked without a template, or before a login', async () => {
  for (const session of [{ templates: {} }, {}, null]) {
    const p = phone('accept', { session })
    p.askToTell('confirmation')
    p.askToTell('return')
    await settled()
    assert.deepEqual([p.asked, p.sent], [[], []])
  }
})

test('a server that refuses is no fault', async () => {
  const p = phone('accept', { status: 400 })
  p.askToTell('confirmation')
  await settled()
  assert.equal(p.sent.length, 1)
})
