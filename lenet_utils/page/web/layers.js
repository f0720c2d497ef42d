// The network itself: what each layer computes, and what each unit sees.
//
// A layer is a plain object: kind, shape of what comes out ([maps, rows, columns] or [units]), inShape, and for some
// kernel, stride, padding, weight, bias. Values are Float32Arrays, as PyTorch's are; sums are added up in double
// precision and rounded once.

/** The outputs of all layers for one picture (784 numbers from 0 to 1): one Float32Array a layer. */
export function forward(layers, pixels) {
  const outputs = [];
  for (const layer of layers) {
    outputs.push(COMPUTE[layer.kind](layer, outputs.length ? outputs[outputs.length - 1] : pixels));
  }
  return outputs;
}

const COMPUTE = {
  input: (layer, x) => x,
  identity: (layer, x) => x,
  flatten: (layer, x) => x, // the same numbers in the same order, only without rows and columns
  sigmoid: (layer, x) => x.map(sigmoid),
  tanh: (layer, x) => x.map(Math.tanh),
  relu: (layer, x) => x.map((value) => Math.max(0, value)),
  conv: convolve,
  avgpool: pool,
  maxpool: pool,
  linear: multiply,
  batchnorm: normalise,
};

export function sigmoid(value) {
  return 1 / (1 + Math.exp(-value));
}

function convolve(layer, x) {
  const y = new Float32Array(size(layer.shape));
  for (let index = 0; index < y.length; index++) y[index] = convolveAt(layer, x, index);
  return y;
}

/** One unit of a convolution: the window's values times the filter's weights, all added up, plus the bias. */
function convolveAt(layer, x, index) {
  const [maps, height, width] = layer.inShape;
  const [rows, columns] = layer.kernel;
  const { map: filter, row, column } = place(layer.shape, index);
  const top = row * layer.stride[0] - layer.padding[0];
  const left = column * layer.stride[1] - layer.padding[1];
  let sum = layer.bias ? layer.bias[filter] : 0;
  let weight = filter * maps * rows * columns;
  for (let map = 0; map < maps; map++) {
    for (let r = top; r < top + rows; r++) {
      for (let c = left; c < left + columns; c++, weight++) {
        if (r >= 0 && r < height && c >= 0 && c < width) {
          sum += x[(map * height + r) * width + c] * layer.weight[weight]; // outside there are only zeros
        }
      }
    }
  }
  return sum;
}

function pool(layer, x) {
  const y = new Float32Array(size(layer.shape));
  for (let index = 0; index < y.length; index++) {
    const values = poolWindow(layer, x, index);
    y[index] =
      layer.kind === "maxpool"
        ? Math.max(...values.filter((cell) => !cell.outside).map((cell) => cell.value))
        : values.reduce((sum, cell) => sum + cell.value, 0) / values.length;
  }
  return y;
}

/** The cells that one unit of a pooling looks at. */
export function poolWindow(layer, x, index) {
  return windowCells(layer, place(layer.shape, index), place(layer.shape, index).map, x);
}

/** The cells of map `map` that the window of the unit at `at` covers, row by row: {row, column, value, outside}. */
export function windowCells(layer, at, map, x) {
  const [, height, width] = layer.inShape;
  const cells = [];
  for (let i = 0; i < layer.kernel[0]; i++) {
    for (let j = 0; j < layer.kernel[1]; j++) {
      const row = at.row * layer.stride[0] - layer.padding[0] + i;
      const column = at.column * layer.stride[1] - layer.padding[1] + j;
      const outside = row < 0 || row >= height || column < 0 || column >= width;
      cells.push({ row, column, outside, value: outside ? 0 : x[(map * height + row) * width + column] });
    }
  }
  return cells;
}

function multiply(layer, x) {
  const y = new Float32Array(layer.shape[0]);
  for (let unit = 0; unit < y.length; unit++) {
    let sum = layer.bias ? layer.bias[unit] : 0;
    for (let i = 0; i < x.length; i++) sum += x[i] * layer.weight[unit * x.length + i];
    y[unit] = sum;
  }
  return y;
}

function normalise(layer, x) {
  const { scale, shift } = batchnormTerms(layer);
  const perMap = x.length / layer.shape[0];
  return x.map((value, index) => {
    const map = Math.floor(index / perMap);
    return value * scale[map] + shift[map];
  });
}

/** Batch normalisation of a trained net is one factor and one summand a map. */
function batchnormTerms(layer) {
  const scale = Array.from(
    layer.variance,
    (variance, map) => (layer.weight ? layer.weight[map] : 1) / Math.sqrt(variance + layer.eps),
  );
  const shift = scale.map((factor, map) => (layer.bias ? layer.bias[map] : 0) - layer.mean[map] * factor);
  return { scale, shift };
}

/** Probabilities from the last layer's scores. */
export function softmax(scores) {
  const largest = Math.max(...scores); // subtracted so that exp cannot overflow; it cancels out
  const powers = Array.from(scores, (score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

export function argmax(values) {
  return values.reduce((best, value, index) => (value > values[best] ? index : best), 0);
}

export function size(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

/** A shape as maps, rows, columns: a row of units is one map with one row. */
export function asMaps(shape) {
  return shape.length === 3 ? shape : [1, 1, shape[0]];
}

/** Where unit `index` stands: {map, row, column}. */
export function place(shape, index) {
  const [, rows, columns] = asMaps(shape);
  const inMap = index % (rows * columns);
  return { map: Math.floor(index / (rows * columns)), row: Math.floor(inMap / columns), column: inMap % columns };
}

export function indexOf(shape, { map, row, column }) {
  const [, rows, columns] = asMaps(shape);
  return (map * rows + row) * columns + column;
}

/** What one unit sees in each layer up to its own: fields[l] = {maps: [from, to], rows: [from, to], columns: [from, to]}.
 *
 * Both ends belong to the field. It may reach beyond the map, where padding is.
 */
export function receptiveFields(layers, layer, index) {
  const { map, row, column } = place(layers[layer].shape, index);
  const fields = [];
  fields[layer] = { maps: [map, map], rows: [row, row], columns: [column, column] };
  for (let l = layer; l > 0; l--) fields[l - 1] = fieldBefore(layers[l], fields[l]);
  return fields;
}

/** The field in front of `layer` of what sees `field` behind it. */
function fieldBefore(layer, field) {
  if (layer.kind === "linear" || (layer.kind === "flatten" && field.columns[0] !== field.columns[1])) {
    return wholeField(layer.inShape);
  }
  if (layer.kind === "flatten") {
    const { map, row, column } = place(layer.inShape, field.columns[0]);
    return { maps: [map, map], rows: [row, row], columns: [column, column] };
  }
  if (!layer.kernel) return field;
  return {
    maps: layer.kind === "conv" ? [0, layer.inShape[0] - 1] : field.maps,
    rows: stretch(field.rows, layer, 0),
    columns: stretch(field.columns, layer, 1),
  };
}

function wholeField(shape) {
  const [maps, rows, columns] = asMaps(shape);
  return { maps: [0, maps - 1], rows: [0, rows - 1], columns: [0, columns - 1] };
}

/** From the first window's first cell to the last window's last one. */
function stretch([from, to], layer, axis) {
  const first = from * layer.stride[axis] - layer.padding[axis];
  return [first, to * layer.stride[axis] - layer.padding[axis] + layer.kernel[axis] - 1];
}
