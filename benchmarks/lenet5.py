"""LeNet-5 of 1998 on Fashion-MNIST: several seeds, with the paper's loss and first weights, tested when it is over.

Each run trains on 55,000 images in batches of 16 with plain SGD, whose learning rate falls in a line to zero, and looks
at the test images once, after its last epoch; 5,000 training images are kept apart, to follow it by. A finished run is
written to results/lenet5.json at once; started again, the script goes on with the seeds that are missing.
"""

import argparse
import functools
import statistics
import time

import machine
import torch

import lenet_utils as d2l
from lenet_utils import lenet5 as room
from lenet_utils.modern import load_data_with_validation
from lenet_utils.train import SGD

RUNS = machine.RESULTS / "lenet5.json"
BATCH, LR, J = 16, 0.01, 1.0


def train(net, train_iter, num_epochs, lr=LR, loss_of=room.map_loss):
    """Train `net` by plain SGD, whose rate falls in a line to zero; yields each epoch's mean loss when it is over."""
    optimizer = SGD(net.parameters(), lr)
    step, steps = 0, num_epochs * len(train_iter)
    for _ in range(num_epochs):
        net.train()
        total = 0.0
        for X, y in train_iter:
            optimizer.lr = lr * (1 - step / steps)
            step += 1
            optimizer.zero_grad()
            loss = loss_of(net(X), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        yield total / len(train_iter)


def measure(seed, num_epochs):
    """One run, as a dict for the JSON file."""
    begin = time.process_time()
    train_iter, kept = load_data_with_validation(BATCH)
    kept = kept.but(batch_size=500)
    torch.manual_seed(seed)
    net, losses, accs = room.lenet5(), [], []
    for loss in train(net, train_iter, num_epochs, loss_of=functools.partial(room.map_loss, j=J)):
        losses.append(round(loss, 3))
        accs.append(round(d2l.evaluate_accuracy_gpu(net, kept), 4))
        print(f"seed {seed}, epoch {len(losses)}: loss {losses[-1]:.2f}, accuracy {accs[-1]:.4f}", flush=True)
    test_iter = d2l.load_data_fashion_mnist(500)[1]
    return {
        "seed": seed,
        "train_loss": losses,
        "val_acc": accs,
        "test_acc": round(d2l.evaluate_accuracy_gpu(net, test_iter), 4),
        "cpu_seconds": round(time.process_time() - begin, 1),
        "threads": torch.get_num_threads(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="train with the seeds 0, 1, ... (%(default)s of them)")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    runs = machine.finished_runs(RUNS)
    if any(len(run["val_acc"]) != arguments.epochs for run in runs):
        raise SystemExit(f"{RUNS.name} holds runs of other than {arguments.epochs} epochs: move it away to begin anew")
    for seed in range(arguments.seeds):
        if seed not in {run["seed"] for run in runs}:
            runs.append(measure(seed, arguments.epochs))
            recipe = {"batch_size": BATCH, "lr": LR, "j": J}
            machine.save(RUNS, {"machine": machine.describe(), "recipe": recipe, "runs": runs})
    test = [run["test_acc"] for run in runs]
    print(f"test accuracy {min(test):.4f} to {max(test):.4f}, median {statistics.median(test):.4f}, {len(test)} seeds")


if __name__ == "__main__":
    main()
