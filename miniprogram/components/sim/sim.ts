/** A card, or a run of cards, as a card. */
Component({
  properties: {
    /** ICCIDs in groups of four; end is empty for a single card. */
    start: { type: String, value: '' },
    end: { type: String, value: '' },
    count: { type: Number, value: 1 },
    foot: { type: String, value: '' },
    state: { type: String, value: '' },
    frozen: { type: Boolean, value: false },
  },
})
