// What the mini-program keeps in files: each is an address in the browser's memory.
import { api } from './api.mjs'

export function makeFiles() {
  const kept = new Map()
  const drop = (filePath) => {
    URL.revokeObjectURL(kept.get(filePath))
    return kept.delete(filePath)
  }
  return {
    /** Where a file that was written lies for the browser. */
    written: (filePath) => kept.get(filePath),
    writeFile: api('writeFile', (o, ok, fail) => {
      if (!o.filePath.startsWith('wxfile://usr/')) return fail(`permission denied, open "${o.filePath}"`)
      drop(o.filePath)
      kept.set(o.filePath, URL.createObjectURL(new Blob([o.data])))
      ok()
    }),
    unlink: api('unlink', (o, ok, fail) => (drop(o.filePath) ? ok() : fail(`no such file or directory, unlink "${o.filePath}"`))),
  }
}
