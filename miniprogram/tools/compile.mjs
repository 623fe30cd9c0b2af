// Compiles the mini-program by WeChat's own compiler, as an upload would, and says how large each package is. It works
// without an account and without a network: what the compiler would ask WeChat about the account is answered here, and the
// one list that it asks for besides it does without.
//
//	node compile.mjs [OUT.zip]
import { generateKeyPairSync } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import ci from 'miniprogram-ci'

const root = fileURLToPath(new URL('../', import.meta.url))
const limit = 1.2 * 1024 * 1024 // bytes of the main package
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'cardflow-compile-'))
const out = path.resolve(process.argv[2] ?? path.join(work, 'out.zip'))

// It leaves folders of its own wherever it is called from.
process.chdir(work)

// The compiler wants a key of the account before it does anything. One of nobody's will do: nothing is sent.
const key = path.join(work, 'nobody.key')
fs.writeFileSync(key, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs1', format: 'pem' }))

const project = new ci.Project({
  appid: 'wx0000000000000000', type: 'miniProgram', projectPath: root, privateKeyPath: key, ignores: ['node_modules/**/*', 'tests/**/*', 'tools/**/*'],
})
const account = {
  platform: false, appType: 0, isSandbox: false, released: false,
  setting: { MaxCodeSize: 2048, MaxSubpackageSubCodeSize: 2048, MaxSubpackageFullCodeSize: 30720, NavigateMiniprogramLimit: 10, MaxTabbarCount: 5, MaxTabbarIconSize: 40 },
}
project.attr = async () => account

let failed = false
try {
  const result = await ci.getCompiledResult({ project, version: '0.0.0', desc: '', setting: { useProjectConfig: true }, onProgressUpdate: () => {} }, out)
  const sizes = { main: 0 }
  for (const [file, content] of Object.entries(result)) {
    const name = /^subpackages\/(\w+)/.exec(file)?.[1] ?? 'main'
    sizes[name] = (sizes[name] ?? 0) + Buffer.byteLength(content)
  }
  for (const [name, size] of Object.entries(sizes)) console.log(`${name}: ${size} bytes`)
  console.log(`${Object.keys(result).length} files, ${fs.statSync(out).size} bytes packed`)
  const app = JSON.parse(result['app.json'])
  const parts = app.subPackages ?? app.subpackages ?? []
  for (const page of [...app.pages, ...parts.flatMap(({ root: folder, pages }) => pages.map((p) => path.posix.join(folder, p)))]) {
    if (!result[`${page}.js`]) throw new Error(`${page} was not compiled`)
  }
  if (sizes.main > limit) throw new Error(`the main package has ${sizes.main} bytes, ${limit} are allowed`)
} catch (err) {
  console.error(err)
  failed = true
}
fs.rmSync(work, { recursive: true, force: true })
process.exit(failed ? 1 : 0)
