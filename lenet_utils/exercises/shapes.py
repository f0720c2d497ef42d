"""Exercises of notebook 2: the shape of every layer."""

import copy
import functools
import math
import numbers
import re
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ..model import Reshape, lenet
from .ask import as_number, between, choice, distinct, innermost, run_net
from .engine import Wrong, attempt, exercise


@exercise(
    "2.1",
    hints=(
        "In how many places a window stops depends on its width, the padding and the stride. How many parameters a "
        "filter has depends on its width and on how many maps it reads.",
        "A filter of the first new layer has 2 x 2 weights for each of the 6 maps below, and one bias. Count its "
        "filters, then do the same for the second layer.",
    ),
)
def poolings_that_learn(sides, more):
    new = nn.Conv2d(6, 6, kernel_size=2, stride=2), nn.Conv2d(16, 16, kernel_size=2, stride=2)
    try:
        sides = [] if isinstance(sides, (str, set, dict)) else [as_number(side, "Each side") for side in sides]
    except TypeError:
        sides = []
    if len(sides) != 2:
        raise Wrong("The first answer should be a pair: the side of the maps after the first and after the second.")
    if sides != [conv(torch.zeros(1, conv.in_channels, n, n)).shape[-1] for conv, n in zip(new, (28, 10))]:
        raise Wrong("The sides are not right. Which of window, padding and stride differs from those of the poolings?")
    first, second = (sum(p.numel() for p in conv.parameters()) for conv in new)
    kinds = {
        sum(conv.weight.numel() for conv in new): "The weights are all there. What else has every filter?",
        6 * (4 + 1) + 16 * (4 + 1): "Your filters read one map each. Which maps does a filter of a convolution read?",
        6 * 6 * (4 + 1) + 16 * 16 * (4 + 1): "You count a bias for every map that a filter reads. How many has it?",
        first: "That is one of the two new layers.",
        second: "That is one of the two new layers.",
        sum(p.numel() for p in lenet().parameters()) + first + second: "That is all parameters of the new network; "
        "the question is how many come in.",
        0: "A pooling has nothing to learn. Is that so for a convolution?",
    }
    more = as_number(more, "The sides are right. The second answer")
    if more != first + second:
        raise Wrong(kinds.get(more, "The sides are right, the parameters are not. Count those of one filter first."))
    return "A convolution can do what a pooling does, if it learns to; and it may learn something better."


@exercise(
    "2.2",
    hints=(
        "The last printed line is the last layer's. Which of its numbers can change without the layer before noticing?",
        "`nn.Linear(84, 10)` reads 84 numbers and gives 10. For the second question, ask "
        "`nn.functional.cross_entropy` with twelve scores and a label of 9.",
    ),
)
def twelve_classes(broken, complains):
    old, new = innermost(lenet()), innermost(broken)
    X = torch.rand(between(2, 5), 1, 28, 28)
    y_hat = run_net(broken, X)
    if y_hat.shape == (len(X), 10):
        raise Wrong("Its last line still says `torch.Size([1, 10])`.")
    if y_hat.shape != (len(X), 12):
        raise Wrong(f"For one picture it should give (1, 12), and it gives {(1, *y_hat.shape[1:])}.")
    if len(new) != len(old):
        raise Wrong(f"There are {len(new)} layers now instead of {len(old)}. Change a number in a layer that is there.")
    changed = [pair for pair in zip(map(numbers_of, old), map(numbers_of, new)) if pair[0] != pair[1]]
    if not changed:
        raise Wrong("By their own words all layers are as they were. Change the number with which a layer is made.")
    if len(changed) != 1 or sum(a != b for a, b in zip(*changed[0])) != 1:
        raise Wrong("More than one number of the network is different now. One is enough.")
    if any(getattr(a, "bias", None) is not None and getattr(b, "bias", None) is None for a, b in zip(old, new)):
        raise Wrong("A bias is gone as well. Change one number, and nothing else.")
    if math.prod(getattr(complains, "shape", ())) != 1 or complains not in (True, False):
        unquoted = ", without quotation marks" if isinstance(complains, str) else ""
        raise Wrong(f"The network is right. For the second answer, say True or False{unquoted}.")
    if complains:
        raise Wrong("The network is right. For the second answer, don't guess: compute the loss once.")
    return "Every shape fits, no error comes, and two classes are never right."


@exercise(
    "2.3",
    hints=(
        "Follow the side from layer to layer, with `output_size`. Which layer of the old network insists on 28x28, and "
        "which one made up for the size?",
        "32, 28, 14, 10, 5: every window is the old one. Two things have to go.",
    ),
)
def without_padding(net32):
    layers = innermost(net32)
    if any(type(layer) is Reshape for layer in layers):
        raise Wrong("It contains `Reshape`, which accepts 28x28 only.")
    if any(set(sizes(layer, "padding")) - {0, "valid"} or "Pad" in type(layer).__name__ for layer in layers):
        raise Wrong("There is padding in it.")
    if any("Adaptive" in type(layer).__name__ or isinstance(layer, nn.Upsample) for layer in layers):
        raise Wrong("A layer of it forces the maps to a size. Let the windows do it.")
    flattened, edges = [], []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: flattened.append(inputs[0].shape[-1]))
        for layer in layers
        if isinstance(layer, nn.Linear)
    ] + [
        layer.register_forward_pre_hook(lambda _, inputs: edges.append(inputs[0][..., 0]))
        for layer in layers
        if isinstance(layer, nn.Conv2d)
    ]
    X = torch.rand(between(2, 5), 1, 32, 32)
    try:
        with mock.patch.multiple(F, pad=forced, interpolate=forced):
            y_hat = run_net(net32, X)
    finally:
        for hook in hooks:
            hook.remove()
    if edges and not edges[0].any():
        raise Wrong("The first convolution is shown a black border. Let the windows do it, without one.")
    if flattened[:1] != [400]:
        raise Wrong(f"The first linear layer reads {flattened[0] if flattened else 'nothing'}, not 400 numbers.")
    if y_hat.shape != (len(X), 10):
        raise Wrong(f"For {len(X)} pictures it should give {(len(X), 10)}, and it gives {tuple(y_hat.shape)}.")
    linear = sum(isinstance(layer, nn.Linear) for layer in layers)
    if linear != 3:
        raise Wrong(f"Three linear layers are asked for, and yours has {linear}.")
    if [sizes(layer, "kernel_size")[0] for layer in layers if isinstance(layer, nn.Conv2d)] != [5, 5]:
        return "400 they are, by other windows than LeNet's. That one keeps its windows, and drops the padding."
    counts = [sum(isinstance(layer, kind) for layer in layers) for kind in (nn.Sigmoid, nn.AvgPool2d, nn.Linear)]
    if counts != [4, 2, 3] or not isinstance(layers[-1], nn.Linear):
        return "400 they are: it keeps the windows of LeNet, and drops the padding."
    return "This is how LeNet-5 was meant: the frame of two pixels was part of the picture."


def forced(*_, **__):
    raise Wrong("Its `forward` brings the maps to another size. Let the windows do it, without a border.")


@exercise(
    "2.4",
    hints=(
        "Keep the shape so far in four variables, and change what one window changes. Try your function on "
        "one window at a time, beside a layer of PyTorch.",
        "For each window: the channels stay if there are none to replace them; height and width each go through "
        "`(side + 2 * padding - window) // stride + 1`; append the four as a tuple, and go on from there.",
    ),
)
def shapes_after(function):
    probes = plain_window, padded_window, strided_window, two_left_over, pooled, padded_pooling, oblong, two_windows
    for probe in (*probes, *[many_windows] * 5):
        shape, windows, kind = probe()
        got, expected = (
            attempt(function, shape, list(windows), when=case(shape, windows)),
            shapes_by_torch(shape, windows),
        )
        if not isinstance(got, (list, tuple)) or len(got) != len(windows):
            raise Wrong("Expected a list with one shape for each window.")
        if len(got) > 1 and isinstance(got[0], list) and all(mine is got[0] for mine in got):
            raise Wrong("All shapes in your list are the same object, and every window changes it.")
        for mine, right, window in zip(got, expected, windows):
            compare_shapes(mine, right, window, kind)
    return "Thirteen lines of print-out, from one formula."


def case(shape, windows):
    return f"For {shape} and {windows}"


def plain_window():
    n, k = between(8, 30), between(2, 5)
    off_by_one = "A window without padding, one step at a time: {got}, but it stops in {right} places. Count them."
    return (2, 1, n, n), [(3, k, 0, 1)], {n - k: off_by_one}


def padded_window():
    n, k, p = between(8, 30), between(3, 5), between(1, 2)
    once = "With padding: {got} where there are {right}. On how many sides is a map padded?"
    return (2, 1, n, n), [(3, k, p, 1)], {n + p - k + 1: once, n - k + 1: "The padding makes no difference to yours."}


def strided_window():
    k, s = choice([(2, 3), (3, 2), (5, 2), (4, 3)])
    n = k + s * between(4, 9) + 1  # one pixel is left over
    rounded_up = "With a stride: {got} where there are {right}. Is the step that would lead over the edge taken?"
    ignored = "The stride makes no difference to yours."
    return (2, 1, n, n), [(3, k, 0, s)], {-(-(n - k) // s) + 1: rounded_up, n - k + 1: ignored}


def two_left_over():
    n = 5 + 3 * between(2, 8) + 2
    rounded = "With a stride: {got} where there are {right}. Is the step that would lead over the edge taken?"
    return (2, 1, n, n), [(3, 5, 0, 3)], {-(-(n - 5) // 3) + 1: rounded}


def pooled():
    return (2, between(2, 9), 12, 12), [(None, 2, 0, 2)], {}


def padded_pooling():
    n = between(8, 30)
    ignored = "The padding of a pooling makes no difference to yours."
    return (2, 3, n, n), [(None, 3, 1, 1)], {n - 2: ignored}


def oblong():
    h, w = distinct(10, 29, 2)
    return (3, 2, h, w), [(4, 3, 1, 2)], {}


def two_windows():
    n = between(20, 40)
    anew = "The second window should look at what came out of the first. Yours looks at the picture again."
    return (1, 1, n, n), [(6, 5, 0, 1), (6, 3, 0, 1)], {n - 2: anew}


def many_windows():
    shape, windows = (between(1, 4), between(1, 4), *distinct(64, 99, 2)), []  # 61 is the least for what may come
    for _ in range(between(2, 4)):
        k = between(2, 5)
        channels = choice([None, between(2, 20)])
        windows.append((channels, k, between(0, k // 2), between(1, 2)))
    return shape, windows, {}


def shapes_by_torch(shape, windows):
    X, shapes = torch.zeros(shape), []
    for channels, k, p, s in windows:
        layer = nn.AvgPool2d(k, s, p) if channels is None else nn.Conv2d(X.shape[1], channels, k, s, p)
        with torch.no_grad():
            X = layer(X)
        shapes.append(tuple(X.shape))
    return shapes


def compare_shapes(mine, right, window, kinds):
    """Raises Wrong unless the shapes behind `window` are equal. `kinds`: messages for wrong heights."""
    if not isinstance(mine, (tuple, list)):
        raise Wrong(f"Expected a shape, (N, C, H, W), for each window, and got {mine!r:.60}.")
    if len(mine) != 4:
        raise Wrong(f"A shape has four numbers, (N, C, H, W). Yours has {len(mine)}.")
    mine = [number.item() if torch.is_tensor(number) and number.numel() == 1 else number for number in mine]
    for side, name in zip(mine[2:], ("rows", "columns")):
        if not isinstance(side, numbers.Integral):
            is_whole = isinstance(side, numbers.Real) and side == side // 1
            how = "`//` gives one without a point, and so does `int`." if is_whole else "which division is meant?"
            raise Wrong(f"A map has a whole number of {name}. Yours has {side}: {how}")
    if mine[0] != right[0]:
        raise Wrong("The first number is how many pictures there are. No window changes that.")
    if mine[1] != right[1]:
        raise Wrong(f"The channels are wrong behind a {'pooling' if window[0] is None else 'convolution'}. How many "
                    "maps come out of it?")  # fmt: skip
    if mine[2] != right[2]:
        message = kinds.get(mine[2], "The height is wrong: {got} where it is {right}.")
        raise Wrong(message.format(got=mine[2], right=right[2]))
    if mine[3] != right[3]:
        raise Wrong("The heights are right, the widths are not. Is every map a square?")


@exercise(
    "2.5",
    hints=(
        "Count one filter, or one output, first: all its weights, and what is added at the end. Then multiply.",
        "A filter has `maps below * window * window` weights and one bias; a linear output has one weight for each "
        "input and one bias; a pooling has none.",
    ),
)
def count_parameters(function):
    a, b = distinct(11, 89, 2)
    compare_counts(function, [("linear", a, b)], {a * b: BIAS, a * b + 1: ONE_BIAS, a * b + a: INPUT_BIAS})
    c, k = distinct(3, 8, 2)
    flat = "A window is as high as it is wide."
    compare_counts(function, [("conv", 1, c, k)], {c * k * k: BIAS, c * k * k + 1: ONE_BIAS, c * (k + 1): flat})
    m, c, k = distinct(3, 8, 3)
    one_map, biases = c * (k * k + 1), c * m * (k * k + 1)
    kinds = {one_map: "A filter reads *all* the maps below.", biases: "A filter has one bias, not one for each map."}
    compare_counts(function, [("conv", m, c, k)], kinds)
    compare_counts(function, [("pool", k)], {k * k: POOL, k * k + 1: POOL, 1: POOL})
    layers = [("conv", 1, m, k), ("pool", 2), ("conv", m, c, k), ("pool", 2), ("linear", 9 * c, a), ("linear", a, b)]
    last = count_by_torch(layers[-1:])
    compare_counts(function, layers, {last: "For several layers, yours returns the last one's count only."})
    return "So you can tell what a network weighs before anybody builds it."


BIAS = "The weights are right, but something is added to every sum, and it is learned, too."
ONE_BIAS = "How many biases has a layer? One is too few."
INPUT_BIAS = "There is a bias for each output, not for each input."
POOL = "What does a pooling learn?"


def compare_counts(function, layers, kinds):
    got, right = attempt(function, list(layers), when=f"For {layers}"), count_by_torch(layers)
    if isinstance(got, (list, tuple)):
        raise Wrong("Return one number, the sum over all layers, and not a list.")
    got = as_number(got, "What your function returns")
    if got != right:
        raise Wrong(kinds.get(got, f"For {layers} your count is {got:,}, and PyTorch's is another."))


def count_by_torch(layers):
    make = {"conv": nn.Conv2d, "linear": nn.Linear, "pool": nn.AvgPool2d}
    return sum(p.numel() for kind, *sizes in layers for p in make[kind](*sizes).parameters())


@exercise(
    "2.6",
    hints=(
        "Begin with one picture, one map and one filter, as `slide` has it. Then let the piece be the piece of all "
        "pictures and all maps at once: which of its axes belong to which of the filter's?",
        "A border of zeros first; a place `i` of the result begins at row `i * stride` of that. A piece has the axes "
        "(N, C, k, k), a filter (C, k, k). Give the piece an axis more for the filters, multiply it by all of them, "
        "sum over the last three axes, and add the biases.",
    ),
)
def convolve(function):
    steps = functools.partial(with_stride, 2), functools.partial(with_stride, 3)
    one_thing_more = one_of_each, with_bias, several_maps, several_filters, a_batch, with_padding, *steps
    for probe in (*one_thing_more, *[all_at_once] * 6):  # a wrong rounding shows in two draws of three
        given, faults = probe()
        when = case_of_convolution(*given)
        mine = copy.deepcopy(given)
        with NoConvolution():
            got = attempt(function, *mine, when=when)
        if not torch.is_tensor(got):
            raise Wrong(f"A tensor is asked for, and it returns something of the type `{type(got).__name__}`.")
        if not all(map(torch.equal, mine[:3], given[:3])):
            raise Wrong("It changes the pictures, filters or biases that it is given. Leave them as they are.")
        compare_maps(got.detach().float().cpu(), by_torch(*given), faults, when)
    return "So this is all that a convolution is. Everything else about it is speed."


def by_torch(X, weight, bias, padding=0, stride=1):
    return F.conv2d(X, weight, bias, stride, padding)


class NoConvolution(TorchDispatchMode):
    """Within it, PyTorch's own convolutions raise Wrong, by whatever name they are called."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.__name__.startswith("conv") or "convolution" in func.__name__:  # conv2d in inference mode
            raise Wrong("It calls PyTorch's convolution. Here you are the one who writes it.")
        return func(*args, **(kwargs or {}))


def case_of_convolution(X, weight, bias, padding=0, stride=1):
    return f"For pictures {tuple(X.shape)}, filters {tuple(weight.shape)}, padding {padding} and stride {stride}"


def compare_maps(got, right, faults, when):
    """Raises Wrong unless the maps are equal. `faults`: pairs of a sentence and what comes out by that fault.

    That is a tensor of maps, or a function that says of those of the learner's whether they have the fault.
    """
    if same(got, right):
        return
    for sentence, fault in faults:
        if fault(got) if callable(fault) else same(got, fault):
            raise Wrong(sentence)
    if got.ndim != 4:
        raise Wrong(f"The result should have four axes: pictures, filters, rows, columns. Yours has {got.ndim}.")
    names = "pictures", "maps", "rows", "columns"
    for name, mine, count in zip(names, got.shape, right.shape):
        if mine != count:
            raise Wrong(f"{when} it returns {mine} {name if mine != 1 else name[:-1]}, and there should be {count}.")
    raise Wrong(f"{when} the shape is right, but not the numbers.")


def same(a, b):
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-4)


def pieces(N=1, C=1, filters=1):
    """Pictures, filters and biases of random sizes; no bias is near zero."""
    k = between(2, 3)
    return torch.rand(N, C, *distinct(5, 7, 2)), torch.randn(filters, C, k, k), torch.rand(filters) + 0.5


def one_of_each():
    X, weight, bias = pieces()
    bias = torch.zeros(1)
    h, w = (side - weight.shape[-1] for side in X.shape[2:])
    return (X, weight, bias), [
        ("You turn the filter by half a circle first. Mathematicians do, PyTorch doesn't.",
         F.conv2d(X, weight.flip(2, 3))),
        ("The rows of the filter lie on the columns of the picture.", F.conv2d(X, weight.mT)),
        ("Rows and columns of the result are exchanged.", F.conv2d(X, weight).mT),
        ("`@` multiplies rows by columns. Here each pixel meets the one weight that lies on it.",
         F.conv2d(X, weight.sum(3, keepdim=True).mT.expand_as(weight))),
        ("Your window is one pixel wide. Which axis of `weight` says how wide it is?",
         F.conv2d(X, weight.sum((2, 3), keepdim=True))),
        ("A window adds its products up. Yours takes their mean.", F.conv2d(X, weight) / weight.numel()),
        ("A place is missing in each direction: the window may touch the last row and the last column.",
         lambda got: got.shape[-2:] == (h, w)),
    ]  # fmt: skip


def with_bias():
    X, weight, bias = pieces()
    sums = F.conv2d(X, weight)
    return (X, weight, bias), [
        ("The bias makes no difference to yours.", sums),
        ("The bias is added to the sum, once, and not to every product.", sums + weight.numel() * bias),
        ("The bias is added to the sum. Yours takes it away.", sums - bias),
    ]


def several_maps():
    X, weight, bias = pieces(C=3)
    sums = F.conv2d(X, weight)
    return (X, weight, bias), [
        ("Your filter reads only the first of the maps below.", F.conv2d(X[:, :1], weight[:, :1], bias)),
        ("A filter has weights of its own for each map below. Yours takes the same for all.",
         F.conv2d(X, weight[:, :1].expand_as(weight), bias)),
        ("The bias is added once for each map below, and should be added once in all.", sums + 3 * bias),
        ("What the maps below give is added up, and yours takes the mean.", sums / 3 + bias),
        ("Only the last of the maps below counts: each overwrites the one before.",
         F.conv2d(X[:, -1:], weight[:, -1:], bias)),
        ("Yours returns as many maps as there are below. How many filters are there?",
         lambda got: got.shape == (1, 3, *sums.shape[2:]) and same(got[:, :1], sums + bias)),
        ("Yours keeps the maps below apart. One number comes out for each place, added up over all of them.",
         lambda got: 3 in got.shape[:-2]),
    ]  # fmt: skip


def several_filters():
    X, weight, bias = pieces(C=2, filters=4)
    return (X, weight, bias), [
        ("Your maps are all made by the first filter.", F.conv2d(X, weight[:1], bias[:1]).expand(-1, 4, -1, -1)),
        ("Your maps all have the bias of the first filter.", F.conv2d(X, weight) + bias[0]),
        ("Yours adds up over the filters as well. Each makes a map of its own.",
         F.conv2d(X, weight).sum(1, keepdim=True) + bias[:, None, None]),
        ("The first axis is for the pictures, the second for the maps.",
         lambda got: got.ndim == 4 and same(got.transpose(0, 1), F.conv2d(X, weight, bias))),
        ("Four filters make four maps, and only one comes out.", lambda got: got.ndim < 4 or got.shape[1] == 1),
    ]  # fmt: skip


def a_batch():
    X, weight, bias = pieces(N=3, C=2, filters=4)
    first = F.conv2d(X[:1], weight, bias)
    return (X, weight, bias), [
        ("Yours adds up over the pictures as well. Each is for itself.",
         (F.conv2d(X, weight).sum(0, keepdim=True) + bias[:, None, None]).expand(3, -1, -1, -1)),
        ("Of a batch of three, only one picture comes out.", lambda got: got.ndim < 4 or len(got) == 1),
        ("The first picture is right, but the others are not looked at.",
         lambda got: got.shape == (3, *first.shape[1:]) and same(got[:1], first)),
    ]  # fmt: skip


def with_padding():
    X, weight, bias = pieces(N=2, C=2, filters=3)
    p = 2
    plain, right = F.conv2d(X, weight, bias), F.conv2d(X, weight, bias, padding=p)
    repeated = F.conv2d(F.pad(X, (p, p, p, p), mode="replicate"), weight, bias)
    some = {(plain.shape[2] + a * p, plain.shape[3] + b * p) for a in range(3) for b in range(3)} - {right.shape[2:]}
    return (X, weight, bias, p), [
        ("The padding makes no difference to yours.", plain),
        ("Your border is one pixel wide, whatever the padding is.", F.conv2d(X, weight, bias, padding=1)),
        ("The pictures are padded, but the window stops where it would without. Count the places with the padding.",
         right[:, :, : plain.shape[2], : plain.shape[3]]),
        ("Padding goes to all four sides, and yours leaves some out, or the window stops too early.",
         lambda got: tuple(got.shape[2:]) in some),
        ("All the padding goes to one end of the rows or columns.",
         lambda got: any(same(got, F.conv2d(F.pad(X, ends), weight, bias)) for ends in at_one_end(p))),
        ("The result gets the border of zeros, and the pictures should.", F.pad(plain, (p, p, p, p))),
        ("The border should be zeros. Yours repeats the pixels at the edge.", repeated),
    ]  # fmt: skip


def at_one_end(p):
    """As `F.pad` takes it: 2p on one end of the columns and of the rows, or p on both, but not p on both twice."""
    ends = (0, 2 * p), (2 * p, 0), (p, p)
    return [columns + rows for columns in ends for rows in ends][:-1]


def with_stride(s):
    k = 3
    X, weight, bias = torch.rand(2, 2, k + 2 * s + 1, k + 4 * s - 1), torch.randn(3, 2, k, k), torch.rand(3) + 0.5
    plain = F.conv2d(X, weight, bias)  # one row is left over, and s - 1 columns
    one_axis = {(3, plain.shape[3]), (plain.shape[2], 4)}
    return (X, weight, bias, 0, s), [
        ("The stride makes no difference to yours.", plain),
        ("The window makes its steps on one axis only.", lambda got: tuple(got.shape[2:]) in one_axis),
        ("The size is right, but the window still goes on by one pixel.", plain[:, :, :3, :4]),
        ("A step that would lead over the edge is not taken.", lambda got: got.shape[2:] == (4, 5)),
    ]


def all_at_once():
    X, weight, bias = pieces(between(2, 3), between(2, 3), between(2, 3))
    return (X, weight, bias, between(1, 2), between(2, 3)), []


def numbers_of(layer):
    """Its class and the numbers that it was made with; (2, 2) is 2, and so is the padding "same" of a window of 5."""
    if getattr(layer, "padding", 0) == "same":
        layer = copy.copy(layer)
        layer.padding = tuple(reach * (side - 1) // 2 for reach, side in zip(layer.dilation, layer.kernel_size))
    return type(layer).__name__, *re.findall(r"\d+", re.sub(r"\((\d+), \1\)", r"\1", repr(layer)))


def sizes(layer, name):
    value = getattr(layer, name, 0)
    return value if isinstance(value, tuple) else (value,)
