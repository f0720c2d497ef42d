"""What to hold LeNet's results against: a single linear layer, and pictures whose pixels are shuffled.

Three recipes, several seeds each. "ten epochs": `nn.Linear(784, 10)` alone, trained as notebook 3 trains `lenet()`
(batches of 256, all training images, tested after each epoch), but with a learning rate of 0.1. "rates exchanged": the
same with LeNet's rate of 0.9, and `lenet()` with 0.1. "shuffle", from notebook 5: a linear layer, two dense layers with
about as many parameters as LeNet, and LeNet with ReLU. Each learns 12,800 images, twice, as they are and with their
pixels in another order, the same for all images (drawn from the seed), and is tested on 5,000 training images kept
apart. Written to results/baseline.json. A finished run is not repeated.
"""

import argparse
import functools
import statistics

import machine
import torch
from torch import nn

import lenet_utils as d2l
from lenet_utils import modern, plateau
from lenet_utils.data import Batches, read_split

RUNS = machine.RESULTS / "baseline.json"
RECIPE = {"num_epochs": 2, "lr": 0.05, "init_weights": modern.init_he, "momentum": 0.9, "schedule": True}  # shuffle's


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 77), nn.ReLU(), nn.Linear(77, 10))


def relu_lenet():
    return plateau.with_activation(d2l.lenet(), nn.ReLU)


NETWORKS = {"linear layer": linear, "two dense layers": dense, "LeNet with ReLU": relu_lenet}
ALONE = {  # what learns all images for ten epochs, by (recipe, network): how it begins, and its learning rate
    ("ten epochs", "linear layer"): (linear, 0.1),
    ("rates exchanged", "linear layer"): (linear, 0.9),
    ("rates exchanged", "LeNet"): (d2l.lenet, 0.1),
}


def ten_epochs(recipe, network, seed, num_epochs=10):
    """One run of a network of `ALONE`, as a dict for the JSON file."""
    begin, lr = ALONE[recipe, network]
    train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size=256)
    torch.manual_seed(seed)
    net = begin()
    history = d2l.train_ch6(net, train_iter, test_iter, num_epochs, lr, "cpu", animator=False)
    accs = [round(acc, 4) for acc in history.test_acc]
    return {"recipe": recipe, "network": network, "seed": seed, "parameters": count(net), "test_acc": accs}


def shuffle(network, is_shuffled, seed):
    """One run of `network`, as a dict for the JSON file."""
    images, labels = read_split("train")
    if is_shuffled:
        images = with_pixels(images, torch.randperm(784, generator=torch.Generator().manual_seed(seed)))
    torch.manual_seed(seed)
    net = NETWORKS[network]()
    batches = Batches(images[:12_800], labels[:12_800], 64, shuffle=True)
    modern.train_modern(net, batches, **RECIPE)
    acc = d2l.evaluate_accuracy_gpu(net, Batches(images[-5000:], labels[-5000:], 500))
    return {
        "recipe": "shuffle", "network": network, "shuffled": is_shuffled, "seed": seed, "parameters": count(net),
        "kept_acc": round(acc, 4),
    }  # fmt: skip


def with_pixels(images, order):
    """`images` `(N, 28, 28)`, each with its 784 pixels in the order `order`."""
    return images.flatten(1).index_select(1, order).view_as(images)


def count(net):
    return sum(p.numel() for p in net.parameters())


def table(runs):
    lines = [f"{'':17} {'':15}  seeds  lowest  median  highest"]
    cases = [(*case, None) for case in ALONE]
    cases += [("shuffle", network, is_shuffled) for network in NETWORKS for is_shuffled in (False, True)]
    for case in cases:
        accs = [acc_of(run) for run in runs if (run["recipe"], run["network"], run.get("shuffled")) == case]
        if accs:
            how = {None: case[0], False: "as they are", True: "shuffled"}[case[2]]
            middle = statistics.median(accs)
            lines.append(f"{case[1]:17} {how:15} {len(accs):6} {min(accs):7.4f} {middle:7.4f} {max(accs):8.4f}")
    return "\n".join(lines)


def acc_of(run):
    return run["kept_acc"] if run["recipe"] == "shuffle" else run["test_acc"][-1]


def missing(runs, seeds):
    """What is still to train, as functions of nothing."""
    done = {(run["recipe"], run["network"], run.get("shuffled"), run["seed"]) for run in runs}
    for seed in range(seeds):
        for network in NETWORKS:
            for is_shuffled in (False, True):
                if ("shuffle", network, is_shuffled, seed) not in done:
                    yield functools.partial(shuffle, network, is_shuffled, seed)
        for case in ALONE:
            if (*case, None, seed) not in done:
                yield functools.partial(ten_epochs, *case, seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="train with the seeds 0, 1, ... (%(default)s of them)")
    seeds = parser.parse_args().seeds
    runs = machine.finished_runs(RUNS)
    for train in list(missing(runs, seeds)):
        runs.append(train())
        machine.save(RUNS, {"machine": machine.describe(), "runs": runs})
    print(table(runs))


if __name__ == "__main__":
    main()
