// Compiles a native mini-program folder, unmodified, into a page that runs in a browser on WeChat's own component framework
// (glass-easel): phone.html, phone.js, phone.css, and the folder's pictures under files/.
//
// Strict: whatever WeChat would warn of, or pass over in silence, is an error here.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import esbuild from 'esbuild'
import { builtinTemplates } from '../runtime/builtin/templates.mjs'
import { Project } from './project.mjs'
import { compileScripts } from './scripts.mjs'
import { compileStyles } from './styles.mjs'
import { compileTemplates } from './templates.mjs'

const runtime = fileURLToPath(new URL('../runtime/', import.meta.url))
const pictures = /\.(png|jpg|svg)$/

/** @param {string} root folder of app.json @param {string} out folder that is made, or made anew */
export function compile(root, out) {
  const project = new Project(root)
  const templates = compileTemplates(project, builtinTemplates)
  const { css, scopes } = compileStyles(project)
  const entries = ['app.ts', 'app.js'].filter((f) => project.has(f))
  const components = {}
  for (const [name, { config, page }] of project.components) {
    const script = project.script(name)
    if (script) entries.push(script)
    else project.faults.push(`${name}: neither .ts nor .js is there`)
    components[name] = { config, page, script, scope: scopes[name] }
  }
  const scripts = compileScripts(project, entries)
  for (const tab of project.app.tabBar?.list ?? []) {
    if (!project.app.pages.includes(tab.pagePath)) project.faults.push(`app.json: tab ${tab.pagePath} is no page of the main package`)
  }
  if (project.faults.length > 0) throw new Error(`the mini-program does not compile:\n  ${project.faults.join('\n  ')}`)

  const theme = project.app.themeLocation ? project.json(project.app.themeLocation) : { light: {}, dark: {} }
  const manifest = { app: project.app, theme, pages: project.pages, components, script: entries[0] }
  const built = esbuild.buildSync({
    entryPoints: [path.join(runtime, 'phone.mjs')], bundle: true, format: 'iife', target: 'es2022', write: false, minify: true,
    legalComments: 'none',
  })
  fs.rmSync(out, { recursive: true, force: true })
  fs.mkdirSync(out, { recursive: true })
  const write = (name, text) => fs.writeFileSync(path.join(out, name), text)
  write('phone.js', [
    'window.getRegExp = (pattern, flags) => new RegExp(pattern, flags)',
    'window.getDate = (...of) => new Date(...of)',
    "Object.defineProperty(Object.prototype, '__wxsConstructor', { get() { return Object.prototype.toString.call(this).slice(8, -1) } })",
    `window.__miniprogram = { manifest: ${JSON.stringify(manifest)}, templates: ${templates}, modules: ${scripts} }`,
    built.outputFiles[0].text,
  ].join(';\n'))
  write('phone.css', `${fs.readFileSync(path.join(runtime, 'base.css'), 'utf8')}\n${css}`)
  for (const page of ['phone.html', 'index.html', 'preview.css', 'preview.js']) fs.copyFileSync(path.join(runtime, page), path.join(out, page))
  copyPictures(root, path.join(out, 'files'))
}

function copyPictures(from, to) {
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    if (['node_modules', 'tests', 'tools'].includes(entry.name)) continue
    const source = path.join(from, entry.name)
    const target = path.join(to, entry.name)
    if (entry.isDirectory()) copyPictures(source, target)
    else if (pictures.test(entry.name)) {
      fs.mkdirSync(to, { recursive: true })
      fs.copyFileSync(source, target)
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('../../../', import.meta.url))
  compile(root, path.resolve(process.argv[2]))
}
