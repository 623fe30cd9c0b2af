import { now } from '../../services/clock'
import { left } from '../../services/words'

let timers = 0
const running = new Map<number, ReturnType<typeof setInterval>>()

/** How long until a moment. Event "over" when it has come. */
Component({
  properties: {
    /** RFC 3339. */
    until: { type: String, value: '' },
  },
  data: { text: '', soon: false, timer: 0 },
  observers: {
    until() {
      this.tick()
    },
  },
  lifetimes: {
    attached() {
      const id = ++timers
      this.data.timer = id
      running.set(id, setInterval(() => {
        this.tick()
      }, 1000))
    },
    detached() {
      this.end()
    },
  },
  methods: {
    tick() {
      const { until } = this.data
      if (!until) return
      const rest = Date.parse(until) - now()
      const text = rest > 0 ? left(rest) : '已过期'
      if (text !== this.data.text) this.setData({ text, soon: rest < 300_000 })
      if (rest <= 0 && running.has(this.data.timer)) {
        this.end()
        this.triggerEvent('over')
      }
    },
    end() {
      const timer = running.get(this.data.timer)
      if (timer !== undefined) clearInterval(timer)
      running.delete(this.data.timer)
    },
  },
})
