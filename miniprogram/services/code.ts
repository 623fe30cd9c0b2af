/**
 * Trade codes: 8 characters of Crockford's base 32. People type them in any case, with spaces and hyphens, with O for 0 and
 * I or L for 1, on Chinese keyboards; the server reads them the same way.
 */
export const codeLength = 8

/** As much of a code as stands in what was typed so far. */
export function tidy(typed: string): string {
  let out = ''
  for (const c of halfWidth(typed).toUpperCase()) {
    if (c === 'O') out += '0'
    else if (c === 'I' || c === 'L') out += '1'
    else if (/[0-9A-Z]/.test(c) && c !== 'U') out += c
    if (out.length === codeLength) break
  }
  return out
}

/**
 * The code in whatever was scanned or pasted: the link of a plain QR code (…/t/CODE), a scene (c=CODE, also percent-encoded),
 * a message with a code in it, or the code alone. Empty when there is none.
 */
export function codeIn(text: string): string {
  const plain = halfWidth(unescaped(text)).trim()
  const led = /(?:\/t\/|[?&]?\bc=|交易码\s*[:：是为]?\s*)([0-9A-Za-z][0-9A-Za-z \-]{6,}[0-9A-Za-z])/.exec(plain)?.[1]
  if (led !== undefined) {
    const code = tidy(led)
    if (code.length === codeLength) return code
  }
  if (/^[0-9A-Za-z \-]{8,12}$/.test(plain)) {
    const code = tidy(plain)
    if (code.length === codeLength && plain.replace(/[ \-]/g, '').length === codeLength) return code
  }
  // In a message: a word of eight with a digit in it. Longer words are card numbers, or something else.
  for (const [, word = ''] of plain.matchAll(/(?:^|[^0-9A-Za-z])([0-9A-Za-z]{8}|[0-9A-Za-z]{4}[ \-][0-9A-Za-z]{4})(?![0-9A-Za-z])/g)) {
    if (/\d/.test(word) && tidy(word).length === codeLength) return tidy(word)
  }
  return ''
}

/** The last six characters of an ICCID, scanned whole from the card or typed. Empty when there are fewer. */
export function last6In(text: string): string {
  const letters = halfWidth(text).toUpperCase().replace(/[^0-9A-Z]/g, '')
  return letters.length >= 6 ? letters.slice(-6) : ''
}

/** Two groups of four: how people read it out. */
export const spaced = (code: string): string => `${code.slice(0, 4)} ${code.slice(4)}`

/** Letters and digits as a Chinese keyboard types them, in their usual form. */
export function halfWidth(text: string): string {
  return text.replace(/[\uff01-\uff5e]/g, (c) => String.fromCharCode(c.charCodeAt(0) - 0xfee0)).replace(/\u3000/g, ' ')
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
