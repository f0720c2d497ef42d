"""A training step of LeNet as five Triton kernels, for NVIDIA's tensor cores.

PyTorch takes some fifty kernels for a step, each of which takes longer to
begin than to finish. Here a new kernel begins only where a program needs
what others have made; within one, the GPU's multiprocessors work on its
programs side by side. Each name is followed by what one program takes:

    forward_convolutions  an image                bytes -> p1 -> p2
    hidden                16 images, 16 units     p2 -> h1
    dense                 16 images, 64 features  h1 -> h2 -> loss -> d3
                                                  -> d2 -> d1 -> dz2
    backward              a tile, or an image     dz2 -> all gradients;
                                                  the linear layers learn
    update                32 weights              the convolutions learn;
                                                  the sums are added up

Names as in lenet.c. p: after a pooling; h: hidden units; d: the derivative
of the loss by what a linear layer gives; dz: by what a convolution gives;
g: the slope s (1 - s) of a sigmoid, over the 4 that the pooling divides by.

Both convolutions are computed where the pooling wants them. Its windows of 2 x 2 have four corners (dy, dx): the place
q = (py, px) of the pooled map needs the convolution at y = 2 py + dy, x = 2 px + dx. What one row of the kernel sees
there is a run of numbers in memory, j. So q and j are the two axes of a matrix for the tensor cores.

Tensor cores read TF32's 10 bits of a float32 and drop the others. PyTorch lets them do so in convolutions, too
(`product`), but not in linear layers (`exact_product`).

Why a new kernel begins: before `hidden`, since tensor cores want at least 16 rows. In a convolution the places of one
image are rows enough; in a linear layer an image is a row, so 16 of them wait for each other. Before `dense`, since 256
images in groups of 16 are work for 16 programs only, on a GPU that can run over a hundred: so in `hidden` eight
programs share the units of the same images, and the next layer needs all units. Before `backward` and before `update`,
since a weight's gradient is a sum over the whole batch; the linear layers learn in the one, the convolutions in the
other.

Triton's programs can be interpreted, so the arithmetic is tested without a GPU: each gradient agrees with that in
64-bit numbers. The interpreter neither rounds as tensor cores do nor runs two programs at the same time.

A prediction, not measured yet, for 256 images on an H100: 6, 1.5, 6.5, 6.5 and 1.7 microseconds and about 1 between two
kernels, 27 a step; by the instructions that each executes and by the loads in it that wait for one another, give or
take a third. Neither arithmetic nor memory is the limit, but waiting: 8 to 16 warps a multiprocessor hide little of it.
"""

import torch
import triton
import triton.language as tl

from ..fused.build import Declined
from ..fused.networks import check_layers, lenet_layers
from ..support import checks
from . import Steps

OPTIONS = {"num_stages": 1, "enable_fp_fusion": True}


class KernelSteps(Steps):
    """As `Steps`, for `lenet()` and the study note's network only. Raises Declined for any other."""

    def __init__(self, net, lr, batches):
        check_layers(net)
        check_tensors(net, batches)
        check_triton()
        super().__init__(net, lr, batches)
        self.last_sigmoid = len(net) == len(lenet_layers())
        images = triton.cdiv(batches.batch_size, 16) * 16 + 1  # the last one is only there to be read past the end

        def room(*shape):
            return torch.zeros(images, *shape, device=batches.labels.device)

        self.pixels = room(32, 32)  # 0 to 255, with a border of zeros: TF32 holds them exactly
        self.g1, self.p1 = room(2, 12, 14, 16), room(14, 14, 6)  # (dy; c, dx; q) and (q; c)
        self.g2, self.p2 = room(4, 400), room(400)  # (corner; o, q) and (o, q), as nn.Flatten has it
        self.h1, self.h2 = room(128), room(128)  # of which 120 and 84 are used
        self.d1, self.d2, self.d3 = room(128), room(128), room(16)
        self.dz2, self.spread = room(16, 10, 10), room(30, 140)
        self.outcome = room(2)  # loss, whether right
        self.dw = room(2560 + 16 + 512)  # each image's part: conv2's weights (ky, j, o), biases (o); conv1's (dx; j; c)

    def begin(self, order):
        super().begin(order)
        # A step also reads two numbers behind those of its image, and multiplies them by 0. A NaN that diverged steps
        # left there would stay a NaN.
        self.p1.zero_()

    def take(self, size):
        """One step on the next `size` images: five launches and nothing else."""
        w1, b1, w2, b2, w3, b3, w4, b4, w5, b5 = self.parameters
        groups = triton.cdiv(size, 16)  # the fewest rows of a matrix that a tensor core takes
        forward_convolutions[(size,)](
            self.batches.images, self.order, self.first, w1, b1, w2, b2,
            self.pixels, self.g1, self.p1, self.g2, self.p2, num_warps=8, **OPTIONS,
        )  # fmt: skip
        hidden[(groups, 8)](self.p2, w3, b3, self.h1, size, num_warps=8, **OPTIONS)
        dense[(groups, 7)](
            self.batches.labels, self.order, self.first, self.h1, self.g2, w3, w4, b4, w5, b5,
            self.h2, self.d3, self.d2, self.d1, self.dz2, self.outcome, size, self.last_sigmoid, num_warps=8, **OPTIONS,
        )  # fmt: skip
        # With 168 registers a thread three of its programs share a multiprocessor; Triton 3.6 would take some more.
        backward[(67 + 2 * size,)](
            self.dz2, self.pixels, self.g1, self.p1, self.p2, self.h1, self.h2, self.d1, self.d2, self.d3, self.spread,
            w2, w3, b3, w4, b4, w5, b5, self.dw, size, float(self.lr), num_warps=4, maxnreg=168, **OPTIONS,
        )  # fmt: skip
        update[(88,)](
            w1, b1, w2, b2, self.dw, self.outcome, self.sums, self.first, size, float(self.lr), num_warps=4, **OPTIONS,
        )  # fmt: skip


def check_tensors(net, batches):
    images, labels = batches.images, batches.labels
    if images.dtype != torch.uint8 or images.shape[1:] != (28, 28) or batches.resize is not None:
        scaled = "" if batches.resize is None else f", scaled to {batches.resize}"
        raise Declined(f"the kernels are for torch.uint8 (n, 28, 28) and the images are {images.dtype} "
                       f"{tuple(images.shape)}{scaled}")  # fmt: skip
    for name, tensor in [("images", images), ("labels", labels), *net.named_parameters()]:
        if not tensor.is_contiguous():
            raise Declined(f"the kernels are for tensors that lie in memory in order and {name} has strides of its own")
    if labels.is_cuda and torch.cuda.get_device_capability(labels.device) < (8, 0):
        raise Declined("the kernels are for GPUs whose tensor cores take TF32, from compute capability 8.0 on")
    lowest, highest = torch.aminmax(labels)  # waits for the GPU, once
    if lowest < 0 or highest > 9:
        raise checks.impossible_labels(10)


def check_triton():
    """The interpreters of Triton 3.0 and 3.1 run the kernels, and nothing is learned; 3.2 has never compiled them."""
    if tuple(int(number) for number in triton.__version__.split(".")[:2]) < (3, 3):
        raise Declined(f"the kernels are for Triton 3.3 or later and this is {triton.__version__}")


# Parts of kernels


@triton.jit
def product(a, b):
    """The matrix product of `a` and `b` by tensor cores, which read 10 bits of each number."""
    return tl.dot(a, b, input_precision="tf32")


@triton.jit
def exact_product(a, b):
    """The same to float32's precision: the numbers rounded to 10 bits, and what that took off, times each other."""
    a_rounded, b_rounded = rounded(a), rounded(b)
    return product(a - a_rounded, b_rounded) + product(a_rounded, b_rounded) + product(a_rounded, b - b_rounded)


@triton.jit
def rounded(x):
    """To the nearest number of 10 bits: half of the last one is added, and those below are dropped."""
    return ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)


@triton.jit
def patches(pixels, image, q):
    """Where the pixels `(len(q), 32)` are that conv1 sees at the upper corners of q: 5 rows (ky) of 6 (kx + dx).

    Rows of 16 places, for the powers of two, though only 14 are real, and 32 columns, of which 30 are. The others lead
    to some other pixel, and a zero stands for them in the other factor of each product.
    """
    q, j = q[:, None], tl.arange(0, 32)[None, :]
    return pixels + image * 1024 + (q // 16 * 64 + q % 16 * 2) + (j // 6 * 32 + j % 6)


@triton.jit
def windows(p1, image, ky, ROWS: tl.constexpr):
    """What the rows ky, ky + 1, ... of conv2's kernels see at its 128 places: `(128, ROWS * 32)`.

    A place m is a corner and one of 32 q, of which 25 are real; a column is a row ky and one of 32 j, of which 30 are.
    The others give numbers for which, again, there are zeros.
    """
    m, k = tl.arange(0, 128)[:, None], tl.arange(0, ROWS * 32)[None, :]
    q = tl.minimum(m % 32, 24)
    y, x = 2 * (q // 5) + m // 64, 2 * (q % 5) + m // 32 % 2
    return tl.load(p1 + image * 1176 + ((y + ky + k // 32) * 14 + x) * 6 + k % 32)


@triton.jit
def weights_2(w2, ky, j, o):
    """conv2's weights for the row `ky` of its kernels and (kx, channel) = `j`; the three broadcast."""
    return tl.load(w2 + o * 150 + (j % 6) * 25 + ky * 5 + j // 6, mask=(j < 30) & (ky < 5), other=0.0)


# Forward


@triton.jit
def forward_convolutions(images, order, first, w1, b1, w2, b2, pixels, g1, p1, g2, p2):
    """conv1, sigmoid, pooling, conv2, sigmoid, pooling of image number program_id of the batch."""
    image = tl.program_id(0)
    row = tl.load(order + tl.load(first) + image)
    i = tl.arange(0, 1024)
    y, x = i // 32 - 2, i % 32 - 2
    inside = (y >= 0) & (y < 28) & (x >= 0) & (x < 28)
    X = tl.load(images + row * 784 + y * 28 + x, mask=inside, other=0)
    tl.store(pixels + image * 1024 + i, X.to(tl.float32))
    tl.debug_barrier()  # what one thread wrote others read

    # A column n = (c, dx) for each channel and corner; the kernel is one pixel further right where dx is 1.
    j, n, q = tl.arange(0, 32)[:, None], tl.arange(0, 16)[None, :], tl.arange(0, 256)
    c, kx = n // 2, j % 6 - n % 2
    real = (j < 30) & (kx >= 0) & (kx < 5) & (c < 6)
    w = tl.load(w1 + c * 25 + (j // 6) * 5 + kx, mask=real, other=0.0) / 255
    bias = tl.load(b1 + c, mask=c < 6, other=0.0)
    seen, to = patches(pixels, image, q), g1 + image * 5376 + n * 224 + q[:, None]
    total = tl.zeros((256, 16), tl.float32)
    for dy in tl.static_range(2):
        s = tl.sigmoid(product(tl.load(seen + dy * 32), w) + bias)
        tl.store(to + dy * 2688, s * (1 - s) / 4, mask=(q[:, None] < 224) & (n < 12))
        total += s
    pooled = tl.sum(tl.reshape(total, (256, 8, 2)), axis=2) / 4
    py, px, channel = q[:, None] // 16, q[:, None] % 16, tl.arange(0, 8)[None, :]
    tl.store(p1 + image * 1176 + (py * 14 + px) * 6 + channel, pooled, mask=(py < 14) & (px < 14) & (channel < 6))
    tl.debug_barrier()

    k = tl.arange(0, 128)[:, None]
    z = product(windows(p1, image, 0, 4), weights_2(w2, k // 32, k % 32, n))
    s = tl.sigmoid(z + product(windows(p1, image, 4, 1), weights_2(w2, 4, j, n)) + tl.load(b2 + n))
    tl.store(g2 + (image * 4 + k // 32) * 400 + n * 25 + k % 32, s * (1 - s) / 4, mask=k % 32 < 25)
    pooled = tl.sum(tl.reshape(s, (4, 32, 16)), axis=0) / 4
    q = tl.arange(0, 32)[:, None]
    tl.store(p2 + image * 400 + n * 25 + q, pooled, mask=q < 25)


@triton.jit(do_not_specialize=["size"])
def hidden(p2, w3, b3, h1, size):
    """16 of the 120 units h1 of 16 images. The 400 features are 8 parts, so that each warp adds up one of its own."""
    images, units = tl.program_id(0) * 16 + tl.arange(0, 16), tl.program_id(1) * 16 + tl.arange(0, 16)
    image, unit = images[None, :, None], units[None, :, None]
    feature = tl.arange(0, 8)[:, None, None] * 64 + tl.arange(0, 64)[None, None, :]
    x = tl.load(p2 + image * 400 + feature, mask=(feature < 400) & (image < size), other=0.0)
    w = tl.load(w3 + unit * 400 + feature, mask=(feature < 400) & (unit < 120), other=0.0)
    z = tl.sum(exact_product(x, tl.permute(w, (0, 2, 1))), axis=0)  # (16 images, 16 units)
    image, unit = images[:, None], units[None, :]
    z += tl.load(b3 + unit, mask=unit < 120, other=0.0)
    tl.store(h1 + image * 128 + unit, tl.where(unit < 120, tl.sigmoid(z), 0.0))


# The loss, and back through the linear layers


@triton.jit(do_not_specialize=["size"])
def dense(
    labels, order, first, h1, g2, w3, w4, b4, w5, b5, h2, d3, d2, d1, dz2, outcome, size, LAST_SIGMOID: tl.constexpr
):  # fmt: skip
    """From h1 of 16 images to dz2 for 64 of their features. The seven programs of 16 images repeat what they share."""
    image = tl.program_id(0) * 16 + tl.arange(0, 16)
    rows, t = image[:, None], tl.arange(0, 16)
    k, o = tl.arange(0, 128)[None, :], tl.arange(0, 128)[:, None]  # of the 84 units h2
    label = tl.load(labels + tl.load(order + tl.load(first) + image, mask=image < size, other=0))
    H2 = tl.zeros((16, 128), tl.float32)
    for start in range(0, 128, 64):  # the 120 units h1 in two parts, as registers are few
        unit = start + tl.arange(0, 64)[None, :]
        w = tl.load(w4 + o * 120 + unit, mask=(o < 84) & (unit < 120), other=0.0)
        H2 += exact_product(tl.load(h1 + rows * 128 + unit), tl.trans(w))
    H2 += tl.load(b4 + k, mask=k < 84, other=0.0)
    if LAST_SIGMOID:
        H2 = tl.where(k < 84, tl.sigmoid(H2), 0.0)
    W5 = tl.load(w5 + t[:, None] * 84 + k, mask=(t[:, None] < 10) & (k < 84), other=0.0)
    logits = exact_product(H2, tl.trans(W5)) + tl.load(b5 + t, mask=t < 10, other=-float("inf"))[None, :]
    highest = tl.max(logits, axis=1)  # never one of the six classes too many: they have -inf
    e = tl.exp(logits - highest[:, None])
    total = tl.sum(e, axis=1)
    is_label = t[None, :] == label[:, None]
    D3 = (e / total[:, None] - is_label.to(tl.float32)) / size
    D2 = exact_product(D3, W5)
    if LAST_SIGMOID:
        D2 *= H2 * (1 - H2)
    if tl.program_id(1) == 0:
        loss = tl.log(total) + highest - tl.sum(tl.where(is_label, logits, 0.0), axis=1)
        tl.store(outcome + image * 2, loss)
        tl.store(outcome + image * 2 + 1, (tl.argmax(logits, axis=1) == label).to(tl.float32))
        tl.store(h2 + rows * 128 + k, H2)
        tl.store(d3 + rows * 16 + t[None, :], D3)
        tl.store(d2 + rows * 128 + k, D2)

    f = (tl.program_id(1) * 64 + tl.arange(0, 64))[None, :]
    dp2 = tl.zeros((16, 64), tl.float32)
    for start in range(0, 128, 64):
        unit = start + tl.arange(0, 64)
        w = tl.load(w4 + o * 120 + unit[None, :], mask=(o < 84) & (unit[None, :] < 120), other=0.0)
        H1 = tl.load(h1 + rows * 128 + unit[None, :])
        D1 = exact_product(D2, w) * (H1 * (1 - H1))
        if tl.program_id(1) == 0:
            tl.store(d1 + rows * 128 + unit[None, :], D1)
        w = tl.load(w3 + unit[:, None] * 400 + f, mask=(unit[:, None] < 120) & (f < 400), other=0.0)
        dp2 += exact_product(D1, w)
    at, to = g2 + rows * 1600 + f, dz2 + rows * 1600 + f // 25 * 100 + f % 25 // 5 * 20 + f % 5 * 2
    for corner in tl.static_range(4):
        slope = tl.load(at + corner * 400, mask=f < 400, other=0.0)
        tl.store(to + corner // 2 * 10 + corner % 2, dp2 * slope, mask=f < 400)


# Back through the convolutions, and the linear layers' step


@triton.jit(do_not_specialize=["size"])
def backward(
    dz2, pixels, g1, p1, p2, h1, h2, d1, d2, d3, spread, w2, w3, b3, w4, b4, w5, b5, dw, size, lr
):  # fmt: skip
    """Three kinds of programs, which need not wait for one another; the longest ones begin first."""
    i = tl.program_id(0)
    if i < 52:
        update_linear(p2, d1, w3, b3, i // 13, i % 13, 400, 120, 400, 128, size, lr)
    elif i < 64:
        update_linear(h1, d2, w4, b4, (i - 52) // 4, i % 4, 120, 84, 128, 128, size, lr)
    elif i < 67:
        update_linear(h2, d3, w5, b5, 0, i - 64, 84, 10, 128, 16, size, lr)
    elif i < 67 + size:
        gradient_1(dz2, pixels, g1, spread, w2, dw, i - 67)
    else:
        gradient_2(dz2, p1, dw, i - 67 - size)


@triton.jit
def spread_rows(dz2, w2, image, r, KY: tl.constexpr, ROWS: tl.constexpr):
    """What the rows KY, KY + 1, ... of conv2's kernels spread to the rows of p1. See `gradient_1`."""
    k, j = tl.arange(0, ROWS * 16), tl.arange(0, 32)[None, :]
    o, ky = k % 16, KY + k // 16
    place = r[:, None] - 10 * ky[None, :]  # (Y - ky, x)
    at = dz2 + image * 1600 + o[None, :] * 100 + place
    return product(tl.load(at, mask=(place >= 0) & (place < 100), other=0.0), weights_2(w2, ky[:, None], j, o[:, None]))


@triton.jit
def gradient_1(dz2, pixels, g1, spread, w2, dw, image):
    """The gradient of conv1's weights from one image.

    First p1's, in two steps. `spread[j, r]`: what place x of conv2's maps gives to row Y of p1, r = (Y, x) and
    j = (kx, channel). Then each place X of that row collects what x = X - kx gave it, for five kx.
    """
    j, n = tl.arange(0, 32), tl.arange(0, 16)[None, :]
    for part in range(3):
        r = part * 64 + tl.arange(0, 64)
        given = spread_rows(dz2, w2, image, r, 0, 4) + spread_rows(dz2, w2, image, r, 4, 1)
        real = (r[:, None] < 140) & (j[None, :] < 30)
        tl.store(spread + (image * 30 + j[None, :]) * 140 + r[:, None], given, mask=real)
    tl.debug_barrier()

    gradient, gradient_bias = tl.zeros((16, 32), tl.float32), tl.zeros((64, 16), tl.float32)
    for part in range(4):
        q = part * 64 + tl.arange(0, 64)
        Y, X, channel = (q // 16)[:, None], (q % 16)[:, None], tl.arange(0, 8)[None, :]
        at = spread + image * 4200 + channel * 140 + Y * 10 + X
        dp1 = tl.zeros((64, 8), tl.float32)
        for kx in tl.static_range(5):
            real = (Y < 14) & (X - kx >= 0) & (X - kx < 10) & (channel < 6)
            dp1 += tl.load(at + kx * (6 * 140 - 1), mask=real, other=0.0)
        dp1 = tl.reshape(tl.join(dp1, dp1), (64, 16))  # for both dx
        at, seen = g1 + image * 5376 + n * 224 + q[:, None], patches(pixels, image, q)
        for dy in tl.static_range(2):
            dz1 = dp1 * tl.load(at + dy * 2688, mask=(Y < 14) & (n < 12), other=0.0)
            gradient_bias += dz1
            gradient += product(tl.trans(dz1), tl.load(seen + dy * 32))
    n = tl.arange(0, 16)
    to = dw + image * 3088 + 2576 + n % 2 * 256 + n // 2
    tl.store(to[:, None] + j[None, :] * 8, gradient / 255, mask=j[None, :] < 30)
    # The bias's sums go where `update` finds them as the 26th place of the kernel: row 30 for dx = 0, 31 for dx = 1.
    tl.store(to + (30 + n % 2) * 8, tl.sum(gradient_bias, axis=0))


@triton.jit
def gradient_2(dz2, p1, dw, image):
    """The gradient of conv2's weights from one image: a row for each ky and j, a column for each o."""
    m, o = tl.arange(0, 128)[:, None], tl.arange(0, 16)[None, :]  # the places of `windows`
    y, x = 2 * (m % 32 // 5) + m // 64, 2 * (m % 32 % 5) + m // 32 % 2
    d = tl.load(dz2 + image * 1600 + o * 100 + y * 10 + x, mask=m % 32 < 25, other=0.0)
    for ky in range(0, 6, 2):  # two rows of the kernel at a time; there is no sixth
        k = ky * 32 + tl.arange(0, 64)[:, None]
        tl.store(dw + image * 3088 + k * 16 + o, product(tl.trans(windows(p1, image, ky, 2)), d), mask=k < 160)
    tl.store(dw + image * 3088 + 2560 + o, tl.sum(d, axis=0)[None, :])


@triton.jit
def update_linear(
    x, d, w, b, tile, column, INS: tl.constexpr, OUTS: tl.constexpr, X: tl.constexpr, D: tl.constexpr, size, lr
):  # fmt: skip
    """32 x 32 weights of a linear layer learn from the whole batch. `X`, `D`: the widths of the rows of `x` and `d`."""
    out, feature = (tile * 32 + tl.arange(0, 32))[:, None], (column * 32 + tl.arange(0, 32))[None, :]
    gradient, gradient_bias = tl.zeros((32, 32), tl.float32), tl.zeros((32, 1), tl.float32)
    for start in range(0, size, 32):
        image = start + tl.arange(0, 32)
        given = tl.load(d + image[None, :] * D + out, mask=(image[None, :] < size) & (out < OUTS), other=0.0)
        seen = tl.load(x + image[:, None] * X + feature, mask=(image[:, None] < size) & (feature < INS), other=0.0)
        gradient += exact_product(given, seen)
        gradient_bias += tl.sum(given, axis=1)[:, None]
    learn(w + out * INS + feature, gradient, lr, (out < OUTS) & (feature < INS))
    learn(b + out, gradient_bias, lr, out + column * 128 < OUTS)  # only where the column is the first


@triton.jit
def learn(weights, gradient, lr, mask):
    tl.store(weights, tl.load(weights, mask=mask, other=0.0) - lr * gradient, mask=mask)


# The convolutions' step


@triton.jit(do_not_specialize=["size"])
def update(w1, b1, w2, b2, dw, outcome, sums, first, size, lr):
    """Adds up the images' parts of the convolutions' gradients, always in the same order, and the outcomes."""
    k = tl.program_id(0) * 32 + tl.arange(0, 32)  # conv2's weights and biases, then 26 x 8 of conv1's
    o, j, ky = k % 16, k // 16 % 32, k // 512
    c, place = k % 8, k // 8 - 322  # place (ky, kx) of conv1's kernel; 25: the biases. Both dx have a part of each
    is_1 = k >= 2576
    at = tl.where(is_1, 2576 + (place // 5 * 6 + place % 5) * 8 + c, k)
    total = tl.zeros((32,), tl.float32)
    for start in range(0, size, 128):
        image = start + tl.arange(0, 128)[:, None]
        part, real = dw + image * 3088 + at[None, :], (image < size) & (k < 2784)[None, :]
        part_2 = tl.load(part + 256 + 8, mask=real & is_1[None, :], other=0.0)
        total += tl.sum(tl.load(part, mask=real, other=0.0) + part_2, axis=0)
    learn(w2 + o * 150 + (j % 6) * 25 + ky * 5 + j // 6, total, lr, (k < 2560) & (j < 30))
    learn(b2 + o, total, lr, (k >= 2560) & (k < 2576))
    learn(w1 + c * 25 + place, total, lr, is_1 & (place < 25) & (c < 6))
    learn(b1 + c, total, lr, (place == 25) & (c < 6))
    if tl.program_id(0) == 87:  # which has no weights
        add_up(outcome, sums, first, size)


@triton.jit
def add_up(outcome, sums, first, size):
    """The sums over the steps, and where the next step begins."""
    loss, correct = tl.zeros((64,), tl.float64), tl.zeros((64,), tl.float64)
    for start in range(0, size, 64):
        image = start + tl.arange(0, 64)
        loss += tl.load(outcome + image * 2, mask=image < size, other=0.0).to(tl.float64)
        correct += tl.load(outcome + image * 2 + 1, mask=image < size, other=0.0).to(tl.float64)
    total = tl.sum(loss, axis=0)
    tl.store(sums, tl.load(sums) + total)
    tl.store(sums + 1, tl.load(sums + 1) + tl.sum(correct, axis=0))
    tl.store(sums + 2, tl.load(sums + 2) + size)
    tl.store(sums + 3, tl.load(sums + 3) + (tl.abs(total) < float("inf")).to(tl.float64))
    tl.store(first, tl.load(first) + size)
