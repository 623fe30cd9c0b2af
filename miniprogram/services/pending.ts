/** A confirmation that has not ended: after a crash or a closed app the home page leads back to it. */
export interface Pending { confirmationId: string, seller: string, count: number }

const place = 'pending'

export const remember = (p: Pending): void => {
  wx.setStorageSync(place, p)
}

export const recall = (): Pending | undefined => {
  const kept = wx.getStorageSync<Pending | ''>(place)
  return kept ? kept : undefined
}

export const settle = (confirmationId: string): void => {
  if (recall()?.confirmationId === confirmationId) wx.removeStorageSync(place)
}
