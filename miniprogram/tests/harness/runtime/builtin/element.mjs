// What built-in components have in common: their DOM element, and the way WeChat reads attributes.

/** The DOM element of a component. */
export const dom = (component) => component._$.$$

/** WeChat takes both values and text from templates. */
export const truthy = (v) => v !== false && v !== 'false' && v !== undefined && v !== null && v !== 0 && v !== '0'

/** Sets an attribute, or removes it if there is nothing to say. A page that is closed has no elements any more. */
export function mark(element, name, v) {
  if (!element) return
  if (v === undefined || v === null || v === '') element.removeAttribute(name)
  else element.setAttribute(name, String(v))
}
