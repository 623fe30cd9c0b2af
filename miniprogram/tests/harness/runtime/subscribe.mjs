// Subscription messages (订阅消息): WeChat asks, one consent is one message, and what has been sent comes as a notice over whatever is on
// the screen, in the preview, where a person waits for it.
const names = { real_name: '实名登记结果', confirmation: '收卡结果', return: '退卡结果' }
const nameOf = (template) => names[template.replace(/^sandbox-/, '')] ?? '通知'

/** How often the preview looks for messages, in ms. */
const pace = 2000

export function makeSubscribe(phone) {
  const { settings, ui } = phone
  let shown
  const look = async () => {
    const r = await fetch(`/preview/messages?${new URLSearchParams({ person: settings.person })}`)
    if (!r.ok) return
    const { items } = await r.json()
    for (const m of items.slice(shown ?? items.length)) ui.notice(nameOf(m.templateId), Object.values(m.data).join('　'))
    shown = items.length
  }
  return (templates, ok, fail) => {
    if (!phone.tapped) {
      phone.fault('wx.requestSubscribeMessage is not called in a tap')
      return fail('can only be invoked by user TAP gesture.', { errCode: 20001 })
    }
    if (!Array.isArray(templates) || templates.length < 1 || templates.length > 3 || templates.some((t) => typeof t !== 'string' || t === '')) {
      phone.fault(`wx.requestSubscribeMessage is called with ${JSON.stringify(templates)}`)
      return fail('tmplIds is not right', { errCode: 10003 })
    }
    settings.subscribed.push(...templates)
    if (settings.subscribe === 'off') return fail('The main switch is switched off', { errCode: 20004 })
    const all = (answer) => ok(Object.fromEntries(templates.map((t) => [t, answer])))
    if (settings.subscribe !== 'ask') return all(settings.subscribe)
    const content = `${templates.map(nameOf).join('、')}，仅一次`
    return ui.modal({ title: '卡流转 申请发送一次性订阅消息', content, cancelText: '拒绝', confirmText: '允许' }, async ({ confirm }) => {
      all(confirm ? 'accept' : 'reject')
      if (!confirm || shown !== undefined) return
      await look()
      setInterval(look, pace)
    })
  }
}
