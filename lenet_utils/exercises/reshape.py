"""The exercises of notebook 1, Reshape."""

import torch
from torch.nn import functional as F

from .ask import as_table, between, expect_class
from .engine import Wrong, attempt, exercise


@exercise(
    "1.1",
    hints=(
        "Write `a` on paper as a table first, then the table on its side.",
        "`reshape` reads row after row what `a.t()` shows, and fills the new rows with it from left to right.",
    ),
)
def transposed_then_reshaped(answer):
    try:
        answer = as_table(answer)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong("That is not a table: write it as a list of rows, e.g. [[0, 1], [2, 3]].") from None
    a = torch.arange(6).view(2, 3)
    if answer.shape != (2, 3):
        raise Wrong(f"The result of `reshape(2, 3)` has two rows of three; yours has the shape {tuple(answer.shape)}.")
    if torch.equal(answer, a):
        raise Wrong("That is `a` itself, as if the reshape undid the transpose.")
    if sorted(answer.flatten().tolist()) != list(range(6)):
        raise Wrong("A reshape keeps every number, and each of them once.")
    if not torch.equal(answer, a.t().reshape(2, 3)):
        raise Wrong("The six numbers are there, but not in this order.")
    return "Same shape as `a`, other order: nothing would have warned you."


@exercise(
    "1.2",
    hints=(
        "The layer reads the memory in one line and cuts it every 784 numbers. Where does a picture have to lie?",
        "Let the pictures be counted along the last axis, not the first: then neighbours in memory belong to different "
        "pictures. `permute` alone leaves the memory as it was.",
    ),
)
def mixed_pictures(store):
    count = between(3, 8)
    pictures = torch.randperm(count * 784).view(count, 28, 28).float()
    stored = attempt(store, pictures.clone(), when=f"With {count} pictures")
    if not torch.is_tensor(stored) or sorted(stored.flatten().tolist()) != list(range(count * 784)):
        raise Wrong("What it gives back should hold the same numbers, each of them once, as a tensor.")
    try:
        got = stored.view(-1, 1, 28, 28)
    except RuntimeError:
        raise Wrong("The note's layer refuses it, since a view needs memory that can be read in one line.") from None
    owner = pictures.flatten().argsort() // 784  # of each number, as they are all different
    owners = [set(owner[picture.flatten().long()].tolist()) for picture in got]
    if torch.equal(got[:, 0], pictures):
        raise Wrong("The layer makes the right pictures of that: nothing is broken.")
    if all(len(mixed) == 1 for mixed in owners):
        raise Wrong("Every picture still has its own pixels and no others: none is mixed with another.")
    if any(len(mixed) == 1 for mixed in owners):
        raise Wrong("Some pictures are mixed, but not all of them.")
    return "The count is right and every picture is a mixture. No layer can tell from the shape; you can, by looking."


@exercise(
    "1.3",
    hints=(
        "Two steps: first what `Reshape` does, then a border. You have seen both in this notebook.",
        "`F.pad` counts from the last axis: left, right, top, bottom. How many pixels are missing on each side?",
    ),
)
def reshape32(layer):
    count = between(2, 8)
    expect_class(layer)
    layer = attempt(layer, when="Without arguments")
    for shape in [(count, 1, 28, 28), (count, 784), (count, 28, 28), (28, 28)]:
        X = 0.1 + 0.8 * torch.rand(shape)
        got = tensor_of(layer, X, f"For an input of shape {shape}")
        N = 1 if shape == (28, 28) else count
        if got.shape != (N, 1, 32, 32):
            raise Wrong(f"For an input of shape {shape} it gives {tuple(got.shape)}, and not (N, 1, 32, 32).")
        inside, pictures = got[..., 2:-2, 2:-2], X.view(N, 1, 28, 28)
        if not torch.equal(inside, pictures):
            if not torch.equal(got.flatten().sort().values[-X.numel() :], X.flatten().sort().values):
                raise Wrong("It makes new values: every pixel should keep its own, with a black border around them.")
            if any(torch.equal(got[..., i : i + 28, j : j + 28], pictures) for i in range(5) for j in range(5)):
                raise Wrong("All pixels are there, but not in the middle: the border should be equally wide all round.")
            raise Wrong("All pixels are there, but not all of them are in their places.")
        if not torch.equal(got, F.pad(pictures, (2, 2, 2, 2))):
            raise Wrong("The pixels are right, but the border is not black.")
    return "This is the size that LeNet-5 was shown in 1998."


def tensor_of(layer, X, name):
    """What `layer` makes of a copy of `X`; Wrong if that is no tensor."""
    if not callable(layer):
        raise Wrong("What the class makes cannot be called as a layer can: let it be a `torch.nn.Module`.")
    got = attempt(layer, X.clone(), when=name)
    if not torch.is_tensor(got):
        raise Wrong(f"{name} it should give a tensor, and what it gives is of type `{type(got).__name__}`.")
    return got


@exercise(
    "1.4",
    hints=(
        "Look at each of the four shapes first, and decide what N is in it. Whatever is none of them is a ValueError.",
        "`tuple(X.shape[1:])` says what kind of input a batch is; compare it with the kinds that you know. The number "
        "of pictures is `X.shape[0]`, never -1, and only a single picture, (height, width), has none.",
    ),
)
def my_reshape(layer):
    expect_class(layer)
    for (height, width), count in zip([(3, 7), (8, 5)], torch.randperm(7) + 2):
        for pictures in (int(count), 1, height):  # as many as rows: still no single picture
            reshapes_all(layer, height, width, pictures)
        refuses_others(layer(height, width), height, width, int(count))
    return "It takes what it knows, for any size, and refuses the rest. LeNet's own does that for 28x28."


def reshapes_all(layer, height, width, count):
    net = attempt(layer, height, width, when=f"With a height of {height} and a width of {width}")
    shapes = [(count, height * width), (count, height, width), (count, 1, height, width), (height, width)]
    for shape in shapes:
        X = torch.rand(shape)
        name = f"For pictures of {height}x{width} and an input of shape {shape}"
        compare(tensor_of(net, X, name), X.reshape(-1, 1, height, width), name)


def compare(got, wanted, name):
    N, _, height, width = wanted.shape
    if got.shape != wanted.shape:
        known = {
            (1, N, height, width): "the batch and the channel axis have changed places",
            (N, 1, width, height): "height and width have changed places",
            (N, height, width): "the channel axis is missing",
            (height, width): "a single picture has to become a batch of one, with a channel",
        }
        kind = known.get(tuple(got.shape), "that is not (N, 1, height, width)")
        raise Wrong(f"{name} it gives {tuple(got.shape)}: {kind}.")
    if not torch.equal(got, wanted):
        raise Wrong(f"{name} the shape is right, but the pixels are not where they belong.")


def refuses_others(net, height, width, count):
    others = [
        ((count, 3, height, width), "colour pictures"),
        ((count, 2, height, width), "pictures with two channels"),
        ((2, count, 1, height, width), "batches of batches"),
        ((count, 2 * height * width), "rows that are twice as long as a picture"),
        ((count, height, width, 1), "pictures with their channel last"),
        ((count, height * width + 1), "rows that are one number too long"),
        ((count, 2 * height, width), "pictures that are twice as high"),
        ((count, 1, height, 2 * width), "pictures that are twice as wide"),
        ((count, width, height), "pictures on their side"),
        ((count, 1, width, height), "pictures on their side, with a channel"),
        ((width, height), "a single picture on its side"),
        ((height * width,), "a row without a batch"),
        ((2, count, height * width), "batches of rows"),
        ((count, 1, height * width), "rows with a channel"),
        ((count, 1, 1, height, width), "pictures with two channel axes"),
    ]
    for shape, name in others:
        try:
            got = net(torch.rand(shape))
        except ValueError:
            continue
        except Exception as error:
            raised = type(error).__name__
            raise Wrong(f"{name.capitalize()}, {shape}, should raise a ValueError; yours is {raised}.") from None
        if not torch.is_tensor(got):
            raise Wrong(f"For {name}, {shape}, it returns {got!r:.60} instead of raising a ValueError.")
        raise Wrong(f"It takes {name}, {shape}, and gives {tuple(got.shape)} without a word.")
