"""What notebook 5 says of networks and their training is what `benchmarks/budgets.py` and `lenet5.py` measured."""

import json
import pathlib

RESULTS = pathlib.Path(__file__).parent.parent / "benchmarks" / "results"
RUNS = json.loads((RESULTS / "budgets.json").read_text())["runs"]
LENET5 = json.loads((RESULTS / "lenet5.json").read_text())["runs"]


def accuracies(net, budget):
    return [run["test_acc"] for run in RUNS if run["chosen"] and (run["net"], run["budget"]) == (net, budget)]


def test_the_chosen_rate_is_the_best_of_three_on_the_images_kept_apart():
    for which in {(run["net"], run["budget"]) for run in RUNS}:
        runs = [run for run in RUNS if (run["net"], run["budget"]) == which]
        tried = {run["lr"]: run["val_acc"] for run in runs if run["seed"] == 0}
        chosen = {run["lr"] for run in runs if run["chosen"]}
        assert len(tried) == 3 and chosen == {max(tried, key=tried.get)}
        assert min(tried) < chosen.pop() < max(tried)  # not at the edge of what was tried


def test_in_many_small_steps_both_come_as_far_and_in_few_large_ones_lenet5_is_ahead_with_every_seed():
    many, few, few_of_lenet5 = (
        accuracies("lenet()", "many small steps"),
        accuracies("lenet()", "few large steps"),
        accuracies("LeNet-5", "few large steps"),
    )
    assert len(many) == len(few) == len(few_of_lenet5) == len(LENET5) == 5
    mean = sum(run["test_acc"] for run in LENET5) / 5
    assert abs(mean - sum(many) / 5) < 0.01  # "within a point"
    assert max(few) < min(few_of_lenet5) - 0.05 < min(many)
