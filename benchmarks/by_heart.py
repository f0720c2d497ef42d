"""Learning by heart: the losses of notebook 5's LeNet with ReLU that sees the same 500 images sixty times.

Beside it the same network, which sees 500 new ones each time. Twelve seeds; after each round, the mean loss on the 500
images just learned and on 1,000 that are kept apart, and of these the share that is answered right. Written to
results/by_heart.json. Training begins anew each time.
"""

import argparse
import statistics

import machine
import torch
from torch import nn
from torch.nn import functional as F

import lenet_utils as d2l
from lenet_utils import modern, plateau
from lenet_utils.data import Batches, read_split

ROUNDS, SIZE = 60, 500


def rounds(seed, is_new):
    """One run: mean losses (own, kept apart) and the accuracy after each round, as three lists for the JSON file."""
    images, labels = read_split("train")
    asked = Batches(images[-5000:-4000], labels[-5000:-4000], SIZE)  # as the notebook keeps them apart
    torch.manual_seed(seed)
    net, losses, right = plateau.with_activation(d2l.lenet(), nn.ReLU), [], []
    for i in range(ROUNDS):
        rows = slice(SIZE * i, SIZE * (i + 1)) if is_new else slice(SIZE)
        own = Batches(images[rows], labels[rows], 64, shuffle=True)
        modern.train_modern(net, own, 1, 0.03, momentum=0.9, init_weights=None if i else modern.init_he)
        losses.append((round(mean_loss(net, own), 3), round(mean_loss(net, asked), 3)))
        right.append(round(d2l.evaluate_accuracy_gpu(net, asked), 3))
    own, others = map(list, zip(*losses))
    return {"seed": seed, "new": is_new, "own": own, "others": others, "right": right}


@torch.no_grad()
def mean_loss(net, batches):
    return sum(F.cross_entropy(net(X), y, reduction="sum").item() for X, y in batches) / len(batches.labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="train with the seeds 0, 1, ... (%(default)s of them)")
    runs = [rounds(seed, is_new) for seed in range(parser.parse_args().seeds) for is_new in (False, True)]
    machine.save(machine.RESULTS / "by_heart.json", {"machine": machine.describe(), "runs": runs})
    for is_new in (False, True):
        these = [run for run in runs if run["new"] == is_new]
        own, lowest, last = (
            statistics.median(values)
            for values in zip(*((r["own"][-1], min(r["others"]), r["others"][-1]) for r in these))
        )
        print(f"{'new' if is_new else 'the same'} images: own {own:.2f}, others {last:.2f} (lowest {lowest:.2f})")


if __name__ == "__main__":
    main()
