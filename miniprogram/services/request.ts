import { api } from '../config'
import { Failure } from './failure'
import { exchange } from './network'
import { forget, signIn } from './session'

interface Ask {
  method: 'GET' | 'POST'
  /** Under /api/v1. ICCIDs and codes never stand in it: addresses end up in logs. */
  path: string
  query?: Record<string, string>
  body?: object
  /** Idempotency-Key of a write: one for each thing that the person wants, the same for every try. */
  key?: string
  /** A POST that changes nothing: it has in its body what may stand in no address. */
  reads?: boolean
  /** The answer is a picture: an ArrayBuffer. */
  bytes?: boolean
}

/** Waits between tries, in ms. */
const waits = [500, 1500]

/** Longest Retry-After, in seconds, that is waited for rather than shown. */
const worthWaiting = 2

/** Who asks: gets a token, and hears when it has ended. */
export interface Account {
  signIn: () => Promise<{ token: string }>
  forget: (token: string) => void
}

/**
 * Requests to the server for one account. A login that has ended is renewed, once, and the request sent again. What may be
 * asked twice (what only reads, or a write with its key) is asked again while the network or the server is away for a moment.
 * Everything else is thrown, as a Failure.
 */
export const requester = (account: Account) => async <T>(ask: Ask): Promise<T> => {
  const repeatable = ask.method === 'GET' || ask.reads === true || ask.key !== undefined
  let renewed = false
  for (let attempt = 0; ; ) {
    const { token } = await account.signIn()
    try {
      return await send<T>(ask, token)
    } catch (err) {
      if (!(err instanceof Failure)) throw err
      if (err.status === 401 && !renewed) {
        renewed = true
        account.forget(token)
        continue
      }
      const wait = waits[attempt]
      if (!err.passing || !repeatable || wait === undefined || err.retryAfter > worthWaiting) throw err
      await pause(wait)
      attempt++
    }
  }
}

/** A request of the buyer's. */
export const request = requester({ signIn, forget })

function send<T>(ask: Ask, token: string): Promise<T> {
  const header: Record<string, string> = { authorization: `Bearer ${token}` }
  if (ask.key !== undefined) header['idempotency-key'] = ask.key
  return exchange<T>({
    url: api + ask.path, method: ask.method, data: ask.method === 'GET' ? ask.query : ask.body, header, bytes: ask.bytes ?? false,
  })
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** A name for one wish. It need not be secret, only its own. */
export function newKey(): string {
  const part = () => Math.random().toString(36).slice(2, 12).padEnd(10, '0')
  return `mp-${Date.now().toString(36)}-${part()}${part()}`
}
