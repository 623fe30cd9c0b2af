// Bytes, as the protocol writes them: hex, numbers in 8 bytes, and fields that stand after their length.

/** A field: a text stands for its UTF-8 bytes. */
export type Field = string | Uint8Array

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Reads lower-case hex, and nothing else. */
export function fromHex(text: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error('not lower-case hex')
  return new Uint8Array(Buffer.from(text, 'hex'))
}

/** Reads base64 of exactly so many bytes, in the one spelling that has them. */
export function fromBase64(text: string, length: number): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length !== length || bytes.toString('base64') !== text) throw new Error(`not base64 of ${length} bytes`)
  return new Uint8Array(bytes)
}

export const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

export const concat = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))

/** A whole number from 0 in 8 bytes, big-endian. */
export function u64(n: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(n))
  return new Uint8Array(bytes)
}

/** A status, or a length, in 4 bytes. */
export function u32(n: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(n)
  return new Uint8Array(bytes)
}

/** F of the protocol: each field after its length. */
export function fields(...all: Field[]): Uint8Array {
  return concat(...all.flatMap((f) => {
    const bytes = typeof f === 'string' ? utf8(f) : f
    return [u32(bytes.length), bytes]
  }))
}
