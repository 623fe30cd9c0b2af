import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

const { codeIn, last6In, spaced, tidy } = load('services/code.ts')

test('a code is read as people type it', () => {
  for (const [typed, code] of [
    ['k7q2m9xa', 'K7Q2M9XA'],
    ['K7Q2 M9XA', 'K7Q2M9XA'],
    ['k7q2-m9xa', 'K7Q2M9XA'],
    ['ＫＷ７２', 'KW72'],
    ['oil', '011'],
    ['K7Q2U', 'K7Q2'], // U is in no code
    ['K7Q2M9XAZZ', 'K7Q2M9XA'],
    ['', ''],
  ]) assert.equal(tidy(typed), code, typed)
})

test('a code is found in what is scanned or pasted', () => {
  for (const [text, code] of [
    ['https://cards.example.com/t/K7Q2M9XA', 'K7Q2M9XA'],
    ['http://127.0.0.1:8080/t/1nv5tk7d', '1NV5TK7D'],
    ['c=K7Q2M9XA', 'K7Q2M9XA'],
    ['c%3DK7Q2M9XA', 'K7Q2M9XA'],
    ['pages/trade/trade?scene=c%3DK7Q2M9XA', 'K7Q2M9XA'],
    ['您的交易码：K7Q2 M9XA，请在今天内确认', 'K7Q2M9XA'],
    ['【小王通讯店】交易码 k7q2m9xa', 'K7Q2M9XA'],
    ['K7Q2M9XA', 'K7Q2M9XA'],
    ['1234 5678', '12345678'],
    ['898604B7192270274010', ''], // a card number is no code
    ['https://example.com/', ''],
    ['今天天气不错', ''],
    ['please confirm', ''],
    ['%E0%A4%A', ''],
  ]) assert.equal(codeIn(text), code, text)
})

test('the end of a card number', () => {
  assert.equal(last6In('898604B7192270274010'), '274010')
  assert.equal(last6In('8986 04b7 1922 7027 4a1f'), '274A1F')
  assert.equal(last6In('12345'), '')
})

test('a code is shown in two groups', () => assert.equal(spaced('K7Q2M9XA'), 'K7Q2 M9XA'))
