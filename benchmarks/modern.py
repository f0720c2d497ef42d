"""From LeNet to 93 %: one change at a time, the recipe within LeNet's number of parameters, and the fastest to 90 %.

`--ladder` adds one change a row to the course's LeNet and trains each with several seeds. `--rates` chooses the
learning rates of its rows, `--choices` what `--target` and `--fast` are made of. `--target` trains the modern
network and tests it once; `--fast` does so in seconds. `--seconds` trains one epoch of each row, by turns, on a machine
that should have nothing else to do; the seconds of the long runs are true only where they were alone.
Each choice is made on 5,000 held-out training images; a run looks at the test images once, when it is over.
A finished run is written to results/ at once; started again, the script goes on with the runs that are missing.
At last it writes its tables into README.md.
Several processes may share the work: `--seeds` says which seeds a process takes.
"""

import argparse
import contextlib
import fcntl
import functools
import json
import pathlib
import statistics
import sys
import tempfile
import time

import machine
import torch
from torch import nn

import lenet_utils as d2l
from lenet_utils import modern
from lenet_utils.data import Batches, read_split
from lenet_utils.train import init_xavier

SEED_OF_RATES = 99  # that no row of the table uses
LADDER_EPOCHS, LADDER_BATCH, TARGET_BATCH = 5, 256, 128

# Name of the change, what it changes in the network, what in the recipe. What is changed stays so in the rows below.
CHANGES = [
    ("lenet(), as in the course", {}, {"lr": 0.9, "init_weights": init_xavier}),
    ("max pooling", {"pooling": nn.MaxPool2d}, {}),
    ("ReLU", {"activation": nn.ReLU}, {"lr": 0.3}),
    ("He initialisation", {}, {"init_weights": modern.init_he}),
    ("momentum", {}, {"momentum": 0.9, "lr": 0.03}),
    ("batch normalisation", {"batch_norm": True}, {"lr": 0.1}),
    ("learning-rate schedule", {}, {"schedule": True, "lr": 0.1}),
    ("weight decay", {}, {"weight_decay": 5e-4}),
    ("light augmentation", {}, {"augmentation": modern.mirror}),
    ("label smoothing", {}, {"label_smoothing": 0.1}),
    ("averaged weights", {}, {"average": 0.25}),
    ("channels instead of linear layers", None, {}),
]
RATES = {"ReLU": (0.03, 0.1, 0.3), "momentum": (0.01, 0.03, 0.1), "batch normalisation": (0.03, 0.1, 0.3)}


def mirror_and_shift(X):
    return modern.shift(modern.mirror(X))


TARGET = {
    "num_epochs": 24, "lr": 0.1, "init_weights": modern.init_he, "momentum": 0.9, "schedule": True,
    "weight_decay": 5e-4, "augmentation": modern.mirror, "bfloat16": True,
}  # fmt: skip
FAST = TARGET | {
    "num_epochs": 1,
    "lr": 0.2,
    "augmentation": None,
}  # in one pass a mirror costs: see mirrored.py

CHOICES = [  # for the target: channels, which of the convolutions pool, augmentation
    ((16, 32, 64, 56), (True, True, False, False), mirror_and_shift),
    ((16, 32, 64, 56), (True, True, False, False), modern.mirror),
    ((16, 32, 48, 48, 48), (True, True, False, False, False), mirror_and_shift),
    ((16, 40, 64, 52), (True, True, False, True), modern.mirror),
]
FAST_CHOICES = [  # epochs, peak of the learning rate, batch size, channels
    (3, 0.1, 128, (8, 16, 32, 32)),
    (2, 0.1, 128, (8, 24, 48, 48)),
    (1, 0.1, 128, (12, 32, 64, 52)),
    (1, 0.1, 64, (16, 40, 64, 52)),
    (1, 0.1, 128, (16, 40, 64, 52)),
    (1, 0.2, 128, (16, 40, 64, 52)),
]


def ladder():
    """The rows: name, a function that makes the network, the recipe."""
    parts, recipe, rows = {}, {}, []
    for name, new_parts, new_recipe in CHANGES:
        recipe = recipe | new_recipe
        if new_parts is None:
            rows.append((name, modern.modern_lenet, recipe))
        else:
            parts = parts | new_parts
            rows.append((name, lambda parts=parts: modern.lenet_with(**parts), recipe))
    return rows


def train(name, make_net, recipe, seed, batch_size, validation, test=True):
    """One run, as a dict for the JSON file, and its `Measured`."""
    torch.manual_seed(seed)
    if validation:
        train_iter, val_iter = modern.load_data_with_validation(batch_size)
        val_iter = val_iter.but(batch_size=500)
    else:
        train_iter, val_iter = d2l.load_data_fashion_mnist(batch_size)[0], None
    net = make_net()
    begin = time.process_time()
    run = modern.train_modern(net, train_iter, val_iter=val_iter, **recipe)
    cpu_seconds = time.process_time() - begin
    test_iter = Batches(*read_split("t10k"), 500)
    result = {
        "name": name,
        "seed": seed,
        "lr": recipe["lr"],
        "epochs": len(run.lr),
        "parameters": sum(p.numel() for p in net.parameters()),
        "val_acc": [round(value, 4) for value in run.val_acc],
        "test_acc": round(d2l.evaluate_accuracy_gpu(net, test_iter), 4) if test else None,
        "train_loss": [round(value, 4) for value in run.train_loss],
        "seconds": round(sum(run.seconds), 2),
        "cpu_seconds": round(cpu_seconds, 1),  # of all threads; unlike `seconds` it hardly sees a busy machine
        "threads": torch.get_num_threads(),
    }
    return result, run


@contextlib.contextmanager
def locked(path):
    """Within it no other process of this script reads or writes `path`."""
    with open(pathlib.Path(tempfile.gettempdir(), path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read(path):
    return json.loads(path.read_text())["runs"] if path.exists() else []


def keep(path, result, notes):
    """Add a finished run to the file at once; the ladder's rows stay in their order, whichever was finished first."""
    order = [name for name, _, _ in CHANGES]
    with locked(path):
        runs = [*read(path), result]
        runs.sort(key=lambda run: order.index(run["name"]) if run["name"] in order else len(order))
        machine.save(path, {"machine": machine.describe_without_threads(), **notes, "runs": runs})


def is_done(path, name, seed, lr):
    return any((run["name"], run["seed"], run["lr"]) == (name, seed, lr) for run in machine.finished_runs(path))


def in_words(recipe):
    """The recipe for a JSON file: functions by their names."""
    return {name: getattr(value, "__name__", value) for name, value in recipe.items()}


def measure_rates():
    """Two epochs at each learning rate in question, judged by the images held out."""
    path = machine.RESULTS / "modern_rates.json"
    for name, make_net, recipe in ladder():
        for lr in RATES.get(name, ()):
            if not is_done(path, name, SEED_OF_RATES, lr):
                tried = recipe | {"lr": lr, "num_epochs": 2}
                result, _ = train(name, make_net, tried, SEED_OF_RATES, LADDER_BATCH, validation=True, test=False)
                keep(path, result, {})
                print(f"{name:25} lr {lr:<5} val acc {result['val_acc'][-1]:.4f}", flush=True)


def measure_choices():
    """Other networks and recipes for the target (eight epochs each) and the fastest, judged by the images held out."""
    for channels, halve, augmentation in CHOICES:
        measure_choice(TARGET | {"num_epochs": 8, "augmentation": augmentation}, TARGET_BATCH, channels, halve)
    for num_epochs, lr, batch_size, channels in FAST_CHOICES:
        measure_choice(FAST | {"num_epochs": num_epochs, "lr": lr}, batch_size, channels, (True, True, False, True))


def measure_choice(recipe, batch_size, channels, halve):
    path = machine.RESULTS / "modern_choices.json"
    augmentation = recipe["augmentation"].__name__ if recipe["augmentation"] else "no augmentation"
    name = f"{channels}, {sum(halve)} poolings, {augmentation}, {recipe['num_epochs']} epochs, batches of {batch_size}"
    if not is_done(path, name, 0, recipe["lr"]):
        make_net = functools.partial(modern.modern_lenet, channels, halve)
        result, _ = train(name, make_net, recipe, 0, batch_size, validation=True, test=False)
        keep(path, result, {})
        print(f"{name}, lr {recipe['lr']}: val acc {result['val_acc'][-1]:.4f}", flush=True)


def measure_ladder(seeds):
    path = machine.RESULTS / "modern_ladder.json"
    for seed in seeds:
        for name, make_net, recipe in ladder():
            if not is_done(path, name, seed, recipe["lr"]):
                recipe = {"num_epochs": LADDER_EPOCHS, **recipe}
                result, _ = train(name, make_net, recipe, seed, LADDER_BATCH, validation=True)
                keep(path, result, {"batch_size": LADDER_BATCH})
                print(f"seed {seed}  {name:35} test acc {result['test_acc']:.4f}", flush=True)


def measure_recipe(name, recipe, seeds):
    """Train `modern_lenet()` on all 60,000 images and test it once, with each seed; the log lies beside the results."""
    path = machine.RESULTS / f"modern_{name}.json"
    for seed in seeds:
        if is_done(path, name, seed, recipe["lr"]):
            continue
        result, run = train(name, modern.modern_lenet, recipe, seed, TARGET_BATCH, validation=False)
        keep(path, result, {"batch_size": TARGET_BATCH, "recipe": in_words(recipe)})
        lines = [f"$ python {' '.join(['benchmarks/modern.py', *sys.argv[1:]])}", f"seed {seed}"]
        for epoch, (loss, lr, seconds) in enumerate(zip(run.train_loss, run.lr, run.seconds), start=1):
            lines.append(f"epoch {epoch:2}  train loss {loss:.4f}  lr {lr:.4f}  {seconds:6.2f} s")
        lines.append(f"test accuracy {result['test_acc']:.4f}, {result['parameters']:,} parameters\n")
        with locked(path), open(path.with_suffix(".log"), "a") as log:
            print("\n".join(lines), file=log)
        print(lines[-1], flush=True)


def measure_seconds(rounds=3):
    """One epoch of training for each row of the tables, by turns."""
    path = machine.RESULTS / "modern_seconds.json"
    recipes = [(name, modern.modern_lenet, recipe) for name, recipe in (("target", TARGET), ("fast", FAST))]
    runs = []
    for _ in range(rounds):
        for rows, batch_size in ((ladder(), LADDER_BATCH), (recipes, TARGET_BATCH)):
            for name, make_net, recipe in rows:
                once = recipe | {"num_epochs": 1}
                validation = batch_size == LADDER_BATCH
                result, _ = train(name, make_net, once, SEED_OF_RATES, batch_size, validation, test=False)
                runs.append({key: result[key] for key in ("name", "seconds", "cpu_seconds", "threads")})
                print(runs[-1], flush=True)
    machine.save(path, {"machine": machine.describe_without_threads(), "runs": runs})


def table(names_of):
    """Finished runs as a Markdown table, a row a name; `names_of`: for each file, the names in their order."""
    heads = ("", "validation, %", "test, %", "lowest to highest", "seeds", "epochs")
    heads += ("CPU seconds", "seconds an epoch", "parameters")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for file, names in names_of.items():
        for name in names:
            runs = [run for run in read(machine.RESULTS / file) if run["name"] == name]
            lines += [row(name, runs)] if runs else []
    return "\n".join(lines)


def row(name, runs):
    """A row of the table: means over the seeds, but medians of the seconds; those of an epoch were measured alone."""
    test = [100 * run["test_acc"] for run in runs]
    val = [100 * run["val_acc"][-1] for run in runs if run["val_acc"]]
    cpu_seconds = statistics.median(run["cpu_seconds"] for run in runs)
    alone = [run["seconds"] for run in read(machine.RESULTS / "modern_seconds.json") if run["name"] == name]
    return (
        f"| {name} | {format(statistics.mean(val), '.1f') if val else ''} | {statistics.mean(test):.2f} "
        f"| {min(test):.2f} to {max(test):.2f} | {len(runs)} | {runs[0]['epochs']} | {cpu_seconds:.1f} "
        f"| {format(statistics.median(alone), '.1f') if alone else ''} | {runs[0]['parameters']:,} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for part in ("rates", "choices", "ladder", "target", "fast", "seconds"):
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", help="which; 0 1 2 for the ladder, 0 to 4 for the others")
    arguments = parser.parse_args()
    if arguments.rates:
        measure_rates()
    if arguments.choices:
        measure_choices()
    if arguments.ladder:
        measure_ladder(arguments.seeds or range(3))
    if arguments.target:
        measure_recipe("target", TARGET, arguments.seeds or range(5))
    if arguments.fast:
        measure_recipe("fast", FAST, arguments.seeds or range(5))
    if arguments.seconds:
        measure_seconds()
    tables = {
        "the ladder": table({"modern_ladder.json": [name for name, *_ in CHANGES]}),
        "the target": table({f"modern_{name}.json": [name] for name in ("target", "fast")}),
    }
    for mark, text in tables.items():
        machine.write_between(machine.README, mark, text)
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
