"""Which networks the kernels are for, on a CPU as on a GPU: `lenet()`, and the study note's, a sigmoid shorter."""

import torch
from torch import nn

from ..model import lenet
from ..quick import has_own_forward
from .build import Declined


def check(net, device):
    """Raises Declined unless `net` is `lenet()`, or the study note's without the last sigmoid, on the CPU."""
    if device.type != "cpu":
        raise Declined(f"the kernel is for the CPU and the network is on {device}")
    check_layers(net)


def check_layers(net):
    """Raises Declined unless `net` is `lenet()`, or the study note's without the last sigmoid."""
    if type(net) is not nn.Sequential:
        raise Declined(f"the kernel is for lenet()'s nn.Sequential and the network is a {type(net).__name__}")
    wanted = lenet_layers()
    if len(net) == len(wanted) - 1:
        del wanted[-2]  # the sigmoid that the study note forgot
    for (name, layer), expected in zip(net._modules.items(), wanted):  # named_children leaves out repeated ones
        if settings(layer) != settings(expected):
            raise Declined(f"layer {name} of the network is {said(layer)} and the kernel is for {said(expected)} there")
    if len(net) != len(wanted):
        raise Declined(f"the network has {len(net)} layers and the kernel is for the {len(wanted)} of lenet()")
    for name, module in net.named_modules():
        for kind, is_there in (("hooks", hooked(module)), ("a forward of its own", has_own_forward(module))):
            if is_there:
                place = f"layer {name}" if name else "the network"
                raise Declined(f"{place} has {kind}, which the kernel would not call")
    for name, p in net.named_parameters():
        if p.dtype != torch.float32:
            raise Declined(f"the kernel is for torch.float32 and the parameter {name} is of type {p.dtype}")
        if not p.requires_grad or p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None):
            raise Declined(f"the parameter {name} is {'hooked' if p.requires_grad else 'frozen'}")


def said(layer):
    """A layer as PyTorch writes it, on one line, and what it learns where a pruning, say, has changed that."""
    names = [name for name, _ in layer.named_parameters()]
    usual = {"weight", "bias"} >= set(names)
    return " ".join(str(layer).split()) + ("" if usual else f" with {', '.join(names)}")


def lenet_layers():
    with torch.device("meta"):  # without memory, and without drawing numbers from the random state
        return list(lenet())


def settings(layer):
    """All that decides what a layer computes, but for the values of its parameters."""
    public = {name: value for name, value in vars(layer).items() if not name.startswith("_")}
    public = {name: value for name, value in public.items() if name not in ("training", "forward")}
    shapes = {name: p if p is None else tuple(p.shape) for name, p in layer._parameters.items()}
    return type(layer), public, shapes


def hooked(module):
    return any(value for name, value in vars(module).items() if name.startswith("_") and name.endswith("_hooks")
               and "state_dict" not in name)  # fmt: skip
