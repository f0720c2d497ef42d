"""The course's figures: training curves that grow while the network learns, images, and a confusion matrix.

matplotlib is imported where something is drawn: it takes a second, which a script that only prints need not wait.
"""

import functools
import itertools
import time
import weakref

import torch

from .support import checks
from .support.display import LivePicture, alt_text_of_words, kernel_shell, set_alt

# Okabe and Ito's colours, which colour-blind readers tell apart, each with a line style or marker of its own as well.
STYLES = (
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": "--"},
    {"color": "#009E73", "linestyle": "-.", "marker": "o"},
    {"color": "#CC79A7", "linestyle": ":", "marker": "s"},
    {"color": "#56B4E9", "linestyle": "-", "marker": "^"},
    {"color": "#E69F00", "linestyle": "--", "marker": "v"},
)


class Animator:
    """Curves that grow point by point: in a notebook one picture, replaced in place; elsewhere a line of text.

    The arguments are d2l's; `fmts` are matplotlib's format strings, one a series, used again when they run out.
    Drawing takes at most a twentieth of the time that has passed; what is left over is drawn at the end of the cell.
    """

    def __init__(self, xlabel=None, ylabel=None, legend=None, xlim=None, ylim=None, xscale="linear", yscale="linear",
                 fmts=None, nrows=1, ncols=1, figsize=(5, 3.5)):  # fmt: skip
        self.xlabel, self.legend, self.fmts = xlabel, legend or [], fmts
        self.nrows, self.ncols, self.figsize = nrows, ncols, figsize
        self.settings = xlabel, ylabel, xlim, ylim, xscale, yscale, self.legend  # as `set_axes` takes them
        self.X, self.Y = [], []  # one list a series
        self._drawn = False  # whether all points are in the figure
        self._output = CellOutput(self) if kernel_shell() else TextOutput(self)

    def config_axes(self):
        set_axes(self.axes[0], *self.settings)

    @functools.cached_property
    def axes(self):
        from matplotlib.figure import Figure

        # pyplot does not know this figure, so it goes when the animator goes: nothing leaks.
        figure = Figure(figsize=self.figsize, layout="constrained")
        return list(figure.subplots(self.nrows, self.ncols, squeeze=False).flat)

    @property
    def fig(self):
        """The figure with all points in it, as `animator.fig.savefig` wants it: drawn now where some are missing."""
        return self.axes[0].figure if self._drawn else self.draw()

    def add(self, x, y):
        """Add a point to each series: `y` is one number or one for each series, None where there is no new point.

        Raises ValueError for anything else, and leaves the curves as they were.
        """
        ys = list(y) if is_list(y) else [y]
        xs = list(x) if is_list(x) else [x] * len(ys)
        points = checks.points(xs, ys)
        while len(self.X) < len(points):
            self.X.append([])
            self.Y.append([])
        for series, (a, b) in enumerate(points):
            if a is not None and b is not None:
                self.X[series].append(a)
                self.Y[series].append(b)
        self._drawn = False
        self._output.update()

    def flush(self):
        """Show now what has not been shown yet."""
        self._output.flush()

    def newest(self):
        """The newest number of every series as a line of text; None where there is none yet."""
        if not any(self.X):
            return None
        parts = [f"{self.xlabel or 'x'} {max(x[-1] for x in self.X if x):.2f}"]
        for i, y in enumerate(self.Y):
            name = self.legend[i] if i < len(self.legend) else f"series {i + 1}"
            parts += [f"{name} {y[-1]:.3f}"] if y else []
        return ", ".join(parts)

    def draw(self):
        """Draw all points into `fig`, and return it."""
        axes, figure = self.axes[0], self.axes[0].figure
        axes.cla()
        for i, (x, y) in enumerate(zip(self.X, self.Y)):
            if self.fmts:
                axes.plot(x, y, self.fmts[i % len(self.fmts)])
            else:
                axes.plot(x, y, markersize=4, **STYLES[i % len(STYLES)])
        self.config_axes()
        if any(self.X):
            set_alt(figure, f"{alt_text_of_words(figure)}. Newest: {self.newest()}")
        self._drawn = True
        return figure


def training_animator(num_epochs):
    """The animator of a training run of `num_epochs`: d2l's three curves, from epoch 0 on, where the plateau is."""
    names, ylabel = ["train loss", "train acc", "test acc"], "loss in nats, acc as a fraction"
    return Animator(xlabel="epoch", ylabel=ylabel, xlim=[0, num_epochs or 1], legend=names)


def is_list(value):
    """Several numbers: a tensor of one has a `__len__`, too, and so has a text."""
    return hasattr(value, "__len__") and getattr(value, "ndim", 1) > 0 and not isinstance(value, str)


class CellOutput:
    """An animator's picture in the output of a notebook's cell."""

    SHARE = 0.05  # of the time that passes, at most, goes into drawing

    def __init__(self, animator, clock=time.perf_counter):
        self.animator, self.clock = animator, clock
        self.started, self.spent, self.last = clock(), 0.0, 0.0  # seconds
        self.picture, self.waiting = None, False

    def update(self):
        if self.picture is None:  # the first point in this cell
            self.picture = LivePicture()
            kernel_shell().events.register("post_execute", self.flush_and_leave)
        self.waiting = True
        if self.spent + self.last <= self.SHARE * (self.clock() - self.started):
            self.flush()

    def flush(self):
        if self.waiting:
            _ = self.animator.axes  # made before the clock starts: importing matplotlib is slow, but happens once
            begin = self.clock()
            self.picture.show(self.animator.draw())
            self.last = self.clock() - begin
            self.spent += self.last
            self.waiting = False

    def flush_and_leave(self):
        """The cell ends: show the last points, and begin a new picture if another cell adds more."""
        kernel_shell().events.unregister("post_execute", self.flush_and_leave)
        try:
            self.flush()
            self.picture.finish()
        finally:  # also where it cannot be drawn, by a wrong `fmts` perhaps
            self.picture = None


class TextOutput:
    """An animator's newest numbers as a line of text, at most one a second, and the last one in any case."""

    def __init__(self, animator, clock=time.perf_counter):
        self.animator, self.clock = weakref.proxy(animator), clock
        self.printed, self.waiting = clock(), None  # the line that has not been printed yet
        weakref.finalize(animator, self.flush)  # when the animator goes, at the latest when the script ends

    def update(self):
        self.waiting = self.animator.newest()
        if self.clock() - self.printed >= 1:
            self.flush()

    def flush(self):
        if self.waiting:
            print(self.waiting, flush=True)
            self.printed, self.waiting = self.clock(), None


def set_axes(axes, xlabel, ylabel, xlim, ylim, xscale, yscale, legend):
    """Labels, scales, limits, legend and a grid for `axes`, as d2l sets them."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_xscale(xscale)
    axes.set_yscale(yscale)
    axes.set_xlim(xlim)
    axes.set_ylim(ylim)
    if legend:
        axes.legend(legend)
    axes.grid(alpha=0.4)


def use_svg_display():
    """Show figures as SVG in the notebook, as d2l does; without effect elsewhere."""
    if kernel_shell():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")


def show_images(imgs, num_rows, num_cols, titles=None, scale=1.5, *, cmap="gray", alt=None):
    """Draw images in a grid; returns its axes, `num_rows * num_cols` of them in one flat array.

    `imgs`: tensors, arrays or PIL images, each `(H, W)`, `(1, H, W)`, `(3, H, W)` or `(H, W, 3)`. `alt` describes the
    figure.
    """
    import numpy as np
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(num_rows, num_cols, figsize=(num_cols * scale, num_rows * scale), squeeze=False,
                                layout="none")  # fmt: skip
    for i, cell in enumerate(axes.flat):
        cell.axis("off")
        if i < len(imgs):
            image = imgs[i].detach().cpu() if torch.is_tensor(imgs[i]) else imgs[i]
            image = np.asarray(image)
            if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] not in (3, 4):
                image = image.transpose(1, 2, 0)  # the colours last
            cell.imshow(image[0] if image.ndim == 3 and image.shape[0] == 1 else image, cmap=cmap)
            if titles is not None and i < len(titles):
                cell.set_title(titles[i], fontsize=9)
    figure.tight_layout()
    if alt:
        set_alt(figure, alt)
    return axes.flatten()


def plot_history(history, path=None):
    """The loss and the accuracies of a `History`, side by side; saved to `path` if given. Returns the two axes."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    epochs, loss, train_acc = zip(*history.points) if history.points else ((), (), ())
    left.plot(epochs, loss, **STYLES[0])
    right.plot(epochs, train_acc, label="training images, while learning", **STYLES[1])
    right.plot(range(1, len(history) + 1), history.test_acc, label="test images", **STYLES[2])
    left.set(xlabel="epoch", ylabel="loss in nats an image", title="training loss")
    right.set(xlabel="epoch", ylabel="fraction right", ylim=(0, 1))
    if len(history):
        left.set_title(f"training loss, {history.train_loss[-1]:.3f} in the last epoch")
        right.set_title(f"test accuracy {history.test_acc[-1]:.3f} after {len(history)} epochs")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.4)
    if path is not None:
        figure.savefig(path)
    return left, right


def plot_confusion(counts, names, title="", alt=None):
    """A confusion matrix: `counts[i][j]` images of class `i` that the network took for class `j`. Returns the axes.

    Fractions instead of counts are shown to two decimals. Raises ValueError unless it is `(len(names), len(names))`.
    """
    import numpy as np
    from matplotlib import pyplot as plt

    counts = np.asarray(counts.detach().cpu() if torch.is_tensor(counts) else counts)
    checks.confusion(counts, names)
    decimals = 0 if np.array_equal(counts, np.floor(counts)) else 2
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    axes.imshow(counts, cmap="Blues")
    for i, j in itertools.product(range(len(names)), repeat=2):
        shade = "white" if counts[i, j] > counts.max() / 2 else "black"
        axes.text(j, i, f"{counts[i, j]:.{decimals}f}", ha="center", va="center", fontsize=8, color=shade)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="the network's answer", ylabel="the label", title=title)
    if alt:
        set_alt(figure, alt)
    return axes
