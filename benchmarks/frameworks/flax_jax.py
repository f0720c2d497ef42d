"""JAX with flax and optax: one compiled step, called for each batch."""

import time

import jax
import numpy as np
import optax
from flax import linen as nn
from jax import numpy as jnp

XAVIER = nn.initializers.xavier_uniform()


class LeNet(nn.Module):
    @nn.compact
    def __call__(self, X):
        for channels, padding in ((6, 2), (16, 0)):
            X = nn.sigmoid(nn.Conv(channels, (5, 5), padding=padding, kernel_init=XAVIER)(X))
            X = nn.avg_pool(X, (2, 2), (2, 2))
        X = X.reshape(len(X), -1)
        for width in (120, 84):
            X = nn.sigmoid(nn.Dense(width, kernel_init=XAVIER)(X))
        return nn.Dense(10, kernel_init=XAVIER)(X)


def train(data, num_epochs, seed, batch_size=256, lr=0.9):
    (X, y), (X_test, y_test) = [(as_floats(images), labels.astype(np.int32)) for images, labels in data]
    net, optimizer = LeNet(), optax.sgd(lr)
    params = net.init(jax.random.key(seed), X[:1])
    state = optimizer.init(params)

    def loss(params, X, y):
        return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, X), y).mean()

    @jax.jit
    def step(params, state, X, y):
        updates, state = optimizer.update(jax.grad(loss)(params, X, y), state)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def count_correct(params, X, y):
        return (net.apply(params, X).argmax(1) == y).sum()

    random, seconds = np.random.default_rng(seed), 0
    for _ in range(num_epochs):
        begin, order = time.perf_counter(), random.permutation(len(y))
        for start in range(0, len(y), batch_size):
            rows = order[start : start + batch_size]
            params, state = step(params, state, X[rows], y[rows])
        jax.block_until_ready(params)
        seconds += time.perf_counter() - begin
        correct = sum(count_correct(params, X_test[i : i + batch_size], y_test[i : i + batch_size])
                      for i in range(0, len(y_test), batch_size))  # fmt: skip
        accuracy = float(correct) / len(y_test)
    return {"own_examples_per_sec": num_epochs * len(y) / seconds, "test_acc": accuracy}


def as_floats(images):
    return np.asarray(jnp.asarray(images, jnp.float32) / 255)[..., None]
