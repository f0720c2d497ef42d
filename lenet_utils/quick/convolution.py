"""The gradient of a first convolution on a CPU with AVX2, to the bit as PyTorch computes it, in a fraction of the time.

PyTorch's library has one routine for it, which takes numbers of eight channels at a time. Pictures of one channel are
first copied into blocks of eight, seven of them empty, and the maps' gradients into blocks, too: that takes longer than
the arithmetic. Where the channels come last in memory, the same routine takes them as they lie, in the same order.
"""

import functools

import torch
from torch import nn

from . import asked


class FirstConvolution(torch.autograd.Function):
    """A convolution of pictures `(N, 1, H, W)` that need no gradient themselves; `how`: as `settings` has it."""

    @staticmethod
    def forward(ctx, X, weight, bias, how):
        ctx.save_for_backward(X, weight)
        ctx.how, ctx.bias_shape = how, None if bias is None else list(bias.shape)
        return nn.functional.conv2d(X, weight, bias, *how)

    @staticmethod
    def backward(ctx, grad):
        X, weight = ctx.saved_tensors
        wanted = False, *ctx.needs_input_grad[1:3]
        pictures = X if asked.for_second_derivatives() else channels_last(X)
        _, weights, biases = gradients(grad, pictures, weight, ctx.bias_shape, ctx.how, wanted)
        if weights is not None:
            weights = weights.flatten().view(weight.shape)  # with the usual strides again: DDP compares them
        return None, weights, biases, None


def gradients(grad, X, weight, bias_shape, how, wanted=(False, True, True)):
    """PyTorch's gradients of a convolution's inputs, weights and biases; the memory format of `X` decides how."""
    return torch.ops.aten.convolution_backward(grad, X, weight, bias_shape, *how, False, [0, 0], 1, wanted)


def channels_last(X):
    """`X (N, 1, H, W)`, with the strides of a tensor whose channels come last. With one channel nothing moves."""
    height, width = X.shape[2:]
    return X.as_strided(X.shape, (height * width, 1, width, 1))


def settings(layer):
    """Stride, padding and dilation, as PyTorch's functions take them."""
    return layer.stride, layer.padding, layer.dilation


@functools.cache
def same_bits(shape, weight_shape, how, threads):
    """Whether both ways give the same gradients here, tried on pictures of that `shape`; `threads`: the number set."""
    random = torch.Generator().manual_seed(0)  # the learner's random numbers are not ours to use
    usual = {"generator": random, "dtype": torch.float32, "device": "cpu"}
    X, weight = (torch.rand(size, **usual) for size in (shape, weight_shape))
    grad = torch.randn(nn.functional.conv2d(X, weight, None, *how).shape, **usual)
    ways = (gradients(grad, pictures, weight, [len(weight)], how)[1:] for pictures in (X, channels_last(X)))
    return all(map(torch.equal, *ways))


def quick_way(layer):
    """What computes as `layer` does, quicker where it can be, given it and `X`; None where that is never quicker."""
    takes_pictures = type(layer) is nn.Conv2d and layer.in_channels == 1 and layer.padding_mode == "zeros"
    if takes_pictures and not isinstance(layer.padding, str) and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return convolve
    return None


def convolve(layer, X):
    """What `layer` makes of `X`."""
    plain = X.ndim == 4 and X.is_cpu and X.dtype == layer.weight.dtype == torch.float32 and X.is_contiguous()
    learns = torch.is_grad_enabled() and layer.weight.requires_grad and not X.requires_grad
    others = asked.for_more_than_gradients() or torch.is_autocast_enabled("cpu")
    how = settings(layer)
    quick = plain and learns and len(X) and not others
    if quick and same_bits(X.shape, layer.weight.shape, how, torch.get_num_threads()):
        return FirstConvolution.apply(X, layer.weight, layer.bias, how)
    return type(layer).forward(layer, X)
