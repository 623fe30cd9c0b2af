import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

const { drawPage, pagesOf, paper, perPage } = load('subpackages/retail/services/print.ts')
const label = (n) => ({ iccid: `898604B719227${String(n).padStart(7, '0')}`, count: 1, code: 'K7Q2M9XA', link: 'https://cards.example.com/t/K7Q2M9XA' })
const labels = (n) => Array.from({ length: n }, (_, i) => label(i))

test('labels are cut into pages', () => {
  for (const [n, sizes] of [[0, []], [1, [1]], [perPage, [perPage]], [perPage + 1, [perPage, 1]]]) assert.deepEqual(pagesOf(labels(n)).map((p) => p.length), sizes, `${n} labels`)
})

test('a full page stays on the paper, and each code in its label', () => {
  const frames = []
  const modules = []
  const texts = []
  const pen = {
    setLineDash() {},
    strokeRect: (x, y, width, height) => frames.push({ x, y, width, height }),
    fillRect: (x, y, width, height) => { if (pen.fillStyle === '#000') modules.push({ x, y, width, height, frame: frames.length - 1 }) },
    fillText: (text) => texts.push(text),
  }
  drawPage(pen, { shop: '小王通讯店', until: '明天' }, labels(perPage), 1, 1)
  assert.equal(frames.length, perPage)
  for (const f of frames) assert.ok(f.x >= 0 && f.y >= 0 && f.x + f.width <= paper.width && f.y + f.height <= paper.height)
  for (const m of modules) {
    const f = frames[m.frame]
    assert.ok(Number.isInteger(m.x) && Number.isInteger(m.y) && Number.isInteger(m.width), 'a module that is grey')
    assert.ok(m.x > f.x && m.y > f.y && m.x + m.width < f.x + f.width / 2 + 20 && m.y + m.height < f.y + f.height)
  }
  assert.ok(modules.length > perPage * 200)
  assert.ok(texts.includes('8986 04B7 1922 7000 0000') && texts.includes('K7Q2') && texts.includes('M9XA') && texts.includes('明天 前有效'))
})
