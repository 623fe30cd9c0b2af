// This client as `terminal selftest --maker` asks it: a question a line, and its answer, both JSON.
import { createInterface } from 'node:readline'
import { check, NoAnswer } from './answer.js'
import { fromBase64, fromHex, toHex, utf8 } from './bytes.js'
import { Cards, type Rule } from './cards.js'
import * as contract from './contract.js'
import { parseTicket, possessionBytes, serialHash } from './enrolment.js'
import { requestBytes, requestDigest, type Request } from './envelope.js'
import { codeHash, lotHash, open, tradeCode } from './lot.js'
import { PrivateKey, PublicKey } from './sm2.js'

interface Question {
  ask: string
  [member: string]: unknown
}

const text = (q: Question, member: string): string => {
  const value = q[member]
  if (typeof value !== 'string') throw new Error(`${member} is no text`)
  return value
}

const answers: Record<string, (q: Question) => object> = {
  key(q) {
    const { hex, id } = new PrivateKey(text(q, 'scalar')).public
    return { public: hex, id }
  },
  sign: (q) => ({ signature: new PrivateKey(text(q, 'scalar')).sign(fromHex(text(q, 'message'))) }),
  verify(q) {
    let key: PublicKey
    try {
      key = PublicKey.parse(text(q, 'public'))
    } catch {
      return { valid: false }
    }
    return { valid: key.verify(fromHex(text(q, 'message')), text(q, 'signature')) }
  },
  serial: (q) => ({ hash: serialHash(text(q, 'salt'), text(q, 'serial')) }),
  ticket: (q) => parseTicket(text(q, 'text')),
  possession: (q) => ({ signingBytes: toHex(possessionBytes(text(q, 'channel'), text(q, 'participant'), PublicKey.parse(text(q, 'public')))) }),
  request(q) {
    const r = q as unknown as Request
    return { signingBytes: toHex(requestBytes(text(q, 'channel'), r)), digest: toHex(requestDigest(text(q, 'channel'), r)) }
  },
  answer(q) {
    const keys = (q['pinned'] as string[]).map((k) => PublicKey.parse(k))
    const answer = { status: Number(q['status']), body: utf8(text(q, 'body')), gateway: [text(q, 'gateway')], signature: [text(q, 'signature')] }
    try {
      check(text(q, 'channel'), keys, fromHex(text(q, 'digest')), answer)
    } catch (err) {
      if (err instanceof NoAnswer) return { counts: false }
      throw err
    }
    return { counts: true }
  },
  submit(q) {
    const [channel, name, args] = [text(q, 'channel'), text(q, 'function'), text(q, 'args')]
    contract.read(name, args)
    return { requestId: contract.requestId(channel, name, args), signingBytes: toHex(contract.signingBytes(channel, name, text(q, 'keyId'), Number(q['notAfter']), args)) }
  },
  cards: (q) => ({ canonical: Cards.of(text(q, 'rule') as Rule, q['segments'] as { start: string; end: string }[]).canonical }),
  lot(q) {
    const opening = { rule: text(q, 'rule') as Rule, salt: text(q, 'salt'), canonical: text(q, 'canonical') }
    const lot = lotHash(opening)
    open(lot, { lots: { [lot]: opening } })
    return { lot }
  },
  code(q) {
    const salt = fromBase64(text(q, 'salt'), 16)
    const code = tradeCode(Number(q['offeredAt']), text(q, 'seller'), text(q, 'lot'), salt)
    return { code, codeHash: codeHash(text(q, 'trade'), code, salt) }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer: object
  try {
    const q = JSON.parse(line) as Question
    answer = answers[q.ask]?.(q) ?? { refused: true }
  } catch {
    answer = { refused: true }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
