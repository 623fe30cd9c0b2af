import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

const { eventsOf } = load('services/events.ts')

const stream = ': open\n\nevent: state\ndata: {"state":"accepted","text":"已收到"}\n\n: still here\n\nevent: state\r\ndata: {"state":"committed"}\r\n\r\n'

test('events come whole, wherever the chunks end', () => {
  const bytes = new TextEncoder().encode(stream)
  for (let size = 1; size <= bytes.length; size++) {
    const got = []
    const read = eventsOf((text) => got.push(JSON.parse(text)))
    for (let i = 0; i < bytes.length; i += size) read(bytes.slice(i, i + size).buffer)
    assert.deepEqual(got, [{ state: 'accepted', text: '已收到' }, { state: 'committed' }], `chunks of ${size}`)
  }
})

test('half an event is none', () => {
  const got = []
  eventsOf((text) => got.push(text))(new TextEncoder().encode('data: {"state":').buffer)
  assert.deepEqual(got, [])
})
