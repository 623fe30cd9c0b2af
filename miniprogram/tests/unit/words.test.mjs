import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

const words = load('services/words.ts')

test('moments are told as people tell them', () => {
  const now = new Date(2026, 10, 26, 21, 30).getTime()
  for (const [at, text] of [
    [new Date(2026, 10, 26, 9, 5), '今天 09:05'],
    [new Date(2026, 10, 25, 23, 59), '昨天 23:59'],
    [new Date(2026, 10, 27, 0, 0), '11月27日 00:00'],
    [new Date(2025, 0, 2, 8, 0), '2025年1月2日'],
  ]) assert.equal(words.when(at.toISOString(), now), text)
  assert.equal(words.when(undefined), '')
})

test('what is left', () => {
  for (const [ms, text] of [[0, ''], [-1, ''], [1, '00:01'], [599_000, '09:59'], [3_600_000, '1 小时'], [3_660_000, '1 小时 1 分'], [86_400_000, '1 天'], [90_000_000, '1 天 1 小时']]) assert.equal(words.left(ms), text)
})

test('numbers are cut into groups, hashes in the middle', () => {
  assert.equal(words.grouped('898604B7192270274010'), '8986 04B7 1922 7027 4010')
  assert.equal(words.grouped('8986061701000135000'), '8986 0617 0100 0135 000')
  assert.equal(words.short('0123456789abcdef0123456789abcdef'), '01234567…89abcdef')
  assert.equal(words.short('short'), 'short')
})

test('a card says what is wrong with it, and what that means', () => {
  for (const [card, text] of [[undefined, /不在您名下/], [{ frozen: true, status: 'RETIRED' }, /注销/], [{ frozen: true, status: 'OWNED' }, /冻结/], [{ frozen: false, status: 'IN_TRADE' }, /^$/]]) assert.match(words.cardTrouble(card), text)
  assert.deepEqual(words.cardState({ frozen: false, status: 'OWNED' }), { state: '', bad: false })
  assert.deepEqual(words.cardState({ frozen: true, status: 'OWNED' }), { state: '已冻结', bad: true })
  assert.deepEqual(words.cardState({ frozen: false, status: 'IN_TRADE' }), { state: '退回中', bad: false })
})
