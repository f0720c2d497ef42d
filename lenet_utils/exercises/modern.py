"""The exercises of notebook 5, From 1998 to today."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from ..data import Batches, read_split
from ..model import lenet
from ..train import evaluate_accuracy_gpu
from .engine import Wrong, attempt, exercise

BUDGET = 61_706  # parameters: lenet()'s
BAR = 0.83  # of the pictures kept apart; a single linear layer stays below it


@exercise(
    "5.1",
    hints=(
        "Count the sigmoids between the loss and the first convolution, in both networks. What does each one do to "
        "the gradient that comes through it?",
        "The chain rule multiplies. One sigmoid lets at most a quarter through; the linear layers in between do not "
        "count here.",
    ),
)
def slopes(ours, notes):
    try:
        ours, notes = float(ours), float(notes)
    except (TypeError, ValueError):
        raise Wrong("Write two numbers.") from None
    if (ours, notes) == (0.25**3, 0.25**4):
        raise Wrong("These are the two numbers, the wrong way round.")
    if ours == notes == 0.25:
        raise Wrong("That is what one sigmoid lets through; there are several in a row.")
    if (ours, notes) == (1.0, 0.75):
        raise Wrong("You have added the slopes. What does the chain rule do with them?")
    if (ours, notes) == (0.5**4, 0.5**3):
        raise Wrong("A half is the sigmoid's value in the middle, not its slope.")
    if ours == 0.25**5 or notes == 0.25**5:
        raise Wrong("You have counted the layers with weights, and not the sigmoids between them.")
    if (ours, notes) != (0.25**4, 0.25**3):
        raise Wrong("At least one of the two numbers is another one.")
    return "And yet the note's network, with the larger number, is the one that dies: the slope is not all."


@exercise(
    "5.2",
    hints=(
        "When does a sigmoid let nothing through? What has to be added to its inputs, so that this happens for every "
        "picture?",
        "A bias is added to every input of the unit above it. In 32-bit numbers a sigmoid is exactly flat a good way "
        "from zero; a hundred is far enough.",
    ),
)
def kill(function):
    net = lenet()
    before, X = copy.deepcopy(net), torch.rand(8, 1, 28, 28)
    result = function(net)
    net = result if isinstance(result, nn.Module) else net
    if not all(p.requires_grad for p in net.parameters()):
        raise Wrong("Frozen, not dead: every parameter should still be allowed to learn.")
    if [type(layer) for layer in net] != [type(layer) for layer in before]:
        raise Wrong("The layers are no longer lenet()'s.")
    for name, parameter in before.named_parameters():
        if name.endswith("weight") and not torch.equal(parameter, dict(net.named_parameters())[name]):
            raise Wrong("Some weights have changed; only biases may.")
    y_hat = net(X)
    if not y_hat.isfinite().all():
        raise Wrong("Something comes out that is not a finite number: that would be noticed at once.")
    F.cross_entropy(y_hat, torch.randint(10, (8,))).backward()
    if all(torch.equal(p, q) for p, q in zip(net.parameters(), before.parameters())):
        raise Wrong("Nothing has changed in the network.")
    if net[1].weight.grad.abs().max() > 1e-12:
        raise Wrong("The first convolution still gets a gradient, so it can still learn.")
    return "All shapes right, every number finite, no error anywhere; and it will never learn to look at a picture."


@exercise(
    "5.3",
    hints=(
        "Print both networks and go through them side by side, layer by layer, down to the last.",
        "Four activations and two poolings change, and nothing else does. Behind the last linear layer nothing "
        "follows: the loss takes raw scores.",
    ),
)
def relu_lenet(make):
    net = attempt(make, when="Called")
    if not isinstance(net, nn.Module):
        raise Wrong(f"It should return a network, and returns {type(net).__name__}.")
    shapes = [p.shape for p in net.parameters()]
    if shapes != [p.shape for p in lenet().parameters()]:
        raise Wrong("Its layers with weights are not those of lenet(): the shapes of their parameters differ.")
    X = torch.rand(5, 1, 28, 28)
    for p in net.parameters():  # large enough that every difference shows
        nn.init.normal_(p, std=0.1)
    Y = attempt(net, X, when="For 5 pictures")
    if torch.allclose(Y, reference(net, X, F.relu, F.max_pool2d), atol=1e-4):
        return "The book's first exercise. On a plateau this network has never been."
    if torch.is_tensor(Y) and Y.shape == (5, 10) and torch.allclose(Y.sum(dim=1), torch.ones(5), atol=1e-3):
        raise Wrong("Its ten numbers add up to 1: there is a softmax at the end, and the loss takes another one.")
    wrong = {
        "The activation is ReLU, but the pooling is still a mean.": (F.relu, F.avg_pool2d, True, True),
        "The pooling takes the largest value, but there are still sigmoids.": (torch.sigmoid, F.max_pool2d, True, True),
        "It is still lenet() as it was.": (torch.sigmoid, F.avg_pool2d, True, True),
        "Two linear layers follow each other with nothing between: the note's own mistake.":
            (F.relu, F.max_pool2d, False, True),
        "There is a ReLU behind the last layer: no score can be negative any more.":
            (F.relu, F.max_pool2d, True, False),
    }  # fmt: skip
    for text, (activation, pool, between, raw) in wrong.items():
        expected = reference(net, X, activation, pool, between)
        if Y.shape == (5, 10) and torch.allclose(Y, expected if raw else expected.relu(), atol=1e-4):
            raise Wrong(text)
    raise Wrong("It has the right parameters, but computes something else with them.")


def reference(net, X, activation, pool, between=True):
    """LeNet computed by hand with the parameters of `net`; `between`: an activation before the last linear layer."""
    w1, b1, w2, b2, *linear = net.parameters()
    X = pool(activation(F.conv2d(X, w1, b1, padding=2)), 2)
    X = pool(activation(F.conv2d(X, w2, b2)), 2).flatten(1)
    X = activation(F.linear(X, *linear[0:2]))
    X = F.linear(X, *linear[2:4])
    return F.linear(activation(X) if between else X, *linear[4:6])


@exercise(
    "5.4",
    hints=(
        "Which row of the table above brought most? You need no new idea, only the right ones of those.",
        "Take the layers of lenet(), with ReLU, and put a normalisation of the batch in front of every activation.",
    ),
)
def above_the_bar(make):
    torch.manual_seed(0)
    net = attempt(make, when="Called")
    if not isinstance(net, nn.Module):
        raise Wrong(f"It should return a network, and returns {type(net).__name__}.")
    Y = attempt(net, torch.rand(4, 1, 28, 28), when="For 4 pictures")
    if not torch.is_tensor(Y) or Y.shape != (4, 10):
        raise Wrong(f"For 4 pictures it should give (4, 10) scores, and gives {tuple(getattr(Y, 'shape', ()))}.")
    count = sum(p.numel() for p in net.parameters())
    if count > BUDGET:
        raise Wrong(f"It has {count:,} parameters, which is more than lenet() has.")
    if torch.allclose(Y.exp().sum(dim=1), torch.ones(4)) or torch.allclose(Y.sum(dim=1), torch.ones(4)):
        raise Wrong("There is a softmax at the end; the loss takes one itself.")
    if not any(p.requires_grad for p in net.parameters()):
        raise Wrong("All its parameters are frozen, or it has none: there is nothing to train.")
    learned = accuracy_after_training(net)
    if learned is None:
        raise Wrong("Its loss stops being a number while it learns.")
    if learned < 0.2:
        raise Wrong("It learns nothing: after training it is about as good as guessing.")
    if learned < BAR:
        raise Wrong(f"It learns, but names only {learned:.1%} right, which is below the bar.")
    return f"{learned:.1%} right after 150 small batches."


def accuracy_after_training(net):
    """The accuracy of `net` after 9,600 pictures, the same ones every time; None where the loss is no number."""
    images, labels = read_split("train")
    train_iter = Batches(images[:9600], labels[:9600], 64, shuffle=True)
    parameters = list(net.parameters())
    speeds = [torch.zeros_like(p) for p in parameters]
    net.train()
    for step, (X, y) in enumerate(train_iter):
        net.zero_grad()
        loss = F.cross_entropy(net(X), y)
        if not loss.isfinite():
            return None
        loss.backward()
        with torch.no_grad():
            for p, speed in zip(parameters, speeds):
                if p.grad is not None:
                    p -= 0.1 * (1 - step / len(train_iter)) * speed.mul_(0.9).add_(p.grad)
    return evaluate_accuracy_gpu(net, Batches(images[-2000:], labels[-2000:], 500))
