import { myCards, type OwnedCard } from './consumer'

/** Cards that a list has shown, for the page that shows one of them: an ICCID never stands in an address. */
const seen = new Map<string, OwnedCard>()

export function keep(cards: OwnedCard[]): void {
  for (const c of cards) seen.set(c.cardId, c)
}

/** One of the person's cards, from the list or from the server; nothing if he doesn't have it (any more). */
export async function find(cardId: string): Promise<OwnedCard | undefined> {
  for (let cursor = ''; !seen.has(cardId);) {
    const page = await myCards(cursor, 500)
    keep(page.items)
    if (page.nextCursor === undefined) break
    cursor = page.nextCursor
  }
  return seen.get(cardId)
}

export const forgetCards = (): void => {
  seen.clear()
}
