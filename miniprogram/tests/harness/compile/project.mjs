// A mini-program folder as WeChat reads it: app.json, its pages, and every component that they use, wherever it lies.
import fs from 'node:fs'
import path from 'node:path'

const { posix } = path

export class Project {
  /** @param {string} root the folder of app.json */
  constructor(root) {
    this.root = root
    /** What WeChat would refuse or pass over in silence. Any of them fails the compilation. */
    this.faults = []
    this.app = this.json('app.json')
    const subpackages = this.app.subPackages ?? this.app.subpackages ?? []
    this.pages = [...this.app.pages, ...subpackages.flatMap((s) => s.pages.map((p) => posix.join(s.root, p)))]
    /** path without extension → { config, page } */
    this.components = new Map()
    for (const page of this.pages) this.visit(page, true)
    if (this.app.tabBar?.custom) this.visit('custom-tab-bar/index', false)
  }

  has(file) {
    return fs.statSync(path.join(this.root, file), { throwIfNoEntry: false })?.isFile() ?? false
  }

  read(file) {
    return fs.readFileSync(path.join(this.root, file), 'utf8')
  }

  json(file) {
    try {
      return JSON.parse(this.read(file))
    } catch (err) {
      throw new Error(`${file}: ${err.message}`)
    }
  }

  /** The script of a page or component: .ts before .js. */
  script(component) {
    return [`${component}.ts`, `${component}.js`].find((f) => this.has(f))
  }

  visit(component, page) {
    if (this.components.has(component)) return
    if (!this.has(`${component}.json`)) {
      this.faults.push(`${component}.json is not there`)
      return
    }
    const config = this.json(`${component}.json`)
    const using = {}
    this.components.set(component, { config: { ...config, usingComponents: using }, page })
    for (const [from, wanted] of [['app', this.app.usingComponents], [component, config.usingComponents]]) {
      for (const [name, url] of Object.entries(wanted ?? {})) {
        const found = this.resolve(from, url)
        if (!found) {
          this.faults.push(`${from}.json: component ${name}: ${url} is not there`)
          continue
        }
        using[name] = `/${found}`
        this.visit(found, false)
      }
    }
  }

  /** Where a component lies: beside, from the root, or in the nearest miniprogram_npm. */
  resolve(from, url) {
    const at = (p) => [p, `${p}/index`].find((c) => this.has(`${c}.json`))
    if (url.startsWith('/')) return at(url.slice(1))
    const beside = at(posix.join(posix.dirname(from), url))
    if (beside || url.startsWith('.')) return beside
    return this.nearest(from, url, at)
  }

  /** Looks for what a package name leads to, in miniprogram_npm of each folder upwards. */
  nearest(from, name, at) {
    for (let dir = posix.dirname(from); ; dir = posix.dirname(dir)) {
      const found = at(posix.join(dir, 'miniprogram_npm', name))
      if (found || dir === '.') return found
    }
  }
}
