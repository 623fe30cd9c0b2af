// The compiler of the tests refuses what WeChat would pass over in silence: each of these is a program with one fault.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { compile } from '../harness/compile/compile.mjs'

const sound = {
  'app.json': '{ "pages": ["pages/a/a"] }',
  'app.ts': 'App({})',
  'app.wxss': 'page { color: #000; }',
  'pages/a/a.json': '{}',
  'pages/a/a.ts': 'Page({})',
  'pages/a/a.wxml': '<view>一</view>',
}

function compiled(files) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'cardflow-fixture-'))
  try {
    for (const [name, text] of Object.entries({ ...sound, ...files })) {
      if (text === null) continue
      fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
      fs.writeFileSync(path.join(root, name), text)
    }
    compile(root, path.join(root, 'out'))
  } finally {
    fs.rmSync(root, { recursive: true, force: true })
  }
}

test('a program without fault compiles', () => compiled({}))

for (const [what, [files, fault]] of Object.entries({
  'a component that is not there': [{ 'pages/a/a.json': '{ "usingComponents": { "c-x": "/components/x/x" } }' }, /component c-x: .* is not there/],
  'a require that leads nowhere': [{ 'pages/a/a.ts': "import { x } from '../../nowhere'\nPage({ x })" }, /require\("..\/..\/nowhere"\) leads nowhere/],
  'a tag that nobody knows': [{ 'pages/a/a.wxml': '<viwe>一</viwe>' }, /<viwe> is no component/],
  'a template that warns': [{ 'pages/a/a.wxml': '<view wx:fr="{{a}}">一</view>' }, /a\.wxml:1:/],
  'a page without a template': [{ 'pages/a/a.wxml': null }, /a\.wxml is not there/],
  'a page without a script': [{ 'pages/a/a.ts': null }, /neither \.ts nor \.js/],
  'a page without its JSON': [{ 'pages/a/a.json': null }, /a\.json is not there/],
  'a style from elsewhere': [{ 'app.wxss': 'page { background: url("https://example.com/a.png"); }' }, /background loads from elsewhere/],
  'an import of no style': [{ 'app.wxss': '@import "nowhere.wxss";' }, /@import nowhere\.wxss is not there/],
  'a tab that is no page': [{ 'app.json': '{ "pages": ["pages/a/a"], "tabBar": { "list": [{ "pagePath": "pages/b/b" }] } }' }, /tab pages\/b\/b is no page/],
})) test(`a program with ${what} does not`, () => assert.throws(() => compiled(files), fault))
