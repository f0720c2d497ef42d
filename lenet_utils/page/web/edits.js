// Changes to the network: each on a copy, so that the trained state is always at hand.

/** A net's layers with weights of their own, which may be changed. */
export function copyLayers(layers) {
  return layers.map((layer) => {
    const copy = { ...layer };
    for (const name of ["weight", "bias", "mean", "variance"]) if (layer[name]) copy[name] = layer[name].slice();
    return copy;
  });
}

/** Set the weights and the bias of one filter (or of one unit of a linear layer) to zero. */
export function zeroFilter(layer, filter) {
  const perFilter = layer.weight.length / layer.shape[0];
  layer.weight.fill(0, filter * perFilter, (filter + 1) * perFilter);
  if (layer.bias) layer.bias[filter] = 0;
}

/** Add to each weight a random number; `strength` 1 makes the noise as large as the weights themselves. */
export function addNoise(layer, strength, random) {
  const mean = layer.weight.reduce((sum, weight) => sum + weight, 0) / layer.weight.length;
  const spread = Math.sqrt(layer.weight.reduce((sum, weight) => sum + (weight - mean) ** 2, 0) / layer.weight.length);
  for (let i = 0; i < layer.weight.length; i++) layer.weight[i] += strength * spread * bell(random);
}

/** A random number from the normal distribution with mean 0 and standard deviation 1 (Box and Muller's way). */
function bell(random) {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Numbers from 0 to below 1 that are the same in every room: a linear congruential generator. */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export const POOLINGS = ["avgpool", "maxpool"];
export const ACTIVATIONS = ["sigmoid", "tanh", "relu"];

/** Which kinds a layer may be swapped for: none, if there is no choice. */
export function alternatives(kind) {
  return [POOLINGS, ACTIVATIONS].find((kinds) => kinds.includes(kind)) ?? [];
}
