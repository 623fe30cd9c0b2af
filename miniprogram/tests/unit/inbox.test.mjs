import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

const kept = new Map()
const { decisions, lastRead, lineOf, markRead, newestFirst, unread } = load('services/inbox.ts', { getStorageSync: (k) => kept.get(k) ?? '', setStorageSync: (k, v) => kept.set(k, v) })
const notice = (more) => ({ id: 'a1', function: 'Return', state: 'committed', seller: { name: '小王通讯店' }, count: 2, at: '2026-11-27T02:00:00Z', ...more })

test('each end is told in words, and leads on where there is more to see', () => {
  for (const [more, title, kind, url] of [
    [{ function: 'Confirm' }, '收到 2 张卡', 'ok', '/pages/receipt/receipt?id=a1'],
    [{ function: 'Confirm', state: 'submitted' }, '正在确认', 'warn', '/pages/progress/progress?id=a1'],
    [{ function: 'Confirm', state: 'failed', error: { code: 'X', message: '已过期' } }, '没有确认成功', 'bad', ''],
    [{ function: 'Decline' }, '拒收了 2 张卡', '', ''],
    [{ reply: 'offered' }, '退卡已提交', 'warn', ''],
    [{ reply: 'confirming' }, '退卡已提交', 'warn', ''],
    [{ reply: 'confirmed' }, '小王通讯店收到了退卡', 'ok', ''],
    [{ reply: 'declined', reason: 'DAMAGED' }, '小王通讯店没有收退卡', 'bad', ''],
    [{ reply: 'released' }, '退卡过期了', 'warn', ''],
    [{ reply: 'cancelled' }, '退卡已撤回', '', ''],
  ]) {
    const line = lineOf(notice(more))
    assert.deepEqual([line.title, line.kind, line.url], [title, kind, url])
  }
  assert.equal(lineOf(notice({ reply: 'declined', reason: 'DAMAGED' })).text, '卡损坏或拆过封。2 张卡还是您的')
})

test('what a carrier decided is told, what it thinks about is not', () => {
  const items = [
    { carrier: { id: 'c1', name: '中国移动' }, state: 'approved', decidedAt: '2026-11-27T02:00:00Z', validUntil: '2027-11-27T02:00:00Z' },
    { carrier: { id: 'c2', name: '中国联通' }, state: 'refused', decidedAt: '2026-11-27T03:00:00Z', reason: { code: 'MISMATCH', message: '姓名和号码不符' } },
    { carrier: { id: 'c3' }, state: 'pending' },
  ]
  assert.deepEqual(newestFirst(decisions({ items })).map((l) => [l.title, l.kind]), [['中国联通没有通过实名登记', 'bad'], ['中国移动通过了实名登记', 'ok']])
})

test('what has been seen is not new', () => {
  const lines = ['2026-11-27T02:00:00Z', '2026-11-27T03:00:00Z'].map((at, i) => lineOf(notice({ id: `a${i}`, at })))
  assert.equal(unread(lines, lastRead()), 2)
  markRead(lines.slice(0, 1))
  assert.equal(unread(lines, lastRead()), 1)
  markRead(lines)
  markRead([])
  assert.equal(unread(lines, lastRead()), 0)
})
