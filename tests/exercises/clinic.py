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
IN_ORDER = ("torch.randperm(len(X)).split(8)", "torch.arange(len(X)).split(8)")
TOGETHER = (PERMUTE, "order = torch.randperm(len(X))\n    X, y = X[order], y[order]")
MODES = [(TAUGHT, "    net.train()\n" + TAUGHT), (TEST, "    net.eval()\n" + TEST)]
MARK = "torch.cat(right).float().mean().item()"
ACCURACY = "d2l.evaluate_accuracy_gpu(net, test_iter)"
AWAKE = "torch.cat([net(X).argmax(dim=1) == y for X, y in test_iter]).float().mean()"


def with_step(old, new):
    """A change that puts another `step`, with `old` made `new`, in front of the loop."""
    assert old in SETUP, old
    return "def mended", SETUP.replace(old, new) + "\n\n\ndef mended"


def with_other_faults(*mended):
    """A loop that is mended by these changes, but has a `step` with another fault of the list, or one of its own."""
    loss = "F.cross_entropy(net(X), y)"
    return [
        ([*mended, with_step("    optimizer.step()\n", "")], "what it was at the beginning"),
        ([*mended, with_step("    optimizer.zero_grad()\n", "")], "has those of all before in it"),
        ([*mended, with_step("net(X)", "net(X).softmax(dim=1)")], "takes the softmax of them"),
        ([*mended, with_step(loss, f"10 * {loss}")], "not the mean cross-entropy"),
        ([*mended, with_step("    optimizer.step()\n", "    optimizer.step()\n" * 100)], "yours goes to"),
        ([*mended, with_step("loss.item()", "loss.item() / len(y)")], "the losses that it hands back are other ones"),
    ]


WRONG = {
    "clinic.1": cases(
        "clinic.1",
        "g",
        {"c": "throws the second loss far off", "e": "jitter about the first one", "f": "the first loss would be"},
        [
            "gradients of all batches so far",
            ([("    net.train()\n", "    net.train()\n    optimizer.zero_grad()\n")], "once an epoch"),
            ([(BACKWARD, BACKWARD + "        optimizer.zero_grad()\n")], "At the step there is no gradient"),
            (
                [(BACKWARD, ""), ("        optimizer.step()\n", "        optimizer.step()\n" + BACKWARD)],
                "At the step there is no gradient",
            ),
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
            ([EMPTIED, ("        losses.append(loss.item())\n", "")], "hands back are 0, and should be 8"),
            ([EMPTIED, ("loss.item()", "loss.item() / len(y)")], "hands back are other ones: number 1 should"),
            ([EMPTIED, ("return losses", "losses")], "returns nothing"),
            ([EMPTIED, (ACCURACY, f"{ACCURACY}, net")], "the same two things"),
            ([EMPTIED, (f"losses, {ACCURACY}", f"{ACCURACY}, losses")], "the same two things"),
            ([EMPTIED, (ACCURACY, f"{ACCURACY} / 2")], "count what is right"),
            ([EMPTIED, ("_gpu(net, test_iter)", "_gpu(net, test_iter[:1])")], "in the first batch alone"),
            ([EMPTIED, (ACCURACY, "None")], "A test accuracy that the loop hands back"),
            ([EMPTIED, (ACCURACY, AWAKE)], "the net in training mode"),
            ([EMPTIED, ("net(X)", "net(X.reshape(-1, len(X)).T)")], "as they are"),
            ([EMPTIED, ("net(X), y", "net(X), y.flip(0)")], "a label that is not its own"),
            ([EMPTIED, ("net(X), y", "net(X).softmax(dim=1), y")], "takes the softmax of them"),
            ([EMPTIED, ("net.train()", "net.eval()")], "finds it in evaluation mode"),
        ],
    ),
    "clinic.2": cases(
        "clinic.2",
        "i",
        {"h": "the training loss is close to 0", "a": "first test batch only"},
        [
            "still has it: `cross_entropy` gets",
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
            ([(BACKWARD, "")], "Every batch needs its `backward`"),
            ([(SOFTMAX, "y_hat = net(X)"), ("        optimizer.zero_grad()\n", "")], "those of all before in it"),
            ([(SOFTMAX, "y_hat = net(X)"), ("        optimizer.step()\n", "")], "what it was at the beginning"),
            ([(SOFTMAX, "y_hat = net(X[:3])"), (LOSS, "F.cross_entropy(y_hat, y[:3])")], "It gets 3 rows"),
            (
                [(SOFTMAX, "y_hat = net(X)"), (ACCURACY, ACCURACY.replace("iter", "iter[:1]"))],
                "in the first batch alone",
            ),
            ([(SOFTMAX, "y_hat = net(X)"), (ACCURACY, f"{ACCURACY} / 2")], "count what is right"),
        ],
    ),
    "clinic.3": cases(
        "clinic.3",
        "d",
        {"a": "jumpy accuracy", "f": "labels belong to other pictures", "h": "the same answers whenever"},
        [
            "while it is tested, the net is in training mode",
            (
                [MODES[0], (TEST, TEST.replace("net(X)", "(net(X), net.eval())[0]"))],
                "while it is tested, the net is in training mode",
            ),
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
            ([*MODES, ("in test_iter]", "in train_iter]")], "no longer looks at the test"),
            ([*MODES, ("in test_iter]", "in test_iter[:1]]")], "in the first batch alone"),
            ([*MODES, (MARK, "sum(r.float().mean().item() for r in right) / 2")], "the mean of the batches"),
            ([*MODES, (MARK, "torch.cat(right).sum().item()")], "count what is right"),
            (
                [
                    MODES[0],
                    (TEST, "    net.eval()\n    for X, y in test_iter:\n        step(net, X, y, optimizer)\n" + TEST),
                ],
                "learns from the test pictures",
            ),
            *(([*MODES, (MARK, mark)], "A test accuracy") for mark in ("None", "torch.cat(right).float()")),
            ([*MODES, ("in train_iter", "in train_iter[:1]")], "Every batch needs its `backward`"),
            ([*MODES, ("return losses", "return losses[:1]")], "hands back are 2, and should be 4"),
            *with_other_faults(*MODES),
        ],
    ),
    "clinic.4": cases(
        "clinic.4",
        "f",
        {"h": "learned by heart from few pictures", "b": "a batch of one cannot be mixed"},
        [
            "labels of other pictures",
            ([(PERMUTE, "X = X[torch.randperm(len(X))]")], "labels of other pictures"),
            ([(PERMUTE, "X = X[torch.randperm(len(X))]"), IN_ORDER], "the labels stay in their places"),
            ([(PERMUTE, "y = y[torch.randperm(len(y))]"), IN_ORDER], "the pictures stay in their places"),
            ([(PERMUTE, "pass"), IN_ORDER], "nothing is shuffled any more"),
            ([(PERMUTE, "X, y = X.flip(0), y.flip(0)"), IN_ORDER], "and not in a random one"),
            ([(PERMUTE, "X, y = X.roll(7, 0), y.roll(7, 0)"), IN_ORDER], "and not in a random one"),
            ([(PERMUTE, "X[:2], y[:2] = X[:2].flip(0), y[:2].flip(0)"), IN_ORDER], "and not in a random one"),
            *(
                ([(PERMUTE, f"rows = {order}\n    X, y = X[rows], y[rows]"), IN_ORDER], "and not in a random one")
                for order in ("y.argsort(stable=True)", "torch.arange(len(X)).reshape(2, -1).T.flatten()")
            ),
            ([(PERMUTE, "rows = torch.randint(len(X), (len(X),))\n    X, y = X[rows], y[rows]")], "some are left out"),
            ([TOGETHER, ("X[order], y[order]", "X[order[:8]], y[order[:8]]")], "some are left out"),
            ([TOGETHER, ("range(num_epochs)", "range(0)")], "no longer learns from anything"),
            ([TOGETHER, ("test_iter))\n", "test_iter[:1]))\n")], "in the first batch alone"),
            ([TOGETHER, (ACCURACY, AWAKE)], "the net in training mode"),
            ([TOGETHER, (ACCURACY, f"{AWAKE} if net.eval() else 0")], "finds it in evaluation mode"),
            ([TOGETHER, ("return losses, test_acc", "return [], None")], "a list of 2 test accuracies"),
            ([TOGETHER, ("return losses, test_acc", "return losses, test_acc[:1]")], "a list of 2 test accuracies"),
            ([TOGETHER, ("return losses", "return []")], "hands back are 0, and should be 16"),
            ([TOGETHER, ("parameters(), lr)", "parameters(), 100 * lr)")], "yours goes to"),
            ([TOGETHER, ("X, y = X[order]", "X, y = 1 - X[order]")], "shows none"),
            ([TOGETHER, ("X, y = X[order]", "X, y = 2 * X[order]")], "as they are"),
            *with_other_faults(TOGETHER),
        ],
    ),
    "clinic.5": cases(
        "clinic.5",
        "b",
        {"f": "would stay high in both", "j": "the training loss changes as soon as they change"},
        [
            "holds pixels of several pictures",
            ([(f"rows = {ROWS}", "rows = X.flatten(1)")], "in the test they still get mixed"),
            ([(ROWS, "X.transpose(2, 3).flatten(1)")], "turned or flipped"),
            ([(ROWS, "X.flip(0).flatten(1)")], "no longer the one"),
            ([(f"rows = {ROWS}", "continue")], "asked once for each batch"),
            ([(ROWS, "X.reshape(-1, len(X))")], "mat1 and mat2"),
            ([(ROWS, "X.flatten(1)"), ("rows, y, optimizer", "rows, y.flip(0), optimizer")], "not its own"),
            ([(ROWS, "X.flatten(1)"), ("rows, y, optimizer", "rows, y * 0, optimizer")], "not its own"),
            ([(ROWS, "X.flatten(1)"), ("return losses, ", "return losses[:1], ")], "hands back are 1, and should be 3"),
            ([(ROWS, "X.flatten(1) - X.flatten(1).mean()")], "other values"),
            ([(ROWS, "X.flatten(1)"), ("in test_iter]", "in test_iter[:1]]")], "asked once for each batch"),
            ([(ROWS, "X.flatten(1)"), (ACCURACY.replace("_iter", "_rows"), AWAKE)], "the net in training mode"),
            *with_other_faults((ROWS, "X.flatten(1)")),
        ],
    ),
    "clinic.6": cases(
        "clinic.6",
        "j",
        {"a": "every training loss would be", "e": "jitter about the first one", "b": "a batch of one cannot be mixed"},
        [
            "other training pictures, too",
            ([(POOLED, POOLED + "    std = X.std()\n")], "the mean still changes"),
            ([(POOLED, POOLED + "    mean = X.mean()\n")], "the standard deviation still changes"),
            *(
                (
                    [(POOLED, OWN), (NORMAL, f"    X, X_test = X{half}, X_test{half}\n")],
                    "a mean of 0 and a deviation of 1",
                )
                for half in ("", " - mean", " / std")
            ),
            ([(POOLED, OWN), (NORMAL, "    X = (X - mean) / std\n")], "come to the net as they are"),
            (
                [
                    (POOLED, OWN),
                    (NORMAL, NORMAL.replace("(X_test - mean) / std", "(X_test - X_test.mean()) / X_test.std()")),
                ],
                "statistics of their own",
            ),
            *(
                (
                    [(POOLED, OWN), (NORMAL, NORMAL.replace("(X_test - mean) / std", half))],
                    "in one form in the training",
                )
                for half in ("X_test - mean", "X_test - X_test.mean()", "X_test / X_test.std()")
            ),
            ([(POOLED, OWN), ("net(X_test)", "net(X_test[:10])")], "answer once for each test picture"),
            ([(POOLED, OWN), ("range(num_epochs)", "range(0)")], "answer once for each test picture"),
            (
                [
                    (POOLED, OWN),
                    ("    for _", "    answers = net.eval()(X_test).argmax(dim=1)\n    net.train()\n    for _"),
                    ("net(X_test).argmax(dim=1)", "answers"),
                ],
                "when it has learned all",
            ),
            ([(POOLED, OWN), ("torch.randperm(len(X))", "torch.randperm(5)")], "some are left out"),
            ([(POOLED, OWN), ("range(num_epochs)", "range(1)")], "some are left out"),
            ([(POOLED, OWN), ("y[rows], o", "y[rows.flip(0)], o")], "a label that is not its own"),
            ([(POOLED, OWN), ("    net.eval()\n", "")], "the net in training mode"),
            ([(POOLED, OWN), ("parameters(), lr)", "parameters(), 100 * lr)")], "yours goes to"),
            ([(POOLED, OWN), ("return losses", "return []")], "hands back are 0, and should be 4"),
            ([(POOLED, OWN), ("net(X_test).argmax(dim=1)", "(net(X_test).argmax(dim=1) + 1) % 10")], ", 0 are that"),
            *(
                ([(POOLED, OWN), ("net(X_test).argmax(dim=1)", other)], "answers to the test pictures, and")
                for other in ("print(net(X_test))", "net(X_test).argmax(dim=1)[:10]", "net(X_test).argmax()")
            ),
            *with_other_faults((POOLED, OWN)),
        ],
    ),
}
