// For the page's modules, lenet_utils/page/web/: what a linter finds and a reader may miss.
const browser = ["atob", "clearTimeout", "createImageBitmap", "CSS", "document", "getComputedStyle", "matchMedia", "performance",
  "requestAnimationFrame", "setTimeout"];

export default [
  {
    files: ["**/*.js"],
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: "module",
      globals: Object.fromEntries(browser.map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: true },
    rules: {
      "array-callback-return": "error",
      "block-scoped-var": "error",
      "consistent-return": "off",
      "eqeqeq": "error",
      "no-cond-assign": "error",
      "no-const-assign": "error",
      "no-dupe-args": "error",
      "no-dupe-keys": "error",
      "no-duplicate-imports": "error",
      "no-eval": "error",
      "no-implicit-globals": "error",
      "no-implied-eval": "error",
      "no-redeclare": "error",
      "no-self-assign": "error",
      "no-shadow": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unused-expressions": "error",
      "no-unused-vars": "error",
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-var": "error",
      "prefer-const": "error",
      "valid-typeof": "error",
    },
  },
];
