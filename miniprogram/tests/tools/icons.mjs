// Makes what the drawings in assets/icons become: the masks of components/icon (which take the colour of the text around
// them), and the pictures of the tab bar, which WeChat wants as PNG, for light and dark.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { openBrowser } from '../e2e/support/browser.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const drawings = path.join(root, 'assets/icons')
const tabs = { home: 'scan', cards: 'sim', me: 'me' }

/** The style sheet of components/icon. */
export function sheet() {
  const rules = fs.readdirSync(drawings).sort().map((file) => {
    const svg = fs.readFileSync(path.join(drawings, file), 'utf8').trim()
    const uri = `url("data:image/svg+xml,${encodeURIComponent(svg).replace(/%20/g, ' ').replace(/%3D/g, '=').replace(/%3A/g, ':').replace(/%2F/g, '/').replace(/%22/g, "'")}")`
    return `.icon-${path.basename(file, '.svg')} { -webkit-mask-image: ${uri}; mask-image: ${uri}; }`
  })
  return `/* Made by tests/tools/icons.mjs from assets/icons. */
.icon { display: inline-block; width: 1em; height: 1em; background-color: currentColor; vertical-align: -0.15em; -webkit-mask-size: 100% 100%; mask-size: 100% 100%; }
${rules.join('\n')}
`
}

export const sheetFile = path.join(root, 'components/icon/icon.wxss')

async function pictures() {
  const theme = JSON.parse(fs.readFileSync(path.join(root, 'theme.json'), 'utf8'))
  const browser = await openBrowser()
  const page = await browser.newPage({ viewport: { width: 81, height: 81 } })
  fs.mkdirSync(path.join(root, 'assets/tabs'), { recursive: true })
  for (const [name, drawing] of Object.entries(tabs)) {
    for (const [mode, colours] of Object.entries(theme)) {
      for (const [suffix, colour] of [['', colours.tabText], ['-on', colours.tabOn]]) {
        const svg = fs.readFileSync(path.join(drawings, `${drawing}.svg`), 'utf8').replace('#000', colour).replace('stroke-width="1.8"', `stroke-width="${suffix ? 2.1 : 1.7}"`)
        await page.setContent(`<style>body { margin: 0 } svg { width: 81px; height: 81px; display: block }</style>${svg}`)
        await page.screenshot({ path: path.join(root, `assets/tabs/${name}${suffix}-${mode}.png`), omitBackground: true })
      }
    }
  }
  await browser.close()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  fs.mkdirSync(path.dirname(sheetFile), { recursive: true })
  fs.writeFileSync(sheetFile, sheet())
  await pictures()
}
