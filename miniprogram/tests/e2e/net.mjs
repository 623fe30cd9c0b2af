// The net that catches what looks wrong or should not have happened is itself tried: each hole in it would be a test that passes always.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lookAround } from './support/look.mjs'
import { until } from './support/server.mjs'
import { openPhone } from './support/stage.mjs'

const wrong = {
  'pale text': ['<p style="color: #999; background: #fff">淡淡的字</p>', /contrast 2\.85: “淡淡的字”/],
  'pale text on a gradient': ['<p style="color: #fff; background: linear-gradient(#1d3fbf, #9bb2f5)">渐变上的字</p>', /contrast 2\.\d+: “渐变上的字”/],
  'a group that lets through what is behind': ['<div style="background: #fff"><p style="opacity: .72; color: #fff; background: #2a55e5">半透明的字</p></div>', /contrast 3\.\d+: “半透明的字”/],
  'pale text below the screen': ['<p style="margin-top: 3000px; color: #999; background: #fff">很下面的字</p>', /contrast 2\.85: “很下面的字”/],
  'a pale icon': ['<div style="background: #fff"><i class="pale" style="display: block; width: 20px; height: 20px; background-color: #bbb; mask-image: url(data:,)"></i></div>', /contrast 1\.\d+: pale/],
  'a pale placeholder': ['<label style="display: block; background: #fff"><span style="color: #aaa">请输入</span></label>', /contrast 2\.\d+: “请输入”/],
  'text that runs out': ['<p style="white-space: nowrap; width: 20px; margin-left: 360px">这一行跑到外面去了</p>', /runs out of the page: “这一行/],
  'text that is cut': ['<div style="height: 10px; overflow: hidden"><p style="margin: 0; line-height: 40px">被切掉的字</p></div>', /is cut off: “被切掉的字”/],
  'text under something': ['<div style="position: relative; background: #fff; color: #000; height: 40px"><p style="margin: 0">压住的字</p><b style="position: absolute; inset: 0; background: #fff"></b></div>', /lies under something: “压住的字”/],
  'text under a part of its own element': ['<p style="position: relative; margin: 0; background: #fff; color: #000">自己压住的字<b style="position: absolute; inset: 0; background: #fff"></b></p>', /lies under something: “自己压住的字”/],
  'something to tap that has no role': ['<div data-hover="true" style="width: 60px; height: 60px">点我</div>', /has no role: “点我”/],
  'something to tap that has no name': ['<div data-hover="true" role="button" class="mute" style="width: 60px; height: 60px"></div>', /has no name: mute/],
  'something too small for a finger': ['<div data-hover="true" role="button" style="width: 20px; height: 20px">小</div>', /is small for a finger \(20×20\)/],
  'a field without a label': ['<div><input style="background: #fff"></div>', /a field has no label/],
}

test('what looks wrong is found', async () => {
  const phone = await openPhone()
  await phone.sees('收到一张物联网卡')
  assert.deepEqual(await phone.page.evaluate(lookAround), [])
  for (const [what, [html, fault]] of Object.entries(wrong)) {
    const found = await phone.page.evaluate(async ([html, look]) => {
      const scroller = document.querySelector('.frame:not([hidden]) .scroller')
      const box = document.createElement('div')
      box.innerHTML = html
      scroller.prepend(box)
      const found = (0, eval)(`(${look})`)()
      box.remove()
      return found
    }, [html, lookAround.toString()])
    assert.ok(found.some((f) => fault.test(f)), `${what}: ${found.join('; ')}`)
  }
  await phone.close()
})

const happened = {
  'a function of wx that is not there': [() => { void window.wx.nope }, /wx\.nope is not there/],
  'an error on the console': [() => { console.error('oh') }, /^oh$/],
  'an error that nobody catches': [() => { setTimeout(() => { throw new Error('uncaught') }) }, /uncaught/],
  'a promise that nobody waits for': [() => { void Promise.reject(new Error('unawaited')) }, /unawaited/],
  'a picture that is not there': [() => { new window.Image().src = 'files/nowhere.png' }, /404: .*nowhere\.png/],
  'a setData of more than 32 KB': [() => { window.__phone.router.top().instance.setData({ problem: '卡'.repeat(11_000) }) }, /setData of 33\d{3} bytes: problem/],
  'personal data without a question': [() => {
    Object.assign(window.__phone.privacy, { agreed: false, ask: undefined })
    window.wx.getClipboardData({ fail() {} })
  }, /nobody asks/],
}

for (const [what, [act, fault]] of Object.entries(happened)) test(`what should not happen is a fault: ${what}`, async () => {
  const phone = await openPhone()
  await phone.sees('收到一张物联网卡')
  await phone.page.evaluate(act)
  const late = Date.now() + 30_000
  await until(async () => [...phone.logged, ...await phone.page.evaluate(() => window.__phone.faults)],
    (all) => all.some((f) => fault.test(f)) || Date.now() > late)
  await assert.rejects(phone.close(), (err) => err.message.includes('faults on the phone') && err.actual.some((f) => fault.test(f)))
})
