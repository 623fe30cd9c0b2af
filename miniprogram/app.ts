import { signIn } from './services/session'

App({
  globalData: {},
  onLaunch() {
    // The login is under way while the first page draws. Whoever needs it waits for it; a failure is told there.
    signIn().catch(() => undefined)
  },
})
