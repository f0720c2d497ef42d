// Changing the network, and seeing what becomes of the answer.

import { alternatives, addNoise, ACTIVATIONS, dice, POOLINGS, zeroFilter } from "./edits.js";
import { find, make, refill, segmented } from "./dom.js";
import { inNet } from "./explain.js";
import { unitName } from "./network.js";
import { say } from "./words.js";

const scope = { all: true }; // of the next change; it stays as chosen when the page is built anew after one
let throws = 0; // of the dice: each addition of noise is another one, and the first is the same in every room

export function buildChanges(app) {
  find("add-noise").onclick = () => changeLayers(app, noise(app));
  find("zero").onclick = () =>
    app.change(zeroWords(app), () => zeroFilter(app.layers[app.pinned.layer], filterOf(app)));
  find("restore").onclick = () => {
    app.restore();
    find("change-title").focus({ preventScroll: true }); // the button has become disabled, which would lose the focus
  };
  const refresh = () => {
    const strength = find("noise");
    const percent = `${Math.round(100 * strength.value)}%`;
    find("noise-value").textContent = percent;
    strength.setAttribute("aria-valuetext", percent);
    refill(find("scope"), scopeChooser(refresh));
    refill(find("kinds"), ...[POOLINGS, ACTIVATIONS].map((kinds) => kindsRow(app, kinds)));
    refreshZero(app);
    find("add-noise").disabled = !noisy(app).length;
    refill(find("change-list"), ...app.changes.map((text) => make("li", {}, text)));
    find("restore").disabled = app.changes.length === 0;
    find("change-none").hidden = app.changes.length > 0;
  };
  find("noise").oninput = refresh;
  return { refresh, step: () => refreshZero(app) };
}

/** Whether a change is for all layers or for the one at hand. */
function scopeChooser(refresh) {
  const choices = [
    ["all", say("change.all")],
    ["one", say("change.one")],
  ];
  return segmented(say("change.where"), choices, scope.all ? "all" : "one", (value) => {
    scope.all = value === "all";
    refresh();
  });
}

function filterOf(app) {
  const { layer, index } = app.pinned;
  return Math.floor(index / (app.outputs[layer].length / app.layers[layer].shape[0]));
}

function refreshZero(app) {
  const layer = app.layers[app.pinned.layer];
  const able = layer.kind === "conv" || layer.kind === "linear";
  find("zero").disabled = !able;
  find("zero").textContent = able ? zeroWords(app) : say("zero.none");
}

function zeroWords(app) {
  const { layer: at, index } = app.pinned;
  const layer = app.layers[at];
  if (layer.kind === "conv") return say("zero.filter", { filter: filterOf(app), where: inNet(layer) });
  return say("zero.unit", { unit: unitName(app, at, index), where: inNet(layer) });
}

function chosen(app, fits) {
  return app.layers.filter((layer, at) => fits(layer) && (scope.all || at === app.pinned.layer));
}

function noisy(app) {
  return chosen(app, (layer) => layer.kind === "conv" || layer.kind === "linear");
}

function noise(app) {
  const strength = Number(find("noise").value);
  return {
    layers: noisy(app),
    words: (where) => say("changed.noise", { percent: Math.round(100 * strength), where }),
    edit: (layer) => addNoise(layer, strength, dice(++throws)),
  };
}

function changeLayers(app, { layers, words, edit }) {
  const where = scope.all ? say("change.all") : inNet(layers[0]);
  app.change(words(where), () => layers.forEach(edit));
}

/** Average or max pooling; sigmoid, tanh or ReLU: for all such layers, or for the one at hand. */
function kindsRow(app, kinds) {
  const layers = chosen(app, (layer) => alternatives(layer.kind) === kinds);
  if (!layers.length) return null;
  const present = new Set(layers.map((layer) => layer.kind));
  const current = present.size === 1 ? layers[0].kind : null;
  const label = say(kinds === POOLINGS ? "change.pooling" : "change.activation");
  const choose = (kind) => {
    if (kind === current) return;
    changeLayers(app, {
      layers,
      words: (where) => say("changed.kind", { kind: say(`kind.${kind}`), where }),
      edit: (layer) => (layer.kind = kind),
    });
  };
  const choices = kinds.map((kind) => [kind, say(`short.${kind}`)]);
  return make(
    "div",
    { class: "field-row" },
    make("span", { class: "label" }, label),
    segmented(label, choices, current, choose),
  );
}
