// SM2 signatures with SM3. The arithmetic is sm-crypto-v2's; it reads signatures and points more forgivingly than the
// protocol allows, so what comes from outside is read here, and it is given two numbers and a point of 65 bytes.
import sm from 'sm-crypto-v2'
import { fields, fromHex, toHex, type Field } from './bytes.js'

const order = 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n

// Node 18 has its randomness in a module, which the library loads later than it is first asked.
await sm.sm2.initRNGPool()

/** SM3, 32 bytes. */
export const sm3 = (bytes: Uint8Array): Uint8Array => fromHex(sm.sm3(bytes))

/** SM3 of fields, in hex. */
export const sm3Hex = (...all: Field[]): string => toHex(sm3(fields(...all)))

/** A public key: 65 bytes, a point of the curve, and its ID. */
export class PublicKey {
  readonly id: string

  private constructor(readonly hex: string) {
    this.id = toHex(sm3(fromHex(hex)).subarray(0, 16))
  }

  static parse(hex: string): PublicKey {
    if (!/^04[0-9a-f]{128}$/.test(hex)) throw new Error('a public key has 65 bytes, the first of them 04')
    let valid = false
    try {
      valid = sm.sm2.verifyPublicKey(hex)
    } catch {
      // The library throws for what is no point at all.
    }
    if (!valid) throw new Error('the public key is not a point of the curve')
    return new PublicKey(hex)
  }

  get bytes(): Uint8Array {
    return fromHex(this.hex)
  }

  /** Reports whether signature, the hex of strict DER, is this key's over message. */
  verify(message: Uint8Array, signature: string): boolean {
    const numbers = readDER(signature)
    if (!numbers) return false
    try {
      return sm.sm2.doVerifySignature(message, numbers.map((n) => n.toString(16).padStart(64, '0')).join(''), this.hex, { hash: true })
    } catch {
      return false
    }
  }
}

/** A private key, which only signs. */
export class PrivateKey {
  readonly public: PublicKey
  readonly #scalar: string

  /** scalar is 64 hex digits, from 1 to n - 2. */
  constructor(scalar: string) {
    const n = BigInt(`0x${scalar}`)
    if (!/^[0-9a-f]{64}$/.test(scalar) || n < 1n || n > order - 2n) throw new Error('not a private key')
    this.#scalar = scalar
    this.public = PublicKey.parse(sm.sm2.getPublicKeyFromPrivateKey(scalar))
  }

  static generate(): { key: PrivateKey; scalar: string } {
    const { privateKey } = sm.sm2.generateKeyPairHex()
    return { key: new PrivateKey(privateKey), scalar: privateKey }
  }

  sign(message: Uint8Array): string {
    const rs = sm.sm2.doSignature(message, this.#scalar, { hash: true, publicKey: this.public.hex })
    return writeDER(BigInt(`0x${rs.slice(0, 64)}`), BigInt(`0x${rs.slice(64)}`))
  }
}

function writeDER(r: bigint, s: bigint): string {
  const integer = (n: bigint): string => {
    let hex = n.toString(16)
    if (hex.length % 2 === 1) hex = `0${hex}`
    if (hex[0]! >= '8') hex = `00${hex}`
    return `02${length(hex)}${hex}`
  }
  const both = integer(r) + integer(s)
  return `30${length(both)}${both}`
}

/** The length of so much hex, in one byte: nothing in a signature has 128 bytes. */
const length = (hex: string): string => (hex.length / 2).toString(16).padStart(2, '0')

/** Reads r and s. There is one spelling for them: what is read and written again must be the same. */
function readDER(hex: string): [bigint, bigint] | undefined {
  const found = /^30[0-9a-f]{2}02(?:[0-9a-f]{2})/.exec(hex)
  if (!found || hex.length > 144 || hex.length % 2 === 1 || !/^[0-9a-f]*$/.test(hex)) return undefined
  const rLength = parseInt(hex.slice(6, 8), 16)
  const r = hex.slice(8, 8 + 2 * rLength)
  const s = hex.slice(8 + 2 * rLength + 4)
  if (r === '' || s === '') return undefined
  const numbers: [bigint, bigint] = [BigInt(`0x${r}`), BigInt(`0x${s}`)]
  if (numbers.some((n) => n < 1n || n >= order) || writeDER(...numbers) !== hex) return undefined
  return numbers
}
