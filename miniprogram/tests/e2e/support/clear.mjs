// Pictures of an earlier run are no pictures of this one.
import fs from 'node:fs'

fs.rmSync(new URL('../../shots/', import.meta.url), { recursive: true, force: true })
