"""The first 300 steps of the note's network and of lenet(), as they are and with one thing changed, for several seeds.

Every run sees 19,200 training images once, in batches of 64; the accuracy is taken on 5,000 training images kept
apart, so no test image is looked at. A finished run is written to results/dead_start.json at once; started again,
the script goes on with the runs that are missing.
"""

import argparse
import json
import statistics
import time

import machine

import lenet_utils as d2l
from lenet_utils import plateau
from lenet_utils.data import Batches, read_split

RUNS = machine.RESULTS / "dead_start.json"
WINDOW = 10  # steps that become one number in the file: their mean loss
LEFT = 2.2  # nats; a mean loss below it has left the plateau at ln 10 = 2.303


def split():
    """The images of the lab, as `(learned, kept)`: those to learn from, reshuffled on every pass, and 5,000 others."""
    images, labels = read_split("train")
    count = plateau.STEPS * plateau.BATCH
    learned = Batches(images[:count], labels[:count], plateau.BATCH, shuffle=True)
    return learned, Batches(images[-5000:], labels[-5000:], 1000)


def train(network, change, seed, learned, kept):
    """One run, as a dict for the JSON file."""
    begin = time.perf_counter()
    start = plateau.STARTS[network][change]
    net = plateau.begin(start, seed)
    X, y = next(iter(kept))
    sharpness = plateau.sharpness(net, X[:128], y[:128])
    losses = plateau.first_losses(net, learned, start.lr, start.convolutions)
    means = [statistics.fmean(losses[i : i + WINDOW]) for i in range(0, len(losses), WINDOW)]
    return {
        "network": network,
        "change": change,
        "seed": seed,
        "lr_times_sharpness": round(start.lr * sharpness, 3),
        "highest": shorten(max(losses[:-1] if diverged(losses) else losses)),
        "diverged": diverged(losses),
        "losses": [shorten(mean) for mean in means[: len(losses) // WINDOW]],
        "kept_acc": None if diverged(losses) else round(d2l.evaluate_accuracy_gpu(net, kept), 4),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def diverged(losses):
    return len(losses) < plateau.STEPS


def shorten(value):
    """A number with five digits; None for one that is not finite, which JSON does not know."""
    return float(f"{value:.5g}") if abs(value) < float("inf") else None


def left_at(run):
    """The step after which the mean loss of ten steps is below 2.2 for the first time; None if it never is."""
    low = (i for i, loss in enumerate(run["losses"]) if loss is not None and loss < LEFT)
    return next((WINDOW * (i + 1) for i in low), None)


def measure(seeds):
    learned, kept = split()
    runs = machine.finished_runs(RUNS)
    done = {(run["network"], run["change"], run["seed"]) for run in runs}
    for seed in range(seeds):
        for network, starts in plateau.STARTS.items():
            for change in starts:
                if (network, change, seed) not in done:
                    runs.append(train(network, change, seed, learned, kept))
                    machine.save(RUNS, {"machine": machine.describe(), "runs": runs})
                    print(line([runs[-1]]), flush=True)


def line(runs):
    """A row of the table: what the runs of one network with one change did."""
    accs = [run["kept_acc"] for run in runs if run["kept_acc"] is not None]
    left = [left_at(run) for run in runs if left_at(run)]
    curvature = statistics.median(run["lr_times_sharpness"] for run in runs)
    return (
        f"{runs[0]['network']:18}  {runs[0]['change']:29}  {len(runs):5}  {curvature:13.1f}"
        f"  {sum(run['diverged'] for run in runs):8}  {f'{min(left)}-{max(left)}' if left else '-':>9} {len(left):2}"
        f"  {f'{min(accs):.2f}-{max(accs):.2f}' if accs else '-':>9}"
    )


def table():
    runs = json.loads(RUNS.read_text())["runs"]
    lines = [
        f"{'network':18}  {'changed':29}  seeds  lr*sharpness  diverged  left at, how many  accuracy after 300 steps"
    ]
    for network, starts in plateau.STARTS.items():
        for change in starts:
            same = [run for run in runs if (run["network"], run["change"]) == (network, change)]
            lines += [line(same)] if same else []
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="train with the seeds 0, 1, ... (%(default)s of them)")
    measure(parser.parse_args().seeds)
    print(table())


if __name__ == "__main__":
    main()
