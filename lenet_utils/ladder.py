"""What notebook 6 measures with: versions that take turns, the rungs of the ladder, the limits of this machine."""

import contextlib
import functools
import io
import itertools
import statistics
import time

import torch
from torch.nn import functional as F

from . import train
from .model import lenet
from .plot import STYLES
from .quick import quick_layers
from .support.display import set_alt
from .support.stop import StopBetweenBatches
from .train import train_ch6

# The stopwatch


def race(versions, rounds=5):
    """Run each function of the dict `versions` once in every round, in turn. Returns a list of seconds for each name.

    What slows the machine down for a while slows all of them down. A round before the first is not measured: it pays
    for what is done only once.
    """
    seconds = {name: [] for name in versions}
    for run in versions.values():
        run()
    for _ in range(rounds):
        for name, run in versions.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def speedup(slow, fast):
    """How many times as long `slow` takes, two lists of seconds: the median of the ratios, round by round."""
    return statistics.median(a / b for a, b in zip(slow, fast))


class Laps(dict):
    """Seconds by name: `laps.end("forward")` adds to that name all that has passed since the last end."""

    def __init__(self):
        self.last = time.perf_counter()

    def end(self, name):
        now = time.perf_counter()
        self[name] = self.get(name, 0.0) + now - self.last
        self.last = now


def time_layers(net, X, rounds=5):
    """Seconds that each layer of the `nn.Sequential` takes for the batch `X`, forward and backward: medians by name."""
    layers, learns = {}, False
    for i, layer in enumerate(net):
        X = X.detach().requires_grad_(learns)  # behind the first layer that learns: the pixels need no gradient
        out = layer(X)
        layers[f"{i} {type(layer).__name__}"] = functools.partial(forward_and_backward, layer, X, torch.ones_like(out))
        X, learns = out, learns or any(p.requires_grad for p in layer.parameters())
    with gradients_kept(net):
        return {name: statistics.median(seconds) for name, seconds in race(layers, rounds).items()}


@contextlib.contextmanager
def gradients_kept(net):
    """After it, the gradients of `net` are what they were before."""
    kept = [(p, p.grad) for p in net.parameters()]
    for p, _ in kept:
        p.grad = None
    try:
        yield
    finally:
        for p, gradient in kept:
            p.grad = gradient


def forward_and_backward(layer, X, gradient):
    X.grad = None  # in a real step, too, there is nothing to add a map's gradient to
    out = layer(X)
    if out.requires_grad:
        out.backward(gradient)


class ToyGPU:
    """A GPU as Python sees it: `run` only puts work into its queue, and `wait` waits until the queue is empty.

    No GPU is needed for it; the work is nothing but time. `jobs`: how many were put into the queue.
    """

    def __init__(self):
        self.jobs, self.done_at = 0, 0.0

    def run(self, seconds):
        self.jobs += 1
        self.done_at = max(self.done_at, time.perf_counter()) + seconds

    def wait(self):
        time.sleep(max(0.0, self.done_at - time.perf_counter()))


# The rungs

LR = 0.9  # the learning rate of every rung, unless `rung` is given another


class OneByOne(torch.utils.data.Dataset):
    """Images `(n, 28, 28)` as bytes, handed out one at a time, each through PIL and `ToTensor`, as torchvision does."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        from PIL import Image
        from torchvision.transforms.functional import to_tensor

        picture = Image.fromarray(self.images[i].numpy())
        return to_tensor(picture), int(self.labels[i])


def rung(batches, *, wait=False, quick=False, channels_last=False, bfloat16=False, compiled=False, lr=LR, device="cpu"):
    """A function that trains a LeNet on `batches` once, and returns the mean loss. It goes on where it ended.

    `wait`: read the loss of every batch. `quick`: the layers take the quick ways that `train_ch6` has for them.
    `channels_last`: that layout in memory, and PyTorch's optimiser with one call for all parameters. `bfloat16`:
    forward, and so backward, with 16-bit numbers. `compiled`: by `torch.compile`; a text names its mode. `device`: of
    the network; batches from elsewhere travel.
    """
    net = fresh_lenet().to(device)
    optimizer = train.SGD(net.parameters(), lr)
    if channels_last:
        net.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(net.parameters(), lr, fused=True)
    forward = torch.compile(net, mode=None if compiled is True else compiled) if compiled else net

    def train_pass():
        sums = train.Accumulator(2)  # loss x images, images
        with quick_layers(net) if quick else contextlib.nullcontext():
            for X, y in batches:
                X, y = X.to(device), y.to(device)
                optimizer.zero_grad()
                with torch.autocast(X.device.type, torch.bfloat16, enabled=bfloat16):
                    y_hat = forward(X)
                loss = F.cross_entropy(y_hat.float(), y)
                loss.backward()
                optimizer.step()
                sums.add(loss * len(y), len(y))
                if wait:
                    loss.item()
        return sums[0] / sums[1]

    return train_pass


def fused_rung(batches):
    """As `rung`, by `train_ch6(..., fused=True)`, with a test on two images only."""
    net, few = fresh_lenet(), [(torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64))]

    def train_pass():
        with contextlib.redirect_stdout(io.StringIO()):
            history = train_ch6(
                net, batches, few, 1, LR, torch.device("cpu"), init_weights=None, animator=False, fused=True
            )
        return history.train_loss[-1]

    return train_pass


def recorded_rung(batches, make_steps=None):
    """As `rung`, by recorded steps where `batches` lie: on a GPU what `train_ch6(..., fused=True)` does.

    `make_steps`: as in `recorded.record`.
    """
    from .recorded import record

    device = batches.labels.device
    net = fresh_lenet().to(device)
    run_epoch, _ = record(net, LR, device, make_steps)
    optimizer = train.SGD(net.parameters(), LR)  # should the steps not be recorded

    def train_pass():
        with StopBetweenBatches() as stop:
            return run_epoch(net, batches, optimizer, device, train.History(str(device)), None, stop)[0]

    return train_pass


def d2l_rung(batches, device="cpu"):
    """As `rung`, by d2l's own `train_ch6`, without its drawing; None where d2l is not installed."""
    try:
        from d2l import torch as d2l
    except ImportError:
        return None
    net, few = lenet(), [(torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64))]

    def train_pass():
        animator, d2l.Animator = d2l.Animator, Blank
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                d2l.train_ch6(net, batches, few, 1, LR, torch.device(device))
        finally:
            d2l.Animator = animator

    return train_pass


class Blank:
    """An animator that draws nothing."""

    def __init__(self, *arguments, **options): ...

    def add(self, x, y): ...


def fresh_lenet():
    """The same LeNet every time, with Xavier's weights; leaves the random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return lenet().apply(train.init_xavier)


def why_not_fused():
    """Why `train_ch6(..., fused=True)` would go on without its kernel here, or None where it has one."""
    from .fused.build import Declined, load

    try:
        load()
    except Declined as reason:
        return str(reason)
    return None


# The limits


def step_flops(table):
    """Floating-point operations of a training step for one image, from a `LayerTable`: multiply-adds count two.

    As many multiply-adds for the gradients of the weights as forward, and again as many for those of the
    inputs, but for the first layer that has weights: its inputs are pixels, which need none.
    """
    first = next(row.multiply_adds for row in table if row.multiply_adds)
    return 2 * (3 * table.multiply_adds - first)


def step_bytes(table, size=4):
    """Bytes that go through memory for one image if every layer reads its input there and writes its output there.

    Forward, each map is written once and read once; backward its gradient is written and read, and the map read
    again. That is a rule of thumb: a sigmoid's backward reads only what it gave, a convolution's reads the gradient
    twice. `size`: bytes of a number.
    """
    numbers = sum(torch.Size(row.shape).numel() for row in table if row.layer not in ("Reshape", "Flatten"))
    return 5 * size * numbers


def measure_flops(n=256, rounds=50):
    """The most floating-point operations a second that a product of tables of floats, `n` wide, reaches here.

    PyTorch brings two libraries that multiply, one for products and one for convolutions; a convolution by 1 x 1
    kernels is a product, too. The better one counts: one of them reaches half the speed of the other on some
    processors. Each product takes a fraction of a millisecond, so that a busy machine leaves some undisturbed.
    """
    a, b, out = torch.rand(4 * n, n), torch.rand(n, n), torch.empty(4 * n, n)
    maps = a.T.reshape(1, n, 4, n).to(memory_format=torch.channels_last)  # a map has 4 x n places
    kernels = b.T[:, :, None, None].contiguous()
    products = {"mm": lambda: torch.mm(a, b, out=out), "conv2d": lambda: F.conv2d(maps, kernels)}
    seconds = []
    with torch.no_grad():
        for _ in range(8):
            time.sleep(0.05)  # threads that had to share a core may be given one each after it
            seconds += itertools.chain(*race(products, rounds).values())
    return 2 * 4 * n**3 / min(seconds)


def measure_bandwidth(n=16_000_000, rounds=9):
    """The most bytes a second, read and written, that copying `n` floats reaches here: more than most caches hold."""
    a, b = torch.rand(n), torch.rand(n)
    return 2 * a.nbytes / min(race({"copy": lambda: b.copy_(a)}, rounds)["copy"])


# The pictures


def draw_shares(columns, title):
    """Bars for the dicts in `columns`, e.g. `{"time": {"forward": 2.0, ...}}`, in per cent of each one's sum."""
    from matplotlib import pyplot as plt

    names, thick = list(next(iter(columns.values()))), 0.8 / len(columns)
    height = 0.34 if len(columns) == 1 else 0.22 * len(columns)  # inches for a name
    _, axes = plt.subplots(figsize=(6.4, 0.9 + height * len(names)), layout="constrained")
    told = {name: [] for name in names}
    for i, ((column, values), style) in enumerate(zip(columns.items(), STYLES)):
        shares = [100 * values[name] / (sum(values.values()) or 1) for name in names]
        places = [row + i * thick for row in range(len(names))]
        bars = axes.barh(places, shares, thick, color=style["color"], hatch="//" * i, edgecolor="white", label=column)
        for name, share in zip(names, shares):
            told[name].append(f"{share:.0f}%" + (f" of the {column}" if len(columns) > 1 else ""))
        axes.bar_label(bars, fmt="%.0f%%", padding=3)
    axes.set_yticks([row + 0.4 - thick / 2 for row in range(len(names))], names)
    axes.invert_yaxis()
    axes.set(xlabel="share in per cent", title=title)
    axes.margins(x=0.12, y=0.02)
    if len(columns) > 1:
        axes.legend(loc="lower right")
    set_alt(axes.figure, f"{title}. " + "; ".join(f"{name}: {', '.join(shares)}" for name, shares in told.items()))
    return axes


def draw_ladder(speeds, limit, title):
    """A bar for each name of the dict `speeds`, in images a second, and a line at `limit`. Returns the axes."""
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(figsize=(7.2, 0.9 + 0.4 * len(speeds)), layout="constrained")
    bars = axes.barh(list(speeds), list(speeds.values()), color=STYLES[0]["color"])
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.axvline(limit, label=f"all multiply-adds at full speed: {limit:,.0f}", **STYLES[1])
    axes.invert_yaxis()
    axes.set(xlabel="images a second while training", title=title)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.15)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    bars = "; ".join(f"{name}: {speed:,.0f}" for name, speed in speeds.items())
    set_alt(axes.figure, f"{title}. Images a second while training: {bars}; the limit: {limit:,.0f}")
    return axes


def draw_roofline(points, flops, bandwidth, title):
    """The two limits of this machine, and a point for each name: `(flop a byte, flop a second)`. Returns the axes."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter

    _, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    ends = [0.5, flops / bandwidth, 10_000]  # flop a byte
    axes.plot(ends, [min(x * bandwidth, flops) / 1e9 for x in ends], color="black", label="limit of this machine")
    colours = itertools.cycle([*(style["color"] for style in STYLES), "black"])
    for (name, (x, y)), colour, marker in zip(points.items(), colours, itertools.cycle("os^vDPX*")):
        hollow = {"markerfacecolor": "none", "markeredgewidth": 2}  # several rungs stand nearly at the same place
        axes.plot(x, y / 1e9, marker, color=colour, markersize=9, label=name, **hollow)
    axes.set(xscale="log", yscale="log", title=title)
    axes.set(xlabel="arithmetic for each byte from memory, in flop", ylabel="billion flop a second")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):  # 20 and 1,000, not 2 x 10^1 and 10^3
        axis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=8)
    axes.grid(alpha=0.4)
    told = "; ".join(
        f"{name}: {x:,.0f} flop a byte, {y / 1e9:,.0f} billion a second" for name, (x, y) in points.items()
    )
    limits = f"{bandwidth / 1e9:,.0f} billion bytes and {flops / 1e9:,.0f} billion flop a second"
    set_alt(axes.figure, f"{title}. A roofline, whose limits are {limits}. {told}")
    return axes
