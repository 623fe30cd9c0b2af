import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'

const root = fileURLToPath(new URL('../../', import.meta.url))
const { packOptions } = JSON.parse(fs.readFileSync(`${root}project.config.json`, 'utf8'))
const ignored = new Set(packOptions.ignore.map((i) => i.value))

/** Bytes of what is uploaded, by package; before WeChat makes it smaller. */
function sizes(dir = '', sums = {}) {
  for (const entry of fs.readdirSync(path.join(root, dir), { withFileTypes: true })) {
    const name = path.posix.join(dir, entry.name)
    if (ignored.has(name) || entry.name.startsWith('.') || name === 'project.config.json') continue
    if (entry.isDirectory()) sizes(name, sums)
    else {
      const part = /^subpackages\/(\w+)/.exec(name)?.[1] ?? 'main'
      sums[part] = (sums[part] ?? 0) + fs.statSync(path.join(root, name)).size
    }
  }
  return sums
}

test('the packages are small', () => {
  const { main, retail } = sizes()
  assert.ok(main < 1.2 * 1024 * 1024, `the main package has ${main} bytes`)
  assert.ok(retail < 512 * 1024, `the shop's package has ${retail} bytes`)
})

test('what is uploaded is the program and nothing else', () => {
  const top = fs.readdirSync(root).filter((n) => !n.startsWith('.') && !ignored.has(n)).sort()
  assert.deepEqual(top.filter((n) => ![
    'app.json', 'app.ts', 'app.wxss', 'assets', 'components', 'config.ts', 'miniprogram_npm', 'pages', 'project.config.json', 'project.private.config.json', 'services',
    'sitemap.json', 'subpackages', 'theme.json',
  ].includes(n)), [])
})
