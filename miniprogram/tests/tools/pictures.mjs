// Puts the tests' screenshots side by side for the READMEs: docs/pictures. Run it after the tests, on their own pictures.
import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openBrowser } from '../e2e/support/browser.mjs'

const shots = fileURLToPath(new URL('../shots/', import.meta.url))
const out = fileURLToPath(new URL('../../../docs/pictures/', import.meta.url))
const width = 250

const strips = {
  buyer: ['home-code', 'prove', 'offer', 'done', 'card'],
  shop: ['retail-home', 'retail-sell', 'retail-code', 'retail-sold', 'retail-receive'],
  'real-name': ['real-name-filled', 'real-name-approved', 'registrations', 'offer-dark', 'card-dark'],
}

const browser = await openBrowser()
fs.mkdirSync(out, { recursive: true })
for (const [name, pictures] of Object.entries(strips)) {
  const page = await browser.newPage({ viewport: { width: pictures.length * (width + 20) + 20, height: 600 }, deviceScaleFactor: 1.5 })
  const images = pictures.map((p) => `<img src="data:image/png;base64,${fs.readFileSync(`${shots}${p}.png`).toString('base64')}">`)
  await page.setContent(`<style>
    body { display: flex; gap: 20px; margin: 0; padding: 20px; background: #dfe5f0 }
    img { display: block; width: ${width}px; border-radius: 22px; box-shadow: 0 6px 20px rgba(16, 24, 40, .18) }
  </style>${images.join('')}`)
  await page.waitForFunction(() => [...document.images].every((i) => i.complete && i.naturalWidth > 0))
  await page.screenshot({ path: `${out}${name}.jpg`, type: 'jpeg', quality: 84, fullPage: true })
  await page.close()
}
await browser.close()
