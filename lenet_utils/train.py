"""Training and testing a network, on a GPU where there is one."""

import contextlib
import copy
import dataclasses
import itertools
import math
import os
import time

import torch
from torch import nn
from torch.nn import functional as F

from .data import Batches
from .model import evaluation_mode
from .quick import quick_layers
from .quick.memory import kept_memory
from .support import checks
from .support.stop import StopBetweenBatches


class Timer:
    """A stop watch, as d2l's: it keeps all times that it took, in seconds, in `times`, and runs from the start."""

    def __init__(self):
        self.times = []
        self.start()

    def start(self):
        self.tik = time.perf_counter()

    def stop(self):
        """Keep the seconds since `start`, and return them."""
        self.times.append(time.perf_counter() - self.tik)
        return self.times[-1]

    def sum(self):
        return sum(self.times)

    def avg(self):
        return sum(self.times) / len(self.times)

    def cumsum(self):
        return list(itertools.accumulate(self.times))


class Accumulator:
    """Running sums of `n` quantities, e.g. loss, correct answers, images seen.

    `add` only queues work on the values' device; reading a sum waits for it.
    So add on every batch, and read once an epoch.

    >>> sums = Accumulator(2)
    >>> sums.add(torch.tensor(3), 4)
    >>> correct, seen = sums
    >>> correct / seen
    0.75
    """

    def __init__(self, n):
        self.n = n
        self.reset()

    def reset(self):
        self._sums = [0.0] * self.n

    def add(self, *values):
        """Add one scalar to each sum. Raises ValueError unless given exactly `n`."""
        if len(values) != self.n:
            raise ValueError(f"expected {self.n} values, one for each sum, got {len(values)}")
        self._sums = [total + as_double(value) for total, value in zip(self._sums, values)]

    def __getitem__(self, i):
        return float(self._sums[i])  # waits for the GPU here, and only here

    def __len__(self):
        return self.n


def as_double(value):
    """A scalar as a 64-bit float: a 32-bit sum drops digits, and a sum of 8-bit numbers overflows at 255."""
    if not torch.is_tensor(value):
        return float(value)
    if value.numel() != 1:
        raise ValueError(f"expected a single number to add, got a tensor of shape {tuple(value.shape)}")
    # Apple's GPUs have no 64-bit floats. detach: a sum must not keep the graphs of all batches alive.
    return value.detach().reshape(()).to(torch.float32 if value.device.type == "mps" else torch.float64)


def count_correct(y_hat, y):
    """How many of `N` predictions are right, as a tensor: does not wait for the GPU.

    `y_hat`: scores `(N, C)`, of which the highest one counts, or class numbers `(N,)`; `y`: labels `(N,)`.
    """
    checks.one_tensor(y_hat)
    if y_hat.ndim > 1 and y_hat.shape[1] > 1:
        y_hat = y_hat.argmax(dim=1)
    checks.predictions(y_hat, y)
    return (y_hat.long() == y.long()).sum()


def accuracy(y_hat, y):
    """How many of `N` predictions are right, as a float (the number, not the fraction, as in d2l)."""
    return float(count_correct(y_hat, y))


def try_gpu(i=0):
    """GPU number `i` if there is one, else Apple's GPU, else the CPU, as a torch.device.

    The environment variable LENET_DEVICE, e.g. "cpu", overrules. Raises ValueError for a negative `i`.
    """
    checks.whole_number("i, the number of the GPU,", i, least=0)
    if os.environ.get("LENET_DEVICE"):
        remedy = "take the environment variable LENET_DEVICE away, or give it another value"
        return checks.device(os.environ["LENET_DEVICE"], remedy)
    if torch.cuda.is_available() and torch.cuda.device_count() > i:  # a GPU with too old a driver counts, too
        return torch.device(f"cuda:{i}")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def evaluate_accuracy_gpu(net, data_iter, device=None):
    """The fraction (0..1) of all images in `data_iter` that `net` names right.

    `data_iter`: batches `(X, y)`; `X` may be a list of tensors.
    `device`: the net's own by default. The net comes back in the mode in which it was.
    Raises ValueError for what cannot be tested, or if there are no batches.
    """
    checks.testable(net, device)
    is_module = isinstance(net, nn.Module)
    if device is None and is_module:
        device = next((p.device for p in net.parameters()), None)
    sums = Accumulator(3)  # correct, images, labels that the net cannot give
    with evaluation_mode(net if is_module else nn.Identity()), torch.no_grad():
        for X, y in checks.pairs("data_iter", data_iter):
            X = [x.to(device) for x in X] if isinstance(X, (list, tuple)) else X.to(device)
            y = y.to(device)
            with checks.types_explained(net, X):
                y_hat = net(X)
            sums.add(count_correct(y_hat, y), y.numel(), count_impossible(y_hat, y))
    correct, seen, impossible = sums  # waits for the GPU, once for the whole data set
    if seen == 0:
        raise ValueError("expected at least one batch to evaluate on, got none: is the data set empty or used up?")
    if impossible:
        raise checks.impossible_labels(y_hat.shape[1], f"{impossible:.0f} of {seen:.0f}")
    return correct / seen


def count_impossible(y_hat, y):
    y = y.long()  # in a byte, 300 classes would be 44
    return ((y < 0) | (y >= y_hat.shape[1])).sum() if y_hat.ndim == 2 and y_hat.shape[1] > 1 else 0


class SGD:
    """Stochastic gradient descent, bit for bit what `torch.optim.SGD(parameters, lr)` does.

    That one is the better choice in work of your own. But the first optimiser made loads PyTorch's
    compiler, which costs seconds and 150 MB in each of thirty notebooks, for two lines of arithmetic.
    """

    def __init__(self, parameters, lr):
        self.parameters = list(parameters)
        self.lr = lr

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self):
        for p in self.parameters:
            if p.requires_grad and p.grad is not None:
                p.add_(p.grad, alpha=-self.lr)


class Diverged(ArithmeticError):
    """The loss is no longer a number. `history` holds the epochs that finished before."""

    history: "History"


def init_xavier(layer):
    """Xavier (Glorot and Bengio's) uniform weights for a convolution or a linear layer, as d2l has it."""
    if type(layer) in (nn.Linear, nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight)


def train_ch6(
    net, train_iter, test_iter, num_epochs, lr, device, *, init_weights=init_xavier, animator=None, fused=False,
    checkpoint=None,
):  # fmt: skip
    """Train `net` with SGD on the cross-entropy loss, test it after every epoch, and return a `History`.

    `init_weights` is applied to every layer: by default the weights of `Conv2d` and `Linear` start afresh, and all else
    goes on from where it is, as in d2l; with None everything does.
    `animator`: where the curves go, a new `Animator` by default; False draws nothing.
    `fused`: True trains `lenet()` on a CPU by one piece of C, several times as fast, and most networks on an NVIDIA GPU
    by recorded steps; what neither can do goes on without.
    `checkpoint`: a folder, or a `Checkpoint`, in which the run is kept, and from which it goes on; False is none.
    Stop (Ctrl-C) ends the run between two batches; `net` and the history so far stay good.
    `net` comes back in evaluation mode, ready to predict, as d2l's does.
    Raises ValueError for arguments that cannot work, before anything changes, and for a batch that cannot,
    before the weights see it; `Diverged` when the loss is no longer a number. Whatever it raises later has the
    `history` of the epochs that finished.
    """
    checks.trainable(net)
    checks.whole_number("num_epochs", num_epochs, least=0)
    checks.some_batches("train_iter", train_iter, num_epochs, sized=True)
    checks.some_batches("test_iter", test_iter, num_epochs)
    checks.learning_rate(lr)
    checks.function("init_weights", init_weights, of="a layer")
    checks.animator(animator)
    checks.switch("fused", fused)
    lr, device, animator = float(lr), checks.device(device), None if animator is True else animator
    if checkpoint is not None and checkpoint is not False:
        from .parallel.resume import train  # the same loop, which can also begin in the middle

        if fused:
            print("not fused, since only batch by batch can a run be kept; the training goes on without")
        more = {"init_weights": init_weights, "animator": animator}
        return train(net, train_iter, test_iter, num_epochs, lr, device, checkpoint, **more)

    if init_weights is not None:
        net.apply(init_weights)
    print("training on", device)
    net.to(device)
    train_iter, test_iter = (it.to(device) if isinstance(it, Batches) else it for it in (train_iter, test_iter))
    if type(test_iter) is Batches and device.type != "cpu":
        test_iter = test_iter.in_batches_of(2048)  # the same test by fewer calls
    optimizer = SGD(net.parameters(), lr)
    run_epoch, evaluate = train_epoch, evaluate_accuracy_gpu
    if fused:
        from .fused import fuse  # on first use: a C compiler may have to run

        run_epoch, evaluate = fuse(net, lr, device) or (run_epoch, evaluate)
    history = History(str(device))
    if animator is None:
        from .plot import training_animator  # on first use: training itself needs no pictures

        animator = training_animator(num_epochs)
    try:
        with drawn_to_the_end(animator), StopBetweenBatches() as stop, quick_layers(net), kept_memory(train_iter):
            for epoch in range(num_epochs):
                trained = run_epoch(net, train_iter, optimizer, device, history, animator, stop)
                test_acc = evaluate(net, test_iter, device)
                history.add(*trained, test_acc)
                if animator:
                    animator.add(epoch + 1, (None, None, test_acc))
            stop.check()  # asked for while the last epoch was tested
    except KeyboardInterrupt:
        print(history.interrupt(num_epochs))
    except Exception as error:
        error.history = history
        raise
    finally:
        net.eval()
    print(history.summary())
    return history


@contextlib.contextmanager
def drawn_to_the_end(animator):
    """After it, whatever happens, everything that was added to the curve has been drawn."""
    try:
        yield
    finally:
        if animator:
            animator.flush()


def train_epoch(net, train_iter, optimizer, device, history, animator, stop):
    """One pass over `train_iter`. Returns mean loss, accuracy, images seen, and seconds."""
    epoch, num_batches = len(history), len(train_iter)
    draw_every = batches_between_points(num_batches)
    sums = Accumulator(4)  # loss x images, correct, images, batches whose loss was a number
    marks = []  # where a point of the curve will be, and what the sums were there
    net.train()
    timer = Timer()
    for i, (X, labels) in enumerate(checks.pairs("train_iter", train_iter), start=1):
        stop.check()
        checks.batch(X, labels)
        X, y = X.to(device), labels.to(device)
        optimizer.zero_grad()
        with checks.types_explained(net, X):
            y_hat = net(X)  # (N, 10) logits
        checks.logits(y_hat, labels)
        if epoch == 0 and i == 1 and isinstance(train_iter, Batches):
            checks.all_labels(train_iter.labels, y_hat)  # now: a GPU would not say what is wrong with one
        loss = cross_entropy(y_hat, y)
        loss.backward()
        optimizer.step()
        # The loss is a mean over N; weight it by N, as the last batch may be smaller.
        sums.add(loss * y.numel(), count_correct(y_hat, y), y.numel(), loss.isfinite())
        if i % draw_every == 0 or i == num_batches:
            marks.append((i, copy.copy(sums)))  # shallow is enough: add makes a new list
            if device.type == "cpu" or timer.stop() > PATIENCE:
                add_points(marks, num_batches, history, animator)
    add_points(marks, num_batches, history, animator)  # waits for the GPU; in a short epoch nothing has since batch 1
    return *epoch_means(sums, num_batches, history), timer.stop()


PATIENCE = 1.0  # seconds: when an epoch takes longer, a curve that moves is worth a wait for the GPU


def batches_between_points(num_batches):
    return -(-num_batches // 5)  # rounded up: at most five points an epoch


def add_points(marks, num_batches, history, animator):
    """Read the sums of all `marks`, each `(batches done, sums)`, draw their points, and empty the list."""
    for done, (loss_sum, correct, seen, finite) in marks:
        check_loss(loss_sum, finite, num_batches, history)
        history.points.append((len(history) + done / num_batches, loss_sum / seen, correct / seen))
        if animator:
            animator.add(history.points[-1][0], (*history.points[-1][1:], None))
    marks.clear()


def epoch_means(sums, num_batches, history):
    """Mean loss, accuracy and images seen, of an epoch's four sums. Raises ValueError for no images; `Diverged`."""
    loss_sum, correct, seen, finite = sums  # waits for the GPU
    if not seen:
        raise ValueError(f"expected train_iter to give batches in every epoch, got none in epoch {len(history) + 1}")
    check_loss(loss_sum, finite, num_batches, history)  # again: there may have been fewer batches than announced
    return loss_sum / seen, correct / seen, int(seen)


def check_loss(loss_sum, finite, num_batches, history):
    """Raises `Diverged` unless the sum is a number; `finite`: of how many batches the loss was one."""
    if not math.isfinite(loss_sum):
        raise diverged(loss_sum, finite + 1, num_batches, history)


NO_LABEL = torch.iinfo(torch.int64).min  # PyTorch would quietly leave out images with the label -100


def cross_entropy(y_hat, y, label_smoothing=0.0):
    """The mean loss, in nats, of logits `(N, C)` for labels `(N,)`. Raises ValueError for impossible labels."""
    try:
        return F.cross_entropy(y_hat, y, ignore_index=NO_LABEL, label_smoothing=label_smoothing)
    except IndexError as error:  # how the CPU refuses a label
        raise checks.impossible_labels(y_hat.shape[1]) from error


def diverged(loss, batch, num_batches, history):
    """The `Diverged` error for a `loss` that is no longer a number since the batch of that number, from 1 on."""
    error = Diverged(
        f"the loss became {loss} in epoch {len(history) + 1}, batch {batch:.0f} of {num_batches}, so the "
        "weights are spoilt: try a learning rate ten times smaller, and see that no image holds NaN or infinity"
    )
    error.history = history
    return error


@dataclasses.dataclass
class History:
    """What a training run measured: one entry in each list for each finished epoch."""

    device: str
    train_loss: list = dataclasses.field(default_factory=list)  # nats an image, mean over the epoch
    train_acc: list = dataclasses.field(default_factory=list)  # fraction 0..1, while the weights changed
    images: list = dataclasses.field(default_factory=list)  # trained on
    seconds: list = dataclasses.field(default_factory=list)  # of training: loading included, testing not
    test_acc: list = dataclasses.field(default_factory=list)  # fraction 0..1, after the epoch
    points: list = dataclasses.field(default_factory=list)  # (epoch, train loss, train acc), as drawn
    stopped: str = ""  # where, if the run was interrupted

    def add(self, train_loss, train_acc, images, seconds, test_acc):
        self.train_loss.append(train_loss)
        self.train_acc.append(train_acc)
        self.images.append(images)
        self.seconds.append(seconds)
        self.test_acc.append(test_acc)

    def interrupt(self, num_epochs):
        """Note that the run was stopped before its `num_epochs` were over, or just then; returns a line about it."""
        done = len(self)
        self.stopped = f"in epoch {done + 1} of {num_epochs}" if done < num_epochs else f"after epoch {done}, the last"
        return f"stopped {self.stopped}; the network keeps what it has learned"

    def __len__(self):
        return len(self.test_acc)

    def __bool__(self):
        return True  # a run of no epochs is still a run

    def __repr__(self):
        return f"History of {len(self)} epochs on {self.device}" + (f", stopped {self.stopped}" if self.stopped else "")

    @property
    def examples_per_sec(self):
        return sum(self.images) / sum(self.seconds) if len(self) else math.nan

    def rows(self):
        """A dict for each epoch: `pandas.DataFrame(history.rows())` makes a table of them."""
        names = ("train_loss", "train_acc", "test_acc", "images", "seconds")
        columns = zip(*(getattr(self, name) for name in names))
        return [{"epoch": i, **dict(zip(names, values))} for i, values in enumerate(columns, start=1)]

    def table(self):
        """The epochs as a text, a line each."""
        lines = ["epoch  train loss  train acc  test acc  seconds"]
        line = "{epoch:5}  {train_loss:10.3f}  {train_acc:9.3f}  {test_acc:8.3f}  {seconds:7.2f}"
        return "\n".join(lines + [line.format(**row) for row in self.rows()])

    def plot(self, path=None):
        """Draw the curves of the run; `path`: a picture file to save them to. Returns the axes."""
        from .plot import plot_history

        return plot_history(self, path)

    def summary(self):
        """The two lines that d2l's `train_ch6` ends with."""
        if not len(self):
            return f"no epoch finished on {self.device}"
        return (
            f"loss {self.train_loss[-1]:.3f}, train acc {self.train_acc[-1]:.3f}, test acc {self.test_acc[-1]:.3f}\n"
            f"{self.examples_per_sec:.1f} examples/sec on {self.device}"
        )
