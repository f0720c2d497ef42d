// Numbers as colours. Zero (or a sigmoid's middle) has the page's own tone; orange is below it, blue above it,
// as in the course's figures: two hues that colour-blind readers tell apart too.

import { asMaps, place, size } from "./layers.js";

const STEPS = 256; // colours on each side of the middle
const colours = new Uint8ClampedArray(3 * (2 * STEPS + 1));

/** Build the scale from the three colours of the theme; between them it is even to the eye (in OKLab, by B. Ottosson). */
export function learnColours() {
  const style = getComputedStyle(document.documentElement);
  const [below, middle, above] = ["--below", "--middle", "--above"].map((name) => toLab(style.getPropertyValue(name)));
  for (let i = 0; i <= 2 * STEPS; i++) {
    const end = i < STEPS ? below : above;
    const share = Math.abs(i - STEPS) / STEPS;
    colours.set(fromLab(middle.map((part, axis) => part + share * (end[axis] - part))), 3 * i);
  }
}

function toLab(hex) {
  const number = parseInt(hex.trim().slice(1), 16);
  const [r, g, b] = [16, 8, 0].map((shift) => toLinear(((number >> shift) & 255) / 255));
  const [l, m, s] = [
    0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b,
    0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b,
    0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b,
  ].map(Math.cbrt);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromLab([lightness, a, b]) {
  const [l, m, s] = [
    lightness + 0.3963377774 * a + 0.2158037573 * b,
    lightness - 0.1055613458 * a - 0.0638541728 * b,
    lightness - 0.0894841775 * a - 1.291485548 * b,
  ].map((part) => part ** 3);
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((part) => 255 * fromLinear(part));
}

function toLinear(part) {
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
}

function fromLinear(part) {
  return part <= 0.0031308 ? 12.92 * part : 1.055 * part ** (1 / 2.4) - 0.055;
}

/** What the scale's middle and ends mean: centre, and reach to either side.
 *
 * Around 0 a colour's strength grows with the number's root: numbers have no bounds there, and a single large one would
 * leave all others without colour.
 */
export function scaleOf(values, centre = 0) {
  let reach = 0;
  for (const value of values) reach = Math.max(reach, Math.abs(value - centre));
  return { centre, reach: reach || 1, power: centre ? 1 : 0.5 };
}

export function colourAt(value, { centre, reach, power }) {
  const strength = Math.min(1, Math.abs(value - centre) / reach) ** power;
  const at = 3 * (STEPS + Math.round(Math.sign(value - centre) * strength * STEPS));
  return [colours[at], colours[at + 1], colours[at + 2]];
}

export function greyAt(value) {
  const grey = Math.round(255 * value);
  return [grey, grey, grey];
}

export function css([r, g, b]) {
  return `rgb(${r}, ${g}, ${b})`;
}

/** Black or white, whichever is easier to read on `rgb`. */
export function inkOn(rgb) {
  const [r, g, b] = rgb.map((part) => toLinear(part / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

/** Paint `rows * columns` values from `start` on, a pixel each; the page's style makes the pixels larger. */
export function paint(canvas, values, start, rows, columns, colour, opacity = () => 1) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    if (start + i >= values.length) break;
    image.data.set(colour(values[start + i]), 4 * i);
    image.data[4 * i + 3] = 255 * opacity(i);
  }
  context.putImageData(image, 0, 0);
}

/** How a layer is laid out: maps in a grid, or a row of units folded into one block. */
export function layout(shape) {
  const [maps, rows, columns] = asMaps(shape);
  if (shape.length === 3) return { maps, rows, columns };
  const folded = folds(shape[0]);
  return { maps: 1, rows: Math.ceil(shape[0] / folded), columns: folded };
}

export const ROOM = 252; // pixels that a phone of 320 leaves for a layer, nearly
const GAP = 4; // between maps, as in page.css

/** How many maps stand side by side, each `width` pixels wide: about as many as below each other, where there is room. */
export function across(maps, width) {
  if (maps <= 8) return maps <= 3 ? 1 : 2;
  return Math.min(Math.ceil(Math.sqrt(maps)), Math.floor((ROOM + GAP) / (width + GAP)));
}

/** The width of the block that `count` units are folded into: its largest divisor that makes it no wider than high. */
function folds(count) {
  const root = Math.floor(Math.sqrt(count));
  for (let width = root; width > root / 2; width--) if (count % width === 0) return width;
  return Math.ceil(Math.sqrt(count));
}

/** Where unit `index` is drawn: {map, row, column} in its layout. */
export function drawnAt(shape, index) {
  if (shape.length === 3) return place(shape, index);
  const { columns } = layout(shape);
  return { map: 0, row: Math.floor(index / columns), column: index % columns };
}

/** The unit that is drawn there, or null where the block's last row has ended. */
export function unitAt(shape, { map, row, column }) {
  const { rows, columns } = layout(shape);
  const index = (map * rows + row) * columns + column;
  return index < size(shape) ? index : null;
}

/** Lay `box` over the cells from row `rows[0]` to `rows[1]` and so on, of a map that is drawn as `layout` says. */
export function cover(box, { rows, columns }, field) {
  const top = Math.max(0, field.rows[0]);
  const left = Math.max(0, field.columns[0]);
  const bottom = Math.min(rows - 1, field.rows[1]);
  const right = Math.min(columns - 1, field.columns[1]);
  box.hidden = bottom < top || right < left;
  box.style.top = `${(100 * top) / rows}%`;
  box.style.left = `${(100 * left) / columns}%`;
  box.style.height = `${(100 * (bottom - top + 1)) / rows}%`;
  box.style.width = `${(100 * (right - left + 1)) / columns}%`;
}
