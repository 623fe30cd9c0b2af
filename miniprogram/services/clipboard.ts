/** Whether WeChat refused because the person has not agreed to the privacy guide. */
export const unagreed = (err: unknown): boolean => ((err as { errMsg?: string } | undefined)?.errMsg ?? '').includes('privacy')

/** Puts text on the clipboard; WeChat says that it has. To WeChat the clipboard is personal data: it may be refused. */
export function copy(data: string): void {
  wx.setClipboardData({
    data,
    fail: (err) => {
      void wx.showToast({ title: unagreed(err) ? '没有复制：要先同意隐私保护指引' : '没有复制成功，请再试一次', icon: 'none', duration: 3000 })
    },
  })
}

/** What is on the clipboard; nothing if it can't be read. */
export async function paste(): Promise<string | undefined> {
  try {
    return (await wx.getClipboardData()).data
  } catch {
    return undefined
  }
}
