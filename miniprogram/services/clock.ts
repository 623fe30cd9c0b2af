/** How far the server's clock is ahead of the phone's, in ms: phones are set by hand, and trades expire by the server's. */
let ahead = 0

/** Less than this, in ms, is the way of the answer and a header that knows no more than seconds. */
const slack = 5000

/** Hears the server's time, from the header Date of an answer. */
export function hear(date: string | undefined): void {
  const at = Date.parse(date ?? '')
  if (Number.isNaN(at)) return
  const found = at - Date.now()
  ahead = Math.abs(found) < slack ? 0 : found
}

/** The server's time, in ms. */
export const now = (): number => Date.now() + ahead
