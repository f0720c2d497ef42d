"""What the judges of several notebooks ask for: fresh random numbers, a number near another one, a net that runs."""

import decimal
import math
import numbers

import torch
from torch import nn

from ..model import evaluation_mode
from .engine import Wrong


def between(low, high):
    """A random whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, ()))


def choice(options):
    return options[between(0, len(options) - 1)]


def distinct(low, high, count):
    """`count` different random whole numbers from `low` to `high`."""
    return (torch.randperm(high - low + 1)[:count] + low).tolist()


def as_number(value, what):
    """`value` as a Python number, which a tensor or an array of one is, too; Wrong for anything else.

    `what`: what it is, as the beginning of a sentence, e.g. "What your function returns".
    """
    if math.prod(getattr(value, "shape", (0,))) == 1:
        value = value.item()
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise Wrong(f"{what} should be a number, and is {value!r:.60}.")
    return value


def as_table(value):
    """`value` as a tensor: also a list of rows that are tensors, which PyTorch does not take. Raises as `as_tensor`."""
    if isinstance(value, (list, tuple)):
        value = [row.tolist() if torch.is_tensor(row) else row for row in value]
    return torch.as_tensor(value)


def expect_number(value, low, high, kinds, otherwise):
    """Raises Wrong unless `value` is from `low` to `high`; `kinds`: messages for typical wrong numbers."""
    value = as_number(value, "Your answer")
    if not low <= value <= high:
        value = max(-1e300, min(value, 1e300))  # a larger int minus a float would overflow
        nearest = min(kinds, key=lambda typical: abs(value - typical))
        about = 3e-3 if low < high else 0  # a count is exact, and so are the wrong ones
        raise Wrong(kinds[nearest] if math.isclose(value, nearest, rel_tol=about, abs_tol=1e-3) else otherwise)


def complain_about_rounding(value, truth, within):
    """Raises Wrong where `value` is `truth` rounded to a few decimal places, and so not `within` reach of it."""
    if abs(value - truth) > within and any(abs(value - round(truth, places)) < 1e-7 for places in range(2, 6)):
        raise Wrong("It is right but for rounding: return it unrounded.")


def expect_class(answer):
    """Raises Wrong for what a class has made; a function that makes the same will do."""
    if isinstance(answer, nn.Module) or not callable(answer):
        raise Wrong(f"The class itself is asked for, and that is an object of the class `{type(answer).__name__}`.")


def run_net(net, X):
    """The tensor that `net` makes of `X`, wherever it lives; Wrong where it makes none. The net stays as it was."""
    like = next(net.parameters(), X)  # on its device, in its precision
    try:
        with evaluation_mode(net), torch.no_grad():
            y_hat = net(X.to(like))
    except (RuntimeError, ValueError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise Wrong(f"It does not take {tuple(X.shape)}. PyTorch says: {said}.") from None
    if not torch.is_tensor(y_hat):
        raise Wrong(f"A network should return one tensor, and yours returns a {type(y_hat).__name__}.")
    return y_hat.to(X)


def innermost(net):
    if not isinstance(net, nn.Module):
        raise Wrong(f"Expected a network, such as an `nn.Sequential`, got {type(net).__name__}.")
    return [layer for _, layer in net.named_modules(remove_duplicate=False) if not any(layer.children())]
