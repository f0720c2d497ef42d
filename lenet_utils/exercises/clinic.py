"""The exercises of the clinic: six training loops that are ill, each to be named and then mended.

A loop is judged by what a net and an optimiser notice that are run through it, never by its text.
"""

import copy
import dataclasses

import torch
from torch import nn
from torch.nn import functional as F

from ..train import SGD
from .ask import as_number
from .engine import Wrong, exercise, returned

SYMPTOMS = {  # of each fault on the notebook's list, as far as they tell it from the others
    "a": "whoever looks at the first test batch only gets a jumpy accuracy, but the loss stays healthy, and the same "
    "weights get the same mark every time",
    "b": "when the pictures of a batch get mixed, hardly anything can be learned, in whole batches, not even by heart; "
    "a batch of one cannot be mixed",
    "c": "so large a learning rate throws the second loss far off, since it comes after the first step",
    "d": "without dropout or batch normalisation the mode makes no difference; with it, the net learns as "
    "ever, but its marks are too low, and other ones every time",
    "e": "if the weights never moved, every epoch would end with the same mark, to the last picture",
    "f": "if the labels belong to other pictures, there is nothing to learn but these pairs by heart: the test "
    "accuracy stays at that of guessing, with batches of any size",
    "g": "gradients that add up do no harm at the first step, and then more with every step",
    "h": "what is learned by heart from few pictures still helps with others: the test accuracy would stand far above "
    "that of guessing",
    "i": "with probabilities in place of logits, the loss cannot fall below 1.46, however many answers are right",
    "j": "if the test pictures have a part in it, the training loss changes as soon as they change, and not before",
}


def diagnose(letter, fault, loop):
    """Raises Wrong unless `letter` is that of `fault`: with the symptoms that the named fault would have.

    And where `loop`, the other half of the answer, is no function."""
    named = letter.strip().strip("().").lower() if isinstance(letter, str) else None
    if named not in SYMPTOMS:
        raise Wrong(f"The diagnosis should be a letter of the list, from 'a' to 'j', and not {letter!r}.")
    if named != fault:
        raise Wrong(f"The diagnosis is not ({named}): {SYMPTOMS[named]}. Hold that against the curves.")
    if not callable(loop):
        raise Wrong(f"The letter is right; the loop should be a function, as it was, and is {loop!r}.")


STILL_ILL = "The fault has the right name, but the loop still has it: "


# What runs through the loops


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

    def __init__(self, net, lr=0.1):
        super().__init__(net.parameters(), lr)
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


def tests_of_a_tenth():
    """Test batches of which every net gets a tenth right: each has one picture, with all labels."""
    return [(X.repeat(10, 1, 1, 1), torch.arange(10)) for X in torch.rand(3, 1, 28, 28)]


def complain_about_outcome(outcome, net, taught, batches, tests):
    """Raises Wrong unless an epoch handed back the losses of the calls `taught`, and the mark on `tests`."""
    losses, mark = outcome
    own = [F.cross_entropy(call.logits, y).item() for call, (_, y) in zip(taught, batches)]
    if len(losses) != len(own) or not all(abs(a - b) < 1e-4 for a, b in zip(losses, own)):
        raise Wrong("It learns as it should, but the losses that it hands back are other ones.")
    with torch.no_grad():
        right = torch.cat([net.layers(X).argmax(dim=1) == y for X, y in tests]).float().mean()
    if abs(as_number(mark, "The second thing that the loop hands back") - right) > 1e-4:
        raise Wrong("It learns as it should, but the mark is not the fraction (0 to 1) of test pictures named right.")


# The six patients


@exercise(
    "clinic.1",
    hints=(
        "Two losses are as they should be. What does the second step know that the first could not?",
        "`backward` does not write a gradient down, it adds it to the one that is there. Who empties it, and when?",
    ),
)
def each_step_by_its_own_gradient(diagnosis, epoch):
    diagnose(diagnosis, "g", epoch)
    net, batches = Probe(), random_batches(8, 8, 8, 3)
    optimizer, tests = WatchedSGD(net), tests_of_a_tenth()
    for _ in range(2):
        outcome = results(epoch(net, batches, tests, optimizer))
    if len(optimizer.used) != 2 * len(batches):
        raise Wrong(
            f"The optimizer should take one step a batch, {len(batches)} an epoch; "
            f"yours takes {len(optimizer.used) / 2:g}."
        )
    if any(gradient is None for gradient in optimizer.used):
        raise Wrong(
            "At the step there is no gradient: it was not computed yet, or it was thrown away before it was used."
        )
    used = torch.stack(optimizer.used)
    own = torch.stack([call.gradient.sum(dim=0) for call in net.learned_from()])  # a bias is added to every logit
    if len(own) != len(used):
        raise Wrong("Not every step follows a `backward` of its own: there are more of the one than of the other.")
    if not same(used, own):
        complain_about_sums(used, own, len(batches))
    complain_about_outcome(outcome, net, net.learned_from()[-len(batches) :], batches, tests)
    return "Each step follows the gradient of its own batch, and of no other."


def complain_about_sums(used, own, n):
    if same(used, own.cumsum(dim=0)):
        raise Wrong(STILL_ILL + "at every step, the gradients of all batches so far are added up.")
    if same(used, torch.cat([part.cumsum(dim=0) for part in own.split(n)])):
        raise Wrong("Now the gradients are emptied once an epoch, but within it they still add up from batch to batch.")
    raise Wrong("At some step the gradient is not that of its own batch: something of another batch is left in it.")


@exercise(
    "clinic.2",
    hints=(
        "It is right more and more often, and the loss hardly cares. What is the smallest loss that it could have?",
        "`cross_entropy` expects logits, and takes the softmax itself. What does it get here?",
    ),
)
def loss_of_logits(diagnosis, epoch):
    diagnose(diagnosis, "i", epoch)
    net, batches, tests = Probe(), random_batches(16, 16), tests_of_a_tenth()
    with torch.no_grad():
        net.layers[1].weight *= 5  # logits that are far apart: what is done to them shows
    optimizer = WatchedSGD(net)
    outcome = results(epoch(net, batches, tests, optimizer))
    learned = net.learned_from()
    if len(learned) != len(batches):
        raise Wrong("The loop no longer learns from each batch once: every batch needs its `backward`.")
    complain_about_loss(learned[0], batches[0][1])
    own = [call.gradient.sum(dim=0) for call in learned]
    used = [gradient for gradient in optimizer.used if gradient is not None]
    if len(used) != len(own) or not all(map(same, used, own)):
        raise Wrong(
            "The loss is mended, but the optimizer should take one step a batch, by the gradient of its own batch."
        )
    complain_about_outcome(outcome, net, learned, batches, tests)
    return "Logits in, one softmax, inside the loss: now nothing stands between a right answer and a loss of zero."


LOSSES = {  # what a loss may do with logits z and labels y, and what is said about it
    STILL_ILL + "`cross_entropy` gets probabilities, and takes the softmax of them.": (
        lambda z, y: F.cross_entropy(z.softmax(dim=1), y)
    ),
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


def complain_about_loss(call, y):
    def gradient(loss):
        z = call.logits.clone().requires_grad_()
        return torch.autograd.grad(loss(z, y), z)[0]

    for complaint, loss in LOSSES.items():
        if same(call.gradient, gradient(loss)):
            raise Wrong(complaint)
    if not same(call.gradient, gradient(F.cross_entropy)):
        raise Wrong("This is not the mean cross-entropy of the logits: its gradient is another one.")


@exercise(
    "clinic.3",
    hints=(
        "With a learning rate of 0 no weight moves, and still the mark changes. What in this net is left to chance?",
        "Dropout goes by the mode of the net. In which is it when the test begins, and in which when it learns again?",
    ),
)
def tests_in_evaluation_mode(diagnosis, epoch):
    diagnose(diagnosis, "d", epoch)
    net = Probe()
    tests, truth = tests_of(net)
    train_iter = random_batches(8, 8)
    marks = [results(epoch(net, train_iter, tests, WatchedSGD(net, lr=0)))[1] for _ in range(2)]
    tested = [call for call in net.calls if call.X.max() > 1]
    taught = [call for call in net.calls if call.X.max() <= 1]
    complain_about_modes(tested, [call for call in taught if call.gradient is not None])
    if sum(len(call.X) for call in tested) != 2 * sum(len(y) for _, y in tests):
        raise Wrong("Now the mode is right, but the test does not look at every test picture once an epoch.")
    complain_about_marks([as_number(mark, "The second thing that the loop hands back") for mark in marks], truth)
    return "It rests while it is tested, and is awake again when it learns."


def tests_of(net):
    """Test batches, with pixels from 2 to 3 to know them by, and the fraction that `net` gets right: the last one."""
    Xs = [torch.rand(n, 1, 28, 28) + 2 for n in (8, 8, 1)]
    with torch.no_grad():
        answers = [net.layers(X).argmax(dim=1) for X in Xs]
    wrong_by = (1, 1, 0)
    return [(X, (y + k) % 10) for X, y, k in zip(Xs, answers, wrong_by)], 1 / 17


def complain_about_modes(tested, taught):
    if not tested:
        raise Wrong("The loop no longer looks at the test pictures.")
    if any(call.gradient is not None for call in tested):
        raise Wrong("Now the net learns from the test pictures: they get a `backward`, too.")
    if any(call.training for call in tested):
        raise Wrong(STILL_ILL + "while it is tested, the net is in training mode.")
    if not taught:
        raise Wrong("The net no longer learns: no training picture gets a `backward`.")
    if not taught[0].training:
        raise Wrong(
            "The test is mended, but now the net is in evaluation mode while it learns, from the first batch on."
        )
    if not all(call.training for call in taught):
        raise Wrong("The test is mended, but nobody wakes the net: its second epoch it learns in evaluation mode.")


def complain_about_marks(marks, truth):
    if all(abs(mark - truth) < 1e-4 for mark in marks):
        return
    if all(abs(mark - 1 / 3) < 1e-4 for mark in marks):
        raise Wrong(
            "The mode is right. The mark is now the mean of the batches, and a batch of one counts like a full one."
        )
    raise Wrong(
        "The mode is right, but the mark is not the fraction (0 to 1) of all test pictures that are named right."
    )


@exercise(
    "clinic.4",
    hints=(
        "Something is learned, as the loss falls far below that of guessing. Why is it good for these pictures only?",
        "Two random orders are two different orders. How many does a pile of pairs need?",
    ),
)
def pairs_stay_together(diagnosis, train):
    diagnose(diagnosis, "f", train)
    net, n, num_epochs = Probe(), 60, 2
    X, y = torch.rand(n, 1, 28, 28), torch.randint(10, (n,))
    X[:, 0, 0, 0] = torch.arange(n) / n  # by this pixel a picture is known again
    results(train(net, X.clone(), y.clone(), random_batches(4), num_epochs, 0.01))
    learned = net.learned_from()
    if not learned:
        raise Wrong("The net no longer learns from anything.")
    pictures = torch.cat([(call.X.flatten(1)[:, 0] * n).round().long() for call in learned])
    labels = torch.cat([call.gradient.argmin(dim=1) for call in learned])  # negative at the label alone
    complain_about_pairs(pictures, labels, y, num_epochs)
    return "One order for both: each picture has its own label, wherever it stands."


def complain_about_pairs(pictures, labels, y, num_epochs):
    in_order = torch.arange(len(y)).repeat(num_epochs)
    if not torch.equal(pictures.sort().values, in_order.sort().values):
        raise Wrong("Not every picture comes up once an epoch: some are left out, or come twice.")
    if torch.equal(labels, y[pictures]):
        if torch.equal(pictures, in_order):
            raise Wrong("The pairs are whole, but nothing is shuffled any more: that is to cut off the leg that hurts.")
        first = pictures[: len(y)]  # epoch
        if any((order.diff() >= 0).all() or (order.diff() <= 0).all() for order in (first, y[first])):
            raise Wrong("The pairs are whole, but they come in an order of their own, and not in a random one.")
        return
    if torch.equal(pictures, in_order):
        raise Wrong("Now the pictures stay in their places, but the labels do not.")
    if torch.equal(labels, y[in_order]):
        raise Wrong("Now the labels stay in their places, but the pictures do not.")
    raise Wrong(STILL_ILL + "pictures come up with labels of other pictures.")


@exercise(
    "clinic.5",
    hints=(
        "It is healthy with batches of one. What can happen to a picture only in company?",
        "`reshape` reads picture after picture, and fills row after row: how long must a row be, so that each picture "
        "gets one of its own? And is there only one place in the loop where it is done?",
    ),
)
def every_picture_in_its_row(diagnosis, epoch):
    diagnose(diagnosis, "b", epoch)
    net, batches, tests = Probe(), random_batches(8, 8, 3), random_batches(6, 5) + tests_of_a_tenth()
    outcome = results(epoch(net, batches, tests, WatchedSGD(net)))
    taught = net.learned_from()
    tested = [call for call in net.calls if call.gradient is None]
    if len(taught) != len(batches) or len(tested) != len(tests):
        raise Wrong("The net should be asked once for each batch, in training as in the test.")
    complain_about_rows(taught, batches, STILL_ILL + "a row for the net holds pixels of several pictures.")
    complain_about_rows(tested, tests, "It learns from whole pictures now, but in the test they still get mixed.")
    if any(not torch.equal(call.gradient.argmin(dim=1), y) for call, (_, y) in zip(taught, batches)):
        raise Wrong(ANOTHER_PICTURE)  # the gradient is negative at the label alone
    complain_about_outcome(outcome, net, taught, batches, tests)
    return "The batch axis stays as it is, and every row is one picture."


ANOTHER_PICTURE = "Each row is one picture, but no longer the one that its label belongs to."


def complain_about_rows(calls, batches, mixed):
    for call, (X, _) in zip(calls, batches):
        rows, pictures = call.X.flatten(1), X.flatten(1)
        if same(rows, pictures):
            continue
        if same(rows.sort().values, pictures.sort().values):
            raise Wrong(
                "Each row has all pixels of its own picture, but not row by row: the picture is turned or flipped."
            )
        if same(rows.sum(dim=1).sort().values, pictures.sum(dim=1).sort().values):
            raise Wrong(ANOTHER_PICTURE)
        if same(rows.flatten().sort().values, pictures.flatten().sort().values):
            raise Wrong(mixed)
        raise Wrong("The net should get the pixels as they are: yours have other values.")


@exercise(
    "clinic.6",
    hints=(
        "The training pictures, the seed and the code are Monday's. What else goes into the loop?",
        "In life, the test pictures come when the training is over. Which numbers can be known before?",
    ),
)
def statistics_of_the_training_pictures(diagnosis, train):
    diagnose(diagnosis, "j", train)
    X, y = torch.rand(40, 1, 28, 28) * 2 + 1, torch.randint(10, (40,))
    tests = torch.cat([X[:5], torch.rand(20, 1, 28, 28)]), torch.cat([X[:5], torch.rand(30, 1, 28, 28) * 9 + 4])
    fresh, seed = Probe(), int(torch.randint(1000, ()))
    runs = []
    for X_test in tests:
        net = copy.deepcopy(fresh)
        net.calls = Calls()
        torch.manual_seed(seed)
        _, answers = results(train(net, X, y, X_test, 2, 0.01))
        runs.append(Run(net, X_test, answers))
    complain_about_statistics(X, *runs)
    for run in runs:
        complain_about_preparation(run)
    return "Whatever the test pictures are, the training doesn't notice."


class Run:
    """What the net was given in one run of the loop, in training and in the test, `(n, 784)` each."""

    def __init__(self, net, X_test, answers):
        taught, tested = net.learned_from(), [call for call in net.calls if call.gradient is None]
        if not taught or sum(len(call.X) for call in tested) != len(X_test):
            raise Wrong("The net should learn from the training pictures, and then answer once for each test picture.")
        self.taught, self.tested = (torch.cat([call.X.flatten(1) for call in calls]) for calls in (taught, tested))
        self.taught = self.taught[self.taught[:, 0].argsort()]  # whatever the order in which they were drawn
        self.X_test = X_test.flatten(1)
        if not torch.equal(torch.as_tensor(answers), torch.cat([call.logits.argmax(dim=1) for call in tested])):
            raise Wrong("The loop should hand back the net's answer to each test picture, as before.")


def complain_about_statistics(X, one, other):
    if torch.equal(one.taught, other.taught):
        if abs(one.taught.mean()) > 0.1 or abs(one.taught.std() - 1) > 0.1:
            raise Wrong("The test pictures have no part in it, but the training pictures are no longer normalised.")
        return
    # The net got (X - mean) / std. The number that was taken for std, and the one for mean, in each of the two runs:
    stds = [X.std() / run.taught.std() for run in (one, other)]
    means = [X.mean() - run.taught.mean() * std for run, std in zip((one, other), stds)]
    if same(*stds):
        raise Wrong("The standard deviation is mended, but the mean still changes when the test pictures change.")
    if same(*means):
        raise Wrong("The mean is mended, but the standard deviation still changes when the test pictures change.")
    raise Wrong(STILL_ILL + "with other test pictures, the net gets other training pictures, too.")


def complain_about_preparation(run):
    """The first five test pictures are training pictures: they have to arrive in the same form."""
    nearest = torch.cdist(run.tested[:5], run.taught).amin(dim=1)
    if nearest.max() < 0.1:  # cdist rounds; another picture is twenty away
        return
    if same(run.tested, run.X_test):
        raise Wrong("The training is mended, but the test pictures now come to the net as they are, not normalised.")
    if abs(run.tested.mean()) < 0.01 and abs(run.tested.std() - 1) < 0.01:
        raise Wrong("The training is mended, but the test pictures now go by statistics of their own.")
    raise Wrong("A picture now comes to the net in one form in the training, and in another in the test.")
