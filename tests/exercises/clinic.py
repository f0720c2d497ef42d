"""Wrong answers to the exercises of the clinic: the wrong letters, and the stub's loop mended badly."""

import json
import pathlib

from exercise_cells import exercises, source

NOTEBOOK = pathlib.Path(__file__).parent.parent.parent / "notebooks" / "clinic.ipynb"
CELLS = json.loads(NOTEBOOK.read_text("utf-8"))
STUBS = {task.number: source(task.stub) for task in exercises(CELLS)}
SETUP = next(source(cell) for cell in CELLS["cells"] if source(cell).startswith("def step("))


def answer(number, letter, *changes):
    """The stub with `letter` for the diagnosis and `changes`, pairs of old and new text."""
    code = STUBS[number]
    for old, new in [('None  # a letter, e.g. "a"', repr(letter)), *changes]:
        assert old in code, (number, old)
        code = code.replace(old, new)
    return code


def cases(number, letter, others, mendings):
    """Wrong letters, no letter, the right letter over the loop as it was, and the loop mended badly."""
    unmended, *rest = mendings
    wrong = [(answer(number, other), words) for other, words in others.items()]
    wrong += [(answer(number, "zero_grad"), "and not 'zero_grad'")]
    wrong += [(answer(number, [letter]), "'j', and not [")]
    name = f"mended_{number[-1]}"
    wrong += [(answer(number, letter, ("def mended", "def other")) + f"\n{name} = 'no idea'", "should be a function")]
    return [*wrong, (answer(number, letter), unmended), *((answer(number, letter, *c), w) for c, w in rest)]


BACKWARD = "        loss.backward()\n"
SOFTMAX = "y_hat = net(X).softmax(dim=1)"
LOSS = "F.cross_entropy(y_hat, y)"
TEST = "    right = [net(X).argmax(dim=1) == y for X, y in test_iter]\n"
TAUGHT = "    losses = [step"
EMPTIED = (BACKWARD, "        optimizer.zero_grad()\n" + BACKWARD)
PERMUTE = "X, y = X[torch.randperm(len(X))], y[torch.randperm(len(y))]"
ROWS = "X.reshape(-1, len(X)).T"
POOLED = "    pictures = torch.cat([X, X_test])\n    mean, std = pictures.mean(), pictures.std()\n"
NORMAL = "    X, X_test = (X - mean) / std, (X_test - mean) / std\n"
OWN = "    mean, std = X.mean(), X.std()\n"

WRONG = {
    "clinic.1": cases(
        "clinic.1",
        "g",
        {"c": "throws the second loss far off", "e": "weights never moved"},
        [
            "gradients of all batches so far",
            ([("    net.train()\n", "    net.train()\n    optimizer.zero_grad()\n")], "once an epoch"),
            ([(BACKWARD, BACKWARD + "        optimizer.zero_grad()\n")], "At the step there is no gradient"),
            ([("        optimizer.step()\n", "")], "one step a batch"),
            (
                [(BACKWARD, "        if len(losses) % 2:\n            optimizer.zero_grad()\n" + BACKWARD)],
                "something of another batch",
            ),
            ([("        losses.append(loss.item())\n", ""), ("losses, d2l", "d2l")], "the same two things"),
            (
                [(BACKWARD, "        if len(losses) % 2 == 0:\n            optimizer.zero_grad()\n    " + BACKWARD)],
                "a `backward` of its own",
            ),
            ([EMPTIED, ("        losses.append(loss.item())\n", "")], "the losses that it hands back are other ones"),
            ([EMPTIED, ("d2l.evaluate_accuracy_gpu(net, test_iter)", "0.0")], "the mark is not the fraction"),
            ([EMPTIED, ("_gpu(net, test_iter)", "_gpu(net, train_iter)")], "the mark is not the fraction"),
            ([EMPTIED, ("d2l.evaluate_accuracy_gpu(net, test_iter)", "None")], "The second thing"),
        ],
    ),
    "clinic.2": cases(
        "clinic.2",
        "i",
        {"h": "learned by heart from few pictures", "a": "first test batch only"},
        [
            "and takes the softmax of them",
            ([("softmax(dim=1)", "softmax(dim=0)")], "down the batch"),
            ([("softmax(dim=1)", "sigmoid()")], "sigmoid squeezes"),
            ([(LOSS, "F.nll_loss(y_hat, y)")], "it gets the probabilities themselves"),
            ([(SOFTMAX, "y_hat = net(X)"), (LOSS, "F.nll_loss(y_hat, y)")], "no softmax at all"),
            (
                [(SOFTMAX, "y_hat = net(X)"), (LOSS, 'F.cross_entropy(y_hat, y, reduction="sum")')],
                "not the mean cross-entropy",
            ),
            (
                [
                    (SOFTMAX, "y_hat = net(X)"),
                    ("loss.item()", "F.cross_entropy(y_hat.softmax(dim=1), y).item()"),
                ],
                "the losses that it hands back are other ones",
            ),
            ([(BACKWARD, "")], "every batch needs its `backward`"),
            (
                [(SOFTMAX, "y_hat = net(X)"), ("        optimizer.zero_grad()\n", "")],
                "by the gradient of its own batch",
            ),
            ([(SOFTMAX, "y_hat = net(X)"), ("        optimizer.step()\n", "")], "by the gradient of its own batch"),
            ([(SOFTMAX, "y_hat = net(X)"), ("_gpu(net, test_iter)", "_gpu(net, train_iter)")], "not the fraction"),
        ],
    ),
    "clinic.3": cases(
        "clinic.3",
        "d",
        {"a": "jumpy accuracy", "f": "labels belong to other pictures"},
        [
            "while it is tested, the net is in training mode",
            ([(TAUGHT, "    net.eval()\n" + TAUGHT)], "from the first batch on"),
            ([(TEST, "    net.eval()\n" + TEST)], "nobody wakes the net"),
            (
                [
                    ("step(net, X, y, optimizer)", "F.cross_entropy(net(X), y).item()"),
                    (TAUGHT.replace("step", ""), "    net.train()\n    losses = ["),
                    (TEST, "    net.eval()\n" + TEST),
                ],
                "no longer learns",
            ),
            (
                [
                    (TAUGHT, "    net.train()\n" + TAUGHT),
                    (TEST, "    net.eval()\n" + TEST.replace("in test_iter", "in test_iter[:1]")),
                ],
                "does not look at every test picture",
            ),
            (
                [
                    (TAUGHT, "    net.train()\n" + TAUGHT),
                    (TEST, "    net.eval()\n" + TEST),
                    ("torch.cat(right).float().mean().item()", "sum(r.float().mean().item() for r in right) / 3"),
                ],
                "the mean of the batches",
            ),
            (
                [
                    (TAUGHT, "    net.train()\n" + TAUGHT),
                    (TEST, "    net.eval()\n" + TEST),
                    ("torch.cat(right).float().mean().item()", "torch.cat(right).sum().item()"),
                ],
                "not the fraction (0 to 1)",
            ),
            (
                [
                    (TAUGHT, "    net.train()\n" + TAUGHT),
                    (TEST, "    net.eval()\n    for X, y in test_iter:\n        step(net, X, y, optimizer)\n" + TEST),
                ],
                "learns from the test pictures",
            ),
            *(
                (
                    [
                        (TAUGHT, "    net.train()\n" + TAUGHT),
                        (TEST, "    net.eval()\n" + TEST),
                        ("torch.cat(right).float().mean().item()", mark),
                    ],
                    "The second thing",
                )
                for mark in ("None", "torch.cat(right).float()")
            ),
        ],
    ),
    "clinic.4": cases(
        "clinic.4",
        "f",
        {"h": "learned by heart from few pictures", "b": "a batch of one cannot be mixed"},
        [
            "labels of other pictures",
            ([(PERMUTE, "X = X[torch.randperm(len(X))]")], "the labels stay in their places"),
            ([(PERMUTE, "y = y[torch.randperm(len(y))]")], "the pictures stay in their places"),
            ([(PERMUTE, "pass")], "nothing is shuffled any more"),
            ([(PERMUTE, "X, y = X.flip(0), y.flip(0)")], "and not in a random one"),
            ([(PERMUTE, "rows = y.argsort()\n    X, y = X[rows], y[rows]")], "and not in a random one"),
            ([(PERMUTE, "rows = torch.randint(len(X), (len(X),))\n    X, y = X[rows], y[rows]")], "some are left out"),
        ],
    ),
    "clinic.5": cases(
        "clinic.5",
        "b",
        {"f": "labels belong to other pictures", "j": "the training loss changes as soon as they change"},
        [
            "holds pixels of several pictures",
            ([(f"rows = {ROWS}", "rows = X.flatten(1)")], "in the test they still get mixed"),
            ([(ROWS, "X.transpose(2, 3).flatten(1)")], "turned or flipped"),
            ([(ROWS, "X.flip(0).flatten(1)")], "no longer the one"),
            ([(f"rows = {ROWS}", "continue")], "asked once for each batch"),
            ([(ROWS, "X.reshape(-1, len(X))")], "mat1 and mat2"),
            ([(ROWS, "X.flatten(1)"), ("rows, y, optimizer", "rows, y.flip(0), optimizer")], "no longer the one"),
            ([(ROWS, "X.flatten(1)"), ("rows, y, optimizer", "rows, y * 0, optimizer")], "no longer the one"),
            ([(ROWS, "X.flatten(1)"), ("return losses, ", "return losses[:1], ")], "losses that it hands back"),
            ([(ROWS, "X.flatten(1) - X.flatten(1).mean()")], "other values"),
        ],
    ),
    "clinic.6": cases(
        "clinic.6",
        "j",
        {"c": "throws the second loss far off", "b": "a batch of one cannot be mixed"},
        [
            "other training pictures, too",
            ([(POOLED, POOLED + "    std = X.std()\n")], "the mean still changes"),
            ([(POOLED, POOLED + "    mean = X.mean()\n")], "the standard deviation still changes"),
            ([(POOLED, ""), (NORMAL, "")], "no longer normalised"),
            ([(POOLED, OWN), (NORMAL, "    X = (X - mean) / std\n")], "come to the net as they are"),
            (
                [
                    (POOLED, OWN),
                    (NORMAL, NORMAL.replace("(X_test - mean) / std", "(X_test - X_test.mean()) / X_test.std()")),
                ],
                "statistics of their own",
            ),
            (
                [(POOLED, OWN), (NORMAL, NORMAL.replace("(X_test - mean) / std", "X_test - mean"))],
                "in one form in the training",
            ),
            ([(POOLED, OWN), ("net(X_test)", "net(X_test[:10])")], "answer once for each test picture"),
        ],
    ),
}
