// wx.setStorage and its family, for one person on one phone.
import { api } from './api.mjs'

export function makeStorage(phone) {
  const key = (k) => `${phone.settings.person}/${k}`
  const read = (k) => {
    const text = localStorage.getItem(key(k))
    return text === null ? '' : JSON.parse(text)
  }
  const write = (k, v) => localStorage.setItem(key(k), JSON.stringify(v))
  const remove = (k) => localStorage.removeItem(key(k))
  const keys = () => Object.keys(localStorage).filter((k) => k.startsWith(key(''))).map((k) => k.slice(key('').length))
  return {
    getStorageSync: read,
    setStorageSync: write,
    removeStorageSync: remove,
    clearStorageSync: () => keys().forEach(remove),
    getStorage: api('getStorage', (o, ok, fail) => (keys().includes(o.key) ? ok({ data: read(o.key) }) : fail('data not found'))),
    setStorage: api('setStorage', (o, ok) => {
      write(o.key, o.data)
      ok()
    }),
    removeStorage: api('removeStorage', (o, ok) => {
      remove(o.key)
      ok()
    }),
  }
}
