// Runs the end-to-end tests again and again, and says how long each run took: what fails once in ten runs is found here, and a row
// for docs/performance.md. The first run that fails ends it; what it said and its pictures are left.
//
//   node tests/tools/repeat.mjs [RUNS]      (default 10)
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import { fileURLToPath } from 'node:url'

const runs = Number(process.argv[2] ?? 10)
const root = fileURLToPath(new URL('../../', import.meta.url))
const log = fileURLToPath(new URL('../shots/repeat.log', import.meta.url))

const times = []
for (let n = 1; n <= runs; n++) {
  const begun = performance.now()
  const run = spawnSync('npm', ['run', '--silent', 'e2e'], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 })
  const took = (performance.now() - begun) / 1000
  const tests = /^# pass (\d+)/m.exec(run.stdout)?.[1] ?? /pass (\d+)/.exec(run.stdout)?.[1] ?? '?'
  console.log(`${String(n).padStart(2)}: ${run.status === 0 ? 'ok' : 'FAILED'}, ${tests} tests passed, ${took.toFixed(0)} s, load ${os.loadavg()[0].toFixed(1)}`)
  if (run.status !== 0) {
    fs.writeFileSync(log, run.stdout + run.stderr)
    console.log(`what it said: ${log}`)
    process.exit(1)
  }
  times.push(took)
}
const sorted = [...times].sort((a, b) => a - b)
const [least, median, most] = [sorted[0], sorted[Math.floor(runs / 2)], sorted[runs - 1]].map((s) => s.toFixed(0))
console.log(`${runs} runs in a row: median ${median} s, ${least} to ${most} s`)
