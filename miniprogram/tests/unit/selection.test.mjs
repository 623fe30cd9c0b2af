import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

const { between, iccidIn, left, nth, overlap, weigh } = load('subpackages/retail/services/selection.ts')
const serial = (n) => `898604B719227${String(n).padStart(7, '0')}`

test('a card number is found in what a scanner reads', () => {
  for (const [text, iccid] of [
    ['898604B7192270274010', '898604B7192270274010'],
    ['8986 04b7 1922 7027 4010', '898604B7192270274010'],
    ['ICCID:8986061701000135000', '8986061701000135000'],
    ['https://x/898604B7192270274010?a=1', '898604B7192270274010'],
    ['12345', ''],
    ['8986061701000135000123', ''], // too long to be one
    ['', ''],
  ]) assert.equal(iccidIn(text), iccid, text)
})

test('cards between two numbers', () => {
  assert.equal(between(serial(10), serial(19), false), 10)
  assert.equal(between(serial(19), serial(10), false), 0)
  assert.equal(between('8986061701000135000', '8986061701000135018', true), 2)
  assert.equal(between(serial(10), '898604B819227' + '0000011', false), 0)
})

test('a run is held against the stock', () => {
  const held = [{ start: serial(0), end: serial(99), count: 100, status: 'OWNED' }, { start: serial(100), end: serial(109), count: 10, status: 'IN_TRADE' }]
  assert.deepEqual(weigh({ start: serial(10), end: serial(19) }, held), { free: 10, busy: 0, whole: true })
  assert.deepEqual(weigh({ start: serial(95), end: serial(104) }, held), { free: 5, busy: 5, whole: false })
  assert.deepEqual(weigh({ start: serial(5), end: serial(5) }, held), { free: 1, busy: 0, whole: true })
  assert.deepEqual(weigh({ start: serial(5), end: serial(5) }, []), { free: 0, busy: 0, whole: false })
  // Numbers with a check digit: 3 cards, though the last digits are 20 apart.
  const checked = [{ start: '8986061701000135000', end: '8986061701000135992', count: 100, status: 'OWNED' }]
  assert.deepEqual(weigh({ start: '8986061701000135000', end: '8986061701000135026' }, checked), { free: 3, busy: 0, whole: true })
})

test('runs that share a card', () => {
  const run = (a, b) => ({ start: serial(a), end: serial(b) })
  assert.ok(overlap(run(1, 5), run(5, 9)))
  assert.ok(overlap(run(1, 9), run(3, 4)))
  assert.ok(!overlap(run(1, 4), run(5, 9)))
})

test('the n-th card of a run, and what is left beside what was chosen', () => {
  const plain = { start: serial(10), end: serial(109), count: 100 }
  assert.deepEqual([nth(plain, 1), nth(plain, 2), nth(plain, 100)], [serial(10), serial(11), serial(109)])
  const checked = { start: '8986061701000135005', end: '8986061701000135997', count: 100 }
  assert.deepEqual([1, 2, 3].map((n) => nth(checked, n)), ['8986061701000135005', '8986061701000135013', '8986061701000135021'])
  const one = { start: serial(5), end: serial(5), count: 1 }
  assert.equal(nth(one, 1), serial(5))
  assert.deepEqual(left(plain, []), [plain])
  assert.deepEqual(left(plain, [{ start: serial(10), end: serial(12) }, { start: serial(20), end: serial(20) }]), [
    { start: serial(13), end: serial(19), count: 7 }, { start: serial(21), end: serial(109), count: 89 },
  ])
  assert.deepEqual(left(plain, [{ start: serial(5), end: serial(200) }]), [])
  assert.deepEqual(left(one, [{ start: serial(5), end: serial(5) }]), [])
  assert.deepEqual(left(checked, [{ start: '8986061701000135005', end: '8986061701000135013' }])[0], { start: '8986061701000135021', end: '8986061701000135997', count: 98 })
})
