"""What notebooks 4 and 5 say of pictures in the mirror is what `benchmarks/mirrored.py` measured, with every seed."""

import json
import pathlib

import pytest
import torch
from torch import nn

from lenet_utils.data import LABELS, Batches

RESULTS = pathlib.Path(__file__).parent.parent / "benchmarks" / "results"
RUNS = json.loads((RESULTS / "mirrored.json").read_text())["runs"]
LENET, AS_THEY_ARE, TOSSED = (
    [run for run in RUNS if run["name"] == name]
    for name in (
        "lenet(), ten epochs",
        "modern_lenet(), one epoch",
        "modern_lenet(), trained mirrored or not",
    )
)


def boots(run):
    return run["mirrored"]["ankle boot"]


def test_there_are_ten_seeds_of_each():
    assert all([run["seed"] for run in runs] == list(range(10)) for runs in (LENET, AS_THEY_ARE, TOSSED))
    assert len(RUNS) == 30


@pytest.mark.parametrize("run", LENET + AS_THEY_ARE, ids=lambda run: f"{run['name']} {run['seed']}")
def test_boots_in_the_mirror_are_known_to_nobody(run):
    """Stricter than the notebooks' own assertions, so that those have slack."""
    assert boots(run) < 0.01 and run["test"]["ankle boot"] > 0.85
    for kind in set(run["test"]) - {"sandal", "sneaker", "ankle boot"}:
        assert abs(run["mirrored"][kind] - run["test"][kind]) < 0.1, kind


@pytest.mark.parametrize("run", TOSSED, ids=lambda run: f"seed {run['seed']}")
def test_whoever_has_seen_both_sides_knows_both(run):
    assert boots(run) > 0.93 and abs(run["mirrored_acc"] - run["test_acc"]) < 0.02


def test_in_one_pass_the_mirror_costs_a_little_on_the_test_with_every_seed():
    costs = [one["test_acc"] - other["test_acc"] for one, other in zip(AS_THEY_ARE, TOSSED)]
    assert min(costs) > 0 and 0.004 < sum(costs) / len(costs) < 0.006  # "half a point"


class FirstRow(nn.Module):
    """Takes the pixels on the left of the first row for the scores of the ten classes."""

    def forward(self, X):
        return X[:, 0, 0, :10]


def test_the_script_mirrors_left_and_right_and_asks_each_class(benchmark, monkeypatch):
    mirrored = benchmark("mirrored")
    images = torch.zeros(10, 28, 28, dtype=torch.uint8)
    images[range(10), :, range(10)] = 255  # upright lines: on the right in a mirror, the same upside down
    batches = Batches(images, torch.arange(10), 10)
    monkeypatch.setattr(mirrored.d2l, "load_data_fashion_mnist", lambda batch_size: (None, batches))
    found = mirrored.results(FirstRow())
    assert (found["test_acc"], found["mirrored_acc"]) == (1, 0.1)
    assert found["test"] == dict.fromkeys(LABELS, 1)
    assert found["mirrored"] == dict.fromkeys(LABELS, 0) | {"t-shirt": 1}  # the first of ten equal scores
