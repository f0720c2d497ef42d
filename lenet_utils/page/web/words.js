// The labels of the page in the language at hand. All of them stand in words.json, one table a language.

let language = "en";
const tables = {};

export function learnWords(all) {
  Object.assign(tables, all);
}

export function speak(code) {
  language = code in tables ? code : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
}

export function spoken() {
  return language;
}

export function languages() {
  return Object.keys(tables);
}

/** The label `key`, its {places} filled from `values`. */
export function say(key, values = {}) {
  return tables[language][key].replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

/** A number with three digits after the point, or fewer where it is large, and a true minus sign. */
export function short(value) {
  const digits = Math.abs(value) < 10 ? 3 : Math.abs(value) < 100 ? 2 : Math.abs(value) < 1000 ? 1 : 0;
  return written(value, digits);
}

/** A number with four digits after the point: what sums are written with. */
export function long(value) {
  return Math.abs(value) < 1e6 ? written(value, 4) : value.toExponential(4);
}

/** A number with two digits that count: for the ends of a scale. */
export function rough(value) {
  const digits = Math.max(0, 1 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return written(value, Math.min(digits, 6));
}

export function percent(fraction) {
  return `${(100 * fraction).toFixed(1)}%`;
}

function written(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}
