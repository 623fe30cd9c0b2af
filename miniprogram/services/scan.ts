/** What came of scanning: the text; or denied, if the camera may not be used; or nothing, if the person closed it. */
export type Scanned = { text: string } | { denied: boolean } | undefined

type Kind = 'qrCode' | 'barCode' | 'datamatrix'

/** Opens the scanner. A mini-program code has no text: it has the page that it opens. */
export async function scan(kinds: Kind[], miniProgram = false): Promise<Scanned> {
  try {
    const scanned = await wx.scanCode({ scanType: miniProgram ? [...kinds, 'wxCode' as 'qrCode'] : kinds })
    return { text: scanned.result || (scanned as { path?: string }).path || '' }
  } catch (err) {
    const reason = (err as { errMsg?: string }).errMsg ?? ''
    return reason.includes('cancel') ? undefined : { denied: reason.includes('auth') }
  }
}
