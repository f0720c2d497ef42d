"""LeNet, and the shape of everything that flows through it."""

import contextlib
import dataclasses
import html
import itertools
import math
import weakref

import torch
from torch import nn

from .support import checks


class Reshape(nn.Module):
    """Images `(N, 784)`, `(N, 28, 28)`, `(28, 28)` or `(N, 1, 28, 28)` as `(N, 1, 28, 28)`.

    Raises ValueError for any other shape. d2l's `view(-1, 1, 28, 28)` takes whatever divides by 784:
    three colour channels become three images, without a word.
    """

    def forward(self, X):
        shape = (1, 28, 28) if X.ndim == 2 and X.shape == (28, 28) else tuple(X.shape)
        if shape[1:] not in ((784,), (28, 28), (1, 28, 28)):
            raise ValueError(
                "expected images of shape (N, 784), (N, 28, 28), (28, 28) or (N, 1, 28, 28) "
                f"to make (N, 1, 28, 28) of, got {tuple(X.shape)}"
            )
        return X.reshape(shape[0], 1, 28, 28)  # reshape, not view: X need not be contiguous


def lenet():
    """A new LeNet after d2l: 61,706 parameters, images as `Reshape` takes them in, `(N, 10)` logits out."""
    return nn.Sequential(
        Reshape(),
        nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Conv2d(6, 16, kernel_size=5), nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120), nn.Sigmoid(),
        nn.Linear(120, 84), nn.Sigmoid(),  # the sigmoid that the study note forgot
        nn.Linear(84, 10),
    )  # fmt: skip


def print_layer_shapes(net, input_shape=(1, 1, 28, 28)):
    """Print a line for each layer of `net`: its name and the shape that comes out of it.

    Of a container that is not called itself, such as an `nn.ModuleList`, come the layers inside.
    `input_shape`: a shape, or a tensor that has it. Lazy layers learn their sizes from it, and draw their weights.
    Raises ValueError for anything else.

    >>> print_layer_shapes(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    Flatten output shape: torch.Size([1, 784])
    Linear output shape: torch.Size([1, 10])
    """
    checks.module(net)
    layers = list(net.children()) or [net]
    calls = trace_shapes(net, layers, input_shape)
    while containers := not_called(layers, calls):  # an nn.ModuleList is none that anybody calls
        inside = [list(layer.children()) if layer in containers else [layer] for layer in layers]
        layers = list(dict.fromkeys(itertools.chain(*inside)))
        calls = trace_shapes(net, layers, input_shape)
    for layer, _, out_shape, _ in calls:
        print(f"{layer.__class__.__name__} output shape: {out_shape}")


def not_called(layers, calls):
    """Those of `layers` that have layers inside and are not in `calls`."""
    called = {layer for layer, *_ in calls}
    return {layer for layer in layers if layer not in called and any(layer.children())}


def layer_table(net, input_shape=(1, 1, 28, 28)):
    """A `LayerTable` with a row for each innermost layer of `net`, in the order in which they are called.

    Parameters count where they are first used; those of no innermost layer, or of one that is not called, have a last
    row "elsewhere". No receptive field is known from a layer on that takes another shape than the layer before it gave,
    or what an earlier layer has taken already.
    `net` and `input_shape` as in `print_layer_shapes`.
    """
    checks.module(net)
    innermost = [layer for layer in net.modules() if not any(layer.children())]
    rows, counted = [], set()
    shape = checks.shape(input_shape)
    field = (1, 1) if len(shape) == 4 else None
    for layer, in_shape, out_shape, branches in trace_shapes(net, innermost, shape):
        follows = in_shape == shape and not branches
        field = grow_receptive_field(layer, in_shape, field if follows else None)
        new = set(layer.parameters()) - counted
        rows.append(LayerRow(
            layer.__class__.__name__, tuple(out_shape), shape_formula(layer, in_shape, out_shape),
            sum(p.numel() for p in new), count_multiply_adds(layer, out_shape), field and field[0],
        ))  # fmt: skip
        counted |= new
        shape = out_shape
    rest = set(net.parameters()) - counted
    if rest:
        rows.append(LayerRow("elsewhere", (), "", sum(p.numel() for p in rest), None, None))
    return LayerTable(rows)


def trace_shapes(net, layers, input_shape):
    """Run zeros of `input_shape` through `net`; return a tuple for each call of one of `layers`.

    In it: the layer, the shapes that it takes and gives, and whether a branch begins with it: whether it takes what an
    earlier layer has taken, too, and not what the one before it gave.
    The net is left as it was: modes, gradients, running averages, random state. Only lazy layers learn their sizes, and
    what they draw for their weights is drawn from the random state for good: the next net's shall be others.
    Raises ValueError for one of `layers` that takes or gives something else than a tensor, and where already the first
    takes no input of that shape.
    """
    seen, taken, given, begun = [], [], None, []

    def note(layer, inputs, output):
        nonlocal given
        if not (inputs and torch.is_tensor(inputs[0]) and torch.is_tensor(output)):
            raise ValueError(
                f"expected layers that take a tensor and give one, and {layer.__class__.__name__} does not: "
                "look at the shapes of its parts by themselves"
            )
        X = inputs[0]
        branches = X is not given and any(X is earlier() for earlier in taken)
        seen.append((layer, X.shape, output.shape, branches))
        taken.append(weakref.ref(X))  # what nobody needs any more is freed, as in any other run
        given = output

    parameter = next(net.parameters(), torch.empty(0))
    kept = contextlib.nullcontext() if checks.is_lazy(net) else random_state_kept(parameter.device)
    hooks = [layer.register_forward_hook(note) for layer in layers]
    innermost = [layer for layer in net.modules() if not any(layer.children())]
    hooks += [layer.register_forward_pre_hook(lambda layer, _: begun.append(layer)) for layer in innermost]
    try:
        with evaluation_mode(net), torch.no_grad(), kept:
            X = torch.zeros(checks.shape(input_shape), device=parameter.device, dtype=parameter.dtype)
            try:
                net(X)
            except RuntimeError as error:
                if len(begun) != 1 or type(error) is not RuntimeError:
                    raise  # it tells of a later layer, or not of shapes
                raise checks.another_shape(X, error) from error
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@contextlib.contextmanager
def evaluation_mode(net):
    """Within it every module of `net` is in evaluation mode; after it, whatever happens, in its own again."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def random_state_kept(device):
    """Around work on `device` that draws random numbers: after it, the random states are what they were before."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])  # by default all GPUs wake up


@dataclasses.dataclass(frozen=True)
class LayerRow:
    layer: str
    shape: tuple  # what comes out, with the batch axis in front
    formula: str  # how the height (or the number of features) follows from the one before
    parameters: int
    multiply_adds: int | None  # for one image; None for a layer whose work is not known
    receptive_field: int | None  # side in pixels; None after a layer whose field is not known


class LayerTable(list):
    """Rows of `LayerRow`; prints as a table, and shows as one in a notebook."""

    LEFT = (True, True, True, False, False, False)  # text stands on the left of a column, numbers on the right

    def lines(self):
        """The texts of the table's cells: a list of six for the head, for each layer, and for the total."""
        names = ["layer", "output shape", "formula", "parameters", "multiply-adds", "receptive field"]
        cells = [[row.layer, str(row.shape or ""), row.formula, f"{row.parameters:,}",
                  "?" if row.multiply_adds is None else f"{row.multiply_adds:,}",
                  f"{row.receptive_field} x {row.receptive_field}" if row.receptive_field else "?"]
                 for row in self]  # fmt: skip
        at_least = "at least " if any(row.multiply_adds is None for row in self) else ""
        total = ["total", "", "", f"{self.parameters:,}", f"{at_least}{self.multiply_adds:,}", ""]
        return [names, *cells, total]

    def __str__(self):
        lines = self.lines()
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join(
            "  ".join(cell.ljust(width) if is_left else cell.rjust(width)
                      for cell, width, is_left in zip(line, widths, self.LEFT)).rstrip()
            for line in lines
        )  # fmt: skip

    __repr__ = __str__

    def _repr_html_(self):
        """The table in a notebook: its columns give way in a narrow window, where the text would wrap."""
        sides = ["left" if is_left else "right" for is_left in self.LEFT]
        rows = []
        for kind, line in zip(["th"] + ["td"] * len(self) + ["th"], self.lines()):
            tags = [kind if cell else "td" for cell in line]  # an empty cell heads nothing
            rows.append("".join(
                f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
                for tag, cell, side in zip(tags, line, sides)
            ))  # fmt: skip
        return f"<table><tr>{'</tr><tr>'.join(rows)}</tr></table>"

    @property
    def parameters(self):
        return sum(row.parameters for row in self)

    @property
    def multiply_adds(self):
        return sum(row.multiply_adds or 0 for row in self)


def window(layer, axis=0):
    """Kernel, stride, padding (both sides together) and dilation of a convolution or a pooling; None for others.

    `axis`: 0 along the height, 1 along the width.
    """
    if not isinstance(layer, (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)):
        return None
    sizes = layer.kernel_size, layer.stride, layer.padding, getattr(layer, "dilation", 1)
    kernel, stride, padding, dilation = (size[axis] if isinstance(size, (tuple, list)) else size for size in sizes)
    if isinstance(padding, str):
        return kernel, stride, dilation * (kernel - 1) if padding == "same" else 0, dilation
    return kernel, stride, 2 * padding, dilation


def shape_formula(layer, in_shape, out_shape):
    """How the height (or the number of features) comes about: "(28 + 2*2 - 5)//1 + 1 = 28". "" where it stays."""
    if window(layer) and not getattr(layer, "ceil_mode", False):
        kernel, stride, padding, dilation = window(layer)
        both_sides = f" + 2*{padding // 2}" if padding % 2 == 0 else f" + {padding}"
        padded = f"{in_shape[-2]}{both_sides if padding else ''}"
        reach = f"{dilation}*({kernel} - 1) - 1" if dilation > 1 else f"{kernel}"
        return f"({padded} - {reach})//{stride} + 1 = {out_shape[-2]}"
    if isinstance(layer, nn.Flatten) and len(out_shape) == 2:
        return f"{'*'.join(map(str, in_shape[1:]))} = {out_shape[1]}"
    if isinstance(layer, nn.Linear):
        return f"{in_shape[-1]} -> {out_shape[-1]}"
    return ""


# What one unit of these gives, it has from one unit: in evaluation mode, in which the table is made.
ONE_BY_ONE = (nn.Identity, nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d)
NORMALISATION = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def count_multiply_adds(layer, out_shape):
    """Multiplications (each with its addition) of `layer` for one image; None where that is not known.

    Biases, pooling, activations and normalisation are left out.
    """
    if isinstance(layer, nn.Conv2d):
        return layer.weight.numel() * math.prod(out_shape[-2:])  # with or without a batch axis
    if isinstance(layer, nn.Linear):
        return layer.in_features * math.prod(out_shape[1:] or out_shape)
    return None if any(True for _ in layer.parameters()) and not isinstance(layer, NORMALISATION) else 0


def grow_receptive_field(layer, in_shape, field):
    """The receptive field after `layer`, from that before it; None where it is not known.

    A field is a pair, in pixels: the side of the square that one unit sees (padding counts), and the
    step from one unit to the next. After Flatten the step spans all units, since Linear sees them all.
    """
    if isinstance(layer, Reshape):
        return 1, 1
    if field is None or isinstance(layer, ONE_BY_ONE):
        return field
    side, step = field
    if window(layer) and window(layer) == window(layer, axis=1):  # else the field is not a square
        kernel, stride, _, dilation = window(layer)
        return side + dilation * (kernel - 1) * step, step * stride
    if isinstance(layer, nn.Flatten) and len(in_shape) == 4 and in_shape[-2] == in_shape[-1]:
        return side, step * (in_shape[-2] - 1)
    if isinstance(layer, nn.Linear) and len(in_shape) == 2:
        return side + step, 0
    return None
