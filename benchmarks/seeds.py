"""How much of LeNet's result is luck: the note's recipe with many seeds, with and without the forgotten sigmoid.

Every run is ten epochs on all 60,000 images, tested on all 10,000 after each, on the CPU. A finished run is
written to results/seeds.json at once; started again, the script goes on with the runs that are missing.
`--plot` only draws results/seeds.png, and prints the table, from the runs that are there.
"""

import argparse
import json
import statistics
import time

import machine
import torch

import lenet_utils as d2l
from lenet_utils.plateau import note_lenet

RUNS, PICTURE = machine.RESULTS / "seeds.json", machine.RESULTS / "seeds.png"
CHANCE = 0.1  # ten classes, as many images of each
PLATEAU = 0.15  # an epoch that ends below it has learned next to nothing


VARIANTS = {"lenet": d2l.lenet, "note": note_lenet}
NAMES = {"lenet": "lenet()", "note": "the note's network"}


def train(variant, seed, train_iter, test_iter, num_epochs=10, lr=0.9):
    """One run, as a dict for the JSON file."""
    begin = time.perf_counter()
    torch.manual_seed(seed)
    net = VARIANTS[variant]()
    history = d2l.train_ch6(net, train_iter, test_iter, num_epochs, lr, "cpu", animator=False)
    seconds = time.perf_counter() - begin
    first_batch = [next(iter(test_iter))]
    return {
        "variant": variant,
        "seed": seed,
        "test_acc": [round(value, 4) for value in history.test_acc],
        "train_acc": [round(value, 5) for value in history.train_acc],
        "train_loss": [round(value, 5) for value in history.train_loss],
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        # What the note's evaluate_accuracy_gpu, which returns inside its loop, would say of the last net:
        "first_batch_acc": round(d2l.evaluate_accuracy_gpu(net, first_batch), 5),
        "all_images_acc": round(d2l.evaluate_accuracy_gpu(net, test_iter), 4),
    }


def measure(seeds):
    train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size=256)
    runs = machine.finished_runs(RUNS)
    done = {(run["variant"], run["seed"]) for run in runs}
    for variant in VARIANTS:
        for seed in range(seeds):
            if (variant, seed) not in done:
                print(f"{NAMES[variant]}, seed {seed}:", flush=True)
                runs.append(train(variant, seed, train_iter, test_iter))
                machine.save(RUNS, {"machine": machine.describe_without_threads(), "runs": runs})


def runs_of(variant):
    return [run for run in json.loads(RUNS.read_text())["runs"] if run["variant"] == variant]


def plateau(run):
    """How many epochs ended on the plateau."""
    return sum(acc < PLATEAU for acc in run["test_acc"])


def table(variant):
    """The runs of a variant as a text, a line each."""
    lines = [NAMES[variant], "seed  test acc  train loss  epochs of plateau  first batch only  off by"]
    for run in runs_of(variant):
        off = run["first_batch_acc"] - run["all_images_acc"]
        lines.append(
            f"{run['seed']:4}  {run['test_acc'][-1]:8.4f}  {run['train_loss'][-1]:10.3f}  {plateau(run):17}"
            f"  {run['first_batch_acc']:16.4f}  {off:+.4f}"
        )
    final = [run["test_acc"][-1] for run in runs_of(variant)]
    lines.append(f"test acc {min(final):.4f} to {max(final):.4f}, median {statistics.median(final):.4f}")
    return "\n".join(lines)


def finding(variant):
    """A title that says what the runs of a variant show."""
    final = [run["test_acc"][-1] for run in runs_of(variant)]
    left = sum(acc >= PLATEAU for acc in final)
    return (
        f"{NAMES[variant]}: {left} of {len(final)} seeds leave the plateau,\n"
        f"{min(final):.2f} to {max(final):.2f} of the test images right in the end"
    )


def plot():
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for axes, variant in zip(panels, VARIANTS):
        curves = [run["test_acc"] for run in runs_of(variant)]
        epochs = range(1, len(curves[0]) + 1)
        for i, curve in enumerate(curves):
            axes.plot(epochs, curve, color="#0072B2", linewidth=1, alpha=0.6, label="" if i else "one seed")
        middle = [statistics.median(accs) for accs in zip(*curves)]
        axes.plot(
            epochs, middle, color="#D55E00", linestyle="--", linewidth=2.5, marker="o", label="median of the seeds"
        )
        axes.axhline(CHANCE, color="black", linestyle=":", label="guessing")
        axes.set(xlabel="epoch", ylim=(0, 1), xticks=epochs, title=finding(variant))
        axes.grid(alpha=0.4)
    panels[0].set_ylabel("test accuracy, fraction of 10,000 images")
    panels[0].legend(loc="lower right")
    figure.savefig(PICTURE, dpi=144)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="train with the seeds 0, 1, ... (%(default)s of them)")
    parser.add_argument("--plot", action="store_true", help="train nothing, draw what is there")
    arguments = parser.parse_args()
    if not arguments.plot:
        measure(arguments.seeds)
    for variant in VARIANTS:
        print(table(variant), end="\n\n")
    plot()


if __name__ == "__main__":
    main()
