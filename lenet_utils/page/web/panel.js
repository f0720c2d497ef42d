// One unit, written out: what it sees, the numbers that it is made of, and where it goes next.

import { place, receptiveFields, sigmoid } from "./layers.js";
import { long, percent, say, short } from "./words.js";
import { find, make, makeSvg, prefersStillness, refill, rove } from "./dom.js";
import { colourAt, cover, css, drawnAt, greyAt, inkOn, layout, paint, scaleOf } from "./draw.js";
import { explain, goesTo, inPyTorch } from "./explain.js";
import { layerColour, layerName, layerScale, unitName } from "./network.js";

let shownMap = 0; // of a convolution's input: the one whose products are written out
let lineOpen = false; // all products in one line

export function buildPanel(app) {
  const steps = buildSteps(app);
  return {
    select: () => {
      showUnit(app);
      steps.refresh();
    },
    stop: steps.stop,
  };
}

function showUnit(app) {
  const { layer: at, index } = app.unit();
  const layer = app.layers[at];
  const facts = explain(app.layers, app.outputs, at, index);
  find("unit-title").textContent = say("unit.title", { name: layerName(layer), unit: unitName(app, at, index) });
  find("unit-value").textContent = `= ${long(facts.value)}`;
  find("readout").textContent = `${layerName(layer)} · ${unitName(app, at, index)} = ${short(facts.value)}`;
  const known = !app.changes.length && app.source.kind === "picture";
  const code = known ? inPyTorch(app.layers, at, index, app.source.index) : null;
  find("unit-code").textContent = code ? say("code", { code }) : "";
  refill(find("where"), ...whereFigures(app, at, index, facts));
  find("unit-body").className = `unit-body ${facts.kind}`;
  refill(find("what"), ...WRITE[writer(facts.kind)](app, at, index, facts));
  refill(find("sums"), ...writeSums(app, at, index, facts));
}

function writer(kind) {
  if (kind === "avgpool" || kind === "maxpool") return "pooling";
  return kind in WRITE ? kind : "activation";
}

const WRITE = {
  input: (app) => [sentence(say(app.layers[0].name === "Reshape" ? "input.reshape" : "input.plain"))],
  identity: (app, at, index, facts) => [
    sentence(say("identity", { name: app.layers[at].name })),
    formula([say("goes.in"), long(facts.before)], [say("comes.out"), long(facts.value)]),
  ],
  conv: writeConvolution,
  linear: writeLinear,
  pooling: writePooling,
  flatten: writeFlatten,
  batchnorm: writeNormalisation,
  activation: (app, at, index, facts) => writeActivation(facts.kind, facts.before, facts.value),
};

function sentence(text) {
  return make("p", { class: "sentence" }, text);
}

/** Lines of an addition: [words, number], the last one being the result. */
function formula(...lines) {
  const rows = lines.map(([words, number, role], i) =>
    make(
      "tr",
      { class: i === lines.length - 1 ? "result" : "" },
      make("th", { scope: "row" }, words),
      make("td", { "data-number": role }, number),
    ),
  );
  return make("table", { class: "formula" }, make("tbody", {}, ...rows));
}

// ---- where: the picture, what goes in, what comes out

function whereFigures(app, at, index, facts) {
  const figures = [pictureFigure(app, at, index)];
  if (at > 0 && !facts.contributions) figures.push(inputFigure(app, at, index, inputMap(app, at, facts)));
  if (facts.contributions) figures.push(contributionFigure(app, at, facts));
  if (at > 0 && at < app.layers.length - 1) figures.push(outputFigure(app, at, index));
  return figures;
}

/** Which map of the input is shown: the chosen one before a convolution, else the only one that the unit looks at. */
function inputMap(app, at, facts) {
  const { inShape } = app.layers[at];
  if (facts.maps) return Math.min(shownMap, facts.maps.length - 1);
  if (inShape.length < 3) return 0;
  return facts.from ? facts.from.map : facts.place.map;
}

function figure(caption, canvas, drawn, boxes) {
  const overlays = boxes.map(([name, field]) => {
    const box = make("i", { class: name });
    cover(box, drawn, field);
    return box;
  });
  const holder = make("div", { class: "still" }, canvas, ...overlays);
  holder.style.setProperty("--ratio", drawn.columns / drawn.rows);
  return make("figure", {}, holder, make("figcaption", {}, caption));
}

function pictureFigure(app, at, index) {
  const canvas = make("canvas", { role: "img", "aria-label": say("figure.picture") });
  paint(canvas, app.pixels, 0, 28, 28, greyAt);
  const field = receptiveFields(app.layers, at, index)[0];
  return figure(fieldCaption(field), canvas, { rows: 28, columns: 28 }, [["field", field]]);
}

function fieldCaption({ rows, columns }) {
  const [height, width] = [rows[1] - rows[0] + 1, columns[1] - columns[0] + 1];
  const beyond = rows[0] < 0 || columns[0] < 0 || rows[1] > 27 || columns[1] > 27;
  return say("sees", { height, width }) + (beyond ? ` ${say("sees.padding")}` : "");
}

function inputFigure(app, at, index, map) {
  const layer = app.layers[at];
  const drawn = layout(layer.inShape);
  const canvas = make("canvas", { role: "img", "aria-label": say("figure.in") });
  paint(
    canvas,
    app.outputs[at - 1],
    map * drawn.rows * drawn.columns,
    drawn.rows,
    drawn.columns,
    layerColour(app, at - 1),
  );
  const field = receptiveFields(app.layers, at, index)[at - 1];
  const seen = layer.inShape.length === 3 ? field : onePlace(layer.inShape, index);
  const name = layerName(app.layers[at - 1]);
  return figure(drawn.maps > 1 ? say("from.map", { name, map }) : say("from", { name }), canvas, drawn, [
    ["field", seen],
  ]);
}

function onePlace(shape, index) {
  const { row, column } = drawnAt(shape, index);
  return { rows: [row, row], columns: [column, column] };
}

/** The layer's own map: computed up to this unit, the rest still faint, as a window that slides would leave it. */
function outputFigure(app, at, index) {
  const layer = app.layers[at];
  const drawn = layout(layer.shape);
  const { map } = drawnAt(layer.shape, index);
  const start = map * drawn.rows * drawn.columns;
  const canvas = make("canvas", { role: "img", "aria-label": say("figure.out") });
  const opacity = (i) => (start + i <= index ? 1 : 0.3);
  paint(canvas, app.outputs[at], start, drawn.rows, drawn.columns, layerColour(app, at), opacity);
  return figure(`${say("so.far")} ${destination(app, at, index)}`, canvas, drawn, [
    ["unit", onePlace(layer.shape, index)],
  ]);
}

/** Where the unit's number goes next, in words. */
function destination(app, at, index) {
  const goal = goesTo(app.layers, at, index);
  const layer = app.layers[goal.layer];
  const name = layerName(layer);
  if (goal.units === "one") return say("to.one", { name, unit: unitName(app, goal.layer, goal.index) });
  if (goal.units === "all") return say("to.all", { name, count: goal.count });
  return say(goal.count ? "to.some" : "to.none", { name, count: goal.count });
}

/** All contributions to a unit of a linear layer, laid out as the layer that they come from. */
function contributionFigure(app, at, facts) {
  const shape = sourceShape(app, at);
  const { maps, rows, columns } = layout(shape);
  const across = Math.ceil(Math.sqrt(maps));
  const products = facts.contributions.map((one) => one.product);
  const scale = scaleOf(products);
  const tiles = Array.from({ length: maps }, (_, map) => {
    const canvas = make("canvas");
    paint(canvas, products, map * rows * columns, rows, columns, (value) => colourAt(value, scale));
    return canvas;
  });
  const holder = make("div", { class: "tiles", role: "img", "aria-label": say("figure.contributions") }, ...tiles);
  holder.style.setProperty("--across", across);
  return make("figure", {}, holder, make("figcaption", {}, say("contributions", { count: products.length })));
}

/** The shape of what a linear layer reads, before it was flattened. */
function sourceShape(app, at) {
  const before = app.layers[at - 1];
  return before.kind === "flatten" ? before.inShape : app.layers[at].inShape;
}

// ---- what: the numbers

function writeConvolution(app, at, index, facts) {
  const map = Math.min(shownMap, facts.maps.length - 1);
  const { cells } = facts.maps[map];
  const columns = app.layers[at].kernel[1];
  const input = at > 1 ? layerScale(app, at - 1) : null;
  const weights = scaleOf(facts.maps.flatMap((one) => one.cells.map((cell) => cell.weight)));
  const products = scaleOf(facts.maps.flatMap((one) => one.cells.map((cell) => cell.product)));
  return [
    facts.maps.length > 1 ? mapChooser(app, at, facts, map) : null,
    make(
      "div",
      { class: "equation" },
      grid(say("values"), cells, columns, "value", (value) => (input ? colourAt(value, input) : greyAt(value))),
      sign("×"),
      grid(say("weights", { filter: facts.place.map }), cells, columns, "weight", (value) => colourAt(value, weights)),
      sign("="),
      grid(say("products"), cells, columns, "product", (value) => colourAt(value, products)),
    ),
    writtenOut(
      facts.maps.flatMap((one) => one.cells),
      facts,
    ),
  ];
}

function sign(text) {
  return make("span", { class: "sign", "aria-hidden": "true" }, text);
}

/** A window's numbers as a table whose cells have their colours. */
function grid(caption, cells, columns, part, colour) {
  const rows = [];
  for (let i = 0; i < cells.length; i += columns) {
    rows.push(make("tr", {}, ...cells.slice(i, i + columns).map((cell) => gridCell(cell, part, colour))));
  }
  const table = make("table", { class: "grid" }, make("caption", {}, caption), make("tbody", {}, ...rows));
  table.style.setProperty("--columns", columns);
  const scrolls = columns > 7 && { tabindex: 0, role: "group", "aria-label": caption, "data-key": part };
  return make("div", { class: "grid-box", ...scrolls }, table);
}

function gridCell(cell, part, colour) {
  const outside = cell.outside && part !== "weight";
  const lowest = cell[part] === -Infinity;
  const td = make(
    "td",
    { class: outside ? "outside" : "", title: outside ? say(lowest ? "padding.max" : "padding") : String(cell[part]) },
    lowest ? "−∞" : short(cell[part]),
  );
  if (!outside) {
    td.style.background = css(colour(cell[part]));
    td.style.color = inkOn(colour(cell[part]));
  }
  return td;
}

/** A chip for each map of the input, with what it adds to the sum. */
function mapChooser(app, at, facts, chosen) {
  const scale = scaleOf(facts.maps.map((one) => one.subtotal));
  const chips = facts.maps.map((one, map) => {
    const bar = make("i", { class: "chip-bar" });
    bar.style.background = css(colourAt(one.subtotal, scale));
    return make(
      "button",
      {
        type: "button",
        role: "radio",
        class: "chip",
        "aria-checked": String(map === chosen),
        tabindex: map === chosen ? 0 : -1,
        "data-key": `chip ${map}`,
        onclick: () => showMap(app, map),
      },
      bar,
      make("span", {}, say("map", { map })),
      make("b", {}, `${one.subtotal < 0 ? "" : "+"}${short(one.subtotal)}`),
    );
  });
  const group = make("div", { class: "chips", role: "radiogroup", "aria-label": say("maps.choose") }, ...chips);
  rove(group, "button", (chip) => chip.click());
  return make("div", { class: "chooser" }, make("p", { class: "hint" }, say("maps.choose")), group);
}

function showMap(app, map) {
  shownMap = map;
  app.select();
}

/** Sum, bias, and what the activation (or the softmax) behind the layer makes of it. */
function writeSums(app, at, index, facts) {
  if (facts.sum === undefined || facts.bias === undefined) return [];
  const maps = facts.maps?.length;
  const words = maps > 1 ? say("sum.maps", { count: facts.products, maps }) : say("sum", { count: facts.products });
  const addition = formula(
    [words, long(facts.sum), "sum"],
    [say(facts.bias === null ? "bias.none" : "bias"), long(facts.bias ?? 0), "bias"],
    [say("together"), long(facts.value), "value"],
  );
  const { activation } = facts;
  return [
    addition,
    ...(activation ? writeActivation(activation.kind, facts.value, activation.value) : []),
    facts.softmax ? writeSoftmax(facts) : null,
  ];
}

function writtenOut(terms, facts) {
  const text = terms.map((one) => `${short(one.value)} × ${bracket(one.weight)}`).join(" + ");
  const whole = `${text} + ${bracket(facts.bias ?? 0)} = ${long(facts.value)}`;
  return make(
    "details",
    { class: "written", open: lineOpen, ontoggle: (event) => (lineOpen = event.target.open) },
    make("summary", { "data-key": "written" }, say("written", { count: terms.length })),
    make("p", { tabindex: 0, "data-key": "line" }, whole), // it scrolls: in Safari by keyboard only so
    make("p", { class: "hint" }, say("rounded")),
  );
}

function bracket(value) {
  return value < 0 ? `(${short(value)})` : short(value);
}

const CURVES = { sigmoid, tanh: Math.tanh, relu: (z) => Math.max(0, z) };

/** "σ(z) = 1 / (1 + e^−z)" with the numbers in it, and its curve with the point on it. */
function writeActivation(kind, z, value) {
  const negative = long(-z);
  const text = {
    sigmoid: `σ(${long(z)}) = 1 / (1 + e^(${negative})) = ${long(value)}`,
    tanh: `tanh(${long(z)}) = ${long(value)}`,
    relu: `max(0, ${long(z)}) = ${long(value)}`,
  }[kind];
  return [labelled(say(`kind.${kind}`), text, curve(kind, z, value))];
}

/** A line of numbers under its name, with the curve in front of it where there is one. */
function labelled(name, text, picture = null) {
  const line = make("span", { class: "numbers", "data-number": picture && "activation" }, text);
  return make("div", { class: "activation" }, picture, make("p", {}, make("span", { class: "muted" }, name), line));
}

function curve(kind, z, value) {
  const reach = Math.max(5, Math.abs(z) * 1.15);
  const [low, high] = { sigmoid: [0, 1], tanh: [-1, 1], relu: [0, reach] }[kind];
  const x = (at) => 60 + (at / reach) * 56;
  const y = (at) => 58 - ((at - low) / (high - low)) * 52;
  const points = Array.from({ length: 81 }, (_, i) => (i / 40 - 1) * reach);
  return makeSvg(
    "svg",
    { viewBox: "0 0 120 64", class: "curve", role: "img", "aria-label": say("figure.curve") },
    makeSvg("line", { x1: 4, x2: 116, y1: y(0), y2: y(0), class: "axis" }),
    makeSvg("line", { x1: 60, x2: 60, y1: 4, y2: 60, class: "axis" }),
    makeSvg("polyline", { points: points.map((at) => `${x(at)},${y(CURVES[kind](at))}`).join(" ") }),
    makeSvg("circle", { cx: x(z), cy: y(value), r: 3.5 }),
  );
}

const STRONGEST = 10;

function writeLinear(app, at, index, facts) {
  const shape = sourceShape(app, at);
  const strongest = facts.order.slice(0, STRONGEST);
  const rest = facts.order.slice(STRONGEST);
  const scale = scaleOf(strongest.map((one) => one.product));
  const rows = strongest.map((one) => contributionRow(sourceName(shape, one.from), one, scale));
  if (rest.length) rows.push(restRow(rest));
  const head = ["from.unit", "value", "weight", "product"].map((key) =>
    make("th", { scope: "col" }, say(`column.${key}`)),
  );
  const table = make(
    "table",
    { class: "contributions" },
    make("caption", {}, say("strongest", { count: strongest.length })),
    make("thead", {}, make("tr", {}, ...head, make("td"))),
    make("tbody", {}, ...rows),
  );
  return [table, writtenOut(facts.contributions, facts)];
}

function sourceName(shape, index) {
  return shape.length === 3 ? say("cell", place(shape, index)) : say("unit", { index });
}

function contributionRow(name, one, scale) {
  const bar = make("i", { class: one.product < 0 ? "negative" : "positive" });
  bar.style.setProperty("--share", Math.abs(one.product) / scale.reach);
  const numbers = [one.value, one.weight, one.product].map((value) => make("td", {}, short(value)));
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, name),
    ...numbers,
    make("td", { class: "bar-cell", "aria-hidden": "true" }, make("span", {}, bar)),
  );
}

function restRow(rest) {
  const sum = rest.reduce((total, one) => total + one.product, 0);
  return make(
    "tr",
    { class: "rest" },
    make("th", { scope: "row", colspan: 3 }, say("rest", { count: rest.length })),
    make("td", {}, short(sum)),
    make("td"),
  );
}

function writeSoftmax(facts) {
  const { less, power, sum, share } = facts.softmax;
  const [score, each] = less ? [` − ${bracketLong(less)}`, `(z − ${bracketLong(less)})`] : ["", "z"];
  const text = `e^(${long(facts.value)}${score}) / Σ e^${each} = ${tidy(power)} / ${tidy(sum)} = ${percent(share)}`;
  return labelled(say("softmax"), text);
}

function tidy(value) {
  return value >= 1e5 || value < 1e-3 ? value.toExponential(3) : value.toPrecision(5);
}

function writePooling(app, at, index, facts) {
  const max = facts.kind === "maxpool";
  const cells = facts.cells.filter((cell) => !(max && cell.outside));
  const shown = facts.cells.map((cell) => (max && cell.outside ? { ...cell, value: -Infinity } : cell)); // as PyTorch pads
  const expression = max
    ? `max(${cells.map((cell) => long(cell.value)).join(", ")})`
    : `(${cells.map((cell) => bracketLong(cell.value)).join(" + ")}) / ${cells.length}`;
  const colour = at > 1 ? (value) => colourAt(value, layerScale(app, at - 1)) : greyAt;
  return [
    make(
      "div",
      { class: "equation" },
      grid(say("values"), shown, app.layers[at].kernel[1], "value", colour),
      make(
        "div",
        {},
        sentence(say(max ? "max" : "mean", { count: cells.length, ...facts.largest })),
        make("p", { class: "numbers", "data-number": "value" }, `${expression} = ${long(facts.value)}`),
      ),
    ),
  ];
}

function writeFlatten(app, at, index, facts) {
  const { map, row, column } = facts.from;
  const [, rows, columns] =
    app.layers[at].inShape.length === 3 ? app.layers[at].inShape : [1, 1, app.layers[at].inShape[0]];
  return [
    sentence(say("flatten", { map, row, column, index, count: app.layers[at].shape[0] })),
    make("p", { class: "numbers" }, `${map} × ${rows * columns} + ${row} × ${columns} + ${column} = ${index}`),
    formula([say("goes.in"), long(facts.before)], [say("comes.out"), long(facts.value)]),
  ];
}

function writeNormalisation(app, at, index, facts) {
  const spread = `(${long(facts.before)} − ${bracketLong(facts.mean)}) / √(${long(facts.variance)} + ${facts.eps})`;
  const text = `${spread} × ${bracketLong(facts.factor)} + ${bracketLong(facts.summand)} = ${long(facts.value)}`;
  const what = app.layers[at].shape.length === 1 ? say("unit", { index }) : say("map", facts.place);
  return [
    sentence(say("batchnorm", { what })),
    make("p", { class: "numbers", "data-number": "value" }, text),
  ];
}

function bracketLong(value) {
  return value < 0 ? `(${long(value)})` : long(value);
}

// ---- stepping through a map, unit by unit

function buildSteps(app) {
  const [back, play, forward, position, speed] = [
    "step-back",
    "step-play",
    "step-forward",
    "step-position",
    "step-speed",
  ].map(find);
  let timer = null;
  const count = () => stepCount(app.layers[app.pinned.layer]);
  const first = () => Math.floor(app.pinned.index / count()) * count();
  const goTo = (step) =>
    app.pin({ layer: app.pinned.layer, index: first() + ((step + count()) % count()) }, { stepping: true });
  const step = (by) => goTo(app.pinned.index - first() + by);
  const stop = () => {
    clearTimeout(timer);
    timer = null;
    refresh();
  };
  const tick = () => {
    timer = setTimeout(tick, 1000 / Number(speed.value)); // before the step, which would else end the play
    step(1);
  };
  const refresh = () => {
    position.max = count() - 1;
    position.value = app.pinned.index - first();
    position.setAttribute("aria-valuetext", unitName(app, app.pinned.layer, app.pinned.index));
    find("step-count").textContent = say("step.count", { step: app.pinned.index - first() + 1, count: count() });
    play.textContent = say(timer ? "step.pause" : "step.play");
    play.hidden = speed.parentElement.hidden = prefersStillness(); // who wants no motion steps by hand
    find("step-still").hidden = !prefersStillness();
  };
  const stepOnce = (by) => {
    stop();
    step(by);
    app.announce(position.getAttribute("aria-valuetext"));
  };
  back.onclick = () => stepOnce(-1);
  forward.onclick = () => stepOnce(1);
  position.oninput = () => {
    const chosen = Number(position.value); // before stop, which shows the old position once more
    stop();
    goTo(chosen);
  };
  play.onclick = () => (timer ? stop() : tick());
  return { refresh, stop };
}

/** Steps through a map, or through all units of a layer without maps. */
function stepCount(layer) {
  return layer.shape.length === 3 ? layer.shape[1] * layer.shape[2] : layer.shape[0];
}
