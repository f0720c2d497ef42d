// One unit's number, taken apart: which numbers it is made of, and where it goes. No drawing here.

import { argmax, asMaps, indexOf, place, poolWindow, softmax, windowCells } from "./layers.js";
import { ACTIVATIONS } from "./edits.js";

/** What unit `index` of layer `at` is made of: {kind, value, ...}, with what each kind needs to be written out. */
export function explain(layers, outputs, at, index) {
  const layer = layers[at];
  const x = at > 0 ? outputs[at - 1] : null;
  const parts = (EXPLAIN[layer.kind] ?? (() => ({ before: x[index] })))(layer, x, index);
  const facts = { kind: layer.kind, value: outputs[at][index], place: place(layer.shape, index), ...parts };
  const next = layers[at + 1];
  if (layer.weight && next && ACTIVATIONS.includes(next.kind)) {
    facts.activation = { kind: next.kind, value: outputs[at + 1][index] };
  }
  if (at === layers.length - 1) facts.softmax = explainSoftmax(outputs[at], index);
  return facts;
}

const EXPLAIN = {
  input: () => ({}),
  conv: explainConvolution,
  avgpool: explainPooling,
  maxpool: explainPooling,
  linear: explainLinear,
  flatten: (layer, x, index) => ({ before: x[index], from: place(layer.inShape, index) }),
  batchnorm: explainNormalisation,
};

/** For each map of the input its cells {row, column, value, weight, product, outside} and their subtotal. */
function explainConvolution(layer, x, index) {
  const at = place(layer.shape, index);
  const perMap = layer.kernel[0] * layer.kernel[1];
  const maps = [];
  for (let map = 0; map < layer.inShape[0]; map++) {
    const start = (at.map * layer.inShape[0] + map) * perMap;
    const cells = windowCells(layer, at, map, x).map((cell, i) => {
      const weight = layer.weight[start + i];
      return { ...cell, weight, product: cell.value * weight };
    });
    maps.push({ cells, subtotal: total(cells.map((cell) => cell.product)) });
  }
  const sum = total(maps.map((map) => map.subtotal));
  return { maps, products: perMap * maps.length, sum, bias: layer.bias ? layer.bias[at.map] : null };
}

function explainPooling(layer, x, index) {
  const cells = poolWindow(layer, x, index);
  const inside = cells.filter((cell) => !cell.outside);
  const largest = inside[argmax(inside.map((cell) => cell.value))];
  return { cells, sum: total(cells.map((cell) => cell.value)), largest };
}

/** All contributions value * weight, and their order from the strongest on. */
function explainLinear(layer, x, index) {
  const contributions = Array.from(x, (value, i) => {
    const weight = layer.weight[index * x.length + i];
    return { from: i, value, weight, product: value * weight };
  });
  const order = [...contributions].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  return {
    contributions,
    order,
    products: x.length,
    sum: total(contributions.map((one) => one.product)),
    bias: layer.bias ? layer.bias[index] : null,
  };
}

function explainNormalisation(layer, x, index) {
  const { map } = place(layer.shape.length === 3 ? layer.shape : [layer.shape[0], 1, 1], index);
  return {
    before: x[index],
    mean: layer.mean[map],
    variance: layer.variance[map],
    eps: layer.eps,
    factor: layer.weight ? layer.weight[map] : 1,
    summand: layer.bias ? layer.bias[map] : 0,
  };
}

/** With `less` taken off each score where `exp` would overflow, or give nothing but zeros: it cancels out. */
function explainSoftmax(scores, index) {
  const largest = Math.max(...scores);
  const less = Math.abs(largest) > 700 ? largest : 0;
  const powers = Array.from(scores, (score) => Math.exp(score - less));
  return { less, power: powers[index], sum: total(powers), share: softmax(scores)[index] };
}

function total(values) {
  return values.reduce((a, b) => a + b, 0);
}

/** Where unit `index` of layer `at` goes next: {layer, units: [from, to] or "all" or "some"}, or null at the end. */
export function goesTo(layers, at, index) {
  const next = layers[at + 1];
  if (!next) return null;
  if (next.kind === "linear") return { layer: at + 1, units: "all", count: next.shape[0] };
  if (next.kind === "conv" || next.kernel) return windowsWith(layers[at], next, at, index);
  return { layer: at + 1, units: "one", index };
}

/** The windows of `next` that cover the unit. */
function windowsWith(layer, next, at, index) {
  const { map, row, column } = place(layer.shape, index);
  const [, rows, columns] = asMaps(next.shape);
  const reach = (position, axis, count) => {
    const found = [];
    for (let i = 0; i < count; i++) {
      const start = i * next.stride[axis] - next.padding[axis];
      if (position >= start && position < start + next.kernel[axis]) found.push(i);
    }
    return found;
  };
  const inRows = reach(row, 0, rows);
  const inColumns = reach(column, 1, columns);
  const windows = inRows.length * inColumns.length;
  const maps = next.kind === "conv" ? next.shape[0] : 1;
  if (maps === 1 && windows === 1 && next.kind !== "conv") {
    return { layer: at + 1, units: "one", index: indexOf(next.shape, { map, row: inRows[0], column: inColumns[0] }) };
  }
  return { layer: at + 1, units: "some", count: windows * maps };
}

/** A layer as PyTorch finds it: net[3], or net[0][2] in a net of nets. */
export function inNet(layer) {
  return `net[${layer.path.replaceAll(".", "][")}]`;
}

/** The expression that gives the same number for picture `number` of X in PyTorch, where no net is inside another. */
export function inPyTorch(layers, at, index, number) {
  const layer = layers[at];
  if (layer.path === "") return `X[${number}, ${Object.values(place(layer.shape, index)).join(", ")}]`;
  if (layer.path.includes(".")) return null;
  const { map, row, column } = place(layer.shape, index);
  const position = layer.shape.length === 3 ? [map, row, column] : [index];
  const trains = layers.some(({ kind }) => kind === "identity" || kind === "batchnorm"); // else there are no two modes
  const net = trains ? "net.eval()" : "net";
  const part = at === layers.length - 1 ? net : `${net}[:${Number(layer.path) + 1}]`;
  return `${part}(X[${number}:${number + 1}])[0, ${position.join(", ")}]`;
}
