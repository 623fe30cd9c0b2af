// wx.request by fetch: timeouts, abort, answers that come in chunks, and the list of domains that an account may reach.

/** @param {object} phone phone.domains: origin that the mini-program asks for → where that is for this browser */
export const makeRequest = (phone) => (options = {}) => {
  const { header = {}, method = 'GET', timeout = 60_000, enableChunked = false, responseType = 'text' } = options
  const control = new AbortController()
  const listeners = { headers: [], chunk: [] }
  const answer = send()
  const task = {
    abort: () => control.abort('abort'),
    onHeadersReceived: (f) => listeners.headers.push(f),
    onChunkReceived: (f) => listeners.chunk.push(f),
    offHeadersReceived: () => listeners.headers.splice(0),
    offChunkReceived: () => listeners.chunk.splice(0),
  }
  // No promise, with callbacks or without: the phone gives none either.
  answer.then((r) => {
    options.success?.(r)
    options.complete?.(r)
  }, (e) => {
    options.fail?.(e)
    options.complete?.(e)
  })
  return task

  async function send() {
    await null // the caller adds listeners first
    const refuse = (reason, errno) => ({ errMsg: `request:fail ${reason}`, errno })
    if (phone.settings.offline) throw refuse('net::ERR_INTERNET_DISCONNECTED', 600001)
    const url = new URL(options.url)
    const origin = phone.domains[url.origin]
    if (origin === undefined) throw refuse('url not in domain list', 600002)
    const timer = setTimeout(() => control.abort('timeout'), timeout * phone.settings.patience)
    try {
      const { query, body } = written(options.data, method, header)
      if (query) for (const [k, v] of Object.entries(query)) url.searchParams.set(k, v)
      const r = await fetch(origin + url.pathname + url.search, {
        method, body, signal: control.signal, cache: 'no-store', credentials: 'omit',
        headers: { 'content-type': 'application/json', ...header },
      })
      const headers = Object.fromEntries(r.headers)
      for (const f of listeners.headers) f({ header: headers, statusCode: r.status, cookies: [] })
      let data
      if (enableChunked) {
        for await (const chunk of chunks(r.body)) for (const f of listeners.chunk) f({ data: chunk })
      } else if (responseType === 'arraybuffer') data = await r.arrayBuffer()
      else data = parsed(await r.text(), options.dataType ?? 'json')
      return { data, statusCode: r.status, header: headers, cookies: [], errMsg: 'request:ok' }
    } catch (err) {
      if (control.signal.aborted) throw refuse(control.signal.reason === 'timeout' ? 'timeout' : 'abort', control.signal.reason === 'timeout' ? 5 : 600001)
      throw refuse(String(err?.message ?? err), 600001)
    } finally {
      clearTimeout(timer)
    }
  }
}

function written(data, method, header) {
  if (data === undefined) return {}
  if (method === 'GET') return { query: data }
  if (typeof data === 'string' || data instanceof ArrayBuffer) return { body: data }
  if ((header['content-type'] ?? '').includes('urlencoded')) return { body: new URLSearchParams(data).toString() }
  return { body: JSON.stringify(data) }
}

function parsed(text, dataType) {
  if (dataType !== 'json') return text
  try {
    return JSON.parse(text)
  } catch {
    return text // as WeChat does
  }
}

async function* chunks(body) {
  const reader = body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength)
  }
}
