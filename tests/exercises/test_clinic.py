"""The clinic takes every way to mend a loop, not only the one in the solution."""

import copy
import json
import pathlib
import random

import numpy as np
import pytest
import torch
from exercise_cells import exercises, source
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lenet_utils as d2l
from lenet_utils import train
from lenet_utils.exercises import engine

NOTEBOOK = pathlib.Path(__file__).parent.parent.parent / "notebooks" / "clinic.ipynb"
CELLS = json.loads(NOTEBOOK.read_text("utf-8"))
TASKS = {task.number: task for task in exercises(CELLS)}
STEP = next(source(cell) for cell in CELLS["cells"] if source(cell).startswith("def step("))
LETTERS = {"clinic.1": "G", "clinic.2": " i ", "clinic.3": "(d)", "clinic.4": "f.", "clinic.5": "b", "clinic.6": "j"}

SUM = "        loss.backward()\n"
LOSS = "        y_hat = net(X).softmax(dim=1)\n        loss = F.cross_entropy(y_hat, y)\n"
TEST = """    right = [net(X).argmax(dim=1) == y for X, y in test_iter]
    return losses, torch.cat(right).float().mean().item()"""
PERMUTE = "    X, y = X[torch.randperm(len(X))], y[torch.randperm(len(y))]\n    for _ in range(num_epochs):\n"
ROWS = "X.reshape(-1, len(X)).T"
POOLED = "    pictures = torch.cat([X, X_test])\n    mean, std = pictures.mean(), pictures.std()\n"
NORMAL = "    X, X_test = (X - mean) / std, (X_test - mean) / std\n"
EPOCHS = "    for _ in range(num_epochs):\n        for rows in "
TOGETHER = "    order = torch.randperm(len(X))\n    X, y = X[order], y[order]\n"
STEPS = """        for rows in torch.randperm(len(X)).split(8):
            losses.append(step(net, X[rows], y[rows], optimizer))
"""
BY_BATCH = "        for batch in {}:\n            losses.append(step(net, *batch, optimizer))\n"
LOADER = "DataLoader(TensorDataset(X, y), {}, shuffle=True)"
ORDER = POOLED + NORMAL + EPOCHS + "torch.randperm(len(X))"

MENDED = [
    ("clinic.1", SUM, "        net.zero_grad()\n" + SUM),
    ("clinic.1", "        optimizer.step()\n", "        optimizer.step()\n        optimizer.zero_grad()\n"),
    ("clinic.1", SUM, "        for p in net.parameters():\n            p.grad = None\n" + SUM),
    ("clinic.2", LOSS, "        loss = F.cross_entropy(net(X), y)\n"),
    ("clinic.2", LOSS, "        loss = F.nll_loss(net(X).log_softmax(dim=1), y)\n"),
    ("clinic.2", LOSS, "        loss = -net(X).softmax(dim=1).log()[torch.arange(len(y)), y].mean()\n"),
    ("clinic.3", TEST, "    return losses, d2l.evaluate_accuracy_gpu(net, test_iter)"),
    ("clinic.3", TEST, "    net.eval()\n" + TEST.replace("    return", "    net.train()\n    return")),
    (
        "clinic.3",
        TEST,
        TEST.replace("    right", "    test = copy.deepcopy(net).eval()\n    right", 1).replace("net(X)", "test(X)"),
    ),
    (
        "clinic.4",
        PERMUTE,
        "    for _ in range(num_epochs):\n        p = torch.randperm(len(X))\n        X, y = X[p], y[p]\n",
    ),
    ("clinic.4", PERMUTE, PERMUTE.split("\n", 1)[1]),
    ("clinic.4", PERMUTE, "    torch.manual_seed(0)\n" + PERMUTE.split("\n", 1)[1]),
    (
        "clinic.4",
        PERMUTE,
        TOGETHER + PERMUTE.split("\n", 1)[1],
        ("torch.randperm(len(X)).split", "torch.arange(len(X)).split"),
    ),
    ("clinic.4", PERMUTE, PERMUTE.replace("X, y = ", "X, y = map(torch.stack, zip(*shuffled(X, y)))  # ")),
    (
        "clinic.4",
        PERMUTE,
        f"    batches = {LOADER.format(8)}\n    for _ in range(num_epochs):\n",
        (STEPS, BY_BATCH.format("batches")),
    ),
    ("clinic.4", PERMUTE, PERMUTE.split("\n", 1)[1], (STEPS, BY_BATCH.format(LOADER.format(7)))),
    ("clinic.4", PERMUTE, TOGETHER + PERMUTE.split("\n", 1)[1], ("train.SGD", "torch.optim.SGD")),
    (
        "clinic.4",
        PERMUTE,
        TOGETHER + PERMUTE.split("\n", 1)[1],
        ("append(d2l.evaluate_accuracy_gpu(net, test_iter))", "append(accuracy(net, test_iter))"),
    ),
    ("clinic.5", ROWS, "X.flatten(1)"),
    ("clinic.5", ROWS, "X.view(-1, 784)"),
    ("clinic.5", ROWS, "X"),
    (
        "clinic.5",
        f"        rows = {ROWS}",
        "        rows = memory[: len(X)].copy_(X.flatten(1))",
        ("    losses = []", "    losses, memory = [], torch.empty(8, 784)"),
        (ROWS, "X"),
    ),
    ("clinic.6", POOLED, "    mean, std = X.mean(dim=0), X.std(dim=0)\n"),
    (
        "clinic.6",
        POOLED,
        "    some = X[torch.randperm(len(X))[:30]]\n    mean, std = some.mean(), some.std()\n",
    ),
    ("clinic.6", POOLED, "    mean, std = X.mean(), X.std()\n", ("train.SGD", "torch.optim.SGD")),
    (
        "clinic.6",
        POOLED + NORMAL,
        "    mean, std = X.mean(), X.std()\n    for P in (X, X_test):\n        P -= mean\n        P /= std\n",
    ),
    (
        "clinic.6",
        POOLED,
        "    mean, std = X.mean(), X.std()\n",
        ("rows in torch.randperm(len(X)).split(32)", f"A, b in {LOADER.format(32)}"),
        ("X[rows], y[rows]", "A, b"),
        ("net(X_test).argmax(dim=1)", "[int(net(x[None]).argmax()) for x in X_test]"),
    ),
    (
        "clinic.6",
        POOLED + NORMAL,
        "    X, X_test = ((P - P.mean((1, 2, 3), True)) / P.std((1, 2, 3), keepdim=True) for P in (X, X_test))\n",
    ),
    (
        "clinic.6",
        ORDER,
        f"    mean, std = X.mean(), X.std()\n{NORMAL}{EPOCHS}torch.tensor(random.sample(range(40), 40))",
    ),
    ("clinic.6", ORDER, f"    mean, std = X.mean(), X.std()\n{NORMAL}{EPOCHS}torch.tensor(np.random.permutation(40))"),
    (
        "clinic.6",
        ORDER,
        f"    mean, std = X.mean(), X.std()\n{NORMAL}{EPOCHS}torch.tensor(np.random.default_rng().permutation(40))",
    ),
    (
        "clinic.6",
        POOLED + NORMAL,
        "    scale = torch.std_mean(X)\n    X, X_test = ((P - scale[1]) / scale[0] for P in (X, X_test))\n",
    ),
]


def shuffled(X, y):
    """The pairs, shuffled as a list."""
    pairs = list(zip(X, y))
    return [pairs[i] for i in torch.randperm(len(pairs))]


def accuracy(net, test_iter):
    """All test pictures in one batch, on a copy of the net."""
    X, y = map(torch.cat, zip(*test_iter))
    return (copy.deepcopy(net).eval()(X).argmax(dim=1) == y).float().mean()


def verdict(number, step, loop):
    """What the check says to the code of a diagnosis and a loop, where `step` is another than the notebook's."""
    names = {"torch": torch, "F": F, "d2l": d2l, "train": train, "shuffled": shuffled, "__name__": "__main__"}
    names |= {"copy": copy, "np": np, "random": random, "accuracy": accuracy}
    names |= {"DataLoader": DataLoader, "TensorDataset": TensorDataset}
    exec(step, names)
    exec(loop, names)
    said = []
    names["check"] = lambda *given: said.append(engine.judge(*given))
    exec(source(TASKS[number].check), names)
    return said[0]


@pytest.mark.parametrize("case", MENDED)
def test_another_way_to_mend_it_is_right(case):
    number, ill, mended, *changes = case
    code = source(TASKS[number].stub).replace("None  #", f"{LETTERS[number]!r}  #")
    for old, new in [(ill, mended), *changes]:
        assert old in code
        code = code.replace(old, new)
    assert verdict(number, STEP, code).kind == "right", verdict(number, STEP, code)


@pytest.mark.parametrize("number", ["clinic.1", "clinic.5", "clinic.6"])
def test_no_letter_is_refuted_by_an_accuracy_that_is_not_drawn(number):
    texts = [engine.judge(number, letter, len).text for letter in "abcdefghij" if letter != LETTERS[number].lower()]
    assert all("Hold that against the curves." in text and "accuracy" not in text for text in texts), texts


EMPTY, STEPS = "    optimizer.zero_grad()\n", "    loss.backward()\n    optimizer.step()\n"
CROSS_ENTROPY = "F.cross_entropy(net(X), y)"
OTHER_STEPS = {
    "emptied afterwards": [(EMPTY, ""), (STEPS, STEPS + EMPTY)],
    "loss as a tensor": [("loss.item()", "loss")],
    "log-softmax": [(CROSS_ENTROPY, "F.nll_loss(net(X).log_softmax(dim=1), y)")],
    "by hand": [(CROSS_ENTROPY, "-net(X).softmax(dim=1).log()[torch.arange(len(y)), y].mean()")],
    "a mean by hand": [(CROSS_ENTROPY, 'F.cross_entropy(net(X), y, reduction="sum") / len(y)')],
    "double precision": [(CROSS_ENTROPY, "F.cross_entropy(net(X).double(), y)")],
    "without an optimizer": [
        (EMPTY, ""),
        (
            STEPS,
            "    weights = list(net.parameters())\n"
            "    for p, slope in zip(weights, torch.autograd.grad(loss, weights)):\n"
            "        p.data -= optimizer.lr * slope\n",
        ),
    ],
}


@pytest.mark.parametrize("number", TASKS)
@pytest.mark.parametrize("name", OTHER_STEPS)
def test_another_way_to_take_a_step_is_right(name, number):
    """In the solution's loop; the first two patients take their steps without `step`."""
    step = STEP
    for old, new in OTHER_STEPS[name]:
        assert old in step
        step = step.replace(old, new)
    loop = TASKS[number].solution
    if number in ("clinic.1", "clinic.2"):
        start, end = loop.index("        optimizer.zero"), loop.index("    return")
        loop = loop[:start] + "        losses.append(step(net, X, y, optimizer))\n" + loop[end:]
    assert "step(" in loop
    assert verdict(number, step, loop).kind == "right", verdict(number, step, loop)
