// WXSS → CSS: rpx, the names of WeChat's elements, and what belongs to one page or component only.
import path from 'node:path'
import postcss from 'postcss'
import selectorParser from 'postcss-selector-parser'

const { posix } = path

const rpx = (text) => text.replace(/(-?(?:\d*\.)?\d+)rpx\b/g, (_, n) => `calc(var(--rpx) * ${Number(n)})`)

/**
 * @param {import('./project.mjs').Project} project
 * @returns {{ css: string, scopes: Record<string, string> }} scopes: component → the prefix of its classes
 */
export function compileStyles(project) {
  const parts = []
  const scopes = {}

  const parse = (file, within = []) => {
    const sheet = postcss.parse(project.read(file), { from: file })
    sheet.walkAtRules('import', (rule) => {
      const url = rule.params.replace(/^url\(|\)$/g, '').replace(/['"]/g, '').trim()
      const target = url.startsWith('/') ? url.slice(1) : posix.join(posix.dirname(file), url)
      if (within.includes(target)) return rule.remove()
      if (!project.has(target)) {
        project.faults.push(`${file}: @import ${url} is not there`)
        return rule.remove()
      }
      rule.replaceWith(parse(target, [...within, target]).nodes)
    })
    return sheet
  }

  // A page's rules apply below its own element, a component's to classes that nobody else has.
  const add = (file, { scope, page } = {}) => {
    if (!project.has(file)) return
    const sheet = parse(file, [file])
    sheet.walkRules((rule) => {
      if (rule.parent.type === 'atrule' && /keyframes/.test(rule.parent.name)) return
      rule.selector = selectorParser((selectors) => {
        selectors.walkTags((tag) => {
          tag.value = `wx-${tag.value}`
        })
        selectors.walkPseudos((pseudo) => {
          if (pseudo.value === ':host') pseudo.replaceWith(selectorParser.attribute({ attribute: 'wx-host', operator: '=', value: scope ?? '', quoteMark: '"', raws: {} }))
        })
        if (scope) selectors.walkClasses((c) => { c.value = `${scope}--${c.value}` })
        if (page) {
          selectors.each((s) => {
            if (s.first.type === 'tag' && s.first.value === 'wx-page') s.first.value = `wx-page[data-route="${page}"]`
            else s.prepend(selectorParser.tag({ value: `wx-page[data-route="${page}"] ` }))
          })
        }
      }).processSync(rule.selector)
    })
    sheet.walkDecls((d) => {
      d.value = rpx(d.value).replace(/url\((['"]?)(?!data:|https?:)([^'")]+)\1\)/g, (_, _q, url) =>
        `url(files/${url.startsWith('/') ? url.slice(1) : posix.join(posix.dirname(file), url)})`)
      if (/url\(['"]?https?:/.test(d.value)) project.faults.push(`${file}: ${d.prop} loads from elsewhere`)
    })
    sheet.walkAtRules((rule) => {
      rule.params = rpx(rule.params)
    })
    parts.push(`/* ${file} */\n${sheet}`)
  }

  add('app.wxss')
  let n = 0
  for (const [name, { config, page }] of project.components) {
    const shared = ['shared', 'page-shared'].includes(config.styleIsolation)
    if (page) add(`${name}.wxss`, { page: name })
    else if (shared) add(`${name}.wxss`)
    else {
      scopes[name] = `c${(n++).toString(36)}`
      add(`${name}.wxss`, { scope: scopes[name] })
    }
  }
  return { css: parts.join('\n'), scopes }
}
