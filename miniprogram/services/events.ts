/**
 * Reads server-sent events out of chunks, which end wherever the network likes, also within a character. Comments are passed
 * over; data is given on at the end of each event.
 */
export function eventsOf(data: (text: string) => void): (chunk: ArrayBuffer) => void {
  let bytes: number[] = []
  let lines: string[] = []
  return (chunk) => {
    for (const byte of new Uint8Array(chunk)) {
      if (byte !== 10) {
        bytes.push(byte)
        continue
      }
      const line = decode(bytes).replace(/\r$/, '')
      bytes = []
      if (line.startsWith('data:')) lines.push(line.slice(5).trimStart())
      if (line === '' && lines.length > 0) {
        const text = lines.join('\n')
        lines = []
        data(text)
      }
    }
  }
}

/** UTF-8, by hand: TextDecoder is not on every phone. */
function decode(bytes: number[]): string {
  return decodeURIComponent(bytes.map((b) => `%${b.toString(16).padStart(2, '0')}`).join(''))
}
