// WXML and WXS, compiled by WeChat's own template compiler into one JavaScript expression.
import path from 'node:path'
import compiler from 'glass-easel-template-compiler'

const { posix } = path

// In WXS x.constructor is the name of a type ('Array'), in JavaScript a function: the runtime gives it by another name.
const wxs = (text) => text.replace(/\.constructor\b/g, '.__wxsConstructor')

// Every word of the inline scripts of a template, and none of its markup.
const inlineScripts = (text) =>
  text.replace(/(<wxs\b[^>]*[^/]>)([\s\S]*?)(<\/wxs>)/g, (_, open, code, close) => open + wxs(code) + close)

/**
 * @param {import('./project.mjs').Project} project
 * @param {Record<string, string>} builtin tag → template of WeChat's own components
 * @returns {string} an expression: path → compiled template
 */
export function compileTemplates(project, builtin) {
  const group = compiler.TmplGroup.newDev()
  const scripts = new Set()
  const seen = new Set()

  const addScript = (file) => {
    if (scripts.has(file)) return
    scripts.add(file)
    const source = project.has(file) ? file : `${file}.wxs`
    if (!project.has(source)) {
      project.faults.push(`${file}: this script of a template is not there`)
      return
    }
    const text = wxs(project.read(source))
    group.addScript(file, text)
    for (const [, wanted] of text.matchAll(/require\(\s*['"]([^'"]+)['"]\s*\)/g)) addScript(posix.join(posix.dirname(file), wanted))
  }

  const add = (name) => {
    if (seen.has(name)) return
    seen.add(name)
    const file = `${name}.wxml`
    if (!project.has(file)) {
      project.faults.push(`${file} is not there`)
      return
    }
    const text = project.read(file)
    for (const w of group.addTmpl(name, inlineScripts(text))) {
      project.faults.push(`${file}:${w.startLine + 1}:${w.startColumn + 1} ${w.message}`)
    }
    const known = project.components.get(name)?.config.usingComponents
    const own = !name.includes('miniprogram_npm')
    for (const [, tag] of own && known ? text.replace(/<!--[\s\S]*?-->/g, '').matchAll(/<([a-z][\w-]*)/g) : []) {
      if (!(tag in known) && !(tag in builtin) && !structural.has(tag)) project.faults.push(`${file}: <${tag}> is no component of WeChat's, nor one that ${name}.json names`)
    }
    for (const d of group.getDirectDependencies(name)) add(d.replace(/^\//, '').replace(/\.wxml$/, ''))
    for (const d of group.getScriptDependencies(name)) addScript(d.replace(/^\//, ''))
  }

  for (const name of project.components.keys()) add(name)
  for (const [tag, text] of Object.entries(builtin)) group.addTmpl(`__wx__/${tag}`, text)
  return group.getTmplGenObjectGroups()
}

// What templates are made of beside components.
const structural = new Set(['block', 'template', 'slot', 'wxs', 'import', 'include'])
