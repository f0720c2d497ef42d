"""The network or its training? `lenet()` in LeNet-5's training of many small steps, LeNet-5 in few large ones.

`lenet5.py` trains LeNet-5 for ten passes over 55,000 images in batches of 16. Here `lenet()` has the same, and both
have five passes in batches of 256, as many steps as a row of notebook 5's ladder. Plain SGD, whose rate falls in a line
to zero; its first value is the best of those in RATES for seed 0, on 5,000 training images kept apart. Then more seeds
at that rate. Each run looks at the test images once, after its last pass. A finished run is written at once, to
results/budgets.json; started again, the script goes on with those that are missing.
"""

import argparse
import functools
import statistics
import time

import lenet5
import machine
import torch

import lenet_utils as d2l
from lenet_utils.lenet5 import lenet5 as make_lenet5
from lenet_utils.modern import load_data_with_validation
from lenet_utils.train import cross_entropy, init_xavier

RUNS = machine.RESULTS / "budgets.json"
BUDGETS = {"many small steps": (16, 10), "few large steps": (256, 5)}  # images a step, passes
RATES = {
    ("LeNet-5", "few large steps"): (0.003, 0.01, 0.02),
    ("lenet()", "many small steps"): (0.3, 0.9, 2.0),
    ("lenet()", "few large steps"): (0.3, 0.9, 2.0),
}


def measure(net_name, budget, lr, seed):
    """One run, as a dict for the JSON file."""
    begin = time.process_time()
    batch_size, num_epochs = BUDGETS[budget]
    train_iter, kept = load_data_with_validation(batch_size)
    torch.manual_seed(seed)
    if net_name == "LeNet-5":
        net, train = make_lenet5(), lenet5.train
    else:
        net, train = d2l.lenet().apply(init_xavier), functools.partial(lenet5.train, loss_of=cross_entropy)
    for _ in train(net, train_iter, num_epochs, lr):
        pass
    run = {
        "net": net_name, "budget": budget, "lr": lr, "seed": seed, "chosen": False,
        "steps": num_epochs * len(train_iter),
        "val_acc": round(d2l.evaluate_accuracy_gpu(net, kept.but(batch_size=500)), 4),
        "test_acc": round(d2l.evaluate_accuracy_gpu(net, d2l.load_data_fashion_mnist(500)[1]), 4),
        "cpu_seconds": round(time.process_time() - begin, 1),
    }  # fmt: skip
    print(*run.values(), flush=True)
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="train with the seeds 0, 1, ... (%(default)s of them)")
    seeds, runs = range(parser.parse_args().seeds), machine.finished_runs(RUNS)

    def run_of(*asked):
        for run in runs:
            if (run["net"], run["budget"], run["lr"], run["seed"]) == asked:
                return run
        runs.append(measure(*asked))
        machine.save(RUNS, {"machine": machine.describe(), "runs": runs})
        return runs[-1]

    for (net_name, budget), rates in RATES.items():
        best = max(rates, key=lambda lr: run_of(net_name, budget, lr, 0)["val_acc"])
        test = [run_of(net_name, budget, best, seed)["test_acc"] for seed in seeds]
        for run in runs:
            if (run["net"], run["budget"]) == (net_name, budget):
                run["chosen"] = run["lr"] == best
        machine.save(RUNS, {"machine": machine.describe(), "runs": runs})
        print(f"{net_name}, {budget}, rate {best}: test {min(test):.3f} to {max(test):.3f},",
              f"mean {statistics.mean(test):.3f}, {len(test)} seeds")  # fmt: skip


if __name__ == "__main__":
    main()
