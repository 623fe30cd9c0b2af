// The Go program holds this client against the vectors, and against inputs that it draws.
import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bin, run } from './server.js'

test('this client passes `terminal selftest --maker`', async () => {
  const maker = fileURLToPath(new URL('../src/maker.js', import.meta.url))
  const said = JSON.parse(await run(path.join(bin, 'terminal'), ['--json', 'selftest', '--maker', `exec '${process.execPath}' '${maker}'`], '')) as { sound: boolean; checks: { name: string }[] }
  assert.ok(said.sound)
  assert.deepEqual(said.checks.map((c) => c.name), ['key', 'sign', 'verify', 'serial', 'ticket', 'possession', 'request', 'answer', 'submit', 'cards', 'lot', 'code'])
})
