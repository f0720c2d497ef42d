"""The other side of a boot: networks that saw the training images as they are, or mirrored at random, tested on both.

The course's LeNet after ten epochs, and notebook 5's `modern_lenet` after one, with and without `modern.mirror`; ten
seeds. For each run the accuracy on the test images and on the mirrored ones, all together and for each class.
Written to results/mirrored.json. Training begins anew each time.
"""

import argparse
import statistics

import machine
import torch

import lenet_utils as d2l
from lenet_utils import modern
from lenet_utils.data import LABELS, Batches

# As notebook 5 trains it in one pass.
ONE_PASS = {"num_epochs": 1, "lr": 0.2, "init_weights": modern.init_he, "momentum": 0.9, "schedule": True,
            "weight_decay": 5e-4}  # fmt: skip


def lenet_of(seed):
    torch.manual_seed(seed)
    train_iter, test_iter = d2l.load_data_fashion_mnist(256)
    net = d2l.lenet()
    d2l.train_ch6(net, train_iter, test_iter, num_epochs=10, lr=0.9, device=torch.device("cpu"), animator=False)
    return net


def modern_of(seed, augmentation=None):
    torch.manual_seed(seed)
    train_iter, _ = d2l.load_data_fashion_mnist(128)
    net = modern.modern_lenet()
    modern.train_modern(net, train_iter, augmentation=augmentation, **ONE_PASS)
    return net


ROWS = {
    "lenet(), ten epochs": lenet_of,
    "modern_lenet(), one epoch": modern_of,
    "modern_lenet(), trained mirrored or not": lambda seed: modern_of(seed, modern.mirror),
}


def results(net):
    """The accuracies of a trained network, as fractions: all test images and each class, as they are and mirrored."""
    test_iter = d2l.load_data_fashion_mnist(500)[1]
    found = {}
    for name, images in (("test", test_iter.images), ("mirrored", test_iter.images.flip(-1))):
        found[f"{name}_acc"] = round(accuracy(net, images, test_iter.labels), 4)
        kinds = {label: test_iter.labels == i for i, label in enumerate(LABELS)}
        found[name] = {
            label: round(accuracy(net, images[kind], test_iter.labels[kind]), 3) for label, kind in kinds.items()
        }
    return found


def accuracy(net, images, labels):
    return d2l.evaluate_accuracy_gpu(net, Batches(images, labels, 500))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds",
        type=int,
        default=10,
        help="train with the seeds 0, 1, ... (%(default)s of them); the file then holds these only",
    )
    seeds = range(parser.parse_args().seeds)
    runs = [{"name": name, "seed": seed, **results(train(seed))} for seed in seeds for name, train in ROWS.items()]
    machine.save(machine.RESULTS / "mirrored.json", {"machine": machine.describe(), "runs": runs})
    for name in ROWS:
        these = [run for run in runs if run["name"] == name]
        test, mirrored, boots = (
            statistics.mean(values)
            for values in zip(*((r["test_acc"], r["mirrored_acc"], r["mirrored"]["ankle boot"]) for r in these))
        )
        print(f"{name}: test {test:.1%}, mirrored {mirrored:.1%}, mirrored boots {boots:.1%}")


if __name__ == "__main__":
    main()
