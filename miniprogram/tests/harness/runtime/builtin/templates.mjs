// The templates of WeChat's own components, as far as this mini-program and TDesign use them. A tag that is not here is an
// error of the compilation. html-x becomes the browser's own element x.
const slot = '<slot/>'

export const builtinTemplates = {
  view: slot, text: slot, label: slot, form: slot, navigator: slot, button: slot, 'root-portal': slot,
  'scroll-view': slot, 'checkbox-group': slot, 'radio-group': slot, picker: slot, 'page-meta': slot,
  checkbox: '<html-span/><slot/>', radio: '<html-span/><slot/>',
  image: '', canvas: '', input: '', textarea: '', switch: '',
}
