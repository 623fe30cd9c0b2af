import { copy as toClipboard } from '../../services/clipboard'
import { receipt as read, type Receipt } from '../../services/consumer'
import { asFailure } from '../../services/failure'
import { segmentTexts, when, type SegmentText } from '../../services/words'

Page({
  data: {
    id: '',
    receipt: undefined as Receipt | undefined,
    segments: [] as SegmentText[],
    proofs: [] as { name: string, value: string }[],
    time: '',
    trouble: '',
  },

  onLoad(options: Record<string, string | undefined>) {
    this.setData({ id: options['id'] ?? '' })
    void this.load()
  },

  async load() {
    this.setData({ trouble: '' })
    try {
      const r = await read(this.data.id)
      this.setData({
        receipt: r, segments: segmentTexts(r.segments), time: when(r.confirmedAt),
        proofs: [
          { name: '交易号 TXID', value: r.txId },
          { name: '区块', value: String(r.blockNumber) },
          { name: '区块哈希', value: r.blockHash },
          { name: '确权物权哈希', value: r.lotHash },
          { name: '盐', value: r.salt },
          { name: '您的签名', value: r.signature },
          { name: '您的密钥编号', value: r.keyId },
        ],
      })
    } catch (err) {
      this.setData({ trouble: asFailure(err).message })
    }
  },

  copy(e: WechatMiniprogram.TouchEvent) {
    toClipboard(String(e.currentTarget.dataset['text']))
  },

  copyAll() {
    toClipboard(JSON.stringify(this.data.receipt, undefined, 2))
  },
})
