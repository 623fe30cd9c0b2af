import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from './load.mjs'

const { idProblem } = load('services/realname.ts')

test('an ID number is checked before it is sent', () => {
  for (const [id, problem] of [
    ['', ''],
    ['11010519491231002X', ''],
    ['110105194912310021', '身份证号有误，请核对'],
    ['11010519491231002', '身份证号应有 18 位'],
    ['1101051949123100200', '身份证号由数字组成，最后一位可以是 X'],
    ['1101051949X231002X', '身份证号由数字组成，最后一位可以是 X'],
  ]) assert.equal(idProblem(id), problem, id)
})
