// Packs the npm components that the mini-program uses, and no others, into miniprogram_npm/, where WeChat's tools look for
// them. What they load from elsewhere is cut out: TDesign's icons are a font on a CDN, ours are our own.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const target = path.join(root, 'miniprogram_npm')
const library = 'tdesign-miniprogram'
const source = path.join(root, 'node_modules', library, 'miniprogram_dist')
const { posix } = path

const exists = (file) => fs.existsSync(path.join(source, file))
const read = (file) => fs.readFileSync(path.join(source, file), 'utf8')

/** The library's components that our own pages and components name. */
function wanted() {
  const found = new Set()
  const walk = (dir) => {
    for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
      if (['node_modules', 'miniprogram_npm', 'tests', 'tools'].includes(entry.name)) continue
      const file = path.join(dir, entry.name)
      if (entry.isDirectory()) walk(file)
      else if (entry.name.endsWith('.json')) {
        for (const url of Object.values(JSON.parse(fs.readFileSync(file, 'utf8')).usingComponents ?? {})) {
          if (url.startsWith(`${library}/`)) found.add(url.slice(library.length + 1))
        }
      }
    }
  }
  walk(root)
  return found
}

/** Packages of one file that our own scripts require, by the folder that pays for them: whoever never sells never loads them. */
const own = [['subpackages/retail', 'qrcode-generator']]

const files = new Set()
const modules = new Set() // npm packages that scripts require

function component(name) {
  for (const ext of ['json', 'js', 'wxml', 'wxss']) file(`${name}.${ext}`)
  for (const url of Object.values(JSON.parse(read(`${name}.json`)).usingComponents ?? {})) component(posix.join(posix.dirname(name), url))
}

function file(name) {
  if (files.has(name) || !exists(name)) return
  files.add(name)
  const text = read(name)
  const beside = (url) => posix.join(posix.dirname(name), url)
  if (name.endsWith('.js')) {
    for (const [, url] of text.matchAll(/(?:from|import|require\()\s*["']([^"']+)["']/g)) {
      if (!url.startsWith('.')) modules.add(url)
      else file([beside(`${url}.js`), beside(`${url}/index.js`), beside(url)].find(exists))
    }
  } else if (name.endsWith('.wxss')) {
    for (const [, url] of text.matchAll(/@import\s+['"]([^'"]+)['"]/g)) file(beside(url))
  } else if (name.endsWith('.wxml')) {
    for (const [, url] of text.matchAll(/<(?:import|include|wxs)\b[^>]*?src="([^"]+)"/g)) file(beside(url))
  } else if (name.endsWith('.wxs')) {
    for (const [, url] of text.matchAll(/require\(\s*['"]([^'"]+)['"]/g)) file(beside(url))
  }
}

export function pack() {
  for (const name of wanted()) component(name)
  fs.rmSync(target, { recursive: true, force: true })
  for (const name of files) {
    const to = path.join(target, library, name)
    fs.mkdirSync(path.dirname(to), { recursive: true })
    let text = read(name)
    if (name.endsWith('.wxml')) text = text.replace(/(<slot\b[^>]*?) class="[^"]*"/g, '$1') // it means nothing, and the framework says so
    if (name.endsWith('.wxss')) text = text.replace(/@font-face\s*\{[^}]*\}/g, '')
    fs.writeFileSync(to, text)
  }
  for (const name of modules) {
    const from = path.join(source, 'miniprogram_npm', name)
    if (!fs.existsSync(from)) throw new Error(`${library} wants ${name}, which it doesn't bring`)
    for (const entry of fs.readdirSync(from)) {
      if (!entry.endsWith('.js')) continue
      fs.mkdirSync(path.join(target, name), { recursive: true })
      fs.copyFileSync(path.join(from, entry), path.join(target, name, entry))
    }
  }
  for (const [folder, name] of own) {
    const to = path.join(root, folder, 'miniprogram_npm', name)
    const from = path.join(root, 'node_modules', name)
    fs.rmSync(to, { recursive: true, force: true })
    fs.mkdirSync(to, { recursive: true })
    fs.copyFileSync(path.join(from, JSON.parse(fs.readFileSync(path.join(from, 'package.json'), 'utf8')).main), path.join(to, 'index.js'))
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) pack()
