import { api } from '../config'
import { act, type Act } from './consumer'
import { asFailure, type Failure } from './failure'
import { forget, signIn } from './session'
import { eventsOf } from './events'

/** What comes of a write, told as it happens. */
export interface Watcher {
  /** Each state, the last one too. */
  state(act: Act): void
  /** The connection is lost: what is shown may be old. Watching goes on. */
  lost(failure: Failure): void
}

const ended = (a: Act) => a.state === 'committed' || a.state === 'failed'

/** Waits before the connection is opened again, in ms; the last for ever. */
const waits = [300, 1000, 3000]

/**
 * Follows a write by the server's events until it has ended, through lost connections and ended logins. Returns what stops it:
 * a page that is hidden stops, and starts again when it is shown.
 */
export function watch(id: string, watcher: Watcher): () => void {
  let stopped = false
  let task: WechatMiniprogram.RequestTask | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let losses = 0

  const tell = (a: Act) => {
    if (stopped) return
    losses = 0
    if (ended(a)) stop()
    watcher.state(a)
  }

  const stop = () => {
    stopped = true
    if (timer !== undefined) clearTimeout(timer)
    task?.abort()
  }

  const again = (failure?: Failure) => {
    if (stopped) return
    if (failure) watcher.lost(failure)
    timer = setTimeout(() => { // who was told may have had enough
      if (!stopped) void open()
    }, waits[Math.min(losses++, waits.length - 1)])
  }

  const open = async () => {
    try {
      // Where it stands now, by a request that renews logins and tells why it can't; what follows comes by events.
      tell(await act(id))
      if (stopped) return
      const { token } = await signIn()
      const read = eventsOf((text) => {
        tell(JSON.parse(text) as Act)
      })
      task = wx.request({
        url: `${api}/confirmations/${id}/events`, header: { authorization: `Bearer ${token}` }, enableChunked: true, timeout: 300_000,
        success: (r) => {
          if (r.statusCode === 401) forget(token)
          again()
        },
        fail: () => {
          again()
        },
      })
      task.onChunkReceived((r) => {
        read(r.data)
      })
    } catch (err) {
      again(asFailure(err))
    }
  }

  void open()
  return stop
}
