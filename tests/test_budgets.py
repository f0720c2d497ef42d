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


def test_lenet_comes_within_a_point_in_many_small_steps_and_is_behind_with_every_seed_in_few_large_ones():
    many, few, few_of_lenet5 = (
        accuracies("lenet()", "many small steps"),
        accuracies("lenet()", "few large steps"),
        accuracies("LeNet-5", "few large steps"),
    )
    assert len(many) == len(few) == len(few_of_lenet5) == len(LENET5) == 5
    mean = sum(run["test_acc"] for run in LENET5) / 5
    assert abs(mean - sum(many) / 5) < 0.01  # "within a point"
    assert max(few) < min(few_of_lenet5) - 0.05 < min(many)


def test_the_script_chooses_the_best_rate_and_repeats_no_run(benchmark, monkeypatch, tmp_path):
    budgets = benchmark("budgets")
    measured = []

    def measure(net, budget, lr, seed):
        measured.append((net, budget, lr, seed))
        run = {"net": net, "budget": budget, "lr": lr, "seed": seed, "chosen": False}
        return run | {"val_acc": 1 - abs(lr - 0.8), "test_acc": 0.5}

    monkeypatch.setattr(budgets, "measure", measure)
    monkeypatch.setattr(budgets, "RUNS", tmp_path / "budgets.json")
    monkeypatch.setattr("sys.argv", ["budgets.py", "--seeds", "2"])
    budgets.main()
    budgets.main()
    assert len(measured) == len(set(measured)) == 3 * (3 + 1)
    chosen = [run for run in json.loads(budgets.RUNS.read_text())["runs"] if run["chosen"]]
    assert {(run["net"], run["lr"]) for run in chosen} == {("LeNet-5", 0.02), ("lenet()", 0.9)}
    assert [run["seed"] for run in chosen] == [0, 1] * 3
