import { asFailure } from '../../services/failure'
import { idProblem, register, registrations, renewable, type Identity, type Registration } from '../../services/realname'
import { newKey } from '../../services/request'
import { askToTell } from '../../services/subscribe'
import { when } from '../../services/words'

/** How often a registration that waits is read while the page is shown, and after how long a person is said to look, in ms. */
const pace = 1500
const soon = 9000

interface Waiting { timer: ReturnType<typeof setTimeout> | undefined, since: number, shown: boolean, wish: { said: string, key: string } | undefined }
const waiting = new WeakMap<object, Waiting>()

Page({
  data: {
    stage: 'reading' as 'reading' | 'unagreed' | 'trouble' | 'form' | 'pending' | 'approved',
    carrier: '',
    carrierName: '电信企业',
    fromTrade: false,
    fromList: false,
    methods: [] as string[],
    consent: '',
    refusal: '',
    byCredential: false,
    name: '',
    idNumber: '',
    idProblem: '',
    credential: '',
    agreed: false,
    ready: false,
    busy: false,
    problem: '',
    long: false,
    until: '',
  },

  onLoad(options: Record<string, string | undefined>) {
    waiting.set(this, { timer: undefined, since: 0, shown: false, wish: undefined })
    this.setData({ carrier: options['carrier'] ?? '', carrierName: decodeURIComponent(options['name'] ?? '') || '电信企业', fromTrade: options['from'] === 'trade', fromList: options['from'] === 'list' })
    this.ask()
  },

  /** Personal data are asked for after the person has seen what becomes of them. Who refuses is not asked again for some seconds. */
  ask() {
    const { stage } = this.data
    wx.requirePrivacyAuthorize({
      success: () => {
        if (stage !== 'unagreed') return
        this.setData({ stage: 'reading' })
        void this.load()
      },
      fail: () => {
        this.setData({ stage: 'unagreed' })
      },
    })
  },
  onShow() {
    const w = waiting.get(this)
    if (!w) return
    w.shown = true
    if (this.data.stage !== 'form' && this.data.stage !== 'unagreed') void this.load()
  },
  onHide() {
    this.rest()
  },
  onUnload() {
    this.rest()
  },

  rest() {
    const w = waiting.get(this)
    if (!w) return
    w.shown = false
    if (w.timer !== undefined) clearTimeout(w.timer)
  },

  async load() {
    try {
      const all = await registrations()
      if (this.data.stage === 'unagreed') return
      this.setData({ methods: all.methods, consent: all.consent.text, problem: '' })
      this.show(all.items.find((i) => i.carrier.id === this.data.carrier))
    } catch (err) {
      const { message } = asFailure(err)
      // Who waits goes on waiting: the registration is with the carrier.
      if (this.data.stage === 'pending') {
        this.setData({ problem: message })
        this.again()
      } else this.setData({ stage: 'trouble', problem: message })
    }
  },

  show(r: Registration | undefined) {
    const w = waiting.get(this)
    if (r?.carrier.name) this.setData({ carrierName: r.carrier.name })
    // Whoever comes for a renewal gets the form, once: what he has holds meanwhile.
    const renews = r !== undefined && this.data.fromList && renewable(r) && this.data.stage !== 'pending'
    if (r?.state === 'approved' && !renews) this.setData({ stage: 'approved', until: when(r.validUntil).replace(/ .*/, '') })
    else if (r?.state === 'pending') {
      if (w && w.since === 0) w.since = Date.now()
      this.setData({ stage: 'pending', long: w !== undefined && Date.now() - w.since > soon })
      this.again()
    } else {
      if (w) w.since = 0
      const refusal = r?.state === 'refused' ? [r.reason?.message, r.reason?.text].filter(Boolean).join('：') || '信息不符' : ''
      this.setData({ stage: 'form', refusal })
    }
  },

  again() {
    const w = waiting.get(this)
    if (!w?.shown) return
    w.timer = setTimeout(() => {
      void this.load()
    }, pace)
  },

  way(e: WechatMiniprogram.TouchEvent) {
    this.setData({ byCredential: e.currentTarget.dataset['way'] === '1', problem: '' })
    this.weigh()
  },
  typeName(e: WechatMiniprogram.Input) {
    this.setData({ name: e.detail.value, problem: '' })
    this.weigh()
  },
  typeId(e: WechatMiniprogram.Input) {
    const idNumber = e.detail.value.toUpperCase().replace(/\s/g, '')
    // Whoever is still typing is not told that it is too short.
    this.setData({ idNumber, idProblem: idNumber.length >= 18 ? idProblem(idNumber) : '', problem: '' })
    this.weigh()
  },
  checkId() {
    this.setData({ idProblem: idProblem(this.data.idNumber) })
  },
  typeCredential(e: WechatMiniprogram.Input) {
    this.setData({ credential: e.detail.value.trim(), problem: '' })
    this.weigh()
  },
  agree(e: WechatMiniprogram.CheckboxGroupChange) {
    this.setData({ agreed: e.detail.value.includes('yes') })
    this.weigh()
  },

  weigh() {
    const { byCredential, name, idNumber, credential, agreed } = this.data
    const said = byCredential ? credential !== '' : name.trim().length >= 2 && idNumber.length === 18 && idProblem(idNumber) === ''
    this.setData({ ready: agreed && said })
  },

  async submit() {
    const w = waiting.get(this)
    const { byCredential, name, idNumber, credential, ready, busy, carrier } = this.data
    if (!w || busy || !ready) return
    askToTell('real_name')
    const identity: Identity = byCredential ? { credential } : { name: name.trim(), idNumber }
    const said = JSON.stringify(identity)
    if (w.wish?.said !== said) w.wish = { said, key: newKey() }
    this.setData({ busy: true, problem: '' })
    try {
      const r = await register(carrier, identity, w.wish.key)
      // Nothing of it is kept on the phone.
      w.wish = undefined
      this.setData({ idNumber: '', credential: '', ready: false, agreed: false })
      this.show(r)
    } catch (err) {
      const failure = asFailure(err)
      if (failure.code === 'REAL_NAME_PENDING' || failure.code === 'REAL_NAME_APPROVED') await this.load()
      else this.setData({ problem: failure.message })
    } finally {
      this.setData({ busy: false })
    }
  },

  back() {
    if (getCurrentPages().length > 1) void wx.navigateBack()
    else void wx.switchTab({ url: '/pages/home/home' })
  },
})
