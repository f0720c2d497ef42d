"""The exercises of notebook 0, Start here."""

import math
import numbers

import torch

from ..data import LABELS, Batches, read_split
from ..model import lenet
from ..train import SGD, History, cross_entropy, evaluate_accuracy_gpu, init_xavier
from ..trained import trained_lenet
from .ask import as_number
from .engine import Wrong, attempt, exercise

STEPS = 10  # of 256 pictures each, with the learner's learning rate
PICTURES = 60_000  # that an epoch trains on


def a_number(answer):
    if isinstance(answer, str):
        raise Wrong("That is not a number but a text: write it like 0.5, without quotation marks.")
    try:
        return float(as_number(answer, "Your answer"))
    except OverflowError:
        raise Wrong("That number is too large for a computer's 64 bits: choose a smaller one.") from None


def some_pictures(split, count):
    images, labels = read_split(split)
    chosen = torch.randperm(len(labels))[:count]
    return Batches(images[chosen], labels[chosen], batch_size=256)


@exercise(
    "0.1",
    hints=(
        "After each batch, every number in the network takes a step, and `lr` says how long. How long is it here?",
        "The network is the same after training as before. What did the untrained one get, further up?",
    ),
)
def accuracy_without_steps(fraction):
    fraction = a_number(fraction)
    if math.isnan(fraction):
        raise Wrong("That is `nan`, which is no number at all.")
    if not 0 <= fraction <= 1:
        per_cent = ": divide per cent by 100" if 1 < fraction <= 100 else ""
        raise Wrong(f"An accuracy is a fraction, from 0 for none to 1 for all{per_cent}.")
    if fraction > 0.65:
        raise Wrong("So many are right after real training. What does training do to the network here?")
    if fraction > 0.13:
        raise Wrong("That is more than somebody gets who guesses, so the network would have to learn something.")
    if fraction < 0.07:
        raise Wrong("So few? Even somebody who never looks at the pictures is right more often.")
    net = lenet().apply(init_xavier)
    return f"A network that has learned nothing, made just now, got {evaluate(net):.2f}."


def evaluate(net):
    return evaluate_accuracy_gpu(net, some_pictures("t10k", 1000))


@exercise(
    "0.2",
    hints=(
        "Each step is the learning rate times a slope. Which way do you have to go for steps that overshoot?",
        "The course trains with 0.9. Try numbers that are some tens of times as large.",
    ),
)
def ruinous_learning_rate(lr):
    lr = a_number(lr)
    if not math.isfinite(lr):
        raise Wrong("That is no step that anybody could take: choose a finite number.")
    if lr < 0:
        raise Wrong("Below zero, every step makes the loss larger on purpose; `train_ch6` refuses that.")
    if lr == 0:
        raise Wrong("With steps of zero nothing changes, for better or worse.")
    right = accuracy_after_steps(min(lr, torch.finfo(torch.float32).max))  # PyTorch multiplies by no larger one
    if right > 0.7:
        raise Wrong(
            f"The network bears it: after {STEPS} steps it still names {100 * right:.0f} of 100 pictures right."
        )
    if right > 0.13:
        raise Wrong(f"It suffers, but it is not ruined: {100 * right:.0f} of 100 are right, more than by guessing.")
    return f"After {STEPS} steps {100 * right:.0f} of 100 are right, about as many as somebody gets who guesses."


def accuracy_after_steps(lr):
    """The fraction that the course's network gets right after STEPS steps with `lr`, on always the same pictures."""
    torch.manual_seed(0)
    net = trained_lenet()
    optimizer = SGD(net.parameters(), lr)
    for X, y in some_pictures("train", STEPS * 256):
        optimizer.zero_grad()
        cross_entropy(net(X), y).backward()
        optimizer.step()
    return evaluate(net)


@exercise(
    "0.3",
    hints=(
        "Copy the cell under *Train it*, and look at its arguments: one of them is the number of epochs.",
        "`train_ch6` returns what has to be kept: write `my_history = ` in front of it, and `d2l.lenet()` for `net`.",
    ),
)
def eight_epochs(history):
    if not isinstance(history, History):
        raise Wrong(f"Expected the History that `train_ch6` returns, got {type(history).__name__}.")
    if history.stopped.startswith("in"):  # not "after": then it was complete
        raise Wrong(f"The training was stopped {history.stopped}. Let it run to the end.")
    if len(history) == 4:
        raise Wrong("These are four epochs, as many as further up.")
    if len(history) != 8:
        raise Wrong(f"The number of epochs should be 8, and here it is {len(history)}.")
    for epoch, images in enumerate(history.images, start=1):
        if images != PICTURES:
            raise Wrong(f"In epoch {epoch} it saw {images:,} pictures, and not all {PICTURES:,} training pictures.")
    if not all(map(math.isfinite, history.train_loss)):
        raise Wrong("Its loss stops being a number; from then on it learns nothing. Was the learning rate too large?")
    if max(history.train_loss) - min(history.train_loss) < 1e-4:
        raise Wrong("The loss is the same in every epoch: was the learning rate 0?")
    half, full = history.test_acc[3], history.test_acc[7]
    return f"From 0.10 by guessing it came to {half:.2f} in four epochs, and to {full:.2f} in eight: twice as far?"


@exercise(
    "0.4",
    hints=(
        "Two steps: first the number of the class (look how `say` finds it), then the name for that number.",
        "`scores.argmax()` is the number. `d2l.get_fashion_mnist_labels` takes a *list* of numbers, and gives a list.",
    ),
)
def name_of(function):
    scores = [highest_at(i % 10, s - s.mean()) for i, s in enumerate(torch.randn(20, 10))]  # one is above zero
    names = [attempt(function, s.clone(), when="For ten scores") for s in scores]
    is_a_name(names[0])
    if names == [LABELS[s.argmin()] for s in scores]:
        raise Wrong("That is the class with the lowest score: the one that it is surely not.")
    if len(set(names)) == 1:
        raise Wrong(f"It says {names[0]!r} whatever the scores are.")
    if names != [LABELS[s.argmax()] for s in scores]:
        raise Wrong("It gives names, but not always that of the class with the highest score.")
    for place in torch.randperm(10):
        below_zero = highest_at(place, -1 - torch.rand(10))
        if attempt(function, below_zero, when="If all scores are negative") != LABELS[below_zero.argmax()]:
            raise Wrong("It is right as long as some score is above zero. Scores may all be negative.")
    return "The highest score wins, even if it is a low one."


def highest_at(place, scores):
    """`scores`, turned until the highest of them is at `place`: so every class wins at some time."""
    return scores.roll(int(place) - int(scores.argmax()))


def is_a_name(answer):
    if isinstance(answer, (list, tuple)):
        raise Wrong("It gives a list. The word alone is wanted, not a list with one word in it.")
    if torch.is_tensor(answer) and answer.numel() != 1:
        raise Wrong(f"It gives a tensor of {answer.numel()} numbers, and not one name.")
    if isinstance(answer, float) or (torch.is_tensor(answer) and answer.is_floating_point()):
        raise Wrong("It gives a score, and not the name of the class that has it.")
    if isinstance(answer, numbers.Integral) or torch.is_tensor(answer):
        raise Wrong("It gives the number of a class, and not its name.")
    if not isinstance(answer, str):
        raise Wrong(f"It gives something of type `{type(answer).__name__}`, and not a name.")
    if answer not in LABELS:
        raise Wrong(f"{answer!r} is not among the ten names of `d2l.get_fashion_mnist_labels`.")
