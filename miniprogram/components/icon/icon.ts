Component({
  properties: {
    /** Of a drawing in assets/icons. */
    name: { type: String, value: '' },
    /** CSS length; the size of the text around it if empty. */
    size: { type: String, value: '' },
  },
})
