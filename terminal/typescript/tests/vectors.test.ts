// The published test vectors, each held against what this client makes of the protocol's document.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { check, NoAnswer, Sent } from '../src/answer.js'
import { fromBase64, fromHex, toHex, utf8 } from '../src/bytes.js'
import { checkDigit, Cards } from '../src/cards.js'
import * as contract from '../src/contract.js'
import { parseTicket, possessionBytes, serialHash } from '../src/enrolment.js'
import { answerBytes, requestBytes, requestDigest, type Request } from '../src/envelope.js'
import { codeHash, crc40, lotHash, open, tradeCode } from '../src/lot.js'
import { PrivateKey, PublicKey } from '../src/sm2.js'

interface Key { scalar: string; public: string; id: string }
interface Vectors {
  channel: string
  device: Key
  gateway: Key
  serial: { serial: string; salt: string; hash: string }
  ticket: { text: string; participant: string; secret: string; gateway: string }
  possession: { participant: string; signingBytes: string; signature: string }
  requests: (Request & { signingBytes: string; digest: string; signature?: string })[]
  responses: { request: number; status: number; body: string; gateway: string; signingBytes: string; signature: string; counts: boolean; why?: string }[]
  submits: { submit: contract.Submit; requestId: string; signingBytes: string }[]
}

const v = JSON.parse(fs.readFileSync(new URL('../../../protocol/testdata/vectors.json', import.meta.url), 'utf8')) as Vectors
const device = PublicKey.parse(v.device.public)
const gateway = PublicKey.parse(v.gateway.public)

test('keys: public from scalar, id from public', () => {
  for (const key of [v.device, v.gateway]) {
    const made = new PrivateKey(key.scalar)
    assert.equal(made.public.hex, key.public)
    assert.equal(made.public.id, key.id)
  }
})

test('what this client signs, it verifies, and nothing near it', () => {
  const { key } = PrivateKey.generate()
  const message = utf8('卡流转')
  for (let i = 0; i < 5; i++) {
    const signature = key.sign(message)
    assert.ok(key.public.verify(message, signature))
    assert.ok(!key.public.verify(utf8('卡流传'), signature))
    assert.ok(!device.verify(message, signature))
  }
})

test('a signature has one spelling', () => {
  const message = utf8('one')
  const { key } = PrivateKey.generate()
  let good = ''
  while (!good.startsWith('3045022100')) good = key.sign(message) // 3045 0221 00 r, 0220 s
  assert.ok(key.public.verify(message, good))
  const r = good.slice(10, 74)
  const s = good.slice(78)
  const order = 'fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123'
  const over = (BigInt(`0x${s}`) + BigInt(`0x${order}`)).toString(16).padStart(66, '0')
  const bad = {
    'a byte after it': good + '00',
    'a byte after it, within': `3046${good.slice(4)}00`,
    'cut short': good.slice(0, -2),
    'no sign byte': `30440220${r}0220${s}`,
    'padded': `3046022100${r}022100${s}`,
    'a long length': `308145${good.slice(4)}`,
    'upper case': good.toUpperCase(),
    'not DER': r + s,
    'nothing': '',
    'r is 0': `3025020100` + `0220${s}`,
    's is 0': `3026022100${r}020100`,
    's beyond the order': `3046022100${r}0221${over}`,
    'r and s changed places': `30450220${s}022100${r}`,
  }
  for (const [what, signature] of Object.entries(bad)) assert.ok(!key.public.verify(message, signature), what)
})

test('a public key is a point, in 65 bytes', () => {
  const bad = [v.device.public.slice(2), `03${v.device.public.slice(2, 66)}`, v.device.public.toUpperCase(), `${v.device.public.slice(0, -1)}3`, `04${'0'.repeat(128)}`, '00']
  for (const hex of bad) assert.throws(() => PublicKey.parse(hex), hex)
})

test('serial, ticket, possession', () => {
  assert.equal(serialHash(v.serial.salt, v.serial.serial), v.serial.hash)
  for (const bad of ['SN', '-SN-1', 'sn-0001', 'SN_0001', 'S'.repeat(33)]) assert.throws(() => serialHash(v.serial.salt, bad), bad)
  assert.deepEqual(parseTicket(v.ticket.text), v.ticket)
  assert.deepEqual(parseTicket(` ${v.ticket.text.slice(0, 20)}\n\t${v.ticket.text.slice(20)} `), v.ticket)
  for (const bad of ['', 'CFT2' + v.ticket.text.slice(4), v.ticket.text + '0', v.ticket.text.replace('retailer-7', 'r7')]) assert.throws(() => parseTicket(bad), bad)
  const bytes = possessionBytes(v.channel, v.possession.participant, device)
  assert.equal(toHex(bytes), v.possession.signingBytes)
  assert.ok(device.verify(bytes, v.possession.signature))
})

test('requests', () => {
  for (const [i, r] of v.requests.entries()) {
    const bytes = requestBytes(v.channel, r)
    assert.equal(toHex(bytes), r.signingBytes)
    assert.equal(toHex(requestDigest(v.channel, r)), r.digest)
    if (i === 0) assert.equal(r.signature, undefined)
    else assert.ok(device.verify(bytes, r.signature ?? ''))
  }
})

test('responses: those that count, and why the others do not', () => {
  const faults: Record<string, string> = {
    'its status was changed': 'STATUS_CHANGED',
    'its body was changed': 'SIGNATURE_WRONG',
    "it is another request's answer": 'OTHER_REQUEST',
    'it is signed by another key than it names': 'SIGNATURE_WRONG',
  }
  const sent = new Sent()
  for (const r of v.requests) sent.add(fromHex(r.digest))
  const seen = new Set<string>()
  for (const r of v.responses) {
    const digest = fromHex(v.requests[r.request]!.digest)
    const body = utf8(r.body)
    assert.equal(toHex(answerBytes(v.channel, r.gateway, digest, r.status, body)), r.signingBytes)
    const judge = (): void => { check(v.channel, [gateway], digest, { status: r.status, body, gateway: [r.gateway], signature: [r.signature] }, sent) }
    if (r.counts) {
      judge()
      continue
    }
    const fault = faults[r.why ?? '']
    assert.ok(fault, `a reason that is not known here: ${String(r.why)}`)
    assert.throws(judge, (err) => err instanceof NoAnswer && err.fault === fault, r.why)
    seen.add(r.why ?? '')
  }
  assert.equal(seen.size, 4)
})

test('submits', () => {
  for (const { submit, requestId, signingBytes } of v.submits) {
    contract.read(submit.function, submit.args)
    assert.equal(submit.contract, contract.contract)
    assert.equal(contract.requestId(v.channel, submit.function, submit.args), requestId)
    const { keyId, notAfter, signature } = submit.signature
    assert.equal(keyId, device.id)
    const bytes = contract.signingBytes(v.channel, submit.function, keyId, notAfter, submit.args)
    assert.equal(toHex(bytes), signingBytes)
    assert.ok(device.verify(bytes, signature))
  }
})

test('the openings of the first submit give its hashes, its cards and its code', () => {
  const { args, openings = {} } = v.submits[0]!.submit
  const offer = contract.read<contract.Offer>('Offer', args)
  const [output] = offer.outputs
  assert.ok(output && offer.inputs[0] && offer.remainders?.[0])
  for (const [hash, opening] of Object.entries(openings.lots ?? {})) assert.equal(lotHash(opening), hash)
  const sold = open(output.lot, openings)
  const rest = open(offer.remainders[0], openings)
  const all = open(offer.inputs[0], openings)
  assert.deepEqual([sold.count, rest.count, all.count], [1, 99, 100])
  assert.equal(all.without(sold).canonical, rest.canonical)
  assert.equal(rest.and(sold).canonical, all.canonical)
  assert.throws(() => all.and(sold), /twice/)
  const code = openings.codes?.[output.trade]
  assert.ok(code)
  const salt = fromBase64(code.salt, 16)
  assert.equal(tradeCode(offer.offeredAt, offer.seller, output.lot, salt), code.code)
  assert.equal(codeHash(output.trade, code.code, salt), output.codeHash)
})

test('check digits, CRC-40/GSM, canonical forms', () => {
  assert.equal(checkDigit('8986031700000000017'), '3')
  assert.equal(crc40(utf8('123456789')), 0xd4164fc646n)
  const serial = (...runs: string[]): string => Cards.of('SERIAL', runs.map((run) => {
    const [start = '', end] = run.split('-')
    return { start, end }
  })).canonical
  // Letters head a number, runs end where the digits that count do, shorter numbers are others.
  assert.equal(serial('898604B7192270000002', '898604B7192270000000-898604B7192270000001'), '898604B7192270000000-898604B7192270000002')
  assert.equal(serial('89860600009999999999', '89860600010000000000'), '89860600009999999999,89860600010000000000')
  assert.equal(serial('8986060000000000001', '89860600000000000002'), '89860600000000000002,8986060000000000001')
  assert.throws(() => serial('898604B7192270000000', '898604B7192270000000'), /twice/)
  assert.throws(() => serial('898604B7192270000001-898604B7192270000000'), /no run/)
  assert.throws(() => Cards.parse('SERIAL', '898604B7192270000000,898604B7192270000001'), /canonical/)
  assert.throws(() => Cards.of('LUHN', [{ start: '89860317000000000174' }]), /check digit/)
})
