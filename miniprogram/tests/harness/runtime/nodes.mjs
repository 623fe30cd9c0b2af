// A page that draws asks a query for the node of its canvas, which the framework's adapter doesn't answer.

/** @param {object} instance of a page @param {object} root of its tree */
export function withNodes(instance, root) {
  const make = instance.createSelectorQuery
  instance.createSelectorQuery = (...of) => {
    const query = make.apply(instance, of)
    const { select, exec } = query
    const wanted = []
    query.select = (selector) => {
      const ref = select.call(query, selector)
      const { fields } = ref
      const at = wanted.push(undefined) - 1
      ref.fields = (what, cb) => {
        if (what.node) wanted[at] = selector
        return fields.call(ref, what, cb)
      }
      return ref
    }
    query.exec = (cb) => exec.call(query, (found) => cb?.(found.map((r, i) => (wanted[i] ? { ...r, node: root.querySelector(wanted[i])?.$$.__component.control } : r))))
    return query
  }
}
