/**
 * Why something did not work, in words for the person. code is the server's (handler/openapi.yaml), or one of ours:
 * OFFLINE, TIMEOUT, UNREADABLE.
 */
export class Failure extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** HTTP status; 0 when there was no answer. */
    readonly status = 0,
    /** For customer service. */
    readonly requestId = '',
    /** Seconds until it is worth trying again; 0 when the server didn't say. */
    readonly retryAfter = 0,
  ) {
    super(message)
    this.name = 'Failure'
  }

  /** Whether the same request may simply be sent again: nothing is wrong with it. */
  get passing(): boolean {
    return this.status === 0 || this.status === 503
  }
}

interface Refusal {
  error?: { code?: string, message?: string, requestId?: string }
}

const offline = '网络连接不上，请检查网络后重试'
const slow = '网络有点慢，请稍后再试'
const unreadable = '服务暂时不可用，请稍后再试'

/** Reads an answer that is not 2xx. */
export function failureOf(status: number, data: unknown, header: Record<string, string | undefined>): Failure {
  const retryAfter = Number(header['retry-after'] ?? header['Retry-After'] ?? 0)
  const refusal = (data as Refusal | null)?.error
  if (!refusal?.code || !refusal.message) return new Failure('UNREADABLE', unreadable, status >= 500 ? 503 : status, '', retryAfter)
  return new Failure(refusal.code, refusal.message, status, refusal.requestId ?? '', retryAfter)
}

/** Reads what wx.request fails with: there was no answer. */
export function failureOfNetwork(err: unknown): Failure {
  const reason = (err as { errMsg?: string } | undefined)?.errMsg ?? ''
  return reason.includes('timeout') ? new Failure('TIMEOUT', slow) : new Failure('OFFLINE', offline)
}

/** Any error as a Failure: what is none is ours, and nothing of it is shown. */
export function asFailure(err: unknown): Failure {
  if (err instanceof Failure) return err
  console.error(err)
  return new Failure('UNREADABLE', '出了点问题，请重新打开小程序再试')
}
