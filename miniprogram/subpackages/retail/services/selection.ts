import type { Holding } from './shop'

/** Cards that somebody wants to sell: a run by its first and last number, or one card. */
export interface Run { start: string, end: string }

/** What the stock says of a run. */
export interface Weighed {
  /** Cards of the run that the shop holds and can sell. */
  free: number
  /** Cards of it that stand in another trade. */
  busy: number
  /** Whether every card of the run is free. */
  whole: boolean
}

/** The last digits of an ICCID, which count up. Some carriers' numbers end in a check digit: it is no part of the count. */
const tail = 7

/** An ICCID as it is printed or scanned; nothing if it is none. */
export function iccidIn(text: string): string {
  const found = /89[0-9]{4}[0-9A-F]{13,14}(?![0-9A-F])/.exec(text.toUpperCase().replace(/[\s-]/g, ''))?.[0]
  return found ?? ''
}

/**
 * How many cards lie from the first to the last number. checked says whether the numbers end in a check digit. 0 if the two
 * don't belong together.
 */
export function between(start: string, end: string, checked: boolean): number {
  const cut = (iccid: string) => (checked ? iccid.slice(0, -1) : iccid)
  const [a, b] = [cut(start), cut(end)]
  if (a.length !== b.length || a.slice(0, -tail) !== b.slice(0, -tail)) return 0
  const [first, last] = [a.slice(-tail), b.slice(-tail)]
  if (!/^\d+$/.test(first + last)) return 0
  return Math.max(0, Number(last) - Number(first) + 1)
}

/** Holds a run against what the shop holds. */
export function weigh(run: Run, held: Holding[]): Weighed {
  let free = 0
  let busy = 0
  let checked = false
  for (const h of held) {
    // A run that is longer than one card shows how its numbers count.
    if (h.count > 1) checked = between(h.start, h.end, false) !== h.count
    const start = max(run.start, h.start)
    const end = min(run.end, h.end)
    const n = start === end ? 1 : between(start, end, checked)
    if (h.status === 'OWNED') free += n
    else busy += n
  }
  const all = run.start === run.end ? 1 : between(run.start, run.end, checked)
  return { free, busy, whole: all > 0 && free === all }
}

// Numbers of one length and beginning are in the order of their letters.
const max = (a: string, b: string) => (a > b ? a : b)
const min = (a: string, b: string) => (a < b ? a : b)

/** Whether two runs share a card. */
export const overlap = (a: Run, b: Run): boolean => a.start.length === b.start.length && a.start <= b.end && b.start <= a.end

/** The check digit behind a number (Luhn). */
function checkDigit(body: string): string {
  let sum = 0
  for (let i = 0; i < body.length; i++) {
    const twice = Number(body[body.length - 1 - i]) * (i % 2 === 0 ? 2 : 1)
    sum += twice > 9 ? twice - 9 : twice
  }
  return String((10 - (sum % 10)) % 10)
}

/** A run of the stock, or a piece of one. */
export interface Piece extends Run { count: number }

const counts = (r: Piece) => r.count > 1 && between(r.start, r.end, false) !== r.count

/** The n-th card of a run; the first is 1. */
export function nth(r: Piece, n: number): string {
  if (n <= 1) return r.start
  if (n >= r.count) return r.end
  const checked = counts(r)
  const body = checked ? r.start.slice(0, -1) : r.start
  const next = body.slice(0, -tail) + String(Number(body.slice(-tail)) + n - 1).padStart(tail, '0')
  return checked ? next + checkDigit(next) : next
}

/** What is left of a run beside what was chosen from it. */
export function left(r: Piece, chosen: Run[]): Piece[] {
  const checked = counts(r)
  const place = (iccid: string) => (iccid === r.start ? 1 : between(r.start, iccid, checked))
  const out: Piece[] = []
  const piece = (from: number, to: number) => {
    if (from <= to) out.push({ start: nth(r, from), end: nth(r, to), count: to - from + 1 })
  }
  let from = 1
  for (const c of chosen.filter((c) => overlap(r, c)).sort((a, b) => (a.start < b.start ? -1 : 1))) {
    piece(from, place(max(c.start, r.start)) - 1)
    from = place(min(c.end, r.end)) + 1
  }
  piece(from, r.count)
  return out
}
