// The page's state, and what happens when it changes. This module runs last.

import { argmax, forward, softmax } from "./layers.js";
import { languages, learnWords, percent, say, speak, spoken } from "./words.js";
import { find, make, refill, rove, segmented } from "./dom.js";
import { learnColours } from "./draw.js";
import { copyLayers } from "./edits.js";
import { buildChanges } from "./changes.js";
import { buildNetwork, otherLayer } from "./network.js";
import { buildPanel } from "./panel.js";
import { buildPicture } from "./picture.js";

const packed = JSON.parse(find("net").textContent);
const trained = unpackLayers(packed);

const app = {
  layers: copyLayers(trained), // as they are now, changes included
  pictures: unpackPictures(packed.pictures, packed.labels.length),
  labels: packed.labels,
  names: () => packed.names ?? say("classes").split("|"),
  source: { kind: "picture", index: 0, label: packed.labels[0] },
  pixels: null,
  awaited: null, // the file that is being read, until something else is shown
  outputs: [],
  answers: [], // to each test picture, with the network as it is now
  answersTrained: [],
  changes: [],
  pinned: null, // the unit that was chosen: {layer, index}
  hovered: null, // the one under the mouse
  unit: () => app.hovered ?? app.pinned,
  choose,
  show,
  hover,
  pin,
  select,
  change,
  restore,
  tell,
  announce,
};
let views = null;

function unpack(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

function unpackLayers({ layers, weights }) {
  const numbers = new Float32Array(unpack(weights));
  return layers.map((description, at) => {
    const layer = { ...description, inShape: layers[Math.max(0, at - 1)].shape };
    for (const [name, length] of Object.entries(lengths(layer))) {
      if (typeof layer[name] === "number") layer[name] = numbers.slice(layer[name], layer[name] + length);
    }
    return layer;
  });
}

/** How many numbers a layer has of each kind. */
function lengths({ kind, shape, inShape, kernel }) {
  if (kind === "conv") return { weight: shape[0] * inShape[0] * kernel[0] * kernel[1], bias: shape[0] };
  if (kind === "linear") return { weight: shape[0] * inShape[0], bias: shape[0] };
  return kind === "batchnorm" ? { weight: shape[0], bias: shape[0], mean: shape[0], variance: shape[0] } : {};
}

function unpackPictures({ type, data }, count) {
  const bytes = unpack(data);
  const numbers =
    type === "uint8" ? Float32Array.from(new Uint8Array(bytes), (byte) => byte / 255) : new Float32Array(bytes);
  return Array.from({ length: count }, (_, i) => numbers.slice(784 * i, 784 * (i + 1)));
}

// ---- what may happen

function choose(index) {
  show(app.pictures[index], { kind: "picture", index, label: app.labels[index] });
}

/** Another picture: `pixels` are 784 numbers from 0 to 1. */
function show(pixels, source) {
  app.awaited = null;
  app.pixels = pixels;
  app.source = source;
  views.picture.mark();
  find("message").textContent = "";
  compute();
}

function hover(unit) {
  if (unit?.layer === app.hovered?.layer && unit?.index === app.hovered?.index) return;
  app.hovered = unit;
  select();
}

/** Choose a unit for good; `stepping` goes on playing, `focus` takes the keyboard along. */
function pin(unit, { focus = false, stepping = false } = {}) {
  app.pinned = unit;
  app.hovered = null;
  if (!stepping) views.panel.stop();
  select();
  if (stepping) views.changes.step(); // buttons made anew forty times a second could not be pressed
  else views.changes.refresh();
  if (focus) views.network.focus();
}

function change(words, edit) {
  edit();
  app.changes.push(words);
  changed();
}

function restore() {
  app.layers = copyLayers(trained);
  app.changes = [];
  changed();
}

function changed() {
  app.outputs = forward(app.layers, app.pixels);
  rebuild();
  judgeAll();
}

function tell(text) {
  find("message").textContent = text;
}

// ---- what follows from it

let waiting = false;

/** The forward pass, at most once a frame of the screen. */
function compute() {
  app.outputs = forward(app.layers, app.pixels);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    paintAll();
  });
}

function paintAll() {
  views.picture.paint();
  views.network.paint();
  select();
  showAnswer();
}

function select() {
  find("page").classList.toggle("pointing", app.hovered !== null); // then steps and zeroing are about another unit
  views.picture.select();
  views.network.select();
  views.panel.select();
}

function showAnswer() {
  const shares = softmax(app.outputs[app.outputs.length - 1]);
  const best = argmax(shares);
  const names = app.names();
  const { label } = app.source;
  const verdict =
    label === undefined ? "" : say(label === best ? "answer.right" : "answer.wrong", { label: names[label] });
  for (const place of document.querySelectorAll(".answer")) {
    const judged = make("span", { class: label === best ? "right" : "wrong" }, verdict);
    place.replaceChildren(make("b", {}, names[best]), ` ${percent(shares[best])} `, judged);
  }
  announce(`${say("answer.is", { name: names[best], share: percent(shares[best]) })} ${verdict}`);
}

let announcing = null;

/** Say it to screen readers once it has stood still for a moment. */
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    if (find("announcer").textContent !== text) find("announcer").textContent = text;
  }, 500);
}

let judging = null;

/** Ask the network about all test pictures, a few at a time so that the page stays quick; once, first, as trained. */
function judgeAll() {
  clearTimeout(judging);
  const layers = app.answersTrained.length ? app.layers : trained;
  const answers = [];
  const some = () => {
    const until = performance.now() + 8;
    while (answers.length < app.pictures.length && performance.now() < until) {
      answers.push(argmax(forward(layers, app.pictures[answers.length]).pop()));
    }
    if (answers.length < app.pictures.length) {
      judging = setTimeout(some);
      return;
    }
    if (layers === trained) app.answersTrained = answers;
    if (layers === trained && app.changes.length) return judgeAll(); // somebody was quicker
    app.answers = answers;
    views.picture.mark();
    showScore();
  };
  some();
}

function showScore() {
  const right = (answers) => answers.filter((answer, i) => answer === app.labels[i]).length;
  const words = { right: right(app.answers), trained: right(app.answersTrained), count: app.labels.length };
  find("score").textContent = say(app.changes.length ? "score.changed" : "score", words);
}

// ---- the page around it

/** Build every view anew: at the start, in another language, after a change of the net. */
function rebuild() {
  views?.panel.stop(); // a panel that plays would play on, out of reach
  document.title = packed.title || say("title");
  find("title").textContent = document.title;
  find("about").textContent = say("about", {
    layers: trained.filter((layer) => layer.path).length, // without a picture in front of them
    parameters: packed.parameters.toLocaleString("en"),
  });
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-label]"))
    element.setAttribute("aria-label", say(element.dataset.label));
  const choices = languages().map((code) => [code, say(`language.${code}`)]);
  refill(
    find("languages"),
    segmented(say("language"), choices, spoken(), (code) => {
      speak(code);
      rebuild();
    }),
  );
  find("languages")
    .querySelectorAll("button")
    .forEach((button, i) => (button.lang = choices[i][0])); // each name in its own language's voice
  views = {
    picture: buildPicture(app),
    network: buildNetwork(app, find("layers")),
    panel: buildPanel(app),
    changes: buildChanges(app),
  };
  views.picture.mark();
  views.changes.refresh();
  showTheme();
  if (app.answers.length) showScore();
  paintAll();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  learnColours();
  if (views) {
    paintAll();
    showTheme();
  }
}

function showTheme() {
  const dark = document.documentElement.dataset.theme === "dark";
  find("theme").textContent = dark ? "☀" : "☾";
  find("theme").setAttribute("aria-label", say(dark ? "theme.light" : "theme.dark"));
  find("theme").title = say(dark ? "theme.light" : "theme.dark");
}

function start() {
  learnWords(JSON.parse(find("words").textContent));
  speak(packed.language);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.onchange = () => setTheme(dark.matches ? "dark" : "light");
  find("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  setTheme(dark.matches ? "dark" : "light");
  let theme = null; // on the screen, while paper has the light one
  globalThis.onbeforeprint = () => {
    theme = document.documentElement.dataset.theme;
    setTheme("light");
  };
  globalThis.onafterprint = () => setTheme(theme);
  find("to-one").onclick = () => find("one").scrollIntoView();
  rove(find("pictures"), "button", (button) => button.click());
  app.pixels = app.pictures[0];
  app.outputs = forward(app.layers, app.pixels);
  app.pinned = { layer: 0, index: 0 };
  app.pinned = firstUnit();
  rebuild();
  document.documentElement.classList.add("live"); // not before: where that failed, the picture stays in its place
  judgeAll();
}

/** To begin with: the middle of the first layer that computes something. */
function firstUnit() {
  app.pinned = { layer: 0, index: 14 * 28 + 14 };
  return otherLayer(app, 1);
}

start();
globalThis.lenet = app; // for the curious: lenet.outputs in the browser's console
