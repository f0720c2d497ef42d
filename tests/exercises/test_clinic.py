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

import lenet_utils as d2l
from lenet_utils import train
from lenet_utils.exercises import engine

NOTEBOOK = pathlib.Path(__file__).parent.parent.parent / "notebooks" / "clinic.ipynb"
CELLS = json.loads(NOTEBOOK.read_text("utf-8"))
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
    ("clinic.4", PERMUTE, PERMUTE.replace("X, y = ", "X, y = map(torch.stack, zip(*shuffled(X, y)))  # ")),
    ("clinic.5", ROWS, "X.flatten(1)"),
    ("clinic.5", ROWS, "X.view(-1, 784)"),
    ("clinic.5", ROWS, "X"),
    ("clinic.6", POOLED, "    mean, std = X.mean(dim=0), X.std(dim=0)\n"),
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


@pytest.mark.parametrize(("number", "ill", "mended"), MENDED)
def test_another_way_to_mend_it_is_right(number, ill, mended):
    task = next(task for task in exercises(CELLS) if task.number == number)
    names = {"torch": torch, "F": F, "d2l": d2l, "train": train, "shuffled": shuffled, "__name__": "__main__"}
    names |= {"copy": copy, "np": np, "random": random}
    exec(STEP, names)
    stub = source(task.stub)
    assert ill in stub
    exec(stub.replace(ill, mended).replace("None  #", f"{LETTERS[number]!r}  #"), names)
    said = []
    names["check"] = lambda *given: said.append(engine.judge(*given))
    exec(source(task.check), names)
    assert said[0].kind == "right", said
