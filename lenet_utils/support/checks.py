"""What may go into the course's functions. Each check raises ValueError: what was expected, what came, what to do.

None of them waits for a GPU: they look at shapes, at types, and at values that are on the CPU anyway.
"""

import collections.abc
import contextlib
import functools
import math
import numbers
import os

import torch

OTHER_VERSIONS = (
    "If a notebook of the course asks for it, the notebook and lenet_utils are of different versions: restart the "
    "kernel. If that doesn't help, fetch the whole course anew."
)


def brief(value):
    """`value` as Python writes it; its type's name alone where that takes more than a line."""
    text = repr(value)
    return text if len(text) <= 100 and "\n" not in text else type(value).__name__


def as_float(value):
    """A number, or a tensor or array of one, as a float; None for anything else, a text such as "1", too."""
    try:
        return None if isinstance(value, (str, bytes)) else float(value.detach() if torch.is_tensor(value) else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def whole_number(name, value, least=1):
    """`value` as an int: NumPy's whole numbers are welcome, but not everywhere behind this."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"expected {name} to be a whole number of at least {least}, got {brief(value)}")
    return int(value)


def image_size(resize):
    """`resize` as `load_data_fashion_mnist` takes it: None, a side, or height and width, in pixels. Returns ints."""
    if resize is None:
        return None
    sides = resize if isinstance(resize, (tuple, list)) else (resize,)
    if len(sides) not in (1, 2):
        raise ValueError(f"expected resize to be a side or (height, width) in pixels, got {resize!r}")
    sides = [whole_number("resize", side) for side in sides]
    return sides if isinstance(resize, (tuple, list)) else sides[0]


def shape(given):
    """`given` as a shape; a tensor counts for its own."""
    try:
        found = given.shape if torch.is_tensor(given) else torch.Size(given)
    except TypeError as error:
        raise ValueError(f"expected a shape, e.g. (1, 1, 28, 28), or a tensor of one, got {brief(given)}") from error
    if any(size < 0 for size in found):
        raise ValueError(f"expected a shape without negative sizes, e.g. (1, 1, 28, 28), got {tuple(found)}")
    return found


def another_shape(X, error):
    """The error where `X` does not even get through a net's first layer."""
    return ValueError(
        f"expected an input_shape that the net's first layer takes, e.g. (1, 3, 32, 32) for images in colour, got "
        f"{tuple(X.shape)}: PyTorch says, {error}"
    )


def class_numbers(labels, num_classes):
    """`labels`, one or several, as a list of ints from 0 to `num_classes` - 1."""
    several = hasattr(labels, "__iter__") and getattr(labels, "ndim", 1) > 0
    found = list(labels) if several else [labels]
    for i in found:
        if as_float(i) not in range(num_classes):
            raise ValueError(f"expected class numbers from 0 to {num_classes - 1}, got {brief(i)}")
    return list(map(int, found))


def learning_rate(lr):
    if not isinstance(lr, numbers.Real) or isinstance(lr, bool) or not math.isfinite(lr) or lr < 0:
        hint = ": the training makes its own SGD" if hasattr(lr, "param_groups") else ""
        raise ValueError(f"expected lr, the learning rate, to be a number from 0 up, e.g. 0.9, got {brief(lr)}{hint}")


def device(name, remedy="use try_gpu() to take a GPU where there is one"):
    """`name` as a torch.device that this machine has."""
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        raise ValueError(f"expected a device that this machine has, got {str(name)!r}: {remedy}") from error
    return torch.device("cpu") if found.type == "cpu" else found  # "cpu:0" is no other place, but looks like one


def module(net):
    if not isinstance(net, torch.nn.Module):
        hint = ": did you forget the brackets?" if callable(net) else ""
        raise ValueError(f"expected net to be a torch.nn.Module, got {type(net).__name__}{hint}")


def trainable(net):
    module(net)
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        mode = "inference_mode()" if torch.is_inference_mode_enabled() else "no_grad(), or set_grad_enabled(False)"
        raise ValueError(f"expected a place where gradients are computed, got torch.{mode}: train outside of it")
    if not any(p.requires_grad for p in net.parameters()):
        raise ValueError(
            f"expected a net with parameters to train, got {type(net).__name__} without any "
            "(were they frozen with requires_grad_(False)?)"
        )
    not_lazy(net)


def is_lazy(net):
    return any(map(torch.nn.parameter.is_lazy, net.parameters()))


def not_lazy(net):
    if is_lazy(net):
        raise ValueError(
            "expected a net that knows the sizes of its layers, got lazy ones without weights: "
            "show it one batch first, net(X)"
        )


def switch(name, given):
    """True or False: "no" would count as true."""
    if not isinstance(given, bool):
        raise ValueError(f"expected {name} to be True or False, got {brief(given)}")


def function(name, given, of):
    """None, or a function `of` something, e.g. "a layer"."""
    if given is not None and not callable(given):
        raise ValueError(f"expected {name} to be a function of {of}, or None, got {brief(given)}")


def animator(given):
    """None or True for a new one, False for none, or an object with `add` and `flush`."""
    missing = [name for name in ("add", "flush") if not callable(getattr(given, name, None))]
    if given is None or isinstance(given, bool) or not (missing or isinstance(given, type)):
        return
    got = f"{type(given).__name__} without {' and '.join(missing)}, which lenet_utils' own has"
    if isinstance(given, type):
        got = f"the class {given.__name__}: did you forget the brackets?"
    raise ValueError(f"expected animator to be None for a new one, False for none, or an Animator, got {got}")


def points(xs, ys):
    """Pairs of floats, or of None where there is none: all of them are looked at before a curve changes."""
    if len(xs) != len(ys):
        raise ValueError(f"expected as many x as y, got {len(xs)} and {len(ys)}")
    for value in (*xs, *ys):
        if value is not None and as_float(value) is None:
            raise ValueError(f"expected a point's x and y to be numbers, or None, got {brief(value)}")
    return [(as_float(x), as_float(y)) for x, y in zip(xs, ys)]


def confusion(counts, names):
    if counts.shape != (len(names), len(names)):
        raise ValueError(
            f"expected counts of shape {(len(names), len(names))}, a row and a column for each of {len(names)} names, "
            f"got {counts.shape}"
        )


def text(code):
    if not isinstance(code, str):
        raise ValueError(f"expected a text, got {brief(code)}: show_source shows the source of functions and classes")


def folder(name):
    if not isinstance(name, (str, os.PathLike)) or name == "":
        raise ValueError(f"expected the name of a folder, e.g. 'my_run', or a path to it, got {brief(name)}")


def some_batches(name, data_iter, num_epochs=1, sized=False):
    """Batches to iterate over, again in every epoch; `sized`: with a len(), the number of batches."""
    if not (hasattr(data_iter, "__iter__") or hasattr(data_iter, "__getitem__")):
        raise ValueError(
            f"expected {name} to be batches to iterate over, such as a DataLoader or a list, got {brief(data_iter)}"
        )
    if num_epochs > 1 and gives_once(data_iter):
        raise ValueError(
            f"expected {name} to give its batches in every epoch, got {type(data_iter).__name__}, which gives them "
            "only once: hand over the DataLoader itself, or a list"
        )
    try:
        count = len(data_iter)
    except TypeError:
        if sized:
            raise ValueError(
                f"expected {name} to have a length, the number of batches, as a DataLoader or a list has, "
                f"got {type(data_iter).__name__}"
            ) from None
        return
    if count == 0:
        raise ValueError(f"expected {name} to give at least one batch, got none: is the data set empty?")
    if type(data_iter) in (list, tuple):
        pair(name, data_iter[0])  # now: the others are looked at when they come


def gives_once(data_iter):
    """Whether one pass uses it up: an iterator, unless its `__iter__` begins anew, so does more than return itself."""
    begin = getattr(getattr(type(data_iter), "__iter__", None), "__code__", None)
    return isinstance(data_iter, collections.abc.Iterator) and not (begin and begin.co_names)


def pairs(name, data_iter):
    """The batches of `data_iter`, each of which has to be a pair `(X, y)`."""
    some_batches(name, data_iter)
    return map(functools.partial(pair, name), data_iter)


def pair(name, batch):
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        number = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise ValueError(
            f"expected {name} to give batches, pairs (X, y) of images and labels, got {type(batch).__name__}{number}: "
            "hand over one of load_data_fashion_mnist's two iterators, or a list of batches, [(X, y)]"
        )
    X, y = batch
    parts = X if isinstance(X, (list, tuple)) else [X]
    if not all(hasattr(part, "to") for part in (*parts, y)):  # what can go to a device: tensors, and what acts as one
        raise ValueError(
            f"expected a batch (X, y) of two tensors, got {type(X).__name__} and {type(y).__name__}: "
            "where these are one image and its label, hand over a DataLoader of the data set"
        )
    return batch


def images_in_bytes(images, labels):
    """What `Batches` cuts into batches: images uint8 `(n, H, W)`, and labels `(n,)`."""
    if not (torch.is_tensor(images) and torch.is_tensor(labels)):
        raise ValueError(
            f"expected images and labels as two tensors, got {type(images).__name__} and {type(labels).__name__}: "
            "torch.from_numpy makes one of an array"
        )
    if images.dtype != torch.uint8 or images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"expected images of type torch.uint8 and shape (n, H, W), and labels (n,), got {images.dtype}, "
            f"{tuple(images.shape)} and {tuple(labels.shape)}: a DataLoader takes images in colour, or from 0 to 1"
        )


def testable(net, place):
    """What is tested, and where: a net, or any function of images; None or a device."""
    if not callable(net):
        raise ValueError(
            f"expected net to be a network, or a function of images, got {type(net).__name__}: first comes the net, "
            "then the batches"
        )
    if place is not None:
        device(place)


def batch(X, y):
    """One batch as a data iterator gives it: images `(N, ...)` and whole-number labels `(N,)`."""
    if not (torch.is_tensor(X) and torch.is_tensor(y)):
        raise ValueError(f"expected a batch (X, y) of two tensors, got {type(X).__name__} and {type(y).__name__}")
    if y.dtype != torch.int64 or y.ndim != 1:
        raise ValueError(
            f"expected labels y of type torch.int64 and shape (N,), got {y.dtype} and {tuple(y.shape)}: "
            "one class number an image"
        )
    if len(X) != len(y) or len(y) == 0:
        raise ValueError(
            f"expected as many images as labels, and at least one, got {len(X)} images and {len(y)} labels"
        )


@contextlib.contextmanager
def types_explained(net, X):
    """Around `net(X)`: where it fails since the net's parameters are of another type than `X`, the error says so."""
    try:
        yield
    except RuntimeError as error:
        dtype = next((p.dtype for p in net.parameters()), None) if isinstance(net, torch.nn.Module) else None
        if dtype is None or not torch.is_tensor(X) or X.dtype == dtype:
            raise
        if not any(word in str(error) for word in ("type", "not implemented")):  # PyTorch's words
            raise
        raise another_type(X, dtype) from error


def another_type(X, dtype):
    hint = f"X.to({dtype}), or net.to({X.dtype})" if X.is_floating_point() else "divide bytes by 255"
    return ValueError(f"expected images X of type {dtype}, as the net's parameters are, got {X.dtype}: {hint}")


def logits(y_hat, labels):
    """What a net gave for `labels`: `(N, C)`, and every label from 0 to C - 1.

    Labels on the device that computes are left alone: reading them would wait for it, and on the CPU the
    loss itself refuses them. Labels on the CPU for a GPU are looked at, since a GPU would not say what is wrong.
    """
    one_tensor(y_hat)
    if y_hat.shape == (len(labels), 1):
        raise ValueError(
            f"expected the net to give {len(labels)} rows of logits, got {tuple(y_hat.shape)}: {ONE_OUTPUT}"
        )
    if y_hat.ndim != 2 or len(y_hat) != len(labels):
        raise ValueError(
            f"expected the net to give {len(labels)} rows of logits, (N, 10), for {len(labels)} labels, "
            f"got {tuple(y_hat.shape)}: does it begin with Reshape() and flatten before its first Linear?"
        )
    if labels.is_cpu and not y_hat.is_cpu:
        all_labels(labels, y_hat)


ONE_OUTPUT = "a net with one output tells no classes apart, so give its last layer two"


def predictions(y_hat, y):
    """One class number for each label. Without this (N, 1) == (N,) would compare everything with everything."""
    if not torch.is_tensor(y):
        raise ValueError(f"expected labels y as a tensor (N,), got {type(y).__name__}: torch.tensor(y) makes one")
    if y_hat.shape != y.shape:
        hint = f": {ONE_OUTPUT}" if y_hat.shape == (*y.shape, 1) else ""
        raise ValueError(f"expected one prediction for each label, got {tuple(y_hat.shape)} for {tuple(y.shape)}{hint}")


def one_tensor(y_hat):
    if not torch.is_tensor(y_hat):
        raise ValueError(
            f"expected the net to give one tensor, a row of logits for each image, got {type(y_hat).__name__}: "
            "let its forward return the logits alone"
        )


def all_labels(labels, y_hat):
    """Whether all `labels` are from 0 to C - 1, for logits `(N, C)`. Waits for their device."""
    if labels.min() < 0 or labels.max() >= y_hat.shape[1]:
        raise impossible_labels(y_hat.shape[1])


def impossible_labels(num_classes, count="some"):
    return ValueError(
        f"expected labels from 0 to {num_classes - 1}, since the net tells {num_classes} classes apart, "
        f"got {count} outside that range: count classes from 0, or give the last layer more outputs"
    )
