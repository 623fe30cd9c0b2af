// The functions of wx that the mini-program and TDesign call. Any other is a fault, at once: a function that is missing
// here is one that nobody has tried.
import { around } from '../around.mjs'
import { api } from './api.mjs'
import { makeFiles } from './files.mjs'
import { makeRequest } from './request.mjs'
import { makeStorage } from './storage.mjs'

export function makeWx(phone) {
  const { ui, settings } = phone
  const router = (name) => api(name, (o, ok, fail) => phone.router[name](o, ok, fail))
  // What WeChat counts among personal data waits for the privacy guide.
  const personal = (name, act) => api(name, (o, ok, fail) => phone.privacy.require(() => act(o, ok, fail), fail))
  const on = (event) => (f) => phone.listen(event, f)
  const off = (event) => (f) => phone.unlisten(event, f)
  const nothing = (name) => api(name, (_, ok) => ok())
  const size = () => ({
    windowWidth: innerWidth, windowHeight: innerHeight - 44, screenWidth: innerWidth, screenHeight: innerHeight, pixelRatio: devicePixelRatio,
    statusBarHeight: 20, screenTop: 44, safeArea: { left: 0, top: 0, right: innerWidth, bottom: innerHeight, width: innerWidth, height: innerHeight },
  })
  const base = () => ({
    SDKVersion: '3.8.9', version: '8.0.60', language: 'zh_CN', enableDebug: false, host: { env: 'WeChat' }, fontSizeSetting: settings.fontSize,
    theme: matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light',
  })
  const files = makeFiles()
  phone.written = files.written
  const device = () => ({ brand: 'browser', model: 'browser', system: 'iOS 17.0', platform: 'ios', benchmarkLevel: 50 })

  const wx = {
    ...makeStorage(phone),
    request: makeRequest(phone),

    login: api('login', (_, ok, fail) => {
      settings.logins++
      if (settings.loginFails) fail(settings.loginFails)
      else ok({ code: settings.loginCode ?? `demo:${settings.person}` })
    }),
    getAccountInfoSync: () => ({ miniProgram: { appId: 'wx0000000000000000', envVersion: 'develop', version: '' }, plugin: {} }),

    navigateTo: router('navigateTo'), redirectTo: router('redirectTo'), switchTab: router('switchTab'), reLaunch: router('reLaunch'),
    navigateBack: router('navigateBack'),
    setNavigationBarTitle: api('setNavigationBarTitle', (o, ok) => {
      phone.router.setTitle(o.title)
      ok()
    }),
    setTabBarBadge: api('setTabBarBadge', (o, ok) => {
      phone.chrome.badge(o.index, o.text)
      ok()
    }),
    removeTabBarBadge: api('removeTabBarBadge', (o, ok) => {
      phone.chrome.badge(o.index)
      ok()
    }),
    pageScrollTo: api('pageScrollTo', (o, ok) => {
      phone.router.top().scroller.scrollTop = o.scrollTop ?? 0
      ok()
    }),
    stopPullDownRefresh: nothing('stopPullDownRefresh'),

    showToast: api('showToast', (o, ok) => {
      ui.toast(o)
      ok()
    }),
    hideToast: api('hideToast', (_, ok) => {
      ui.hideToast()
      ok()
    }),
    showLoading: api('showLoading', (o, ok) => {
      ui.toast({ ...o, loading: true })
      ok()
    }),
    hideLoading: api('hideLoading', (_, ok) => {
      ui.hideToast()
      ok()
    }),
    showModal: api('showModal', (o, ok) => ui.modal(o, ok)),
    showActionSheet: api('showActionSheet', (o, ok, fail) => ui.sheet(o.itemList, (tapIndex) => ok({ tapIndex }), () => fail('cancel'))),

    scanCode: api('scanCode', (_, ok, fail) => {
      const next = settings.scans.shift()
      if (settings.camera === 'denied') fail('auth deny')
      else if (next?.fail) fail(next.fail)
      else if (next) ok({ scanType: 'QR_CODE', charSet: 'utf-8', path: '', ...next })
      else ui.scanner(around(phone), (result) => ok({ result, scanType: 'CODE_128', charSet: 'utf-8', path: '' }), () => fail('cancel'))
    }),
    getSetting: api('getSetting', (_, ok) => ok({ authSetting: phone.permissions() })),
    openSetting: api('openSetting', (_, ok) => ok({ authSetting: phone.permit() })),
    canvasToTempFilePath: api('canvasToTempFilePath', (o, ok) => o.canvas.toBlob((blob) => ok({ tempFilePath: URL.createObjectURL(blob) }), `image/${o.fileType ?? 'png'}`)),
    getFileSystemManager: () => files,
    saveImageToPhotosAlbum: personal('saveImageToPhotosAlbum', (o, ok, fail) => {
      if (settings.album === 'denied') return fail('auth deny')
      settings.saved.push(o.filePath)
      ok()
    }),
    showShareImageMenu: api('showShareImageMenu', (o, ok) => {
      settings.shared.push(o.path)
      ui.toast({ title: '已发送', icon: 'success' })
      ok()
    }),
    setClipboardData: personal('setClipboardData', (o, ok) => {
      settings.clipboard = o.data
      ui.toast({ title: '内容已复制', icon: 'success' })
      ok()
    }),
    getClipboardData: personal('getClipboardData', (_, ok) => ok({ data: settings.clipboard })),
    vibrateShort: nothing('vibrateShort'),
    previewImage: nothing('previewImage'),
    requestSubscribeMessage: api('requestSubscribeMessage', (o, ok, fail) => phone.subscribe(o.tmplIds, ok, fail)),

    getPrivacySetting: api('getPrivacySetting', (_, ok) => ok({ needAuthorization: !phone.privacy.agreed, privacyContractName: '《卡流转隐私保护指引》' })),
    requirePrivacyAuthorize: api('requirePrivacyAuthorize', (_, ok, fail) => phone.privacy.require(ok, fail)),
    onNeedPrivacyAuthorization: (f) => { phone.privacy.ask = f },
    openPrivacyContract: api('openPrivacyContract', (_, ok) => {
      settings.guides++
      ok()
    }),

    getNetworkType: api('getNetworkType', (_, ok) => ok({ networkType: settings.offline ? 'none' : 'wifi' })),
    onNetworkStatusChange: on('network'), offNetworkStatusChange: off('network'),
    onThemeChange: on('themeChange'), offThemeChange: off('themeChange'),
    onAppShow: on('appShow'), offAppShow: off('appShow'), onAppHide: on('appHide'), offAppHide: off('appHide'),
    onWindowResize: on('resize'), offWindowResize: off('resize'),
    onUnhandledRejection: on('rejection'), onError: on('error'),

    getWindowInfo: size, getAppBaseInfo: base, getDeviceInfo: device,
    getSystemInfoSync: () => ({ ...size(), ...base(), ...device() }),
    getMenuButtonBoundingClientRect: () => ({ width: 87, height: 32, top: 6, right: innerWidth - 7, bottom: 38, left: innerWidth - 94 }),
    getLaunchOptionsSync: () => phone.launch, getEnterOptionsSync: () => phone.launch,
    canIUse: (name) => name.split('.')[0] in wx,
    nextTick: (f) => queueMicrotask(f),
    createSelectorQuery: () => phone.router.top().instance.createSelectorQuery(),
    getUpdateManager: () => ({ onCheckForUpdate() {}, onUpdateReady() {}, onUpdateFailed() {}, applyUpdate() {} }),
    getRealtimeLogManager: () => ({ info() {}, warn() {}, error() {} }),
    env: { USER_DATA_PATH: 'wxfile://usr' },
  }
  return new Proxy(wx, {
    get(target, name) {
      if (name in target || typeof name === 'symbol') return target[name]
      phone.fault(`wx.${name} is not there`)
      return undefined
    },
  })
}
