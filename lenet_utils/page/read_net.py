"""A net as a plain description: what each layer computes, the shapes between them, and all numbers in one list.

Only what is described here exactly as PyTorch computes it gets into the page; anything else is refused by name.
"""

import torch
from torch import nn

from ..model import evaluation_mode
from ..quick import has_own_forward


def read_net(net, images):
    """The layers of `net` as dicts that JSON can hold, and their weights as one float32 array.

    A layer's `weight`, `bias`, ... say where its numbers begin in the array. The first layer is always the picture
    itself: the net's own Reshape where it begins with one. `images`: `(N, 1, 28, 28)`, to follow the shapes with.
    Raises ValueError for layers that the page does not know, naming them.
    """
    numbers, layers = Numbers(), [{"kind": "input", "name": "Input", "path": "", "shape": [1, 28, 28]}]
    with evaluation_mode(net), torch.no_grad():
        X = pictures = images.to(next(net.parameters(), images).device)
        for path, layer in leaves(net):
            before, X = X, step(path, layer, X)
            described = describe(path, layer, before, X, numbers, first=layers[-1]["kind"] == "input")
            described |= {"name": type(layer).__name__, "path": path, "shape": list(X.shape[1:])}
            if described["kind"] == "input":
                layers.pop()  # the net begins with a reshape: that is the picture
            layers.append(described)
        answer = net(pictures)
    if not torch.allclose(X, answer, atol=1e-4, equal_nan=True):
        raise ValueError(
            "expected a net that does nothing but call its layers in turn, got one whose answer differs from theirs: "
            "take hooks away that change outputs"
        )
    return layers, numbers.all()


def leaves(net, path=""):
    """The layers of nested Sequentials in the order of their calls, each with its path: "1", or "0.2" for net[0][2]."""
    if not does_what(net, nn.Sequential):
        raise ValueError(
            f"expected a torch.nn.Sequential, whose layers can be read in their order, got {type(net).__name__}"
        )
    for i, layer in enumerate(net):  # not its names: a slice of a net keeps the old numbers
        if does_what(layer, nn.Sequential):
            yield from leaves(layer, f"{path}{i}.")
        else:
            yield f"{path}{i}", layer


def does_what(layer, kind):
    """Whether `layer` is of `kind` and computes what that computes; with a forward of its own it may not."""
    return isinstance(layer, kind) and type(layer).forward is kind.forward and not has_own_forward(layer)


def step(path, layer, X):
    try:
        return layer.forward(X)  # not layer(X), whose hooks may change it: read_net wants to notice
    except RuntimeError as error:
        raise ValueError(
            f"expected layer {path}, {type(layer).__name__}, to take what comes before it, of shape {tuple(X.shape)}, "
            f"got: {error}"
        ) from error


class Numbers:
    """Weights in one long list; adding some returns where they begin."""

    def __init__(self):
        self.parts, self.count = [torch.empty(0, dtype=torch.float32, device="cpu")], 0

    def add(self, tensor):
        if tensor is None:
            return None
        start = self.count
        self.parts.append(tensor.detach().cpu().flatten())
        self.count += tensor.numel()
        return start

    def all(self):
        return torch.cat(self.parts).numpy()


def describe(path, layer, before, after, numbers, first):
    """What `layer` does, as the page's `layers.js` does it; `before` and `after` are its input and output."""
    if type(layer).__name__ == "Reshape" and first:  # ours, or the one that a learner wrote after d2l
        expect(path, layer, "images left as they are", torch.equal(before.flatten(), after.flatten()))
        expect(path, layer, "the shape (N, 1, 28, 28) made", after.shape[1:] == (1, 28, 28))
        return {"kind": "input"}
    for kind, reader in READERS.items():
        if does_what(layer, kind):
            return reader(path, layer, before, after, numbers)
    own = " with a forward of its own" if has_own_forward(layer) else ""
    names = ", ".join(["Reshape (first)", *(kind.__name__ for kind in READERS)])
    raise ValueError(
        f"expected layers that the page can compute, got {type(layer).__name__}{own} as layer {path}: it knows {names}"
    )


def expect(path, layer, what, condition):
    if not condition:
        raise ValueError(f"expected {type(layer).__name__}, layer {path}, with {what}, got {layer}")


def pair(size):
    """Both of two sizes, of which PyTorch takes one for both: 2, or [2]."""
    size = list(size) if isinstance(size, (tuple, list)) else [size]
    return size * 2 if len(size) == 1 else size


def read_conv(path, layer, before, after, numbers):
    expect(path, layer, "groups=1 and dilation=1", layer.groups == 1 and pair(layer.dilation) == [1, 1])
    expect(path, layer, "padding_mode='zeros'", layer.padding_mode == "zeros")
    padding = {"same": [(k - 1) // 2 for k in layer.kernel_size], "valid": [0, 0]}.get(layer.padding, layer.padding)
    odd = all(k % 2 for k in layer.kernel_size)
    expect(path, layer, "the same padding on both sides", layer.padding != "same" or odd)
    return {
        "kind": "conv", "kernel": pair(layer.kernel_size), "stride": pair(layer.stride), "padding": pair(padding),
        "weight": numbers.add(layer.weight), "bias": numbers.add(layer.bias),
    }  # fmt: skip


def read_pool(path, layer, before, after, numbers):
    expect(path, layer, "ceil_mode=False", not layer.ceil_mode)
    if isinstance(layer, nn.MaxPool2d):
        expect(path, layer, "dilation=1", pair(layer.dilation) == [1, 1])
        expect(path, layer, "return_indices=False", not layer.return_indices)
    else:
        expect(path, layer, "divisor_override=None", layer.divisor_override is None)
        expect(path, layer, "count_include_pad=True", layer.count_include_pad or pair(layer.padding) == [0, 0])
    return {
        "kind": "maxpool" if isinstance(layer, nn.MaxPool2d) else "avgpool",
        "kernel": pair(layer.kernel_size), "stride": pair(layer.stride), "padding": pair(layer.padding),
    }  # fmt: skip


def read_adaptive_pool(path, layer, before, after, numbers):
    sizes = list(zip(before.shape[-2:], after.shape[-2:]))
    expect(path, layer, f"an output size that divides {tuple(before.shape[-2:])}", all(a % b == 0 for a, b in sizes))
    kernel = [a // b for a, b in sizes]
    return {"kind": "avgpool", "kernel": kernel, "stride": kernel, "padding": [0, 0]}


def read_batchnorm(path, layer, before, after, numbers):
    expect(path, layer, "running averages (track_running_stats=True)", layer.running_mean is not None)
    names = {"weight": layer.weight, "bias": layer.bias, "mean": layer.running_mean, "variance": layer.running_var}
    return {"kind": "batchnorm", "eps": layer.eps} | {name: numbers.add(tensor) for name, tensor in names.items()}


def read_linear(path, layer, before, after, numbers):
    expect(path, layer, "rows of features (N, C) in front of it: a Flatten", before.ndim == 2)
    return {"kind": "linear", "weight": numbers.add(layer.weight), "bias": numbers.add(layer.bias)}


def read_flatten(path, layer, before, after, numbers):
    expect(path, layer, "start_dim=1 and end_dim=-1", (layer.start_dim, layer.end_dim) == (1, -1))
    return {"kind": "flatten"}


def plain(kind):
    return lambda path, layer, before, after, numbers: {"kind": kind}


READERS = {
    nn.Conv2d: read_conv,
    nn.AvgPool2d: read_pool,
    nn.MaxPool2d: read_pool,
    nn.AdaptiveAvgPool2d: read_adaptive_pool,
    nn.BatchNorm2d: read_batchnorm,
    nn.BatchNorm1d: read_batchnorm,
    nn.Flatten: read_flatten,
    nn.Linear: read_linear,
    nn.Sigmoid: plain("sigmoid"),
    nn.Tanh: plain("tanh"),
    nn.ReLU: plain("relu"),
    nn.Dropout: plain("identity"),  # in evaluation, dropout lets everything through
    nn.Dropout2d: plain("identity"),
    nn.Identity: plain("identity"),
}
