"""Which layer of lenet() moves when, on the plateau and off it: every weight's way and gradient, for several seeds.

Notebook 3's recipe (batches of 256, all training images), and notebook 5's lab (300 batches of 64) with `lenet()` as
it is and with the centred sigmoid, with its convolutions and with these frozen. Every 25 steps it notes, for each layer
with weights, how far they are from where they began, as a part of their first length, and the length of the gradient
on 500 images kept apart. Written to results/dead_layers.json.
"""

import argparse
import statistics

import machine
from dead_start import shorten
from torch import nn

from lenet_utils import plateau
from lenet_utils.data import Batches, read_split

RUNS = machine.RESULTS / "dead_layers.json"
EVERY = 25  # steps between two looks
RECIPES = {
    # name: start, the convolutions' share of the learning rate, images to learn from, batch, steps
    "notebook 3": ("as it is", 1.0, 60_000, 256, 450),
    "lab": ("as it is", 1.0, 19_200, 64, 300),
    "lab, centred sigmoid": ("centred sigmoid", 1.0, 19_200, 64, 300),
    "lab, convolutions frozen": ("as it is", 0.0, 19_200, 64, 300),
    "lab, centred sigmoid, convolutions frozen": ("centred sigmoid", 0.0, 19_200, 64, 300),
}


def watch(recipe, seed, images, labels, X, y):
    """One run, as a dict for the JSON file: a list for every look, each of them with one number a layer."""
    change, convolutions, count, size, steps = RECIPES[recipe]
    start = plateau.STARTS["lenet()"][change]
    net = plateau.begin(start, seed)
    weights = [layer.weight for layer in net if isinstance(layer, (nn.Conv2d, nn.Linear))]
    first = [weight.detach().clone() for weight in weights]
    batches = endless(Batches(images[:count], labels[:count], size, shuffle=True))
    run = {"recipe": recipe, "seed": seed, "steps": [], "losses": [], "moved": [], "gradients": []}
    losses = []
    for step in range(0, steps + 1, EVERY):
        run["steps"].append(step)
        run["losses"].append(shorten(statistics.fmean(losses)) if losses else None)
        run["moved"].append([shorten(way(now, then)) for now, then in zip(weights, first)])
        run["gradients"].append([shorten(size) for size in plateau.gradient_sizes(net, X, y).values()])
        if step < steps:
            losses = plateau.first_losses(net, [next(batches) for _ in range(EVERY)], start.lr, convolutions)
    return run


def endless(batches):
    while True:
        yield from batches


def way(now, then):
    """How far weights have moved, as a part of their first length."""
    return float((now.detach() - then).norm() / then.norm())


def table(runs):
    lines = [f"{'medians of the seeds':42}  step  loss    moved: C1, C3, 120, 84, 10          gradient: C1 to 10"]
    for recipe in RECIPES:
        same = [run for run in runs if run["recipe"] == recipe]
        for look, step in enumerate(same[0]["steps"] if same else []):
            if step % 50 == 0:
                moved, gradients = (medians([run[what][look] for run in same]) for what in ("moved", "gradients"))
                loss = statistics.median(run["losses"][look] or float("nan") for run in same)
                numbers = "".join(f"{m:7.3f}" for m in moved) + "  " + "".join(f"{g:9.5f}" for g in gradients)
                lines.append(f"{recipe:42}  {step:4}  {loss:5.3f} {numbers}")
    return "\n".join(lines)


def medians(rows):
    return [statistics.median(column) for column in zip(*rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="train with the seeds 0, 1, ... (%(default)s of them)")
    images, labels = read_split("train")
    X, y = next(iter(Batches(images[-500:], labels[-500:], 500)))
    runs = []
    for seed in range(parser.parse_args().seeds):
        for recipe in RECIPES:
            runs.append(watch(recipe, seed, images, labels, X, y))
            machine.save(RUNS, {"machine": machine.describe(), "runs": runs})
    print(table(runs))


if __name__ == "__main__":
    main()
