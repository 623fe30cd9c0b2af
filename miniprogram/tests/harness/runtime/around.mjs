// What a camera would see around this phone: the code that the phone beside it shows, the card that is sold there, and for
// a member of staff the cards in his drawer. It stands in for paper, plastic and glass, in the preview.

/** @returns {Promise<{name: string, text: string}[]>} things that can be scanned */
export async function around(phone) {
  const seen = []
  for (let i = 0; i < parent.frames.length; i++) {
    const other = parent.frames[i]
    const trade = other !== window && other.__phone?.router?.top()?.instance.data.trade
    if (!trade?.link) continue
    seen.push({ name: '旁边手机上的二维码', text: trade.link })
    for (const { start } of trade.segments) seen.push({ name: `旁边要卖的卡 …${start.slice(-6)} 的条码`, text: start })
  }
  const { token } = phone.wx.getStorageSync('staff')
  if (token && phone.router.top().route.startsWith('subpackages/retail/')) {
    const r = await fetch('/api/v1/lots?limit=200', { headers: { authorization: `Bearer ${token}` } })
    if (r.ok) seen.push(...drawer((await r.json()).items))
  }
  return seen
}

/** A card of each kind that lies in the drawer. */
function drawer(lots) {
  const kinds = new Map()
  for (const { status, issuer, retailPolicy, segments: [first] } of lots) {
    const kind = `抽屉里的${issuer?.name ?? ''}卡${retailPolicy === 'REAL_NAME' ? '（要实名）' : ''}`
    if (status === 'OWNED' && !kinds.has(kind)) kinds.set(kind, first.start)
  }
  return [...kinds].map(([kind, start]) => ({ name: `${kind} …${start.slice(-6)}`, text: start }))
}
