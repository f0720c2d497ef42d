"""Average pooling on a CPU, to the bit as PyTorch does it, for less CPU time.

PyTorch visits the windows one by one, which takes up to a quarter of the time of LeNet's training. Here the pixels of
all windows are added together, many an instruction: the upper left pixels of all windows first, then the upper right
ones, and so on; or by one matrix product, where that rounds as PyTorch does and takes less time on this machine. By it
a training step takes up to a quarter less time.
"""

import functools
import math
import time

import torch
from torch import nn

from . import asked

WIDEST = 48  # pixels; in wider pictures the product has too many zeros to be the quicker way
FEWEST = 1024  # pixels; with fewer, two orders of adding may give the same bits by chance, and no time is won


class HalveByMean(torch.autograd.Function):
    """The mean of every 2 x 2 window: `(N, C, H, W)` in, `(N, C, H/2, W/2)` out, for even `H` and `W`."""

    @staticmethod
    def forward(ctx, X):
        return sums(X).div_(4)

    @staticmethod
    def backward(ctx, grad):
        return spread(grad / 4)


def sums(X):
    """The sum of every window: `(N, C, H, W)` in, `(N, C, H/2, W/2)` out."""
    aligned = X.data_ptr() % 64 == 0  # as every new tensor is; elsewhere libraries may add in another order
    if aligned and products_are_exact(X) and products_pay(X.shape, torch.get_num_threads()):
        out = sums_by_product(X)
        if all_finite(out):
            return out
    return sums_by_corners(X)


def sums_by_corners(X):
    """The upper left pixels of all windows, plus the upper right ones, and so on."""
    first, second, third, fourth = corners(X)
    return torch.add(first, second).add_(third).add_(fourth)  # PyTorch's order: the same rounding


def sums_by_product(X):
    """Two rows of a map, one behind the other; a column of `windows` picks the four pixels of one window."""
    images, channels, height, width = X.shape
    return (X.view(-1, 2 * width) @ windows(width)).view(images, channels, height // 2, width // 2)


def spread(share):
    """Every number to all four pixels of its window: `(N, C, H, W)` in, `(N, C, 2H, 2W)` out."""
    if asked.for_second_derivatives():
        return share.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    share = share.contiguous()
    if products_are_exact(share) and products_pay(whole(share), torch.get_num_threads()) and all_finite(share):
        return spread_by_product(share)
    return spread_to_corners(share)


def spread_to_corners(share):
    out = share.new_empty(whole(share))
    for corner in corners(out):
        corner.copy_(share)
    return out


def spread_by_product(share):
    width = share.shape[3]
    return (share.view(-1, width) @ windows(2 * width).T).view(whole(share))  # a number and zeros: nothing is rounded


def whole(share):
    """The shape of the pictures that have so many windows."""
    images, channels, height, width = share.shape
    return torch.Size((images, channels, 2 * height, 2 * width))


def corners(X):
    """Four views of `X`: the upper left, upper right, lower left and lower right pixels of all its windows."""
    return [X[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]


@functools.cache
def windows(width):
    """Ones where a pixel of two rows, `2 * width`, belongs to a window, of which there are `width / 2`; else zeros."""
    owner = torch.arange(width, device="cpu").repeat(2) // 2
    return nn.functional.one_hot(owner, width // 2).to(torch.float32)


def products_are_exact(X):
    """Whether a product with the numbers of `X` is computed in float32 now: there are many ways to set it otherwise."""
    if torch.is_autocast_enabled("cpu") or not X.numel():
        return False
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # it has been set by the newer way, which the older one does not read
        return False


def all_finite(X):
    """Infinity times zero is not zero: one number that is not finite would spoil its neighbours in a product."""
    return bool(X.sum().isfinite())


@functools.cache
def products_pay(shape, threads):
    """Whether products give the bits of the other way for less time, tried on pictures of that `shape`.

    `threads`: the number set. Other processors, other answers: some multiply quickly, others skip along rows.
    """
    if shape[3] > WIDEST or math.prod(shape) < FEWEST:
        return False
    random = torch.Generator().manual_seed(0)  # the learner's random numbers are not ours to use
    X = torch.rand(shape, generator=random, dtype=torch.float32, device="cpu")
    if not torch.equal(sums_by_product(X), sums_by_corners(X)):
        return False
    few = X[:256]  # for the time; whether the bits are the same may depend on the number of pictures
    return best_time(both_by_product, few) < best_time(both_by_corners, few)


def both_by_product(X):
    share = sums_by_product(X)
    return all_finite(share), spread_by_product(share), all_finite(share)


def both_by_corners(X):
    return spread_to_corners(sums_by_corners(X))


def best_time(way, X, rounds=5):
    """Seconds that `way` takes for `X` when nothing disturbs it."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        way(X)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def quick_way(layer):
    """What computes as `layer` does, quicker where it can be, given it and `X`; None where that is never quicker."""
    return pool if halves(layer) else None


def halves(layer):
    """Whether `layer` takes plain means of 2 x 2 windows that lie side by side."""
    if type(layer) is not nn.AvgPool2d:
        return False
    sizes = [size if isinstance(size, tuple) else (size, size) for size in (layer.kernel_size, layer.stride)]
    return sizes == [(2, 2), (2, 2)] and layer.padding in (0, (0, 0)) and not layer.divisor_override


def pool(layer, X):
    """What `layer`, which `halves`, makes of `X`."""
    even = X.ndim == 4 and X.shape[2] % 2 == X.shape[3] % 2 == 0
    plain = X.is_cpu and X.dtype == torch.float32 and X.is_contiguous()
    if even and plain and not asked.for_more_than_gradients():
        return HalveByMean.apply(X)
    return type(layer).forward(layer, X)
