"""The fused step of `train_ch6(..., fused=True)` beside eager training: wall clock, testing included.

The sides take turns, each time in a fresh process, with the same network, seed and order of images. The clock runs from
the call of train_ch6 to its return; the library is compiled before. "fused, AVX2" is the same C compiled without
AVX-512: vectors of 8 floats and 16 registers for them, as older processors have.

`--seeds 12` looks at what is learned, not at the speed: the fused step with the seeds of `seeds.py`, ten epochs each,
beside the accuracies that eager training reached there. A finished run is kept at once; started again, it goes on.
"""

import argparse
import json
import math
import pathlib
import platform
import statistics
import subprocess
import time

import machine

import lenet_utils as d2l  # before PyTorch, as a learner has it: it decides how threads wait

# isort: split
import torch

from lenet_utils.fused import build

SIDES = {"eager": None, "fused": [], "fused, AVX2": ["-mno-avx512f"]}
IMAGES = 60_000
SEEDS = machine.RESULTS / "fused_seeds.json"


def measure(side, num_epochs):
    """Train once in this process."""
    flags, lanes = SIDES[side], 0
    if flags is not None:
        build.FLAGS += flags
        lanes = build.load().lenet_lanes()
    train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size=256)
    torch.manual_seed(0)
    net = d2l.lenet()
    busy, cpu, begin = machine.busy_seconds(), time.process_time(), time.perf_counter()
    history = d2l.train_ch6(
        net, train_iter, test_iter, num_epochs, 0.9, torch.device("cpu"), animator=False, fused=flags is not None
    )
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "cpu_seconds_of_others": round(max(0.0, machine.busy_seconds() - busy - cpu), 2),  # while the clock ran
        "examples_per_sec": round(IMAGES * num_epochs / seconds),
        "examples_per_sec_training": round(history.examples_per_sec),
        "peak_mb": round(machine.peak_memory()),
        "floats_abreast": lanes,
        "test_acc": history.test_acc[-1],
    }


def compare(sides, num_epochs, num_rounds, path):
    rounds = []
    for side in sides:
        machine.measure_afresh(__file__, "--side", side, "--epochs", 1)  # compiles, and warms the disk's cache
    for i in range(num_rounds):
        rounds.append(
            {side: machine.measure_afresh(__file__, "--side", side, "--epochs", num_epochs) for side in sides}
        )
        results = {"machine": machine.describe(), "compiler": compiler(), "epochs": num_epochs}
        machine.save(path, {**results, "median": machine.medians(rounds, sides), "rounds": rounds})
        print(f"round {i + 1} of {num_rounds}: {rounds[-1]}", flush=True)
    return rounds


def train_seeds(seeds, num_epochs=10):
    """Ten epochs by the kernel with each of the seeds 0, 1, ... that is not in the file yet."""
    train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size=256)
    where = {**machine.describe(), "compiler": compiler(), "floats_abreast": build.load().lenet_lanes()}
    runs = machine.finished_runs(SEEDS)
    for seed in range(len(runs), seeds):
        begin = time.perf_counter()
        torch.manual_seed(seed)
        history = d2l.train_ch6(d2l.lenet(), train_iter, test_iter, num_epochs, 0.9, "cpu", animator=False, fused=True)
        runs.append(
            {
                "seed": seed,
                "test_acc": [round(value, 4) for value in history.test_acc],
                "train_loss": [round(value, 5) for value in history.train_loss],
                "seconds": round(time.perf_counter() - begin, 1),
            }
        )
        machine.save(SEEDS, {"machine": where, "runs": runs})
    return runs


def seeds_table(runs):
    """Final test accuracies, a line a seed: fused beside eager, which `seeds.py` has measured."""
    eager = {
        run["seed"]: run["test_acc"][-1]
        for run in json.loads((machine.RESULTS / "seeds.json").read_text())["runs"]
        if run["variant"] == "lenet"
    }
    lines = ["seed  fused   eager"]
    lines += [f"{run['seed']:4}  {run['test_acc'][-1]:.4f}  {eager.get(run['seed'], math.nan):.4f}" for run in runs]
    for name, final in ("fused", [run["test_acc"][-1] for run in runs]), ("eager", list(eager.values())):
        lines.append(f"{name}: {min(final):.4f} to {max(final):.4f}, median {statistics.median(final):.4f}")
    return "\n".join(lines)


def compiler():
    printed = subprocess.run([build.find_compiler(), "--version"], capture_output=True, text=True).stdout
    return {"version": printed.splitlines()[0], "flags": " ".join(build.FLAGS)}


def table(rounds):
    middle = machine.medians(rounds, rounds[0])
    lines = ["               seconds  CPU seconds  others'  examples/s  while training  peak MB  test acc  times eager"]
    for side, values in middle.items():
        times = statistics.median(turn["eager"]["seconds"] / turn[side]["seconds"] for turn in rounds)
        line = (
            "{seconds:9.2f}  {cpu_seconds:11.2f}  {cpu_seconds_of_others:7.2f}  {examples_per_sec:10,.0f}  "
            "{examples_per_sec_training:14,.0f}  {peak_mb:7.0f}  {test_acc:8.4f}"
        )
        lines.append(f"{side:13}" + line.format(**values) + f"  {times:11.2f}")
    return "\n".join([*lines, f"medians of {len(rounds)} runs each"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, default=machine.RESULTS / "fused.json")
    parser.add_argument("--seeds", type=int, help="what is learned with so many seeds, instead of the speed")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # in the fresh processes
    arguments = parser.parse_args()
    if arguments.side:
        return machine.answer(measure, arguments.side, arguments.epochs)
    if arguments.seeds:
        return print(seeds_table(train_seeds(arguments.seeds)))
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    sides = [side for side in SIDES if x86 or side != "fused, AVX2"]
    print(table(compare(sides, arguments.epochs, arguments.rounds, arguments.out)))


if __name__ == "__main__":
    main()
