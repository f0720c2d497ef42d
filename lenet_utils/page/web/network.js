// All layers at a glance: a block for each, with its maps or units, and what the unit at hand sees in them.

import { argmax, asMaps, place, receptiveFields, softmax } from "./layers.js";
import { long, percent, rough, say, short } from "./words.js";
import { forBrowser, make, refill } from "./dom.js";
import { across, colourAt, cover, drawnAt, greyAt, layout, paint, ROOM, scaleOf, unitAt } from "./draw.js";
import { inNet } from "./explain.js";

/** The name of a layer for people: "Convolution"; one that does nothing keeps PyTorch's name. */
export function layerName(layer) {
  return layer.kind === "identity" ? layer.name : say(`kind.${layer.kind}`);
}

function shapeText(layer) {
  return layer.shape.join(" × ");
}

/** "map 2, row 4, column 6", or "unit 17", or the name of a class. Counted from 0, as PyTorch does. */
export function unitName(app, at, index) {
  const layer = app.layers[at];
  if (at === app.layers.length - 1) return app.names()[index];
  if (layer.shape.length === 1) return say("unit", { index });
  const words = place(layer.shape, index);
  return layer.shape[0] === 1 ? say("pixel", words) : say("cell", words);
}

/** The colours of a layer: grey for the picture, else a scale around 0, or around 1/2 behind a sigmoid. */
export function layerScale(app, at) {
  const behind = app.layers
    .slice(0, at + 1)
    .reverse()
    .find((layer) => !PASSES.includes(layer.kind));
  return scaleOf(app.outputs[at], behind.kind === "sigmoid" ? 0.5 : 0);
}

const LEGEND = 101; // colours in the bar below a layer

const PASSES = ["avgpool", "maxpool", "flatten", "identity"]; // what comes out has the scale of what goes in

export function layerColour(app, at) {
  if (app.layers[at].kind === "input") return greyAt;
  const scale = layerScale(app, at);
  return (value) => colourAt(value, scale);
}

/** Build the network's view; returns functions that bring it up to date. */
export function buildNetwork(app, root) {
  const blocks = app.layers.map((layer, at) =>
    at === app.layers.length - 1 ? barsBlock(app, at) : mapsBlock(app, at),
  );
  refill(root, ...groups(app, blocks));
  listen(app, root);
  return {
    paint: () => blocks.forEach((block) => block.paint()),
    select: () => markSeen(app, blocks),
    focus: () => root.querySelector('[role="slider"][tabindex="0"]').focus({ preventScroll: true }),
  };
}

/** A group begins with each layer that has weights, and with Flatten; what follows belongs to it. */
function groups(app, blocks) {
  const list = [];
  blocks.forEach((block, at) => {
    if (["input", "conv", "flatten", "linear"].includes(app.layers[at].kind) || !list.length) {
      list.push(make("div", { class: "group" }));
    }
    list[list.length - 1].append(block.element);
  });
  return list;
}

/** 1 where the picture is not a layer of the net: then it does not count. */
function added(app) {
  return app.layers[0].path === "" ? 1 : 0;
}

function frame(app, at, ...content) {
  const layer = app.layers[at];
  const text = say("layer", {
    name: layerName(layer),
    shape: shapeText(layer),
    number: at + 1 - added(app),
    count: app.layers.length - added(app),
  });
  return make(
    "div",
    { class: `layer ${layer.kind}`, role: "group", "aria-label": text, "data-layer": at },
    make("div", { class: "layer-name", title: layer.name }, layerName(layer)),
    layer.path ? make("div", { class: "layer-path" }, inNet(layer)) : null,
    make("div", { class: "layer-shape" }, shapeText(layer)),
    ...content,
  );
}

/** A map, or a block of units: one slider, whose value is the unit at hand. */
function unitsElement(app, at, map, ...content) {
  return make(
    "div",
    {
      class: "map",
      role: "slider",
      tabindex: "-1",
      "data-layer": at,
      "data-map": map,
      "aria-roledescription": say(app.layers[at].shape.length === 3 ? "aria.map" : "aria.units"),
      "aria-label": mapLabel(app, at, map),
      "aria-valuemin": 0,
      "aria-valuenow": 0,
    },
    ...content,
  );
}

function mapLabel(app, at, map) {
  const layer = app.layers[at];
  return layer.shape.length === 3 && layer.shape[0] > 1
    ? say("aria.mapOf", { name: layerName(layer), map })
    : layerName(layer);
}

function mapsBlock(app, at) {
  const layer = app.layers[at];
  const { maps, rows, columns } = layout(layer.shape);
  const elements = Array.from({ length: maps }, (_, map) =>
    unitsElement(
      app,
      at,
      map,
      make("canvas"),
      make("i", { class: "field", hidden: true }),
      make("i", { class: "unit", hidden: true }),
    ),
  );
  const grid = make("div", { class: "maps" }, ...elements);
  grid.style.setProperty("--across", across(maps, columns * cellSize(layer)));
  grid.style.setProperty("--rows", rows);
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--cell", cellSize(layer));
  const legend = make("div", { class: "legend" });
  return {
    element: frame(app, at, grid, layer.kind === "input" ? null : legend),
    elements,
    paint: () => {
      const colour = layerColour(app, at);
      elements.forEach((element, map) =>
        paint(element.firstChild, app.outputs[at], map * rows * columns, rows, columns, colour),
      );
      if (layer.kind !== "input") paintLegend(legend, layerScale(app, at));
    },
  };
}

/** Pixels of the screen for one number: large where a layer has few of them. */
function cellSize(layer) {
  if (layer.kind === "input") return 2;
  const [maps, side] = [layer.shape[0], Math.max(...layer.shape.slice(1))];
  if (layer.shape.length === 1) {
    return Math.max(1, Math.min(maps > 200 ? 6 : 9, Math.floor(ROOM / layout(layer.shape).columns)));
  }
  return Math.max(1, Math.round((maps > 64 ? 16 : maps > 8 ? 32 : 56) / side));
}

/** A bar of all colours, each as far from the middle as its number is, over the numbers at its ends. */
function paintLegend(element, scale) {
  const { centre, reach } = scale;
  const [low, middle, high] = [centre - reach, centre, centre + reach].map(centre ? (end) => end.toFixed(2) : rough);
  const bar = make("canvas", { class: "scale" });
  const numbers = Array.from({ length: LEGEND }, (_, i) => centre + reach * ((2 * i) / (LEGEND - 1) - 1));
  paint(bar, numbers, 0, 1, LEGEND, (value) => colourAt(value, scale));
  refill(element, bar, make("span", {}, low), make("span", {}, high));
  element.title = say("legend", { low, middle, high });
}

/** The answer: a bar for each class, as long as its probability. */
function barsBlock(app, at) {
  const names = app.names();
  const rows = names.map((name) =>
    make(
      "div",
      { class: "bar" },
      make("span", { class: "bar-name" }, make("span", {}, name)),
      make("span", { class: "track" }, make("i")),
      make("span", { class: "bar-share" }),
    ),
  );
  const element = unitsElement(app, at, 0, ...rows);
  element.classList.add("bars");
  return {
    element: frame(app, at, make("div", { class: "layer-note" }, say("bars.softmax")), element),
    elements: [element],
    rows,
    paint: () => {
      const shares = softmax(app.outputs[at]);
      const best = argmax(shares);
      rows.forEach((row, index) => {
        row.children[1].firstChild.style.width = `${100 * shares[index]}%`;
        row.children[2].textContent = percent(shares[index]);
        row.classList.toggle("best", index === best);
        row.classList.toggle("label", app.source.label === index);
        row.title = say("bar", {
          name: names[index],
          share: percent(shares[index]),
          score: long(app.outputs[at][index]),
        });
      });
    },
  };
}

/** Mark the unit at hand, and what it sees in each layer before its own. */
function markSeen(app, blocks) {
  const { layer: chosen, index } = app.unit();
  const fields = receptiveFields(app.layers, chosen, index);
  blocks.forEach((block, at) => {
    block.element.classList.toggle("seen", at < chosen);
    block.element.classList.toggle("chosen", at === chosen);
    if (block.rows) block.rows.forEach((row, i) => row.classList.toggle("unit", at === chosen && i === index));
    else {
      const seen = sight(app, fields, at, chosen);
      block.elements.forEach((element, map) =>
        markMap(app.layers[at], element, map, seen, at === chosen ? index : null),
      );
    }
  });
  nameSliders(app, blocks);
}

/** The field to be marked in layer `at`: none where the unit sees everything, but for the layer right before it. */
function sight(app, fields, at, chosen) {
  if (at >= chosen) return null;
  const [, rows, columns] = asMaps(app.layers[at].shape);
  const field = fields[at];
  const everything =
    field.rows[0] <= 0 && field.columns[0] <= 0 && field.rows[1] >= rows - 1 && field.columns[1] >= columns - 1;
  return everything && at > 0 && at < chosen - 1 ? null : field;
}

function markMap(layer, element, map, field, index) {
  const [, fieldBox, unitBox] = element.children;
  const drawn = layout(layer.shape);
  const seen = field && map >= field.maps[0] && map <= field.maps[1];
  fieldBox.hidden = unitBox.hidden = true;
  if (seen) cover(fieldBox, drawn, layer.shape.length === 3 ? field : unfold(layer, field));
  if (index === null) return;
  const at = drawnAt(layer.shape, index);
  if (at.map === map) cover(unitBox, drawn, { rows: [at.row, at.row], columns: [at.column, at.column] });
}

/** A field in a row of units, as it lies in their folded block: one unit, or all of them. */
function unfold(layer, field) {
  const [first, last] = field.columns.map((index) => drawnAt(layer.shape, index));
  const one = field.columns[0] === field.columns[1];
  return {
    rows: [first.row, last.row],
    columns: one ? [first.column, first.column] : [0, layout(layer.shape).columns - 1],
  };
}

/** One tab stop in the whole network: the map of the pinned unit. */
function nameSliders(app, blocks) {
  blocks.forEach((block, at) => {
    const { rows, columns } = layout(app.layers[at].shape);
    const count = at === app.layers.length - 1 ? app.layers[at].shape[0] : rows * columns;
    block.elements.forEach((element, map) => {
      const here = at === app.pinned.layer && drawnMap(app, at, app.pinned.index) === map;
      const index = here ? app.pinned.index : Math.min(map * count, app.outputs[at].length - 1);
      element.tabIndex = here ? 0 : -1;
      element.setAttribute("aria-valuemax", count - 1);
      element.setAttribute("aria-valuenow", index % count);
      element.setAttribute("aria-valuetext", `${unitName(app, at, index)}: ${short(app.outputs[at][index])}`);
    });
  });
}

function drawnMap(app, at, index) {
  return app.layers[at].shape.length === 3 ? place(app.layers[at].shape, index).map : 0;
}

function listen(app, root) {
  root.onpointermove = (event) => {
    if (event.pointerType !== "touch") app.hover(unitUnder(app, event));
  };
  root.onpointerleave = () => app.hover(null);
  root.onclick = (event) => {
    const unit = unitUnder(app, event);
    if (unit) app.pin(unit, { focus: true });
  };
  root.onkeydown = (event) => {
    const unit = event.target.matches('[role="slider"]') && !forBrowser(event) && moved(app, event);
    if (!unit) return;
    event.preventDefault();
    app.pin(unit, { focus: true });
    document.activeElement.scrollIntoView({ block: "nearest", inline: "nearest" }); // a click's unit is in sight already
  };
}

function unitUnder(app, event) {
  const element = event.target.closest(".map");
  if (!element) return null;
  const at = Number(element.dataset.layer);
  const box = element.getBoundingClientRect();
  const last = at === app.layers.length - 1;
  const { rows, columns } = last ? { rows: app.layers[at].shape[0], columns: 1 } : layout(app.layers[at].shape);
  const row = clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), rows);
  const column = clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), columns);
  const index = last ? row : unitAt(app.layers[at].shape, { map: Number(element.dataset.map), row, column });
  return index === null ? null : { layer: at, index };
}

function clamp(value, count) {
  return Math.max(0, Math.min(count - 1, value));
}

/** The unit that a key leads to: arrows within a map, PageUp and PageDown to another map, Shift and arrows to another layer. */
function moved(app, event) {
  const { layer: at, index } = app.pinned;
  const layer = app.layers[at];
  if (event.shiftKey) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    return step ? otherLayer(app, clamp(at + step, app.layers.length)) : null;
  }
  const last = at === app.layers.length - 1;
  const { maps, rows, columns } = last ? { maps: 1, rows: layer.shape[0], columns: 1 } : layout(layer.shape);
  const now = last ? { map: 0, row: index, column: 0 } : drawnAt(layer.shape, index);
  const by = (row, column, map = 0) => {
    const next = {
      map: clamp(now.map + map, maps),
      row: clamp(now.row + row, rows),
      column: clamp(now.column + column, columns),
    };
    return last ? next.row : (unitAt(layer.shape, next) ?? index);
  };
  const next = {
    ArrowUp: () => by(-1, 0),
    ArrowDown: () => by(1, 0),
    ArrowLeft: () => by(0, -1),
    ArrowRight: () => by(0, 1),
    PageUp: () => by(0, 0, -1),
    PageDown: () => by(0, 0, 1),
    Home: () => by(-rows, -columns),
    End: () => by(rows, columns),
  }[event.key];
  return next ? { layer: at, index: next() } : null;
}

/** The unit of another layer at about the same place in its map. */
export function otherLayer(app, to) {
  const { layer: at, index } = app.pinned;
  if (to === app.layers.length - 1) return { layer: to, index: argmax(app.outputs[to]) };
  const from = layout(app.layers[at].shape);
  const now = at === app.layers.length - 1 ? { map: 0, row: 0, column: 0 } : drawnAt(app.layers[at].shape, index);
  const there = layout(app.layers[to].shape);
  const position = {
    map: Math.min(now.map, there.maps - 1),
    row: clamp(Math.floor(((now.row + 0.5) / from.rows) * there.rows), there.rows),
    column: clamp(Math.floor(((now.column + 0.5) / from.columns) * there.columns), there.columns),
  };
  return { layer: to, index: unitAt(app.layers[to].shape, position) ?? 0 };
}
