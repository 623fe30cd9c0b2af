import { api } from '../config'
import { now } from './clock'
import { Failure } from './failure'
import { exchange } from './network'

/** Who is logged in. The token is all that proves it; it is kept on the phone and nowhere else. */
export interface Session {
  token: string
  expiresAt: string
  participant: { id: string, role: string, name?: string }
  realName: 'none' | 'pending' | 'approved' | 'refused'
  /** Of the messages that he may be asked about, by kind; a session of an older program has none. */
  templates?: Record<string, string>
}

const place = 'session'
const out = 'signed out'
let underWay: Promise<Session> | undefined

/** The present session, if it is not known to be over. */
export function present(): Session | undefined {
  const kept = wx.getStorageSync<Session | ''>(place)
  return kept && Date.parse(kept.expiresAt) > now() ? kept : undefined
}

/** Forgets the session, unless another has taken its place. */
export function forget(token: string): void {
  if (present()?.token === token) wx.removeStorageSync(place)
}

/** Whether the person has logged out: then nobody logs him in behind his back. */
export const gone = (): boolean => wx.getStorageSync<true | ''>(out) === true

/** He wants to be logged in again. */
export const comeBack = (): void => {
  wx.removeStorageSync(out)
}

/** Everything of this person leaves the phone. */
export function leave(): void {
  wx.clearStorageSync()
  wx.setStorageSync(out, true)
}

/** The session, by a silent login if there is none. Whoever asks meanwhile gets the same one: a code works once. */
export function signIn(): Promise<Session> {
  const kept = present()
  if (kept) return Promise.resolve(kept)
  if (gone()) return Promise.reject(new Failure('SIGNED_OUT', '您已退出登录，请先在“我的”里登录'))
  underWay ??= logIn().finally(() => {
    underWay = undefined
  })
  return underWay
}

async function logIn(): Promise<Session> {
  let code: string
  try {
    code = (await wx.login()).code
  } catch {
    throw new Failure('LOGIN_UNAVAILABLE', '微信登录没有成功，请检查网络后重试')
  }
  const session = await exchange<Session>({ url: `${api}/wechat/login`, method: 'POST', data: { code } })
  wx.setStorageSync(place, session)
  return session
}
