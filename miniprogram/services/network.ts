import { patience } from '../config'
import { hear } from './clock'
import { failureOf, failureOfNetwork } from './failure'

interface Wanted {
  url: string
  method: 'GET' | 'POST'
  data?: object | undefined
  header?: Record<string, string>
  /** The answer is an ArrayBuffer. */
  bytes?: boolean
}

/** One exchange with the server, and no more: an answer of 2xx, or a Failure. */
export function exchange<T>(wanted: Wanted): Promise<T> {
  return new Promise((resolve, reject) => {
    wx.request({
      url: wanted.url, method: wanted.method, timeout: patience, ...(wanted.data && { data: wanted.data }), ...(wanted.header && { header: wanted.header }),
      ...(wanted.bytes && { responseType: 'arraybuffer' as const }),
      success: ({ statusCode, data, header }) => {
        const said = header as Record<string, string | undefined>
        hear(said['Date'] ?? said['date'])
        if (statusCode >= 200 && statusCode < 300) resolve(data as T)
        else reject(failureOf(statusCode, data, said))
      },
      fail: (err) => {
        reject(failureOfNetwork(err))
      },
    })
  })
}
