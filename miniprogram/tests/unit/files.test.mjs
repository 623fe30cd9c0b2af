import assert from 'node:assert/strict'
import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { sheet, sheetFile } from '../tools/icons.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))

test('the icons are those that are drawn', () => assert.equal(fs.readFileSync(sheetFile, 'utf8'), sheet()))

test('no package is fetched from a named place', () => {
  assert.doesNotMatch(fs.readFileSync(`${root}package-lock.json`, 'utf8'), /"resolved"/)
})

test('every colour of a page is one that dark mode knows', () => {
  const text = fs.readFileSync(`${root}app.wxss`, 'utf8')
  const [light, dark] = text.split('@media (prefers-color-scheme: dark)').map((part) => new Set([...part.matchAll(/(--(?:ground|surface|sunken|raised|edge|ink|ink-soft|line|brand|brand-fill|brand-soft|ok|ok-soft|warn|warn-soft|bad|bad-soft|danger-fill)):/g)].map((m) => m[1])))
  assert.deepEqual([...dark].sort(), [...light].sort())
})
