"""What the course says of a linear layer and of shuffled pixels is what `benchmarks/baseline.py` measured."""

import itertools
import json
import pathlib
import statistics

import pytest
import torch

RESULTS = pathlib.Path(__file__).parent.parent / "benchmarks" / "results"
RUNS = json.loads((RESULTS / "baseline.json").read_text())["runs"]
ALONE = [run for run in RUNS if run["recipe"] == "ten epochs"]
EXCHANGED = {(r["network"], r["seed"]): r["test_acc"] for r in RUNS if r["recipe"] == "rates exchanged"}
SHUFFLE = {(r["network"], r["shuffled"], r["seed"]): r["kept_acc"] for r in RUNS if r["recipe"] == "shuffle"}
SEEDS = range(12)


@pytest.fixture
def baseline(benchmark):
    return benchmark("baseline")


def test_the_rates_are_exchanged(baseline):
    rates = {case: lr for case, (_, lr) in baseline.ALONE.items()}
    assert rates.pop(("ten epochs", "linear layer")) == rates["rates exchanged", "LeNet"] == 0.1
    assert rates["rates exchanged", "linear layer"] == 0.9  # notebook 3's, for LeNet


def test_every_run_is_there_once(baseline):
    assert sorted(run["seed"] for run in ALONE) == list(SEEDS)
    assert SHUFFLE.keys() == {(n, s, seed) for n in baseline.NETWORKS for s in (False, True) for seed in SEEDS}
    assert EXCHANGED.keys() == {(network, seed) for network in ("linear layer", "LeNet") for seed in SEEDS}
    assert len(RUNS) == len(ALONE) + len(EXCHANGED) + len(SHUFFLE)
    assert {run["parameters"] for run in RUNS if run["network"] == "linear layer"} == {7850}
    assert list(baseline.missing(RUNS, len(SEEDS))) == []
    assert len(list(baseline.missing(RUNS[1:], len(SEEDS)))) == 1


def test_a_linear_layer_ends_as_high_as_lenet_s_best_seeds():
    ends = [run["test_acc"][-1] for run in ALONE]
    assert all(len(run["test_acc"]) == 10 for run in ALONE)
    assert (round(min(ends), 3), round(max(ends), 3)) == (0.817, 0.838)
    seeds = json.loads((RESULTS / "seeds.json").read_text())["runs"]
    lenet = [run["test_acc"][-1] for run in seeds if run["variant"] == "lenet"]
    assert min(ends) > statistics.median(lenet) + 0.01 and min(ends) >= max(lenet)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_has_the_better_one_of_the_two_rates(seed):
    """At LeNet's rate the linear layer jumps; at the layer's, LeNet waits, and hasn't caught up after ten epochs."""
    jumping, (calm,) = EXCHANGED["linear layer", seed], [run["test_acc"] for run in ALONE if run["seed"] == seed]
    assert unrest(jumping) > 0.02 > unrest(calm) and jumping[-1] < calm[-1]
    waiting = EXCHANGED["LeNet", seed]
    assert max(waiting[:2]) < 0.15 < waiting[-1] < 0.7


def unrest(accs):
    """How far the accuracy moves from an epoch to the next, in the median."""
    return statistics.median(abs(b - a) for a, b in itertools.pairwise(accs))


@pytest.mark.parametrize("network", ["linear layer", "two dense layers"])
def test_dense_layers_do_not_mind_the_order_of_the_pixels(network):
    costs = [SHUFFLE[network, False, seed] - SHUFFLE[network, True, seed] for seed in SEEDS]
    assert max(map(abs, costs)) < 0.01 and abs(statistics.mean(costs)) < 0.003


def test_lenet_minds_it_with_every_seed():
    costs = [SHUFFLE["LeNet with ReLU", False, seed] - SHUFFLE["LeNet with ReLU", True, seed] for seed in SEEDS]
    assert min(costs) > 0.02 and statistics.mean(costs) > 0.03


def test_on_whole_pictures_the_two_dense_layers_are_a_little_ahead():
    dense, lenet = ([SHUFFLE[name, False, seed] for seed in SEEDS] for name in ("two dense layers", "LeNet with ReLU"))
    assert 0 < statistics.mean(dense) - statistics.mean(lenet) < 0.01


def test_the_pixels_of_all_images_move_alike_and_none_is_lost(baseline):
    images = torch.randint(256, (3, 28, 28), dtype=torch.uint8)
    order = torch.randperm(784)
    moved = baseline.with_pixels(images, order)
    back = torch.empty(784, dtype=torch.int64)
    back[order] = torch.arange(784)
    assert torch.equal(baseline.with_pixels(moved, back), images) and not torch.equal(moved, images)
    assert torch.equal(moved[1].flatten(), images[1].flatten()[order])
