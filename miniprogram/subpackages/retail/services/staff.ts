import { api } from '../../../config'
import { now } from '../../../services/clock'
import { Failure } from '../../../services/failure'
import { exchange } from '../../../services/network'
import { requester } from '../../../services/request'

/** A member of staff who is logged in, by a password: nobody logs him in again in silence. */
export interface Staff {
  token: string
  expiresAt: string
  participant: { id: string, role: string, name?: string }
  person: { username: string }
  roles: string[]
  mustChangePassword: boolean
}

const place = 'staff'
const sellers = ['retailer', 'distributor', 'carrier']

export function staff(): Staff | undefined {
  const kept = wx.getStorageSync<Staff | ''>(place)
  return kept && Date.parse(kept.expiresAt) > now() ? kept : undefined
}

/** Logs in. A first password has to be changed before anything else: mustChangePassword says so. */
export async function logIn(username: string, password: string): Promise<Staff> {
  const s = await exchange<Staff>({ url: `${api}/auth/login`, method: 'POST', data: { username, password } })
  if (!s.roles.some((r) => sellers.includes(r))) throw new Failure('NOT_A_SELLER', '这个账号不能卖卡，请用商家的账号登录')
  wx.setStorageSync(place, s)
  return s
}

export async function changePassword(s: Staff, oldPassword: string, newPassword: string): Promise<void> {
  const header = { authorization: `Bearer ${s.token}` }
  const fresh = await exchange<{ token: string, expiresAt: string }>({ url: `${api}/me/password`, method: 'POST', data: { oldPassword, newPassword }, header })
  wx.setStorageSync(place, { ...s, ...fresh, mustChangePassword: false })
}

const account = {
  signIn: (): Promise<{ token: string }> => {
    const s = staff()
    return s ? Promise.resolve(s) : Promise.reject(new Failure('STAFF_SIGNED_OUT', '登录已过期，请重新登录'))
  },
  forget: (token: string): void => {
    if (staff()?.token === token) wx.removeStorageSync(place)
  },
}

const request = requester(account)
export { request }

export async function logOut(): Promise<void> {
  const s = staff()
  if (!s) return
  await request<undefined>({ method: 'POST', path: '/auth/logout' }).catch(() => undefined) // over there it ends by itself
  account.forget(s.token)
}

/** Leads to the login if that is what is missing. Every page asks this of every failure. */
export function askLogin(failure: Failure): boolean {
  if (failure.code !== 'STAFF_SIGNED_OUT') return false
  void wx.redirectTo({ url: '/subpackages/retail/pages/login/login' })
  return true
}
