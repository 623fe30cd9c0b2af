// A server of the test's own, with demo data in a fresh directory, and its people.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'

export const bin = fileURLToPath(new URL('../../../../bin/', import.meta.url))

export interface Server {
  url: string
  dir: string
  /** Ends it; what it keeps is deleted, or stays for the next start. */
  stop: (keep?: boolean) => Promise<void>
}

/** Starts bin/server on a free port, on what an earlier one kept, or afresh. Resolves when it serves. */
export async function startServer(dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cardflow-second-'))): Promise<Server> {
  const child = spawn(path.join(bin, 'server'), ['serve', '--demo', '--data', path.join(dir, 'data')], {
    env: {
      ...process.env, CARDFLOW_HTTP_LISTEN: '127.0.0.1:0', CARDFLOW_LOG_LEVEL: 'warn', CARDFLOW_LIMITS_LOGINS_PER_ADDRESS: '100000 per 1m',
      CARDFLOW_LIMITS_LOOKUPS_PER_ADDRESS: '100000 per 1m', CARDFLOW_LIMITS_REQUESTS_PER_ADDRESS: '100000 per 1m',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const url = await address(child)
  return {
    url, dir,
    async stop(keep = false) {
      child.removeAllListeners('exit')
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
      if (!keep) fs.rmSync(dir, { recursive: true, force: true })
    },
  }
}

function address(child: ChildProcess): Promise<string> {
  let said = ''
  return new Promise((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      said += chunk.toString()
      const found = /(http:\/\/127\.0\.0\.1:\d+)\/readyz/.exec(said)
      if (found) resolve(found[1]!)
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    child.on('exit', (code) => { reject(new Error(`the server ended with ${String(code)}:\n${said}`)) })
  })
}

interface Act { confirmationId: string; state: string; tradeId?: string; error?: { code: string } }

/** Somebody who uses the API, logged in. */
export class Person {
  private constructor(private readonly url: string, private readonly token = '') {}

  static async staff(url: string, username: string): Promise<Person> {
    return new Person(url, (await new Person(url).post<{ token: string }>('/auth/login', { username, password: 'cardflow-demo' })).token)
  }

  static async consumer(url: string, name: string): Promise<Person> {
    return new Person(url, (await new Person(url).post<{ token: string }>('/wechat/login', { code: `demo:${name}` })).token)
  }

  private async ask<T>(method: string, route: string, body?: object): Promise<T> {
    const headers: Record<string, string> = { 'content-type': 'application/json', 'idempotency-key': randomBytes(16).toString('hex') }
    if (this.token) headers['authorization'] = `Bearer ${this.token}`
    const r = await fetch(`${this.url}/api/v1${route}`, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) })
    const text = await r.text()
    if (!r.ok) throw new Error(`${method} ${route}: ${r.status} ${text}`)
    return JSON.parse(text) as T
  }

  get<T>(route: string): Promise<T> {
    return this.ask('GET', route)
  }

  post<T>(route: string, body?: object): Promise<T> {
    return this.ask('POST', route, body)
  }

  /** Asks for something, and waits until it is on the ledger. */
  async act(route: string, body?: object): Promise<Act> {
    let act = await this.post<Act>(route, body)
    while (act.state !== 'committed' && act.state !== 'failed') {
      await pause(100)
      act = await this.get<Act>(`/confirmations/${act.confirmationId}`)
    }
    if (act.state !== 'committed') throw new Error(`${route}: ${act.error?.code ?? ''}`)
    return act
  }
}

/** Runs a program to its end, and answers what it printed. */
export function run(program: string, args: string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'pipe' })
    let said = ''
    let complained = ''
    child.stdout.on('data', (chunk: Buffer) => { said += chunk.toString() })
    child.stderr.on('data', (chunk: Buffer) => { complained += chunk.toString() })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(said)
      else reject(new Error(`${path.basename(program)} ${args.join(' ')} ended with ${String(code)}:\n${said}${complained}`))
    })
    child.stdin.end(input)
  })
}
