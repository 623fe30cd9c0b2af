// How every function of wx answers: by callbacks if it was given one, else by a promise.

/**
 * @param {string} name as in errMsg
 * @param {(options: object, ok: (result?: object) => void, fail: (reason?: string, more?: object) => void) => void} act
 */
export const api = (name, act) => (options = {}) => {
  const done = new Promise((resolve, reject) => {
    act(options, (result) => resolve({ ...result, errMsg: `${name}:ok` }), (reason, more) => reject({ ...more, errMsg: `${name}:fail${reason ? ` ${reason}` : ''}` }))
  })
  if (!options.success && !options.fail && !options.complete) return done
  done.then((r) => {
    options.success?.(r)
    options.complete?.(r)
  }, (e) => {
    options.fail?.(e)
    options.complete?.(e)
  })
  return undefined
}
