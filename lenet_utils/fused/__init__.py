"""Whole training steps of LeNet on a CPU in one call of C: `train_ch6(..., fused=True)`.

`lenet.c` holds the arithmetic, `build.py` has it compiled, `networks.py` says for which networks, and here their
tensors are handed over.
"""

import ctypes
import functools
import math

import torch

from .. import train
from ..data import Batches
from ..model import Reshape
from ..support import checks
from .build import Declined, load
from .networks import check, lenet_layers


def fuse(net, lr, device):
    """`train_epoch` and `evaluate_accuracy_gpu` by the kernel, for SGD at the rate `lr` on the net's own parameters.

    On an NVIDIA GPU by recorded steps. Where the kernel cannot serve, says why in one sentence and returns None.
    """
    if device.type == "cuda":
        from ..recorded import record

        return record(net, lr, device)
    try:
        check(net, device)
        kernel = Kernel(load(), net, lr)
    except Declined as reason:
        print(f"not fused, since {reason}; the training goes on without")
        return None
    return functools.partial(train_epoch, kernel), functools.partial(evaluate_accuracy, kernel)


def train_epoch(kernel, net, train_iter, optimizer, device, history, animator, stop):
    """As `train.train_epoch`; the step that the kernel takes stands for the `optimizer`'s."""
    if not all(p.requires_grad for p in kernel.parameters):  # frozen since the training began
        return train.train_epoch(net, train_iter, optimizer, device, history, animator, stop)
    num_batches = len(train_iter)
    draw_every = train.batches_between_points(num_batches)
    sums = train.Accumulator(4)  # loss x images, correct, images, batches whose loss was a number
    net.train()
    timer = train.Timer()
    for i, (X, y) in enumerate(checks.pairs("train_iter", as_pixels(train_iter)), start=1):
        stop.check()
        loss, correct = kernel.step(X, y)
        sums.add(loss * len(y), correct, len(y), math.isfinite(loss))
        if i % draw_every == 0 or i == num_batches:
            train.add_points([(i, sums)], num_batches, history, animator)
    return *train.epoch_means(sums, num_batches, history), timer.stop()


def evaluate_accuracy(kernel, net, test_iter, device):
    """As `evaluate_accuracy_gpu`, in batches of at least 1,024: each call of C starts its threads anew."""
    return train.evaluate_accuracy_gpu(kernel.predict, as_pixels(test_iter, at_least=1024), device)


# Images as they are kept


class Pixels:
    """Some `rows` of `images` `(n, 28, 28)`, still bytes and still where they are: the kernel gathers them itself."""

    def __init__(self, images, rows):
        self.images, self.rows = images, rows

    def __len__(self):
        return len(self.rows)

    def to(self, device):
        return self


class PixelBatches(Batches):
    """The same batches in the same order, with `Pixels` for X: nothing is copied."""

    def pick(self, rows):
        return Pixels(self.images, rows), self.labels[rows]


def as_pixels(data_iter, at_least=1):
    """The course's own batches as `PixelBatches`, of `at_least` so many images; any others as they are."""
    if type(data_iter) is not Batches or data_iter.resize is not None:
        return data_iter
    images, labels = data_iter.images, data_iter.labels
    if images.dtype != torch.uint8 or images.shape != (len(images), 28, 28):
        return data_iter
    if labels.dtype != torch.int64 or labels.shape != (len(images),):
        return data_iter
    size = max(at_least, data_iter.batch_size)
    return PixelBatches(images.contiguous(), labels, size, data_iter.shuffle)


# The kernel


class CParameters(ctypes.Structure):  # `parameters` in lenet.c
    _fields_ = [(f"{kind}{layer}", ctypes.c_void_p) for layer in range(1, 6) for kind in "wb"]


class CBatch(ctypes.Structure):  # `batch` in lenet.c
    _fields_ = [
        ("images", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("bytes", ctypes.c_int32),
        ("last_sigmoid", ctypes.c_int32),
    ]


class Kernel:
    """The compiled `library` at work on the parameters of `net`, for batches on the CPU."""

    def __init__(self, library, net, lr):
        self.library, self.net, self.lr = library, net, lr
        self.reshape, self.parameters = Reshape(), list(net.parameters())
        self.last_sigmoid = len(net) == len(lenet_layers())
        self.threads, self.memory = 0, None
        for p in self.parameters:
            p.grad = None  # gradients stay in the kernel

    def step(self, X, y):
        """One step on a batch. Returns the mean loss, in nats, and how many were right before the step."""
        if not isinstance(X, Pixels):
            checks.batch(X, y)
            if X.dtype != torch.float32:
                raise checks.another_type(X, torch.float32)
            if X.requires_grad:
                raise ValueError("expected images X that need no gradient, got some that do: train with fused=False")
        X, y = self.pixels(X), y.cpu().contiguous()
        checks.logits(torch.empty(len(X), 10, device="meta"), y)  # only for its shape: it looks at y, too
        loss, correct = ctypes.c_double(), ctypes.c_int64()
        outcome = ctypes.c_float(self.lr), ctypes.byref(loss), ctypes.byref(correct)
        self.call(self.library.lenet_step, X, y, None, *outcome)
        return loss.value, correct.value

    def predict(self, X):
        """Logits `(N, 10)`."""
        if not isinstance(X, Pixels) and X.dtype != torch.float32:
            with checks.types_explained(self.net, X):
                return self.net(X)  # which says what it thinks of that
        X = self.pixels(X)
        logits = torch.empty(len(X), 10, dtype=torch.float32, device="cpu")  # as C writes it, whatever is usual here
        self.call(self.library.lenet_forward, X, None, logits)
        return logits

    def gradients(self):
        """Those of the last step, a tensor for each parameter."""
        start = self.room.value - self.memory.data_ptr() + self.library.lenet_gradient_offset()
        sizes = [p.numel() for p in self.parameters]
        values = self.memory[start : start + 4 * sum(sizes)].view(torch.float32).split(sizes)
        return [value.view(p.shape).clone() for value, p in zip(values, self.parameters)]

    def pixels(self, X):
        return X if isinstance(X, Pixels) else self.reshape(X).cpu().contiguous()

    def call(self, function, X, labels, logits, *more):
        """Call a function of lenet.c. A parameter that does not lie in C's order in memory is copied there and back."""
        images, rows = (X.images, X.rows) if isinstance(X, Pixels) else (X, None)
        ordered = [p.detach().contiguous() for p in self.parameters]
        parameters = CParameters(*map(address, ordered))
        batch = CBatch(*map(address, (images, rows, labels, logits)), len(X), rows is not None, self.last_sigmoid)
        threads = self.make_room()
        function(ctypes.byref(parameters), ctypes.byref(batch), ctypes.c_int32(threads), self.room, *more)
        if labels is not None:
            self.written(ordered)

    @torch.no_grad()
    def written(self, ordered):
        """What C wrote into `ordered` is in the parameters, too, and autograd knows that they have changed."""
        for p, changed in zip(self.parameters, ordered):
            if p.data_ptr() == changed.data_ptr():
                torch.autograd.graph.increment_version(p)
            else:
                p.copy_(changed)

    def make_room(self):
        """Memory for as many threads as PyTorch may use now, 1.4 MB for each, from a whole cache line on."""
        threads = min(torch.get_num_threads(), self.library.lenet_most_threads())
        if threads != self.threads:
            size = threads * self.library.lenet_bytes_per_thread()
            self.threads, self.memory = threads, torch.empty(size + 64, dtype=torch.uint8, device="cpu")
            self.room = ctypes.c_void_p(-(-self.memory.data_ptr() // 64) * 64)
        return threads


def address(tensor):
    return None if tensor is None else tensor.data_ptr()
