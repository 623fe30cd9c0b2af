import { now } from './clock'
import { request } from './request'

export type RealNameState = 'none' | 'pending' | 'approved' | 'refused' | 'expired'

/** How a person stands with one carrier. */
export interface Registration {
  id?: string
  carrier: { id: string, name?: string }
  state: RealNameState
  method?: string
  reason?: { code: string, message?: string, text?: string }
  submittedAt?: string
  decidedAt?: string
  validUntil?: string
}

export interface Registrations {
  state: RealNameState
  consent: { version: string, text: string }
  methods: ('ID_NUMBER' | 'CREDENTIAL')[]
  items: Registration[]
}

/** By name and ID number, or by a credential of the national network identity. It leaves the phone and stays nowhere on it. */
export type Identity = { name: string, idNumber: string } | { credential: string }

export const registrations = () => request<Registrations>({ method: 'GET', path: '/me/real-name' })

export const register = (carrier: string, identity: Identity, key: string) =>
  request<Registration>({ method: 'POST', path: '/me/real-name', body: { carrier, ...identity, consent: true }, key })

export const withdraw = (carrier: string, key: string) => request<Registration>({ method: 'POST', path: '/me/real-name/withdraw', body: { carrier }, key })

const weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]

/**
 * What is wrong with an ID number, before anything is sent; nothing if it may be one. The check character is that of
 * GB 11643-1999. The server looks more closely.
 */
export function idProblem(id: string): string {
  if (id === '') return ''
  if (!/^\d{0,17}[\dX]?$/.test(id)) return '身份证号由数字组成，最后一位可以是 X'
  if (id.length !== 18) return '身份证号应有 18 位'
  const sum = weights.reduce((n, w, i) => n + w * Number(id[i]), 0)
  return '10X98765432'[sum % 11] === id[17] ? '' : '身份证号有误，请核对'
}

/** How long before its end a registration may be asked for anew, in ms. */
const renewal = 30 * 86_400_000

export const renewable = (r: Registration): boolean => r.state === 'approved' && r.validUntil !== undefined && Date.parse(r.validUntil) - now() < renewal

const states: Record<RealNameState, { text: string, kind: string }> = {
  none: { text: '没有登记', kind: '' },
  pending: { text: '审核中', kind: 'warn' },
  approved: { text: '已实名', kind: 'ok' },
  refused: { text: '没有通过', kind: 'bad' },
  expired: { text: '已到期', kind: 'warn' },
}

export const stateOf = (s: RealNameState): { text: string, kind: string } => states[s]
