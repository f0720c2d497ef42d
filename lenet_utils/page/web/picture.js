// The picture at hand: chosen from the test pictures, drawn with a pen, or brought along as a file.

import { receptiveFields } from "./layers.js";
import { say } from "./words.js";
import { find, forBrowser, make, refill } from "./dom.js";
import { cover, greyAt, paint } from "./draw.js";

const SIDE = 28;

/** Build the pad, its tools and the row of test pictures; returns functions that bring them up to date. */
export function buildPicture(app) {
  const pad = find("pad");
  const pen = { size: Number(find("pen-size").value), erase: false, row: 14, column: 14 };
  drawWithPointer(app, pad, pen);
  drawWithKeys(app, pad, pen);
  listenToTools(app, pen);
  const buttons = app.pictures.map((pixels, index) => pictureButton(app, pixels, index));
  refill(find("pictures"), ...buttons);
  return {
    paint: () => paint(pad.querySelector("canvas"), app.pixels, 0, SIDE, SIDE, greyAt),
    select: () => markField(app, pad),
    mark: () => buttons.forEach((button, index) => markButton(app, button, index)),
  };
}

function markField(app, pad) {
  const unit = app.unit();
  cover(
    pad.querySelector(".field"),
    { rows: SIDE, columns: SIDE },
    receptiveFields(app.layers, unit.layer, unit.index)[0],
  );
}

function pictureButton(app, pixels, index) {
  const canvas = make("canvas");
  paint(canvas, pixels, 0, SIDE, SIDE, greyAt);
  return make("button", { type: "button", role: "radio", onclick: () => app.choose(index) }, canvas);
}

function markButton(app, button, index) {
  const chosen = app.source.kind === "picture" && app.source.index === index;
  const names = app.names();
  const answer = app.answers[index]; // unknown until the network has seen the picture
  const wrong = answer !== undefined && answer !== app.labels[index];
  const text = say(wrong ? "picture.wrong" : "picture.right", {
    number: index,
    label: names[app.labels[index]],
    answer: names[answer],
  });
  button.setAttribute("aria-checked", chosen);
  button.setAttribute("aria-label", text);
  button.title = text;
  button.tabIndex = chosen || (app.source.kind !== "picture" && index === 0) ? 0 : -1;
  button.classList.toggle("wrong", wrong);
}

function listenToTools(app, pen) {
  find("pen-size").oninput = (event) => (pen.size = Number(event.target.value));
  const draw = find("pen");
  const erase = find("eraser");
  const hold = (erasing) => {
    pen.erase = erasing;
    draw.setAttribute("aria-pressed", !erasing);
    erase.setAttribute("aria-pressed", erasing);
  };
  draw.onclick = () => hold(false);
  erase.onclick = () => hold(true);
  hold(false);
  find("clear").onclick = () => app.show(new Float32Array(SIDE * SIDE), { kind: "drawn" });
  const file = find("file");
  find("upload").onclick = () => file.click();
  file.onchange = () => {
    if (file.files[0]) takeFile(app, file.files[0]);
    file.value = ""; // so that the same file can be chosen again
  };
  const pad = find("pad");
  document.ondragover = document.ondrop = (event) => event.preventDefault(); // beside the pad it would open
  pad.ondrop = (event) => {
    if (event.dataTransfer.files[0]) takeFile(app, event.dataTransfer.files[0]);
  };
}

/** Mouse, stylus or the first finger: each movement paints from the last point to the new one. */
function drawWithPointer(app, pad, pen) {
  let last = null;
  let pointer = null; // the one that draws
  const point = (event) => {
    const box = pad.querySelector("canvas").getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * SIDE, y: ((event.clientY - box.top) / box.height) * SIDE };
  };
  const strokeTo = (events) => {
    const pixels = app.pixels.slice();
    for (const event of events) {
      const next = point(event);
      const pressed = event.pointerType === "pen" ? 0.5 + event.pressure : 1;
      stroke(pixels, last ?? next, next, (pen.size / 2) * pressed, pen.erase);
      last = next;
    }
    app.show(pixels, { kind: "drawn" });
  };
  pad.onpointerdown = (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    pad.setPointerCapture(event.pointerId);
    pointer = event.pointerId;
    last = null;
    strokeTo([event]);
  };
  pad.onpointermove = (event) => {
    if (!last || event.pointerId !== pointer) return;
    const between = event.getCoalescedEvents?.() ?? [];
    strokeTo(between.length ? between : [event]);
  };
  pad.onpointerup = pad.onpointercancel = (event) => {
    if (event.pointerId === pointer) last = null;
  };
}

/** Arrow keys move the pen, Space puts a dot, Shift and an arrow key draw a line. */
function drawWithKeys(app, pad, pen) {
  const cursor = pad.querySelector(".pen");
  const move = () =>
    cover(cursor, { rows: SIDE, columns: SIDE }, { rows: [pen.row, pen.row], columns: [pen.column, pen.column] });
  move();
  pad.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], " ": [0, 0] }[
      event.key
    ];
    if (!step || forBrowser(event)) return;
    event.preventDefault();
    const from = { x: pen.column + 0.5, y: pen.row + 0.5 };
    pen.row = Math.max(0, Math.min(SIDE - 1, pen.row + step[0]));
    pen.column = Math.max(0, Math.min(SIDE - 1, pen.column + step[1]));
    move();
    if (!event.shiftKey && event.key !== " ") return;
    const pixels = app.pixels.slice();
    stroke(pixels, from, { x: pen.column + 0.5, y: pen.row + 0.5 }, pen.size / 2, pen.erase);
    app.show(pixels, { kind: "drawn" });
  };
}

/** Paint white (or black, to erase) from one point to another, with a soft edge of one pixel. */
function stroke(pixels, from, to, radius, erase) {
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      const distance = distanceToLine({ x: column + 0.5, y: row + 0.5 }, from, to);
      const covered = Math.max(0, Math.min(1, radius + 0.5 - distance));
      const at = row * SIDE + column;
      pixels[at] = erase ? Math.min(pixels[at], 1 - covered) : Math.max(pixels[at], covered);
    }
  }
}

function distanceToLine(point, from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  const along = length ? Math.max(0, Math.min(1, ((point.x - from.x) * dx + (point.y - from.y) * dy) / length)) : 0;
  return Math.hypot(point.x - from.x - along * dx, point.y - from.y - along * dy);
}

/** A picture file: it is read here and goes nowhere else. */
async function takeFile(app, file) {
  app.awaited = file;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (app.awaited !== file) return; // something else was chosen meanwhile
  if (bitmap) app.show(toPixels(greyPicture(bitmap)), { kind: "file" });
  else app.tell(say("file.bad", { name: file.name }));
}

/** Brightness, 0 to 1, of a picture of at most 560 pixels a side, on white where it is transparent. */
function greyPicture(bitmap) {
  const shrink = Math.min(1, 560 / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * shrink));
  const height = Math.max(1, Math.round(bitmap.height * shrink));
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Float32Array(width * height);
  for (let i = 0; i < values.length; i++) {
    values[i] = (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255;
  }
  return { values, width, height };
}

/** As Fashion-MNIST's pictures were made: bright things on black, fitted into 28 x 28 and put in the middle. */
function toPixels(picture) {
  const border = borderBrightness(picture);
  const bright = border > 0.5; // then the thing is dark on bright: turn it around
  const ground = bright ? 1 - border : border;
  const values = picture.values.map((value) => Math.max(0, (bright ? 1 - value : value) - ground));
  const largest = values.reduce((a, b) => Math.max(a, b), 0);
  if (largest < 0.02) return new Float32Array(SIDE * SIDE); // nothing stands out from the ground
  const whole = { ...picture, values: values.map((value) => value / largest) };
  return average(whole, boxAround(whole));
}

function borderBrightness({ values, width, height }) {
  let sum = 0;
  let count = 0;
  for (let row = 0; row < height; row++) {
    const step = row === 0 || row === height - 1 ? 1 : Math.max(1, width - 1); // inside, the first and the last pixel
    for (let column = 0; column < width; column += step, count++) sum += values[row * width + column];
  }
  return sum / count;
}

/** The square around all that stands out, with its middle in the middle. */
function boxAround({ values, width, height }) {
  let [top, bottom, left, right] = [height, -1, width, -1];
  for (let i = 0; i < values.length; i++) {
    if (values[i] < 0.15) continue;
    const [row, column] = [Math.floor(i / width), i % width];
    [top, bottom, left, right] = [
      Math.min(top, row),
      Math.max(bottom, row),
      Math.min(left, column),
      Math.max(right, column),
    ];
  }
  const side = Math.max(bottom - top + 1, right - left + 1);
  return { top: (top + bottom + 1 - side) / 2, left: (left + right + 1 - side) / 2, side };
}

/** 28 x 28 pixels, each the mean brightness of its piece of the box, parts of pixels counted as parts. */
function average({ values, width, height }, { top, left, side }) {
  const pixels = new Float32Array(SIDE * SIDE);
  const piece = side / SIDE;
  for (let i = 0; i < SIDE; i++) {
    const rows = overlaps(top + i * piece, piece, height);
    for (let j = 0; j < SIDE; j++) {
      let sum = 0;
      for (const [column, across] of overlaps(left + j * piece, piece, width)) {
        for (const [row, down] of rows) sum += across * down * values[row * width + column];
      }
      pixels[i * SIDE + j] = Math.min(1, sum / (piece * piece));
    }
  }
  return pixels;
}

/** The pixels from `start` on, each with how much of it lies in the piece; beyond the picture there is black. */
function overlaps(start, length, count) {
  const found = [];
  for (let at = Math.max(0, Math.floor(start)); at < Math.min(count, start + length); at++) {
    found.push([at, Math.min(at + 1, start + length) - Math.max(at, start)]);
  }
  return found;
}
