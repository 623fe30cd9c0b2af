import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

/** A wx whose server answers as it is told, in order; the last answer for ever. */
function phone(...answers) {
  const kept = new Map()
  const seen = []
  let logins = 0
  const wx = {
    getStorageSync: (k) => kept.get(k) ?? '', setStorageSync: (k, v) => kept.set(k, v), removeStorageSync: (k) => kept.delete(k), clearStorageSync: () => kept.clear(),
    login: async () => ({ code: `code-${++logins}` }),
    request(o) {
      if (o.url.endsWith('/wechat/login')) {
        queueMicrotask(() => o.success({ statusCode: 200, header: {}, data: { token: `token-${o.data.code}`, expiresAt: new Date(Date.now() + 60_000).toISOString(), participant: {} } }))
        return
      }
      seen.push(o)
      const a = answers.length > 1 ? answers.shift() : answers[0]
      queueMicrotask(() => (a.fail ? o.fail({ errMsg: a.fail }) : o.success({ statusCode: a.status, header: a.header ?? {}, data: a.data ?? {} })))
    },
  }
  return { ...load('services/request.ts', wx), seen, logins: () => logins }
}

const refusal = (code) => ({ error: { code, message: code, requestId: 'r1' } })

test('everybody who asks at once shares one login', async () => {
  const p = phone({ status: 200, data: { ok: true } })
  await Promise.all([1, 2, 3].map(() => p.request({ method: 'GET', path: '/me' })))
  assert.equal(p.logins(), 1)
})

test('a login that has ended is renewed once, and the request sent again with the same key', async () => {
  const p = phone({ status: 401, data: refusal('UNAUTHENTICATED') }, { status: 200, data: { done: 1 } })
  assert.deepEqual(await p.request({ method: 'POST', path: '/x', body: { a: 1 }, key: 'key-1' }), { done: 1 })
  assert.equal(p.logins(), 2)
  assert.deepEqual(p.seen.map((o) => [o.header['idempotency-key'], o.header.authorization]), [['key-1', 'Bearer token-code-1'], ['key-1', 'Bearer token-code-2']])
})

test('a second 401 is the answer', async () => {
  const p = phone({ status: 401, data: refusal('UNAUTHENTICATED') })
  await assert.rejects(p.request({ method: 'GET', path: '/x' }), { code: 'UNAUTHENTICATED', status: 401 })
  assert.equal(p.seen.length, 2)
})

test('what may be repeated is, while the server is away for a moment', async () => {
  const p = phone({ fail: 'request:fail timeout' }, { status: 503, data: refusal('UNAVAILABLE') }, { status: 200, data: { ok: 1 } })
  assert.deepEqual(await p.request({ method: 'GET', path: '/x' }), { ok: 1 })
})

test('a write without a key is sent once', async () => {
  const p = phone({ fail: 'request:fail net::ERR_CONNECTION_RESET' })
  await assert.rejects(p.request({ method: 'POST', path: '/trade-codes/lookup', body: {} }), { code: 'OFFLINE', status: 0 })
  assert.equal(p.seen.length, 1)
})

test('a refusal is not asked again', async () => {
  const p = phone({ status: 409, data: refusal('TRADE_BUSY') })
  await assert.rejects(p.request({ method: 'POST', path: '/x', key: 'key-1' }), { code: 'TRADE_BUSY', message: 'TRADE_BUSY', requestId: 'r1' })
  assert.equal(p.seen.length, 1)
})

test('a gateway that answers no JSON is a server that is away', async () => {
  const p = phone({ status: 502, data: '<html>' }, { status: 200, data: {} })
  await p.request({ method: 'GET', path: '/x' })
  assert.equal(p.seen.length, 2)
})

test('no key is made twice', () => {
  const p = phone({ status: 200 })
  const keys = new Set(Array.from({ length: 1000 }, () => p.newKey()))
  assert.equal(keys.size, 1000)
  for (const k of keys) assert.match(k, /^[\x21-\x7e]{8,128}$/)
})
