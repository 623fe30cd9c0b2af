import { codeIn } from '../../../services/code'
import { iccidIn } from './selection'

/** What somebody types or scans to find a sale: its code, or a card of it. Nothing if it is neither. */
export function wanted(text: string): { code: string } | { card: string } | undefined {
  const iccid = iccidIn(text)
  if (iccid) return { card: iccid }
  const end = text.toUpperCase().replace(/[\s-]/g, '')
  if (/^[0-9A-F]{6}$/.test(end)) return { card: end }
  const code = codeIn(text)
  return code ? { code } : undefined
}

/** A day of the phone's calendar, as 2026-11-27, as the moments between which it lies. */
export function day(text: string): { from: string, to: string } {
  const [year = 0, month = 1, date = 1] = text.split('-').map(Number)
  return { from: new Date(year, month - 1, date).toISOString(), to: new Date(year, month - 1, date + 1).toISOString() }
}

/** A moment's day, as a picker has it. */
export function dayAt(ms: number): string {
  const at = new Date(ms)
  const two = (n: number) => String(n).padStart(2, '0')
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
}

/** 今天, 11月3日, 2025年11月3日. */
export function dayText(text: string, now = Date.now()): string {
  if (text === dayAt(now)) return '今天'
  const [year = 0, month = 0, date = 0] = text.split('-').map(Number)
  return `${year === new Date(now).getFullYear() ? '' : `${year}年`}${month}月${date}日`
}
