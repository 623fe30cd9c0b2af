// The signatures around HTTP: what a terminal signs of its request, and the gateway of its answer.
import { fields, fromHex, u32, u64, utf8 } from './bytes.js'
import { sm3 } from './sm2.js'

const domain = 'cardflow/terminal/1'

/** What of a request is signed. GET /gateway has no keyId, time 0 and no body. */
export interface Request {
  method: string
  path: string
  keyId: string
  nonce: string
  time: number
  body: string
}

export const requestBytes = (channel: string, r: Request): Uint8Array =>
  fields(domain, 'request', channel, r.method, r.path, r.keyId, fromHex(r.nonce), u64(r.time), sm3(utf8(r.body)))

/** The digest under which an answer names its request. */
export const requestDigest = (channel: string, r: Request): Uint8Array => sm3(requestBytes(channel, r))

export const answerBytes = (channel: string, gateway: string, digest: Uint8Array, status: number, body: Uint8Array): Uint8Array =>
  fields(domain, 'response', channel, gateway, digest, u32(status), sm3(body))
