// Which answers count, and what is wrong with those that don't.
import { answerBytes } from './envelope.js'
import { type PublicKey } from './sm2.js'
import { fromHex, toHex } from './bytes.js'

/** What a gateway sent, as it came. */
export interface Answer {
  status: number
  body: Uint8Array
  /** Each Cardflow-Gateway and Cardflow-Signature that stood there. */
  gateway: string[]
  signature: string[]
}

export type Fault = 'NO_ENVELOPE' | 'GATEWAY_UNKNOWN' | 'STATUS_CHANGED' | 'ANSWERED_BEFORE' | 'OTHER_REQUEST' | 'SIGNATURE_WRONG'

/** An answer that counts for nothing: neither for a success nor for a refusal. */
export class NoAnswer extends Error {
  constructor(readonly fault: Fault) {
    super(`no answer: ${fault}`)
  }
}

// What a gateway answers with: looked through only for the name of a fault.
const statuses = [200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 502, 503]

/** The requests that a terminal has sent lately, by their digests, and whether each has its answer. */
export class Sent {
  private readonly digests = new Map<string, boolean>()

  add(digest: Uint8Array): void {
    this.digests.set(toHex(digest), false)
    const oldest = this.digests.keys().next()
    if (this.digests.size > 16 && !oldest.done) this.digests.delete(oldest.value)
  }

  answered(digest: Uint8Array): void {
    this.digests.set(toHex(digest), true)
  }

  /** All but digest, and whether they were answered. */
  *others(digest: Uint8Array): Iterable<[Uint8Array, boolean]> {
    for (const [hex, answered] of this.digests) if (hex !== toHex(digest)) yield [fromHex(hex), answered]
  }
}

/** Throws what is wrong with an answer to the request of this digest; keys are those that are pinned. */
export function check(channel: string, keys: readonly PublicKey[], digest: Uint8Array, answer: Answer, sent = new Sent()): void {
  const [id, ...ids] = answer.gateway
  const [signature, ...signatures] = answer.signature
  if (id === undefined || signature === undefined || ids.length > 0 || signatures.length > 0) throw new NoAnswer('NO_ENVELOPE')
  const key = keys.find((k) => k.id === id)
  if (!key) throw new NoAnswer('GATEWAY_UNKNOWN')
  const fits = (of: Uint8Array, status: number): boolean => key.verify(answerBytes(channel, id, of, status, answer.body), signature)
  if (fits(digest, answer.status)) return
  for (const [other, answered] of sent.others(digest)) {
    if (fits(other, answer.status)) throw new NoAnswer(answered ? 'ANSWERED_BEFORE' : 'OTHER_REQUEST')
  }
  if (statuses.some((status) => fits(digest, status))) throw new NoAnswer('STATUS_CHANGED')
  throw new NoAnswer('SIGNATURE_WRONG')
}
