"""What notebook 5 says of SGD, momentum and Adam is what `benchmarks/optimizers.py` measured."""

import json
import pathlib
import statistics

import pytest
import torch

COURSE = pathlib.Path(__file__).parent.parent
NOTEBOOK = COURSE / "notebooks" / "5_modern_lenet.ipynb"
RESULTS = COURSE / "benchmarks" / "results"
RUNS = json.loads((RESULTS / "optimizers.json").read_text())["runs"]
SEEDS = range(5)
ACCS = {}
for run in RUNS:
    ACCS.setdefault((run["recipe"], run["network"], run["optimizer"], run["lr"]), []).append(run["kept_acc"])
UNNORMALISED = ["lenet()", "LeNet with ReLU"]


@pytest.fixture
def optimizers(benchmark):
    return benchmark("optimizers")


def best(network, optimizer):
    """The accuracies of all seeds at the rate with the highest median, after five epochs."""
    cases = [accs for case, accs in ACCS.items() if case[:3] == ("epochs", network, optimizer)]
    return max(cases, key=statistics.median)


def test_every_run_is_there_once(optimizers):
    assert sorted(ACCS) == sorted(optimizers.cases()) and len(RUNS) == len(SEEDS) * len(ACCS)
    assert list(optimizers.missing(RUNS, len(SEEDS))) == []
    assert len(list(optimizers.missing(RUNS[1:], len(SEEDS)))) == 1


@pytest.mark.parametrize("network", ["the note's network", *UNNORMALISED])
def test_adam_s_usual_rate_learns_with_every_seed_and_three_times_as_much_is_better(network):
    usual, larger = (ACCS["steps", network, "Adam", lr] for lr in (0.001, 0.003))
    assert min(usual) > 0.6 and statistics.median(larger) > statistics.median(usual)
    assert statistics.median(ACCS["steps", network, "Adam", 0.1]) < 0.2


@pytest.mark.parametrize("optimizer", ["SGD", "momentum"])
def test_nothing_but_adam_gets_lenet_off_its_plateau_in_300_steps(optimizers, optimizer):
    assert all(max(ACCS["steps", "lenet()", optimizer, lr]) < 0.2 for lr in optimizers.STEPS_RATES)


@pytest.mark.parametrize("network", UNNORMALISED)
def test_with_good_rates_adam_stays_ahead_where_nothing_is_normalised(network):
    assert min(best(network, "Adam")) > statistics.median(best(network, "momentum"))


def test_with_batch_normalisation_little_is_left_of_that_and_the_rate_hardly_matters():
    momentum, adam = (best("with batch normalisation", optimizer) for optimizer in ("momentum", "Adam"))
    assert 0.003 < statistics.median(adam) - statistics.median(momentum) < 0.01 and min(adam) < max(momentum)
    for optimizer, rates in (("momentum", (0.1, 0.3, 1.0)), ("Adam", (0.01, 0.03, 0.1))):
        tenfold = [statistics.median(ACCS["epochs", "with batch normalisation", optimizer, lr]) for lr in rates]
        assert max(tenfold) - min(tenfold) < 0.005


def test_the_rate_rises_from_nothing_and_falls_to_nothing(optimizers):
    """What `train` hands to the optimiser, step by step."""

    rates = []

    class Recorder(torch.optim.SGD):
        def step(self):
            rates.append(self.param_groups[0]["lr"])

    batches = [(torch.rand(2, 1, 28, 28), torch.tensor([0, 1]))] * 5
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    optimizers.train(net, batches, Recorder, 0.5, num_epochs=2, schedule=True)
    assert len(rates) == 10 and max(rates) == rates[1] == 0.5 and rates[-1] < 1e-9
    optimizers.train(net, batches, Recorder, 0.5)
    assert rates[10:] == [0.5] * 5


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_the_notebook_s_rules_are_pytorch_s(name):
    """Forty steps down the notebook's valley."""
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]}
    names = {"torch": torch}
    for cell in ("step-02", "step-02-a", "step-03", "step-04"):
        exec(cells[cell], names)
    make, more = {"sgd": (torch.optim.SGD, {}), "momentum": (torch.optim.SGD, {"momentum": 0.9}),
                  "adam": (torch.optim.Adam, {})}[name]  # fmt: skip
    w, path = torch.tensor([-4.0, 1.0], requires_grad=True), [torch.tensor([-4.0, 1.0])]
    optimizer = make([w], lr=0.01, **more)
    for _ in range(40):
        optimizer.zero_grad()
        (names["valley"] * w**2 / 2).sum().backward()
        optimizer.step()
        path.append(w.detach().clone())
    torch.testing.assert_close(names["descend"](names[name], 0.01), torch.stack(path))
