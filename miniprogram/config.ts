/**
 * Where the server is. A mini-program reaches only the HTTPS domains that stand on its account's list; a develop build in
 * DevTools, with the check of domains off, reaches a trial server on the same machine.
 */
const servers: Record<'develop' | 'trial' | 'release', string> = {
  develop: 'http://127.0.0.1:8080',
  trial: 'https://cards.example.com',
  release: 'https://cards.example.com',
}

export const server = servers[wx.getAccountInfoSync().miniProgram.envVersion]
export const api = `${server}/api/v1`

/** How long an answer may take, in ms, before the person is told that the network is slow. */
export const patience = 10_000
