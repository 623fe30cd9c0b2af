// A gateway that lies, for tests: it passes requests on to the true one, and does something to the next answer.
import http from 'node:http'
import { type AddressInfo } from 'node:net'

export interface Passed {
  path: string
  body: Buffer
  /** The request's headers, as they came. */
  headers: http.IncomingHttpHeaders
  status: number
  answer: Buffer
  gateway: string[]
  signature: string[]
}

/** What is done to an answer; undefined cuts the connection. */
export type Lie = (honest: Passed, before: readonly Passed[]) => Passed | undefined

export class Liar {
  readonly passed: Passed[] = []
  private lies: Lie[] = []
  private readonly server: http.Server

  private constructor(private readonly to: string) {
    this.server = http.createServer((request, response) => { void this.pass(request, response) })
  }

  static async start(to: string): Promise<Liar> {
    const liar = new Liar(to)
    await new Promise<void>((resolve) => { liar.server.listen(0, '127.0.0.1', resolve) })
    return liar
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  /** Lies about the next answer. */
  next(lie: Lie): void {
    this.lies.push(lie)
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private async pass(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const path = request.url ?? '/'
    const headers = Object.entries(request.headers).filter(([name]) => /^(cardflow-|content-type)/.test(name)) as [string, string][]
    const true_ = await fetch(this.to + path, { method: request.method ?? 'GET', headers, ...(body.length > 0 ? { body } : {}) })
    const one = (name: string): string[] => { const v = true_.headers.get(name); return v === null ? [] : [v] }
    const honest: Passed = {
      path, body, headers: request.headers, status: true_.status, answer: Buffer.from(await true_.arrayBuffer()), gateway: one('cardflow-gateway'), signature: one('cardflow-signature'),
    }
    const before = [...this.passed]
    this.passed.push(honest)
    const lie = this.lies.shift()
    const said = lie ? lie(honest, before) : honest
    if (!said) {
      request.socket.destroy()
      return
    }
    response.writeHead(said.status, { 'Cardflow-Gateway': said.gateway, 'Cardflow-Signature': said.signature })
    response.end(said.answer)
  }
}
