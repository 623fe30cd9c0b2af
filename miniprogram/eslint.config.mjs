import tseslint from 'typescript-eslint'

const browser = ['window', 'document', 'location', 'localStorage', 'navigator', 'performance', 'innerWidth', 'innerHeight', 'devicePixelRatio', 'matchMedia',
  'requestAnimationFrame', 'getComputedStyle', 'addEventListener', 'fetch', 'btoa', 'NodeFilter', 'parent', 'Blob']
const node = ['process', 'console', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'queueMicrotask', 'URL', 'URLSearchParams', 'TextDecoder', 'TextEncoder', 'AbortController', 'AbortSignal', 'Buffer']

export default tseslint.config(
  { ignores: ['**/node_modules', '**/miniprogram_npm', 'tools/out'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.json' } },
    rules: {
      // Pages are object literals whose this is made by WeChat.
      '@typescript-eslint/unbound-method': 'off',
      // It takes the types of a page's data for the literals that they begin with.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { ecmaVersion: 2024, sourceType: 'module', globals: Object.fromEntries([...browser, ...node].map((n) => [n, 'readonly'])) },
    rules: { 'no-undef': 'error', 'no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }], 'no-var': 'error', 'prefer-const': 'error', eqeqeq: 'error' },
  },
)
