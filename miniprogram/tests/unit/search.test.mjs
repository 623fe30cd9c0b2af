import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

const { day, dayAt, dayText, wanted } = load('subpackages/retail/services/search.ts')

test('what is typed to find a sale is a code or a card', () => {
  for (const [text, found] of [
    ['K7Q2 M9XA', { code: 'K7Q2M9XA' }],
    ['k7q2m9xa', { code: 'K7Q2M9XA' }],
    ['https://cards.example.com/t/K7Q2M9XA', { code: 'K7Q2M9XA' }],
    ['274010', { card: '274010' }],
    ['27 4a1f', { card: '274A1F' }],
    ['8986 04b7 1922 7027 4010', { card: '898604B7192270274010' }],
    ['ICCID:8986061701000135000', { card: '8986061701000135000' }],
    ['27401', undefined],
    ['2740100', undefined],
    ['小王', undefined],
    ['', undefined],
  ]) assert.deepEqual(wanted(text), found, text)
})

test('a day is what lies between two midnights of the phone', () => {
  const at = new Date(2026, 10, 27, 13, 5).getTime()
  assert.equal(dayAt(at), '2026-11-27')
  assert.deepEqual(day('2026-11-27'), { from: new Date(2026, 10, 27).toISOString(), to: new Date(2026, 10, 28).toISOString() })
  assert.equal(day('2026-12-31').to, new Date(2027, 0, 1).toISOString())
  assert.equal(dayText('2026-11-27', at), '今天')
  assert.equal(dayText('2026-11-03', at), '11月3日')
  assert.equal(dayText('2025-01-02', at), '2025年1月2日')
})
