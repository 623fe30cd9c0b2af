// Loads one of the mini-program's own modules in Node, with a wx that a test gives.
import esbuild from 'esbuild'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'

const root = fileURLToPath(new URL('../../', import.meta.url))

export function load(file, wx = {}) {
  const built = esbuild.buildSync({ entryPoints: [`${root}${file}`], bundle: true, format: 'cjs', write: false, target: 'es2020' })
  const module = { exports: {} }
  const account = { getAccountInfoSync: () => ({ miniProgram: { envVersion: 'develop' } }) }
  vm.runInThisContext(`(function (module, exports, wx) { ${built.outputFiles[0].text} })`)(module, module.exports, { ...account, ...wx })
  return module.exports
}
