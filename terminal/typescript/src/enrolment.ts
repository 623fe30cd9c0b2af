// What a terminal shows once, to become one: its ticket, its serial number, and that its key is its own.
import { createHash } from 'node:crypto'
import { fields, fromHex, type Field } from './bytes.js'
import { type PublicKey } from './sm2.js'

export interface Ticket {
  text: string
  participant: string
  secret: string
  gateway: string
}

/** Reads a ticket as people copy it, with white space anywhere. */
export function parseTicket(copied: string): Ticket {
  const text = copied.replace(/\s/g, '')
  const found = /^CFT1\.([a-z0-9_.-]{3,63})\.([a-z2-7]{26})\.([0-9a-f]{32})$/.exec(text)
  if (!found) throw new Error('not a ticket')
  return { text, participant: found[1]!, secret: found[2]!, gateway: found[3]! }
}

export const possessionBytes = (channel: string, participant: string, key: PublicKey): Uint8Array =>
  fields('cardflow/v1', 'possession', channel, participant, key.bytes)

const sha256 = (...all: Field[]): string => createHash('sha256').update(fields(...all)).digest('hex')

/** The hash by which the ledger knows a serial number. */
export function serialHash(salt: string, serial: string): string {
  if (!/^[A-Z0-9][A-Z0-9-]{3,31}$/.test(serial)) throw new Error('not a serial number')
  return sha256('cardflow/serial/1', fromHex(salt), serial)
}
