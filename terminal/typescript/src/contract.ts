// Requests to the contract: their one spelling, their ID, what is signed of them.
import { fields, u64, utf8 } from './bytes.js'
import { type Openings } from './lot.js'
import { type PrivateKey, sm3, sm3Hex } from './sm2.js'

export const contract = 'ownership'

export interface Output {
  trade: string
  lot: string
  codeHash?: string | undefined
}

export interface Offer {
  seller: string
  mode: 'NAMED' | 'BEARER'
  receiver?: string | undefined
  offeredAt: number
  expiresAt: number
  inputs: string[]
  outputs: Output[]
  remainders?: string[] | undefined
  reverses?: string | undefined
}

export type Reason = 'NOT_MINE' | 'WRONG_CARDS' | 'DAMAGED' | 'CHANGED_MIND' | 'OTHER'

// Members in their order. What an offer has within itself has an order, too.
const offer = ['seller', 'mode', 'receiver', 'offeredAt', 'expiresAt', 'inputs', 'outputs', 'remainders']
const members: Record<string, string[]> = {
  Offer: offer,
  Return: [...offer, 'reverses'],
  Confirm: ['trade', 'lot', 'receiver'],
  Decline: ['trade', 'receiver', 'reason'],
  Cancel: ['trade'],
  Merge: ['owner', 'inputs', 'output'],
}
const outputMembers = ['trade', 'lot', 'codeHash']

function ordered(value: object, order: string[]): object {
  const given = value as Record<string, unknown>
  const unknown = Object.keys(given).find((name) => !order.includes(name) && given[name] !== undefined)
  if (unknown !== undefined) throw new Error(`a member that the request does not have: ${unknown}`)
  const empty = (v: unknown): boolean => v === undefined || v === '' || (Array.isArray(v) && v.length === 0)
  return Object.fromEntries(order.filter((name) => !empty(given[name])).map((name) => [name, given[name]]))
}

/** The one spelling of a function's arguments. */
export function spell(name: string, value: object): string {
  const order = members[name]
  if (!order) throw new Error(`a function that terminals do not call: ${name}`)
  const inside = value as { outputs?: Output[] }
  return JSON.stringify(ordered(inside.outputs ? { ...value, outputs: inside.outputs.map((o) => ordered(o, outputMembers)) } : value, order))
}

/** Reads arguments that are in their one spelling. */
export function read<T extends object>(name: string, args: string): T {
  const value = JSON.parse(args) as T
  if (spell(name, value) !== args) throw new Error('the arguments are not in their one spelling')
  return value
}

export const requestId = (channel: string, name: string, args: string): string =>
  sm3Hex('cardflow/v1', 'act', channel, contract, name, sm3(utf8(args)))

export const signingBytes = (channel: string, name: string, keyId: string, notAfter: number, args: string): Uint8Array =>
  fields('cardflow/v1', channel, contract, name, keyId, u64(notAfter), sm3(utf8(args)))

/** A signed request, as it is sent. */
export interface Submit {
  contract: string
  function: string
  args: string
  signature: { keyId: string; notAfter: number; signature: string }
  openings?: Openings
  code?: string
  iccidLast6?: string
}

/** Signs a request; more are its openings, or what proves a code. */
export function sign(channel: string, key: PrivateKey, name: string, args: string, notAfter: number, more: Pick<Submit, 'openings' | 'code' | 'iccidLast6'> = {}): Submit {
  const keyId = key.public.id
  return { contract, function: name, args, signature: { keyId, notAfter, signature: key.sign(signingBytes(channel, name, keyId, notAfter, args)) }, ...more }
}
