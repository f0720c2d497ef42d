"""The exercises of notebook 5, From 1998 to today."""

import copy
import itertools
import math
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F

from ..data import Batches, read_split
from ..model import lenet
from ..support import checks
from ..train import evaluate_accuracy_gpu
from .ask import expect_number
from .engine import Wrong, attempt, copied, exercise

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
        if isinstance(ours, str) or isinstance(notes, str):
            raise TypeError
        answer = float(ours), float(notes)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Wrong("Write two numbers, e.g. as fractions, without quotation marks.") from None

    def is_about(*numbers):
        return all(math.isclose(a, b, rel_tol=ROUNDED) for a, b in zip(answer, numbers))

    right = 0.25**4, 0.25**3
    for numbers, text in WRONG_SLOPES:
        if is_about(*numbers):
            raise Wrong(text)
    if 0.25**5 in answer:
        raise Wrong("You have counted the layers with weights, and not the sigmoids between them.")
    if not is_about(*right):
        first = math.isclose(answer[0], right[0], rel_tol=ROUNDED)
        second = math.isclose(answer[1], right[1], rel_tol=ROUNDED)
        which = "The first number is right, the second" if first else "The second number is right, the first"
        raise Wrong(f"{which} isn't." if first or second else "Both numbers are other ones.")
    return "And yet the note's network, with the larger number, is the one that dies: the slope is not all."


ROUNDED = 0.03  # how far off a number may be, as a fraction: 0.004 and 0.016 are right, too
WRONG_SLOPES = [  # for lenet() and for the note's network
    ((0.25**3, 0.25**4), "These are the two numbers, the wrong way round."),
    ((0.25, 0.25), "That is what one sigmoid lets through; there are several in a row."),
    ((0.25**3, 0.25**2), "One too few in both: the sigmoid right behind the first convolution lies on the way, too."),
    ((0.25**2, 0.25**1), "You have left out the sigmoids behind the convolutions: they lie on the way as well."),
    ((1.0, 0.75), "You have added the slopes. What does the chain rule do with them?"),
    ((0.5**4, 0.5**3), "A half is the sigmoid's value in the middle, not its slope."),
    ((4**4, 4**3), "That is how many times *smaller* the gradient gets. Write the factor that it is multiplied by."),
    ((100 * 0.25**4, 100 * 0.25**3), "These are per cent. Write the factors themselves."),
]


@exercise(
    "5.2",
    hints=(
        "When does a sigmoid let nothing through? What has to be added to its inputs, so that this happens for every "
        "picture?",
        "A layer's bias is added to whatever goes into the sigmoid behind it. In 32-bit numbers a sigmoid is exactly "
        "flat a good way from zero; a hundred is far enough.",
    ),
)
def kill(function):
    expect_function(function, "changes a network")
    net = lenet()
    before, X, y = copy.deepcopy(net), torch.rand(8, 1, 28, 28), torch.randint(10, (8,))
    try:
        result = function(net)
    except RuntimeError as error:
        if "leaf Variable" not in str(error):
            raise
        raise Wrong(
            "PyTorch keeps account of what is done to a parameter, and forbids this. Do it with a function of "
            "`nn.init`, or under `torch.no_grad()`."
        ) from None
    net = result if isinstance(result, nn.Module) else net
    if not all(p.requires_grad for p in net.parameters()):
        raise Wrong("Frozen, not dead: every parameter should still be allowed to learn.")
    if [type(layer) for layer in net.children()] != [type(layer) for layer in before]:
        raise Wrong("The layers are no longer lenet()'s.")
    if any(p.dtype != torch.float32 for p in net.parameters()):
        raise Wrong("Its parameters are of another type now; only the values of biases should change.")
    after = dict(net.named_parameters())
    for name, parameter in before.named_parameters():
        if name.endswith("weight") and not (name in after and torch.equal(parameter, after[name])):
            raise Wrong("Some weights have changed; only biases may.")
    if [p.shape for p in net.parameters()] != [p.shape for p in before.parameters()]:
        raise Wrong("A bias has another shape now, or is gone; only its values should change.")
    if not all(numbers.isfinite().all() for numbers in (*net.parameters(), net(X))):
        raise Wrong("A bias, or what comes out, is not a finite number: that would be noticed at once.")
    if all(torch.equal(p, q) for p, q in zip(net.parameters(), before.parameters())):
        raise Wrong("Nothing has changed in the network.")
    twin = lenet()
    twin.load_state_dict(net.state_dict(), strict=False)  # it may have got a buffer
    arrives, arrived = (largest_gradient_below(network, X, y) for network in (twin, before))
    if arrives > 1e-12 >= largest_gradient_below(net, X, y):
        raise Wrong("Its biases alone would let the gradient through: something else in the network stops it.")
    if 1e-12 < arrives < arrived / 100:
        raise Wrong("The first convolution gets far less gradient than before, but some: slowly, it can still learn.")
    if arrives > 1e-12:
        raise Wrong("The first convolution still gets its gradient, so it can still learn.")
    return "All shapes right, every number finite, no error anywhere; and it will never learn to look at a picture."


def largest_gradient_below(net, X, y):
    """The largest gradient of a weight in the first convolution, by size."""
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(X), y), net[1].weight, materialize_grads=True)  # 0 for none
    return float(gradient.abs().max())


def expect_function(answer, what):
    """Raises Wrong where `answer` is no function; `what` it should do, e.g. "returns a network"."""
    if isinstance(answer, nn.Module):
        raise Wrong(f"That is a network; what the check takes is a function that {what}.")
    if not callable(answer):
        raise Wrong(f"Expected a function that {what}, and that is of the type `{type(answer).__name__}`.")


def made_by(make):
    """A copy of the network that `make()` returns: it may be the learner's own. Raises Wrong where it is no network."""
    expect_function(make, "returns a network")
    net = attempt(make, when="When called,")
    if not isinstance(net, nn.Module) and callable(net):
        name = getattr(net, "__name__", type(net).__name__)
        raise Wrong(f"It should return a network, and returns `{name}` itself, which is never called.")
    if not isinstance(net, nn.Module):
        raise Wrong(f"It should return a network, and returns {type(net).__name__}.")
    if checks.is_lazy(net):  # their shapes come with the first pictures
        attempt(net, torch.rand(2, 1, 28, 28), when="For 2 pictures")
    return copied(net)


def expect_scores(Y, n):
    """Raises Wrong unless `Y` holds ten scores for each of `n` pictures."""
    if not torch.is_tensor(Y):
        raise Wrong(f"A network should return one tensor, and yours returns a {type(Y).__name__}.")
    if Y.shape != (n, 10):
        raise Wrong(f"For {n} pictures it should give {(n, 10)} scores, and gives {tuple(Y.shape)}.")


def made_fresh(make):
    """The network that `make()` returns; layers that are the same at every call, trained ones perhaps, begin anew."""
    nets = []
    for seed in (1, 0):
        torch.manual_seed(seed)
        with mock.patch.object(torch, "manual_seed"):  # a seed of one's own makes fresh weights look like trained ones
            nets.append(made_by(make))
    other, net = nets
    for layer, twin in zip(net.modules(), other.modules()):
        if hasattr(layer, "reset_parameters") and all(map(torch.equal, layer.parameters(), twin.parameters())):
            layer.reset_parameters()
    return net


@exercise(
    "5.3",
    hints=(
        "Print both networks and go through them side by side, layer by layer, down to the last.",
        "Four activations and two poolings change, and nothing else does. Behind the last linear layer nothing "
        "follows: the loss takes raw scores.",
    ),
)
def relu_lenet(make):
    net = made_by(make)
    if sorted(p.shape for p in net.parameters()) != sorted(p.shape for p in lenet().parameters()):
        raise Wrong("Its layers with weights are not those of lenet(): the shapes of their parameters differ.")
    X = 60 * torch.rand(5, 1, 28, 28).to(next(net.parameters()))  # in the network's precision, and beyond every limit
    right = torch.zeros(5, 10)
    while right.min() > -0.1:  # some score is negative, or nobody would see a ReLU behind the last layer
        for p in net.parameters():  # large enough that every difference shows
            nn.init.normal_(p, std=0.1)
        right = reference(net, X, (F.relu,) * 4, (F.max_pool2d,) * 2)
    Y = attempt(net, X, when="For 5 pictures")
    expect_scores(Y, 5)
    Y, about = Y.to(right), 1e-5 * right.abs().max().item()
    if torch.allclose(Y, right, atol=about):
        return "The book's first exercise. With a learning rate that it bears, this network knows no plateau."
    if torch.allclose(Y.sum(dim=1), torch.ones(5), atol=1e-3):
        raise Wrong("Its ten numbers add up to 1: there is a softmax at the end, and the loss takes another one.")
    if torch.allclose(Y.exp().sum(dim=1), torch.ones(5), atol=1e-3):
        raise Wrong("There is a log-softmax at the end: that is the loss's own work, and was not asked for.")
    if torch.allclose(Y, right.relu(), atol=about):
        raise Wrong("There is a ReLU behind the last layer: no score can be negative any more.")
    if torch.allclose(Y, reference(net, X, (F.relu, F.relu, F.relu, nn.Identity()), (F.max_pool2d,) * 2), atol=about):
        raise Wrong("Two linear layers follow each other with nothing between: the note's own mistake.")
    for layers in itertools.product(*[(F.relu, torch.sigmoid)] * 4, *[(F.max_pool2d, F.avg_pool2d)] * 2):
        activations, pools = layers[:4], layers[4:]
        if torch.allclose(Y, reference(net, X, activations, pools), atol=about):
            complain_about_old(activations.count(torch.sigmoid), pools.count(F.avg_pool2d))
    raise Wrong("It has the right parameters, but computes something else with them.")


def complain_about_old(sigmoids, means):
    """Raises Wrong: so many of the four sigmoids and of the two poolings by the mean are still there."""
    all_of_a_kind = {
        (0, 2): "The activation is ReLU, but the pooling is still a mean.",
        (4, 0): "The pooling takes the largest value, but there are still sigmoids.",
        (4, 2): "It is still lenet() as it was.",
    }
    old = " and ".join(["activations"] * (sigmoids > 0) + ["poolings"] * (means > 0))
    raise Wrong(all_of_a_kind.get((sigmoids, means), f"Some {old} are still the old ones."))


def reference(net, X, activations, pools):
    """LeNet (float, on the CPU) computed by hand with the parameters of `net`, four activations and two poolings."""
    of_shape = {p.shape: p for p in net.parameters()}  # all differ, and so the layers may stand in any order
    w1, b1, w2, b2, *linear = (of_shape[p.shape] for p in lenet().parameters())
    X = pools[0](activations[0](F.conv2d(X, w1, b1, padding=2)), 2)
    X = pools[1](activations[1](F.conv2d(X, w2, b2)), 2).flatten(1)
    X = activations[2](F.linear(X, *linear[0:2]))
    X = activations[3](F.linear(X, *linear[2:4]))
    return F.linear(X, *linear[4:6]).float().cpu()


@exercise(
    "5.4",
    hints=(
        "You need no new idea, only the right ones of the ladder's table. ReLU alone isn't quick enough: which of its "
        "rows bears a learning rate three times that of the row before?",
        "Take the layers of lenet(), with ReLU, and put a normalisation of the batch in front of every activation. "
        "It has parameters of its own: make a linear layer a little narrower to pay for them.",
    ),
)
def above_the_bar(make):
    net = made_fresh(make)
    Y = attempt(net, torch.rand(4, 1, 28, 28), when="For 4 pictures")
    expect_scores(Y, 4)
    count = sum(p.numel() for p in net.parameters())
    if count > BUDGET:
        raise Wrong(f"It has {count:,} parameters, which is more than lenet() has.")
    if torch.allclose(Y.sum(dim=1), torch.ones(4)):
        raise Wrong("There is a softmax at the end; the loss takes one itself.")
    if not any(p.requires_grad for p in net.parameters()):
        raise Wrong("All its parameters are frozen, or it has none: there is nothing to train.")
    learned = accuracy_after_training(net)
    if learned is None:
        raise Wrong("Its loss stops being a number while it learns.")
    if learned < 0.2:
        raise Wrong("It learns nothing: after training it is about as good as guessing.")
    if learned < BAR:
        raise Wrong(f"It learns, but names only {learned:.2%} right, which is below the bar.")
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


@exercise(
    "5.5",
    hints=(
        "How often does it happen in *one* comparison? The text below the ladder's chart says it for three seeds.",
        "Of the `math.comb(2 * n, n)` ways to choose which of the dots belong to one row, two put them all on one "
        "side. Take that share eleven times.",
    ),
)
def luck(expected, seeds):
    expect_number(
        expected, 1.05, 1.15,
        {
            0.1: "That is for one comparison, and there are eleven.",
            **dict.fromkeys(
                (0.5, 0.55, 0.6), "All dots of a row may lie above, or all below: these are two cases."
            ),
            **dict.fromkeys((0.69, 0.7), "That is about the chance of at least one; asked is how many you expect."),
            1: "That is rounded to a whole number, and one decimal place is asked for.",
            1.2: "The ladder has twelve rows, and so eleven comparisons of one row with the next.",
        },
        "The first number is another one.",
    )  # fmt: skip
    expect_number(
        seeds, 5, 5,
        {
            3: "That is the ladder's own number of seeds.",
            4: "With four seeds each, you would still expect about 0.3.",
            6: "Fewer are enough.",
            7: "Fewer are enough.",
            10: "That is for two rows together.",
        },
        "The first number is right, the second isn't.",
    )  # fmt: skip
    return "About one clear gap in eleven, without any cause. So ask how wide it is, and not only whether it is there."
