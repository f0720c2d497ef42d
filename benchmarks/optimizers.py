"""SGD, momentum and Adam over learning rates from far too small to far too large, on networks of notebook 5's lab.

Two recipes. "steps": the lab's 300 batches of 64, each image once, three networks, every optimiser with every rate,
several seeds, tested on the 5,000 training images that the lab keeps apart. "epochs": five epochs on 55,000 images in
batches of 256, with a learning rate that rises from 0 and falls to 0 again; three networks, momentum and Adam, each
with four rates; tested on the other 5,000 after the last epoch. Never on the test images. Written to
results/optimizers.json; a finished run is not repeated.
"""

import argparse
import functools
import statistics

import machine
import torch
from torch import nn
from torch.nn import functional as F

import lenet_utils as d2l
from lenet_utils import modern, plateau
from lenet_utils.data import Batches, read_split

RUNS = machine.RESULTS / "optimizers.json"
NETWORKS = {
    "the note's network": plateau.STARTS["the note's network"]["as it is"],
    "lenet()": plateau.STARTS["lenet()"]["as it is"],
    "LeNet with ReLU": plateau.STARTS["lenet()"]["ReLU"],
    "with batch normalisation": plateau.Start(lambda: modern.lenet_with(nn.ReLU, batch_norm=True)),
}
OPTIMIZERS = {
    "SGD": torch.optim.SGD,
    "momentum": functools.partial(torch.optim.SGD, momentum=0.9),
    "Adam": torch.optim.Adam,
}
COMPARED = {"steps": list(NETWORKS)[:3], "epochs": list(NETWORKS)[1:]}
STEPS_RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
EPOCHS_RATES = {"momentum": (0.1, 0.3, 1.0, 3.0), "Adam": (0.01, 0.03, 0.1, 0.3)}
NUM_EPOCHS = 5


def steps(network, optimizer, lr, seed):
    """One run of the lab's 300 steps, as a dict for the JSON file."""
    images, labels = read_split("train")
    count = plateau.STEPS * plateau.BATCH
    net = plateau.begin(NETWORKS[network], seed)
    train(net, Batches(images[:count], labels[:count], plateau.BATCH, shuffle=True), OPTIMIZERS[optimizer], lr)
    acc = d2l.evaluate_accuracy_gpu(net, Batches(images[-5000:], labels[-5000:], 500))
    return {
        "recipe": "steps", "network": network, "optimizer": optimizer, "lr": lr, "seed": seed, "kept_acc": round(acc, 4)
    }  # fmt: skip


def epochs(network, optimizer, lr, seed):
    """One run of five epochs, as a dict for the JSON file."""
    train_iter, kept = modern.load_data_with_validation(256)
    net = plateau.begin(NETWORKS[network], seed)
    train(net, train_iter, OPTIMIZERS[optimizer], lr, NUM_EPOCHS, schedule=True)
    acc = d2l.evaluate_accuracy_gpu(net, kept)
    return {
        "recipe": "epochs", "network": network, "optimizer": optimizer, "lr": lr, "seed": seed,
        "kept_acc": round(acc, 4),
    }  # fmt: skip


def train(net, train_iter, make_optimizer, lr, num_epochs=1, schedule=False):
    optimizer = make_optimizer(net.parameters(), lr)
    step, num_steps = 0, num_epochs * len(train_iter)
    for _ in range(num_epochs):
        for X, y in train_iter:
            step += 1
            if schedule:
                optimizer.param_groups[0]["lr"] = lr * modern.warm_up_and_cosine(step, num_steps)
            optimizer.zero_grad()
            F.cross_entropy(net(X), y).backward()
            optimizer.step()


def cases():
    """Every case of a run but its seed: `(recipe, network, optimizer, lr)`."""
    for network in COMPARED["steps"]:
        for optimizer in OPTIMIZERS:
            yield from (("steps", network, optimizer, lr) for lr in STEPS_RATES)
    for network in COMPARED["epochs"]:
        for optimizer, rates in EPOCHS_RATES.items():
            yield from (("epochs", network, optimizer, lr) for lr in rates)


def case_of(run):
    return run["recipe"], run["network"], run["optimizer"], run["lr"]


def missing(runs, seeds):
    """What is still to train, as functions of nothing."""
    done = {(*case_of(run), run["seed"]) for run in runs}
    for seed in range(seeds):
        for case in cases():
            if (*case, seed) not in done:
                yield functools.partial({"steps": steps, "epochs": epochs}[case[0]], *case[1:], seed)


def table(runs):
    lines = [f"{'':52}  seeds  lowest  median  highest"]
    for case in cases():
        accs = [run["kept_acc"] for run in runs if case_of(run) == case]
        if accs:
            recipe, network, optimizer, lr = case
            name = f"{recipe:7} {network:24} {optimizer:9} {lr:6g}"
            middle = statistics.median(accs)
            lines.append(f"{name:52} {len(accs):6} {min(accs):7.4f} {middle:7.4f} {max(accs):8.4f}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="train with the seeds 0, 1, ... (%(default)s of them)")
    seeds = parser.parse_args().seeds
    runs = machine.finished_runs(RUNS)
    for train_once in list(missing(runs, seeds)):
        runs.append(train_once())
        machine.save(RUNS, {"machine": machine.describe(), "runs": runs})
    print(table(runs))


if __name__ == "__main__":
    main()
