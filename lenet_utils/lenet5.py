"""LeNet-5 as LeCun, Bottou, Bengio and Haffner described it in 1998, small enough to read at one sitting.

Two things are not the paper's: its codes for the output were small pictures of the printed characters, and for
ten kinds of clothes there are none, so `CODES` holds drawings of this course's own; and `frame` brings 28x28 pixels
onto the paper's 32x32.
"""

import collections
import math

import torch
from torch import nn
from torch.nn import functional as F

# Table I of the paper: the maps of S2 that each of the sixteen maps of C3 looks at. Six look at three neighbours in a
# row (0 comes again after 5), six at four neighbours, three at two pairs, the last one at all.
C3_SEES = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# Ten drawings, 7 wide and 12 high, in the order of the labels: t-shirt, trouser, pullover, dress, coat, sandal, shirt,
# sneaker, bag, ankle boot. As in the paper, what looks alike has codes that are alike.
DRAWINGS = """
....... .#####. ..#.#.. ..#.#.. .##.##. ....... ##...## ....... ..###.. ...####
##...## .#####. .#####. ..###.. ###.### ....... .##.##. ....... .#...#. ...####
####### .##.##. ####### ..###.. ###.### ....... ####### ....... .#...#. ...####
####### .##.##. ####### ...#... ###.### .....## ###.### ....... .#...#. ...####
#.###.# .##.##. #.###.# ..###.. ###.### ....#.# ####### ....... ####### ...####
..###.. .##.##. #.###.# ..###.. ###.### ...#..# #.#.#.# ....### #.....# ...####
..###.. .##.##. #.###.# .#####. ###.### ..#...# #.###.# ...#### #.....# ..#####
..###.. .##.##. #.###.# .#####. ###.### .#.#..# ..#.#.. .###### #.....# #######
..###.. .##.##. #.###.# .#####. ###.### #...#.# ..###.. ####### #.....# #######
..###.. .##.##. #.###.# ####### ###.### ####### ..#.#.. ####### #.....# #######
....... .##.##. ..###.. ####### .##.##. ####### ..###.. ....... #.....# #....##
....... .##.##. ....... ####### .##.##. ....... ....... ####### ####### .....##
"""


def read_drawings(text):
    """Drawings side by side, with "#" for +1 and "." for -1, as a tensor `(drawings, height, width)`."""
    rows = [[[1.0 if mark == "#" else -1.0 for mark in piece] for piece in line.split()] for line in text.split("\n")]
    return torch.tensor([row for row in rows if row]).transpose(0, 1).contiguous()


CODES = read_drawings(DRAWINGS).flatten(1)  # (10, 84): one code a class, of +1 and -1


def lenet5():
    """A new LeNet-5: 60,000 trainable parameters, images `(N, 1, 28, 28)` of 0 to 1 in, scores `(N, 10)` out.

    A score is minus the squared distance to the code of a class, so that here, too, the highest one wins.
    """
    net = nn.Sequential(collections.OrderedDict(
        frame=Frame(),
        c1=nn.Conv2d(1, 6, kernel_size=5), squash1=ScaledTanh(),
        s2=Subsampling(6), squash2=ScaledTanh(),
        c3=PartialConv2d(6, C3_SEES, kernel_size=5), squash3=ScaledTanh(),
        s4=Subsampling(16), squash4=ScaledTanh(),
        c5=nn.Conv2d(16, 120, kernel_size=5), squash5=ScaledTanh(),  # on 5x5 maps: one number is left of each
        flatten=nn.Flatten(),
        f6=nn.Linear(120, 84), squash6=ScaledTanh(),
        output=Distances(CODES),
    ))  # fmt: skip
    return net.apply(init_1998)


class Frame(nn.Module):
    """Images `(N, 1, 28, 28)` of 0 to 1 on a frame of 32x32: black becomes -0.1 and white 1.175, the paper's levels."""

    def forward(self, X):
        if X.shape[1:] != (1, 28, 28):
            raise ValueError(f"expected images of shape (N, 1, 28, 28), got {tuple(X.shape)}: put Reshape() before")
        return F.pad(X, [2, 2, 2, 2]) * 1.275 - 0.1


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), which takes 1 to 1 and -1 to -1: the codes' values lie where the curve still bends."""

    def forward(self, X):
        return 1.7159 * torch.tanh(X * (2 / 3))


class Subsampling(nn.Module):
    """Maps `(N, C, H, W)` at half the size: the sum of 2x2 values, times a coefficient, plus a bias, learned for each
    map: 2 C parameters. Raises ValueError for maps of an odd size."""

    def __init__(self, maps):
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(maps))
        self.bias = nn.Parameter(torch.zeros(maps))

    def forward(self, X):
        if X.shape[2] % 2 or X.shape[3] % 2:
            raise ValueError(f"expected maps of even height and width to halve, got {tuple(X.shape)}")
        sums = 4 * F.avg_pool2d(X, kernel_size=2)
        return sums * self.coefficient[:, None, None] + self.bias[:, None, None]


class PartialConv2d(nn.Module):
    """A convolution whose maps look at some of the maps below only: `(N, in_maps, H, W)` to `(N, len(sees), ...)`.

    `sees`: for each map that comes out, the numbers of those that go in. Only the kernels of these connections exist
    as parameters: `weight` is `(connections, kernel_size, kernel_size)`.
    """

    def __init__(self, in_maps, sees, kernel_size):
        super().__init__()
        table = torch.zeros(len(sees), in_maps, dtype=torch.bool)
        for row, seen in zip(table, sees):
            row[list(seen)] = True
        self.register_buffer("table", table)
        self.weight = nn.Parameter(torch.empty(int(table.sum()), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(len(sees)))

    def forward(self, X):
        # Zeros where there is no connection: more arithmetic than 1998 could afford, but a single fast convolution.
        full = self.weight.new_zeros(*self.table.shape, *self.weight.shape[1:])
        full[self.table] = self.weight
        return F.conv2d(X, full, self.bias)


class Distances(nn.Module):
    """Minus the squared distance of `(N, D)` to each of the fixed `codes` `(C, D)`: scores `(N, C)`, at most 0."""

    def __init__(self, codes):
        super().__init__()
        self.register_buffer("codes", codes.clone())  # moves to the GPU with the net, but is no parameter

    def forward(self, X):
        return -(X[:, None, :] - self.codes).square().sum(dim=2)


def distance_loss(scores, y):
    """The paper's equation 8: the mean squared distance of `N` answers to the code of the right class."""
    return -scores.gather(1, y[:, None]).mean()


def map_loss(scores, y, j=1.0):
    """The paper's equation 9, for scores `(N, C)` and labels `(N,)`: the wrong classes are pushed away as well.

    It is the cross-entropy with one more class, "none of these", whose score is always -j: codes that are farther
    away than that are not pushed any more.
    """
    none_of_these = scores.new_full((len(scores), 1), -j)
    return F.cross_entropy(torch.cat([scores, none_of_these], dim=1), y)


@torch.no_grad()
def init_1998(layer):
    """The paper's first weights: uniform within 2.4 / fan-in on both sides of zero, biases included."""
    for parameter, fan_in in zip(layer.parameters(recurse=False), fans_in(layer)):
        for row, fan in zip(parameter, fan_in):
            row.uniform_(-2.4 / fan, 2.4 / fan)


def fans_in(layer):
    """For each parameter of `layer`, one number a row: how many values the unit that it belongs to adds up."""
    if isinstance(layer, PartialConv2d):
        fans = layer.table.sum(dim=1) * math.prod(layer.weight.shape[1:])  # maps of C3 have 3, 4 or 6 kernels
        return fans.repeat_interleave(layer.table.sum(dim=1)).tolist(), fans.tolist()
    if isinstance(layer, Subsampling):
        return [4] * len(layer.bias), [4] * len(layer.bias)
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        fans = [layer.weight[0].numel()] * len(layer.weight)
        return fans, fans  # the second for the bias, where there is one
    return ()
