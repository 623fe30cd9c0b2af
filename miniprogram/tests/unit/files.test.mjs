import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
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

test('the program is set up as its design has it', () => {
  const app = JSON.parse(fs.readFileSync(`${root}app.json`, 'utf8'))
  const { darkmode, componentFramework, lazyCodeLoading, themeLocation, __usePrivacyCheck__ } = app
  assert.deepEqual({ darkmode, componentFramework, lazyCodeLoading, themeLocation, __usePrivacyCheck__ },
    { darkmode: true, componentFramework: 'glass-easel', lazyCodeLoading: 'requiredComponents', themeLocation: 'theme.json', __usePrivacyCheck__: true })
  assert.match(JSON.parse(fs.readFileSync(`${root}project.config.json`, 'utf8')).appid, /^(touristappid|wx[0-9a-f]{16})$/)
})

test('the packages that are packed are those that are used', () => {
  assert.deepEqual(fs.readdirSync(`${root}miniprogram_npm`).sort(), ['tdesign-miniprogram', 'tslib'])
  assert.deepEqual(fs.readdirSync(`${root}miniprogram_npm/tdesign-miniprogram`).sort(), ['common', 'icon', 'mixins', 'overlay', 'popup'])
})

// A folder with the Makefile, a preview of an earlier run, and the few programs that a machine has.
function preview(programs) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cardflow-make-'))
  try {
    fs.copyFileSync(`${root}../Makefile`, `${dir}/Makefile`)
    fs.mkdirSync(`${dir}/bin/preview`, { recursive: true })
    fs.mkdirSync(`${dir}/path`)
    fs.writeFileSync(`${dir}/bin/preview/index.html`, 'old')
    for (const tool of ['make', 'rm', 'touch']) fs.symlinkSync(execFileSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim(), `${dir}/path/${tool}`)
    for (const [name, text] of Object.entries(programs)) fs.writeFileSync(`${dir}/path/${name}`, text, { mode: 0o755 })
    const said = execFileSync(`${dir}/path/make`, ['preview'], { cwd: dir, env: { PATH: `${dir}/path` }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    return { said, left: fs.existsSync(`${dir}/bin/preview`) }
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

test('without Node there is no preview, and none of an earlier run', () => {
  const { said, left } = preview({})
  assert.match(said, /没有找到 Node\.js/)
  assert.equal(left, false)
})

test('a preview that can not be made leaves none of an earlier run', () => {
  const { said, left } = preview({ npm: '#!/bin/sh\nexit 1\n', node: '#!/bin/sh\nexit 1\n' })
  assert.match(said, /小程序预览没有做成/)
  assert.equal(left, false)
})

test('whatever is tapped says what it is', () => {
  const own = ['button', 'picker', 'label', 'checkbox', 'radio', 'switch', 'navigator']
  const files = fs.readdirSync(root, { recursive: true }).filter((f) => f.endsWith('.wxml') && /^(pages|components|subpackages)/.test(f))
  assert.ok(files.length > 20)
  for (const file of files) {
    for (const [tag, name] of fs.readFileSync(root + file, 'utf8').matchAll(/<([a-z][\w-]*)[^>]*\b(?:bind|catch):?tap=[^>]*>/g)) {
      assert.ok(own.includes(name) || tag.includes('aria-role='), `${file}: ${tag}`)
    }
  }
})
