"""What the clinic's loops are compared with: what a healthy one makes of the same net with the same batches.

None of it knows the patients: it says what a loop does, and what it should do.
"""

import copy
import dataclasses

import torch
from torch import nn
from torch.nn import functional as F

from ..train import SGD
from .ask import as_number
from .engine import Wrong, returned

LR = 0.01  # so small that what is rounded does not grow from step to step


@dataclasses.dataclass
class Call:
    X: torch.Tensor  # what the net was given
    training: bool  # its mode
    logits: torch.Tensor  # (N, 10)
    gradient: torch.Tensor | None = None  # of the loss, by the logits: there is one where `backward` was called


class Calls(list):
    """What a net and its copies write down: a loop may test a copy."""

    def __deepcopy__(self, memo):
        return self


class Probe(nn.Module):
    """One linear layer that writes down every call, with the gradient that came back for it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        self.calls = Calls()

    def forward(self, X):
        logits = self.layers(X)
        call = Call(X.detach().clone(), self.training, logits.detach())
        if logits.requires_grad:
            logits.register_hook(lambda gradient: setattr(call, "gradient", gradient))
        self.calls.append(call)
        return logits

    def learned_from(self):
        """The calls that a gradient came back for."""
        return [call for call in self.calls if call.gradient is not None]


class WatchedSGD(SGD):
    """Writes down the gradient of the probe's biases at every step, None where there is none."""

    def __init__(self, net):
        super().__init__(net.parameters(), LR)
        self.used = []

    def step(self):
        gradient = self.parameters[-1].grad
        self.used.append(None if gradient is None else gradient.clone())
        super().step()


def random_batches(*sizes):
    return [(torch.rand(n, 1, 28, 28), torch.randint(10, (n,))) for n in sizes]


def same(a, b):
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-5)


def results(outcome):
    """The losses, as floats, and the other thing that a loop hands back. Raises Wrong where it is no such pair."""
    outcome = returned(outcome, "The loop")
    if not isinstance(outcome, tuple) or len(outcome) != 2 or not isinstance(outcome[0], list):
        raise Wrong("The loop should hand back the same two things as before: the list of losses comes first.")
    return [as_number(loss, "Each of the losses") for loss in outcome[0]], outcome[1]


def joined(outcomes):
    """All losses of several epochs, and their marks."""
    return [loss for losses, _ in outcomes for loss in losses], [mark for _, mark in outcomes]


def two_test_batches():
    """With pixels from 2 to 3 to know them by. Whatever the net, its mark on all is none of those on parts.

    In the first it is a tenth: one picture, with all labels. On all 107 it cannot be, nor the mean of both.
    """
    X = torch.rand(98, 1, 28, 28) + 2
    return [(X[:1].repeat(10, 1, 1, 1), torch.arange(10)), (X[1:], torch.randint(10, (97,)))]


def healthy(fresh, epochs, emptied=True):
    """The losses, one a batch, of layers that begin as `fresh`; and these layers as they are after each epoch.

    `epochs`: lists of batches (X, y). `emptied`: False lets the gradients of all batches add up.
    """
    layers, losses, stages = copy.deepcopy(fresh), [], []
    optimizer = SGD(layers.parameters(), LR)
    for batches in epochs:
        for X, y in batches:
            if emptied:
                optimizer.zero_grad()
            loss = F.cross_entropy(layers(X), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        stages.append(copy.deepcopy(layers))
    return losses, stages


def complain_about_run(losses, marks, net, fresh, epochs, tests):
    """Raises Wrong unless `net`, with layers `fresh` at first, learned from `epochs`, with these losses and marks."""
    stages = complain_about_training(losses, net, fresh, epochs)
    complain_about_sleep([call for call in net.calls if call.X.max() > 1])
    for mark, layers in zip(marks, stages):
        complain_about_mark(as_number(mark, "A test accuracy that the loop hands back"), layers, tests)


def complain_about_training(losses, net, fresh, epochs):
    """The layers after each epoch. Raises Wrong where a healthy loop would have had another training, or `losses`."""
    batches, learned = [batch for batches in epochs for batch in batches], net.learned_from()
    if len(learned) != len(batches):
        raise Wrong(
            f"Every batch needs its `backward`, once an epoch, and nothing else does: {len(batches)} in all here; "
            f"yours has {len(learned)}."
        )
    for call, (X, y) in zip(learned, batches):
        if not same(call.X.flatten(1), X.flatten(1)):
            raise Wrong(
                f"The net should learn from the {len(X)} pictures of a batch as they are. It gets {len(call.X)} rows, "
                "and they don't hold what these pictures hold, row by row."
            )
        if not torch.equal(labels_of(call, y), y):
            raise Wrong("A picture is learned with a label that is not its own: let both go through the loop together.")
        if not call.training:
            raise Wrong(
                "The net should be in training mode whenever it learns; here some batch finds it in evaluation mode."
            )
    expected, stages = healthy(fresh, epochs)
    complain_about_weights(net.layers, fresh, stages[-1], epochs)
    if len(losses) != len(expected):
        raise Wrong(
            f"It learns as it should, but the losses that it hands back are {len(losses)}, and should be "
            f"{len(expected)}, one a batch."
        )
    for number, (loss, own) in enumerate(zip(losses, expected), start=1):
        if not abs(loss - own) < 1e-4:
            raise Wrong(
                "It learns as it should, but the losses that it hands back are other ones: "
                f"number {number} should be {own:.4f}, and is {loss:.4f}."
            )
    return stages


def complain_about_weights(layers, fresh, well, epochs):
    """Raises Wrong unless `layers` have the weights of `well`: what a healthy loop makes of `fresh` in these epochs."""
    summed = healthy(fresh, epochs, emptied=False)[1][-1]
    own, fresh, well, summed = map(weights_of, (layers, fresh, well, summed))
    if same(own, well):
        return
    if same(own, fresh):
        raise Wrong("In the end every weight is what it was at the beginning: each `backward` should lead to a step.")
    if same(own, summed):
        raise Wrong("Each step should follow the gradient of its own batch alone; yours has those of all before in it.")
    worst = (own - well).abs().argmax()
    raise Wrong(
        "The weights should make one step a batch, the learning rate times the gradient of this batch alone. One of "
        f"them would then go from {fresh[worst]:.4f} to {well[worst]:.4f}; yours goes to {own[worst]:.4f}."
    )


def weights_of(layers):
    return nn.utils.parameters_to_vector(layers.parameters()).detach()


def labels_of(call, y):
    """The labels (N,) with which a batch was learned: `y` if all is well. Raises Wrong for another loss."""
    if same(call.gradient, gradient_of(F.cross_entropy, call, y)):
        return y
    for complaint, loss in LOSSES.items():
        if same(call.gradient, gradient_of(loss, call, y)):
            raise Wrong(complaint)
    labels = call.gradient.argmin(dim=1)  # negative at the label alone
    if not same(call.gradient, gradient_of(F.cross_entropy, call, labels)):
        raise Wrong("This is not the mean cross-entropy of the logits: its gradient is another one.")
    return labels


def gradient_of(loss, call, y):
    z = call.logits.clone().requires_grad_()
    return torch.autograd.grad(loss(z, y), z)[0]


PROBABILITIES = "`cross_entropy` gets probabilities, and takes the softmax of them."
LOSSES = {  # what a loss may do with logits z and labels y, and what is said about it
    PROBABILITIES: lambda z, y: F.cross_entropy(z.softmax(dim=1), y),
    "The softmax now runs down the batch: pictures compete with each other, where classes should.": (
        lambda z, y: F.cross_entropy(z.softmax(dim=0), y)
    ),
    "A sigmoid squeezes the logits as a softmax does: the loss still gets numbers between 0 and 1.": (
        lambda z, y: F.cross_entropy(z.sigmoid(), y)
    ),
    "`nll_loss` takes logarithms of probabilities; it gets the probabilities themselves.": (
        lambda z, y: F.nll_loss(z.softmax(dim=1), y)
    ),
    "Now there is no softmax at all: this loss takes logarithms of probabilities, and gets raw logits.": (
        lambda z, y: F.nll_loss(z, y)
    ),
}


def complain_about_sleep(tested):
    if any(call.training for call in tested):
        raise Wrong("It learns as it should, but the test finds the net in training mode: it should rest then.")


def complain_about_mark(mark, layers, tests):
    """Raises Wrong unless `mark` is the fraction of all test pictures that `layers` name right."""
    with torch.no_grad():
        right = [(layers(X).argmax(dim=1) == y).float() for X, y in tests]
    truth, means = torch.cat(right).mean(), torch.stack([batch.mean() for batch in right])
    if abs(mark - truth) < 1e-4:
        return
    seen = "count what is right in all batches, and divide by the number of pictures"
    if abs(mark - means[0]) < 1e-4:
        seen = "so many are right in the first batch alone"
    elif abs(mark - means.mean()) < 1e-4:
        seen = f"that is the mean of the batches, where one of {len(right[0])} counts as much as one of {len(right[1])}"
    raise Wrong(
        f"It learns as it should, but the mark should be {truth:.4f} (0 to 1), the part of all "
        f"{len(torch.cat(right))} test pictures that is named right, and is {mark:.4f}: {seen}."
    )


def pictures_of(call, X):
    """Which of the pictures `X` the net was given, in whatever brightness, by number. Raises Wrong for another one."""
    rows, X = (part.flatten(1) - part.flatten(1).mean(dim=1, keepdim=True) for part in (call.X, X))
    likeness, pictures = (F.normalize(rows) @ F.normalize(X).T).max(dim=1)
    if not likeness.min() > 0.5:  # NaN is not
        raise Wrong("The net should learn from the training pictures, each in a row of its own; some row shows none.")
    return pictures


def complain_about_pictures(pictures, n, num_epochs):
    in_order = torch.arange(n).repeat(num_epochs)
    if not torch.equal(pictures.sort().values, in_order.sort().values):
        raise Wrong(
            f"Every picture should come up once an epoch, but some are left out, or come twice: of {n} pictures in "
            f"{num_epochs} epochs, {len(pictures.unique())} come up, {len(pictures)} times in all."
        )
