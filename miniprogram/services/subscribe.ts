import { newKey, request } from './request'
import { present } from './session'

/** What a person may want to be told when he has left: what came of his registration, of his confirmation, of his return. */
export type Kind = 'real_name' | 'confirmation' | 'return'

/**
 * Asks whether he wants to be told, by one message of WeChat's, what comes of that for which he has just begun to wait. It must be called
 * in the tap itself, before anything is waited for: else WeChat asks nothing. Nothing waits for his answer: a yes is told to the server, and
 * whatever goes wrong is no loss, because the inbox has it all.
 */
export function askToTell(kind: Kind): void {
  const template = present()?.templates?.[kind]
  if (!template) return
  wx.requestSubscribeMessage({
    tmplIds: [template],
    success: (answers) => {
      const answer: unknown = answers[template]
      if (typeof answer !== 'string' || !answer.startsWith('accept')) return
      request({ method: 'POST', path: '/me/subscriptions', body: { kind }, key: newKey() }).catch(() => undefined)
    },
    fail: () => undefined, // he doesn't want to be asked at all, or WeChat doesn't know the template
  })
}
