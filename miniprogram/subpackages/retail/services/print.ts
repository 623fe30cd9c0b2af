import qrcode from 'qrcode-generator'
import { spaced } from '../../../services/code'
import { grouped } from '../../../services/words'
import type { Trade } from './shop'

/** What is printed for one trade: link is what its QR code says. */
export interface Label { iccid: string, count: number, code: string, link: string }

/** A sheet: whose codes these are, and until when they work. */
export interface Heading { shop: string, until: string }

/** What is printed of trades: the codes that can still be used, and the moment from which the first of them can't. */
export function printable(trades: Trade[]): { labels: Label[], until: string } {
  const live = trades.filter((t) => t.code && t.link && t.segments[0])
  const labels = live.map((t) => ({ iccid: t.segments[0]?.start ?? '', count: t.count, code: t.code ?? '', link: t.link ?? '' }))
  return { labels, until: live.map((t) => t.expiresAt).sort()[0] ?? '' }
}

/** A4 at 150 dpi, in px. */
export const paper = { width: 1240, height: 1754 }

const columns = 3
const rows = 7
export const perPage = columns * rows

const margin = 68
const head = 150
const foot = 56
const label = { width: (paper.width - 2 * margin) / columns, height: (paper.height - margin - head - foot) / rows }

/** Side of a QR code with its quiet zone, at most. At 150 dpi that is 28 mm: any phone reads it off paper. */
const code = 168
/** Modules around a QR code that stay white (ISO/IEC 18004). */
const quiet = 4

const ink = '#131a2a'
const soft = '#566078'
const sans = '"PingFang SC", "Noto Sans CJK SC", sans-serif'
const mono = 'Menlo, "Roboto Mono", "DejaVu Sans Mono", monospace'

/** As much of a canvas as a sheet takes. */
export interface Pen {
  fillStyle: string
  strokeStyle: string
  lineWidth: number
  font: string
  textAlign: string
  fillRect: (x: number, y: number, width: number, height: number) => void
  strokeRect: (x: number, y: number, width: number, height: number) => void
  fillText: (text: string, x: number, y: number) => void
  setLineDash: (segments: number[]) => void
}

export const pagesOf = (labels: Label[]): Label[][] =>
  Array.from({ length: Math.ceil(labels.length / perPage) }, (_, i) => labels.slice(i * perPage, (i + 1) * perPage))

/** Draws one page: labels with lines to cut along, black on white, whatever the phone looks like. */
export function drawPage(pen: Pen, heading: Heading, labels: Label[], page: number, pages: number): void {
  pen.fillStyle = '#fff'
  pen.fillRect(0, 0, paper.width, paper.height)
  const write = (text: string, x: number, y: number, font: string, colour = ink, align = 'left') => {
    pen.fillStyle = colour
    pen.font = font
    pen.textAlign = align
    pen.fillText(text, x, y)
  }
  write(`${heading.shop} 的交易码`, margin, margin + 40, `bold 38px ${sans}`)
  write('每张卡一个码：用微信扫一扫，或在小程序“卡流转”里输入，再按提示确认。', margin, margin + 92, `22px ${sans}`, soft)
  write(`第 ${page} / ${pages} 页`, paper.width - margin, margin + 40, `22px ${sans}`, soft, 'right')
  if (heading.until) write(`${heading.until} 前有效`, paper.width - margin, margin + 92, `bold 22px ${sans}`, ink, 'right')
  labels.forEach((l, i) => {
    const x = margin + (i % columns) * label.width
    const y = margin + head + Math.floor(i / columns) * label.height
    pen.strokeStyle = '#a9b2c3'
    pen.lineWidth = 1
    pen.setLineDash([6, 6])
    pen.strokeRect(x, y, label.width, label.height)
    drawCode(pen, l.link, x + 8, y + 6)
    const right = x + 8 + code + 8
    write('交易码', right, y + 44, `20px ${sans}`, soft)
    const [first = '', second = ''] = spaced(l.code).split(' ')
    write(first, right, y + 94, `bold 46px ${mono}`)
    write(second, right, y + 144, `bold 46px ${mono}`)
    write(grouped(l.iccid) + (l.count > 1 ? ` 起 ${l.count} 张` : ''), x + label.width / 2, y + label.height - 16, `18px ${mono}`, ink, 'center')
  })
}

/** A QR code, its modules on whole pixels, so that none is grey. */
function drawCode(pen: Pen, text: string, x: number, y: number): void {
  const qr = qrcode(0, 'M')
  qr.addData(text)
  qr.make()
  const n = qr.getModuleCount()
  const side = Math.floor(code / (n + 2 * quiet))
  const at = Math.floor((code - side * n) / 2)
  pen.fillStyle = '#000'
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < n; column++) {
      if (qr.isDark(row, column)) pen.fillRect(Math.floor(x) + at + column * side, Math.floor(y) + at + row * side, side, side)
    }
  }
}
