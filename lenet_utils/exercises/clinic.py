"""The exercises of the clinic: six training loops that are ill, each to be named and then mended.

A loop is judged by what a net and an optimiser notice that are run through it, never by its text: first for the fault
of its patient, then by what a healthy loop makes of the same net with the same batches.
"""

import copy
import operator

import torch

from ..train import SGD
from .clinic_health import (
    LOSSES,
    LR,
    PROBABILITIES,
    Calls,
    Probe,
    WatchedSGD,
    complain_about_pictures,
    complain_about_run,
    complain_about_sleep,
    complain_about_training,
    gradient_of,
    healthy,
    joined,
    labels_of,
    pictures_of,
    random_batches,
    results,
    same,
    two_test_batches,
    weights_of,
)
from .engine import Wrong, exercise

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
    "h": "few pictures are soon learned by heart, and then the training loss is close to 0",
    "i": "with probabilities in place of logits, the loss cannot fall below 1.46, however many answers are right",
    "j": "if the test pictures have a part in it, the training loss changes as soon as they change, and not before",
}

IN_LOSSES = {  # where no test accuracy is drawn
    "a": "whoever looks at the first test batch only still trains well: every training loss would be a healthy one",
    "e": "if the weights never moved, the losses would only jitter about the first one, in both panels",
    "f": "if the labels belong to other pictures, there is nothing to learn but these pairs by heart: the losses "
    "would stay high in both panels",
}
FOR_PATIENTS = {  # by their faults: symptoms that other curves show
    "g": IN_LOSSES | {"f": "if the labels belong to other pictures, the first loss would be another one already"},
    "d": {"h": "what a net has learned by heart gives the same answers whenever it is asked; here the same weights get "
               "several marks"},
    "f": {"h": "what is learned by heart from few pictures still helps with others: the test accuracy would stand far "
               "above that of guessing"},
    "b": IN_LOSSES,
    "j": IN_LOSSES,
}  # fmt: skip


def diagnose(letter, fault, loop):
    """Raises Wrong unless `letter` is that of `fault`: with the symptoms that the named fault would have.

    And where `loop`, the other half of the answer, is no function."""
    named = letter.strip().strip("().").lower() if isinstance(letter, str) else None
    if named not in SYMPTOMS:
        raise Wrong(f"The diagnosis should be a letter of the list, from 'a' to 'j', and not {letter!r:.60}.")
    if named != fault:
        symptoms = SYMPTOMS | FOR_PATIENTS.get(fault, {})
        raise Wrong(f"The diagnosis is not ({named}): {symptoms[named]}. Hold that against the curves.")
    if not callable(loop):
        raise Wrong(f"The letter is right; the loop should be a function, as it was, and is {loop!r:.60}.")


STILL_ILL = "The fault has the right name, but the loop still has it: "


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
    net, batches, tests = Probe(), random_batches(8, 8, 8, 3), two_test_batches()
    fresh, optimizer = copy.deepcopy(net.layers), WatchedSGD(net)
    outcomes = [results(epoch(net, batches, tests, optimizer)) for _ in range(2)]
    if not same(weights_of(net.layers), weights_of(healthy(fresh, [batches] * 2)[1][-1])):
        complain_about_steps(optimizer.used, net.learned_from(), len(batches))
    complain_about_run(*joined(outcomes), net, fresh, [batches] * 2, tests)
    return "Each step follows the gradient of its own batch, and of no other."


def complain_about_steps(used, learned, n):
    """Raises Wrong unless each gradient that a step used, in two epochs of `n` batches, is that of its own batch."""
    if len(used) != 2 * n:
        raise Wrong(f"The optimiser should take one step a batch, {n} an epoch; yours takes {len(used) / 2:g}.")
    if any(gradient is None for gradient in used):
        raise Wrong(
            "At the step there is no gradient: it was not computed yet, or it was thrown away before it was used."
        )
    used = torch.stack(used)
    own = torch.stack([call.gradient.sum(dim=0) for call in learned])  # a bias is added to every logit
    if len(own) != len(used):
        raise Wrong("Not every step follows a `backward` of its own: there are more of the one than of the other.")
    if same(used, own):
        return
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
    net, batches, tests = Probe(), random_batches(16, 16), two_test_batches()
    with torch.no_grad():
        net.layers[1].weight *= 5  # logits that are far apart: what is done to them shows
    fresh = copy.deepcopy(net.layers)
    outcome = results(epoch(net, batches, tests, SGD(net.parameters(), LR)))
    for call, (_, y) in zip(net.learned_from(), batches):
        if len(call.X) == len(y) and same(call.gradient, gradient_of(LOSSES[PROBABILITIES], call, y)):
            raise Wrong(STILL_ILL + PROBABILITIES)
    complain_about_run(*joined([outcome]), net, fresh, [batches], tests)
    return "Logits in, one softmax, inside the loss: now nothing stands between a right answer and a loss of zero."


@exercise(
    "clinic.3",
    hints=(
        "With a learning rate of 0 no weight moves, and still the mark changes. What in this net is left to chance?",
        "Dropout goes by the mode of the net. In which is it when the test begins, and in which when it learns again?",
    ),
)
def tests_in_evaluation_mode(diagnosis, epoch):
    diagnose(diagnosis, "d", epoch)
    net, batches, tests = Probe(), random_batches(8, 8), two_test_batches()
    fresh, optimizer = copy.deepcopy(net.layers), SGD(net.parameters(), LR)
    outcomes = [results(epoch(net, batches, tests, optimizer)) for _ in range(2)]
    tested = [call for call in net.calls if call.X.max() > 1]
    taught = [call for call in net.calls if call.X.max() <= 1]
    complain_about_modes(tested, [call for call in taught if call.gradient is not None])
    complain_about_run(*joined(outcomes), net, fresh, [batches] * 2, tests)
    return "It rests while it is tested, and is awake again when it learns."


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


@exercise(
    "clinic.4",
    hints=(
        "Something is learned, as the loss falls far below that of guessing. Why is it good for these pictures only?",
        "Two random orders are two different orders. How many does a pile of pairs need?",
    ),
)
def pairs_stay_together(diagnosis, train):
    diagnose(diagnosis, "f", train)
    net, n, num_epochs, tests = Probe(), 60, 2, two_test_batches()
    X, y, fresh = torch.rand(n, 1, 28, 28), torch.randint(10, (n,)), copy.deepcopy(net.layers)
    losses, marks = results(train(net, X.clone(), y.clone(), tests, num_epochs, LR))
    learned = net.learned_from()
    if not learned:
        raise Wrong("The net no longer learns from anything.")
    pictures = [pictures_of(call, X) for call in learned]
    labels = [labels_of(call, y[own]) for call, own in zip(learned, pictures)]
    complain_about_pairs(torch.cat(pictures), torch.cat(labels), y, num_epochs)
    if not isinstance(marks, (list, tuple)) or len(marks) != num_epochs:
        raise Wrong(
            f"The second thing that it hands back should be a list of {num_epochs} test accuracies, one an epoch, "
            f"and is {marks!r:.60}."
        )
    complain_about_run(losses, marks, net, fresh, in_epochs([(X[own], y[own]) for own in pictures], n), tests)
    return "One order for both: each picture has its own label, wherever it stands."


def in_epochs(batches, n):
    """Batches as lists of those of an epoch, which ends when `n` pictures or more have come up in it."""
    epochs = [[]]
    for batch in batches:
        if sum(len(y) for _, y in epochs[-1]) >= n:
            epochs.append([])
        epochs[-1].append(batch)
    return epochs


def complain_about_pairs(pictures, labels, y, num_epochs):
    in_order = torch.arange(len(y)).repeat(num_epochs)
    complain_about_pictures(pictures, len(y), num_epochs)
    if torch.equal(labels, y[pictures]):
        if torch.equal(pictures, in_order):
            raise Wrong("The pairs are whole, but nothing is shuffled any more: that is to cut off the leg that hurts.")
        first = pictures[: len(y)]  # epoch
        steps, classes = first.diff(), y[first].diff()
        regular = (steps == steps.mode().values).float().mean() > 0.5  # turned round, shifted, interleaved
        if regular or (classes >= 0).all() or (classes <= 0).all():
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
    net, batches, tests = Probe(), random_batches(8, 8, 3), two_test_batches()
    fresh = copy.deepcopy(net.layers)
    outcome = results(epoch(net, batches, tests, SGD(net.parameters(), LR)))
    taught = net.learned_from()
    tested = [call for call in net.calls if call.gradient is None]
    if len(taught) != len(batches) or len(tested) != len(tests):
        raise Wrong("The net should be asked once for each batch, in training as in the test.")
    complain_about_rows(taught, batches, STILL_ILL + "a row for the net holds pixels of several pictures.")
    complain_about_rows(tested, tests, "It learns from whole pictures now, but in the test they still get mixed.")
    complain_about_run(*joined([outcome]), net, fresh, [batches], tests)
    return "The batch axis stays as it is, and every row is one picture."


def complain_about_rows(calls, batches, mixed):
    for call, (X, _) in zip(calls, batches):
        rows, pictures = call.X.flatten(1), X.flatten(1)
        if same(rows, pictures):
            continue
        if same(rows.sort().values, pictures.sort().values):
            raise Wrong(
                "Each row has all pixels of its own picture, but not row by row: the picture is turned or flipped."
            )
        if same(*(part[part[:, 0].argsort()] for part in (rows.sort().values, pictures.sort().values))):
            raise Wrong("Each row is one picture, but no longer the one that its label belongs to.")
        if same(rows.flatten().sort().values, pictures.flatten().sort().values):
            raise Wrong(mixed)
        raise Wrong("The net should get the pixels of all pictures as they are: yours have other values, or are fewer.")


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
        runs.append(Run(net, X, X_test, *results(train(net, X.clone(), y.clone(), X_test.clone(), 2, LR))))
    complain_about_statistics(X, *runs)
    for run in runs:
        complain_about_preparation(run)
        run.complain_about_outcome(fresh.layers, y)
    return "Whatever the test pictures are, the training doesn't notice."


class Run:
    """What the net was given in one run of the loop, in training and in the test, `(n, 784)` each."""

    def __init__(self, net, X, X_test, losses, answers):
        self.net, self.losses, self.answers, self.X_test = net, losses, answers, X_test.flatten(1)
        self.test_calls = [call for call in net.calls if call.gradient is None]
        if not net.learned_from() or sum(len(call.X) for call in self.test_calls) != len(X_test):
            raise Wrong("The net should learn from the training pictures, and then answer once for each test picture.")
        self.pictures = [pictures_of(call, X) for call in net.learned_from()]
        complain_about_pictures(torch.cat(self.pictures), len(X), 2)
        self.taught = torch.cat([call.X.flatten(1) for call in net.learned_from()])
        self.taught = self.taught[torch.cat(self.pictures).argsort()]  # whatever the order in which they were drawn
        self.tested = torch.cat([call.X.flatten(1) for call in self.test_calls])

    def complain_about_outcome(self, fresh, y):
        batches = [(call.X, y[own]) for call, own in zip(self.net.learned_from(), self.pictures)]
        (layers,) = complain_about_training(self.losses, self.net, fresh, [batches])
        complain_about_sleep(self.test_calls)
        logits = layers(self.tested)
        if not torch.allclose(torch.cat([call.logits for call in self.test_calls]), logits, rtol=1e-3, atol=1e-3):
            raise Wrong("It learns as it should, but the test pictures should come to the net when it has learned all.")
        answers = logits.argmax(dim=1).tolist()
        given = self.answers.tolist() if hasattr(self.answers, "tolist") else self.answers
        if not isinstance(given, (list, tuple)) or len(given) != len(answers):
            raise Wrong(
                f"The second thing should be the {len(answers)} answers to the test pictures, and is {given!r:.60}."
            )
        agree = sum(map(operator.eq, given, answers))
        if agree < len(answers):
            raise Wrong(
                "It learns as it should, but should hand back what the net answers to each test picture, in order: "
                f"of {len(answers)} answers, {agree} are that."
            )


def complain_about_statistics(X, one, other):
    if torch.equal(one.taught, other.taught):
        if abs(one.taught.mean()) > 0.1 or abs(one.taught.std() - 1) > 0.1:
            raise Wrong(
                "The test pictures have no part in it, but the training pictures, other ones in this check, are not "
                "brought to a mean of 0 and a deviation of 1."
            )
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
