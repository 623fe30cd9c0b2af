// TypeScript and JavaScript → CommonJS functions, with every require resolved while compiling.
import path from 'node:path'
import esbuild from 'esbuild'

const { posix } = path

/**
 * @param {import('./project.mjs').Project} project
 * @param {string[]} entries
 * @returns {string} an expression: file → { deps, run }
 */
export function compileScripts(project, entries) {
  const modules = new Map()

  const resolve = (from, wanted) => {
    const at = (p) => [p, `${p}.ts`, `${p}.js`, `${p}/index.ts`, `${p}/index.js`].find((f) => project.has(f))
    if (wanted.startsWith('/')) return at(wanted.slice(1))
    if (wanted.startsWith('.')) return at(posix.join(posix.dirname(from), wanted))
    return project.nearest(from, wanted, at)
  }

  const add = (file) => {
    if (modules.has(file)) return
    const { code } = esbuild.transformSync(project.read(file), {
      loader: file.endsWith('.ts') ? 'ts' : 'js', format: 'cjs', target: 'es2020', sourcefile: file,
    })
    const deps = {}
    modules.set(file, { code, deps })
    for (const [, , wanted] of code.matchAll(/\brequire\(\s*(['"])([^'"]+)\1\s*\)/g)) {
      const found = resolve(file, wanted)
      if (!found) {
        project.faults.push(`${file}: require("${wanted}") leads nowhere`)
        continue
      }
      deps[wanted] = found
      add(found)
    }
  }

  for (const e of entries) add(e)
  const names = 'require, module, exports, wx, App, getApp, getCurrentPages, Page, Component, Behavior'
  const each = [...modules].map(([file, m]) => `${JSON.stringify(file)}: { deps: ${JSON.stringify(m.deps)}, run: function (${names}) {\n${m.code}\n} }`)
  return `{\n${each.join(',\n')}\n}`
}
