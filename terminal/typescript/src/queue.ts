// Signed requests that wait for their end, on the disk: each as the bytes that go out, however often.
import fs from 'node:fs'
import path from 'node:path'

export class Queue {
  constructor(private readonly dir: string) {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 })
  }

  /** Keeps a request; from its return on it survives a power cut. */
  put(id: string, body: string): void {
    this.write(`${id}.json`, body)
  }

  read(id: string): string {
    return fs.readFileSync(path.join(this.dir, `${id}.json`), 'utf8')
  }

  /** Records how a request has ended: it goes out no more. */
  end(id: string, outcome: object): void {
    this.write(`${id}.end`, JSON.stringify(outcome))
  }

  /** The IDs of all that have no end. */
  waiting(): string[] {
    const all = fs.readdirSync(this.dir)
    return all.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5)).filter((id) => !all.includes(`${id}.end`))
  }

  private write(name: string, text: string): void {
    const written = path.join(this.dir, `.${name}`)
    const file = fs.openSync(written, 'w', 0o600)
    try {
      fs.writeSync(file, text)
      fs.fsyncSync(file)
    } finally {
      fs.closeSync(file)
    }
    fs.renameSync(written, path.join(this.dir, name))
    const dir = fs.openSync(this.dir, 'r')
    try {
      fs.fsyncSync(dir)
    } finally {
      fs.closeSync(dir)
    }
  }
}
