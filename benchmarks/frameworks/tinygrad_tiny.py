"""tinygrad: a list of layers, a step that its JIT records and plays back."""

import time

import numpy as np
from tinygrad import Tensor, TinyJit, dtypes, nn


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
        (Tensor(images[:, None]).cast(dtypes.float32).div(255).realize(), Tensor(labels.astype(np.int32)).realize())
        for images, labels in data
    ]
    net = LeNet()
    optimizer = nn.optim.SGD(nn.state.get_parameters(net), lr)

    def step(rows):
        optimizer.zero_grad()
        loss = net(X[rows]).sparse_categorical_crossentropy(y[rows]).backward()
        return loss.realize(*optimizer.schedule_step())

    quick_step, seconds, num_images = TinyJit(step), 0, X.shape[0]
    count_correct = TinyJit(lambda X, y: (net(X).argmax(1) == y).sum().realize())
    for _ in range(num_epochs):
        begin, order = time.perf_counter(), random.permutation(num_images).astype(np.int32)
        for start in range(0, num_images, batch_size):
            rows = Tensor(order[start : start + batch_size]).realize()
            loss = (quick_step if len(order) - start >= batch_size else step)(rows)
        loss.item()  # waits
        seconds += time.perf_counter() - begin
        tests = [[part[i : i + 250].contiguous().realize() for part in (X_test, y_test)] for i in range(0, 10_000, 250)]
        correct = sum(count_correct(*batch).item() for batch in tests)
        accuracy = correct / y_test.shape[0]
    return {"own_examples_per_sec": num_epochs * num_images / seconds, "test_acc": accuracy}
