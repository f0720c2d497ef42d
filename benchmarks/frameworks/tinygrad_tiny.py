"""tinygrad: a list of layers, a step that its JIT records and plays back."""

import time

import numpy as np
from tinygrad import Context, Tensor, TinyJit, nn


class LeNet:
    def __init__(self):
        self.layers = [
            nn.Conv2d(1, 6, 5, padding=2), Tensor.sigmoid, Tensor.avg_pool2d,
            nn.Conv2d(6, 16, 5), Tensor.sigmoid, Tensor.avg_pool2d,
            lambda X: X.flatten(1),
            nn.Linear(400, 120), Tensor.sigmoid, nn.Linear(120, 84), Tensor.sigmoid, nn.Linear(84, 10),
        ]  # fmt: skip
        for layer in self.layers:
            if hasattr(layer, "weight"):
                layer.weight = Tensor.glorot_uniform(*layer.weight.shape)

    def __call__(self, X):
        return X.sequential(self.layers)


def train(data, num_epochs, seed, batch_size=256, lr=0.9):
    """The JIT plays back one shape only, so the uneven last batch goes without it."""
    Tensor.manual_seed(seed)
    random = np.random.default_rng(seed)
    (X, y), (X_test, y_test) = [
        ((images[:, None] / 255).astype(np.float32), labels.astype(np.int32)) for images, labels in data
    ]
    net = LeNet()
    optimizer = nn.optim.SGD(nn.state.get_parameters(net), lr)

    def step(X, y):
        optimizer.zero_grad()
        loss = net(X).sparse_categorical_crossentropy(y).backward()
        return loss.realize(*optimizer.schedule_step())

    quick_step, seconds = TinyJit(step), 0
    count_correct = TinyJit(lambda X, y: (net(X).argmax(1) == y).sum().realize())
    for _ in range(num_epochs):
        begin, order = time.perf_counter(), random.permutation(len(y))
        with Context(TRAINING=1):
            for start in range(0, len(y), batch_size):
                rows = order[start : start + batch_size]
                loss = (quick_step if len(rows) == batch_size else step)(*tensors(X[rows], y[rows]))
            loss.item()  # waits
        seconds += time.perf_counter() - begin
        tests = [tensors(X_test[i : i + 250], y_test[i : i + 250]) for i in range(0, len(y_test), 250)]
        accuracy = sum(count_correct(*batch).item() for batch in tests) / len(y_test)
    return {"own_examples_per_sec": num_epochs * len(y) / seconds, "test_acc": accuracy}


def tensors(*arrays):
    return [Tensor(array).realize() for array in arrays]
