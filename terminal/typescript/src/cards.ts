// Card numbers as runs, by the two rules that say what follows on what.

export type Rule = 'SERIAL' | 'LUHN'

/** Consecutive cards: a head that stays, and digits that count, from first to last. */
interface Run {
  head: string
  width: number
  from: number
  to: number
}

/** The check digit of a number, ISO/IEC 7812-1 annex B. */
export function checkDigit(number: string): string {
  let sum = 0
  for (let i = 0; i < number.length; i++) {
    const digit = Number(number[number.length - 1 - i])
    const doubled = i % 2 === 0 ? digit * 2 : digit
    sum += doubled > 9 ? doubled - 9 : doubled
  }
  return String((10 - (sum % 10)) % 10)
}

/** Cards of one rule, each once, in runs that are joined as far as they go. */
export class Cards {
  private constructor(readonly rule: Rule, private readonly runs: Run[]) {}

  /** Of printed numbers: single ones, and the two ends of runs. Refuses a card that is there twice. */
  static of(rule: Rule, segments: { start: string; end?: string | undefined }[]): Cards {
    return new Cards(rule, join(segments.map(({ start, end }) => {
      const first = read(rule, start)
      const last = end === undefined ? first : read(rule, end)
      if (first.head !== last.head || first.width !== last.width || first.from > last.to) throw new Error('the two ends are of no run')
      return { ...first, to: last.to }
    })))
  }

  /** Reads the canonical form, which is the only one. */
  static parse(rule: Rule, canonical: string): Cards {
    const cards = Cards.of(rule, canonical.split(',').map((run) => {
      const [start, end, ...more] = run.split('-')
      if (start === undefined || more.length > 0) throw new Error('not a run')
      return { start, end }
    }))
    if (cards.canonical !== canonical) throw new Error('the cards are not in their canonical form')
    return cards
  }

  get canonical(): string {
    return this.runs
      .map((run) => ({ first: print(this.rule, run, run.from), last: print(this.rule, run, run.to) }))
      .sort((a, b) => (a.first < b.first ? -1 : 1))
      .map(({ first, last }) => (first === last ? first : `${first}-${last}`))
      .join(',')
  }

  get segments(): { start: string; end: string }[] {
    return this.canonical.split(',').filter((run) => run !== '').map((run) => {
      const [start = '', end = start] = run.split('-')
      return { start, end }
    })
  }

  get count(): number {
    return this.runs.reduce((sum, run) => sum + run.to - run.from + 1, 0)
  }

  /** How many runs; a lot has at most 1000. */
  get length(): number {
    return this.runs.length
  }

  /** These and others, which must be different ones. */
  and(others: Cards): Cards {
    this.sameRule(others)
    return new Cards(this.rule, join([...this.runs, ...others.runs]))
  }

  /** These without others, as many of them as are there. */
  without(others: Cards): Cards {
    this.sameRule(others)
    let left = this.runs
    for (const cut of others.runs) {
      left = left.flatMap((run) => {
        if (!alike(run, cut) || cut.to < run.from || cut.from > run.to) return [run]
        return [{ ...run, to: cut.from - 1 }, { ...run, from: cut.to + 1 }].filter((part) => part.from <= part.to)
      })
    }
    return new Cards(this.rule, join(left))
  }

  private sameRule(others: Cards): void {
    if (this.rule !== others.rule) throw new Error('cards of different rules')
  }
}

const alike = (a: Run, b: Run): boolean => a.head === b.head && a.width === b.width

function join(runs: Run[]): Run[] {
  const sorted = [...runs].sort((a, b) => (alike(a, b) ? a.from - b.from : a.head + a.width < b.head + b.width ? -1 : 1))
  const joined: Run[] = []
  for (const run of sorted) {
    const last = joined.at(-1)
    if (!last || !alike(last, run) || last.to + 1 < run.from) joined.push({ ...run })
    else if (last.to >= run.from) throw new Error('a card is there twice')
    else last.to = run.to
  }
  return joined
}

function read(rule: Rule, iccid: string): Run {
  let number = iccid
  let width: number
  switch (rule) {
    case 'SERIAL':
      if (!/^[0-9A-Z]{19,20}$/.test(iccid)) throw new Error('not an ICCID')
      width = /[0-9]{0,7}$/.exec(iccid)![0].length
      break
    case 'LUHN':
      if (!/^[0-9]{20}$/.test(iccid)) throw new Error('not an ICCID')
      number = iccid.slice(0, 19)
      if (checkDigit(number) !== iccid[19]) throw new Error('the check digit does not fit')
      width = 7
      break
    default:
      throw new Error('an unknown rule')
  }
  const head = number.slice(0, number.length - width)
  const n = Number(number.slice(head.length))
  return { head, width, from: n, to: n }
}

function print(rule: Rule, run: Run, n: number): string {
  const number = run.head + (run.width === 0 ? '' : String(n).padStart(run.width, '0'))
  return rule === 'LUHN' ? number + checkDigit(number) : number
}
