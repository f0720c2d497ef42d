"""On an NVIDIA GPU: the rungs of notebook 6 that need one, whole runs with their tests, and what many seeds learn.

The rungs train on all 60,000 images, without tests, in turns: in each round as many passes as take a third of a
second, each with all that belongs to one, the new order of the images and the reading of the sums. Medians. Before
them come a pass that pays for compiling and recording, the warm-up; one whose waits for the GPU are counted; and one
whose time is taken. The whole runs are the study note's: ten epochs, a test after each, called as a learner calls
them, so with the recording in their seconds; their own timer leaves it and the tests out. Without a GPU it says so.
"""

import argparse
import contextlib
import functools
import io
import math
import pathlib
import statistics
import time
import warnings

import machine
import torch

import lenet_utils as d2l
from lenet_utils import ladder, recorded
from lenet_utils.data import Batches, read_split

RESULTS = machine.RESULTS / "gpu.json"
LR, EPOCHS = 0.9, 10
SHORTEST = 0.3  # seconds that a round of a rung takes, at least


def rungs(device, images, labels):
    """A function that makes each rung, by name, from the slowest on."""
    travelling = Batches(images, labels, 256, shuffle=True)
    there = travelling.to(device)
    one_by_one = torch.utils.data.DataLoader(ladder.OneByOne(images, labels), 256, shuffle=True, num_workers=4)
    make = functools.partial(ladder.rung, device=device)
    return {
        "d2l": lambda: ladder.d2l_rung(one_by_one, device=device),
        "images travel": lambda: make(travelling, wait=True),
        "images there": lambda: make(there, wait=True),
        "no waiting": lambda: make(there),
        "compiled": lambda: make(there, compiled=True),
        "compiled and recorded": lambda: make(there, compiled="reduce-overhead"),
        "recorded": lambda: ladder.recorded_rung(there),
        "kernels": lambda: ladder.recorded_rung(there, make_steps=kernel_steps()),
    }


def kernel_steps():
    from lenet_utils.recorded.kernels import KernelSteps  # needs Triton, which comes with PyTorch for such GPUs

    return KernelSteps


def race_rungs(device, images, labels, rounds):
    """For each rung that runs here: images a second, the seconds of every round, the warm-up, and the waits."""
    made, results = {}, {}
    for name, make in rungs(device, images, labels).items():
        begin = time.perf_counter()
        try:
            train_pass = make()
            if train_pass is None:
                print(f"{name}: not installed", flush=True)
                continue
            really(train_pass)
            train_pass()  # torch.compile records a size when it comes for the second time
        except Exception as problem:  # no compiler, a GPU too old for a kernel: the other rungs are worth their numbers
            print(f"{name}: {type(problem).__name__}: {next(iter(str(problem).splitlines()), '')}", flush=True)
            continue
        results[name] = {"rung": name, "warm_up_seconds": round(time.perf_counter() - begin, 2)}
        results[name]["waits"] = waits(train_pass)
        begin = time.perf_counter()
        train_pass()
        results[name]["passes"] = math.ceil(SHORTEST / (time.perf_counter() - begin))
        made[name] = functools.partial(several, train_pass, results[name]["passes"])
    for name, seconds in ladder.race(made, rounds).items():
        seconds = [s / results[name]["passes"] for s in seconds]
        results[name]["images_per_sec"] = round(len(labels) / statistics.median(seconds))
        results[name]["seconds"] = [round(s, 5) for s in seconds]
        print(results[name], flush=True)
    return list(results.values())


def several(train_pass, passes):
    for _ in range(passes):
        train_pass()


def really(call):
    """What `call()` returns. Raises RuntimeError where it went on without recording: it would be another side's number.

    What it prints is left out.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        result = call()
    if "not fused" in said.getvalue():
        raise RuntimeError(said.getvalue().strip())
    return result


def waits(train_pass):
    """How often `train_pass` waits for the GPU."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            train_pass()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in seen)


def whole_run(device, iters, seed, make_steps=None, **options):
    """The note's ten epochs with their tests: seconds by the wall clock, test accuracy, memory.

    `make_steps`: what is recorded in the place of PyTorch's operations.
    """
    torch.manual_seed(seed)
    torch.cuda.reset_peak_memory_stats(device)
    record = recorded.record
    if make_steps:
        recorded.record = functools.partial(record, make_steps=make_steps())
    begin = time.perf_counter()
    try:
        history = really(lambda: d2l.train_ch6(d2l.lenet(), *iters, EPOCHS, LR, device, animator=False, **options))
    finally:
        recorded.record = record
    return {
        "seed": seed,
        "seconds": round(time.perf_counter() - begin, 3),
        "own_examples_per_sec": round(history.examples_per_sec),
        "test_acc": round(history.test_acc[-1], 4),
        "gpu_peak_mb": round(torch.cuda.max_memory_allocated(device) / 1e6),
    }


def whole_runs(device, seeds):
    """Eager ones, recorded ones, and those by the kernels, in turns, one each for every seed."""
    iters = d2l.load_data_fashion_mnist(256, device=device)
    sides = {"eager": {}, "recorded": {"fused": True}, "kernels": {"fused": True, "make_steps": kernel_steps}}
    runs = []
    for seed in range(-1, seeds):  # the first ones warm up, and are not kept
        for side, options in sides.items():
            try:
                run = {"side": side, **whole_run(device, iters, max(0, seed), **options)}
            except Exception as problem:  # no Triton, or a GPU too old for a kernel
                print(f"{side}: {type(problem).__name__}: {next(iter(str(problem).splitlines()), '')}", flush=True)
                continue
            if seed >= 0:
                runs.append(run)
                print(run, flush=True)
    return runs


def table(results):
    """What was measured, in Markdown, as it stands in README.md."""
    about = results["machine"]
    lines = ["| rung | images a second | waits in a pass | warm-up, seconds |", "|---|---|---|---|"]
    lines += [
        "| {rung} | {images_per_sec:,} | {waits:,} | {warm_up_seconds} |".format(**row) for row in results["rungs"]
    ]
    lines += ["", "| ten epochs with their tests | seconds, median | test accuracy: lowest, median, highest |"]
    lines.append("|---|---|---|")
    for side in dict.fromkeys(run["side"] for run in results["runs"]):
        runs = [run for run in results["runs"] if run["side"] == side]
        accuracy = [run["test_acc"] for run in runs]
        seconds = statistics.median(run["seconds"] for run in runs)
        spread = f"{min(accuracy):.3f}, {statistics.median(accuracy):.3f}, {max(accuracy):.3f}"
        lines.append(f"| {side} | {seconds:.2f} | {spread} |")
    num_seeds = len({run["seed"] for run in results["runs"]})
    lines += [
        "",
        f"One {about['gpu']}, Python {about['python']}, PyTorch {about['torch']}, Triton {results['triton']}, "
        f"{about['date']}. Rungs: medians of {results['rounds']} rounds; runs: {num_seeds} seeds.",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--out", default=None, help="a folder to write gpu.json to, instead of results/ and README.md")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("there is no NVIDIA GPU on this machine, and everything here measures one")
    import triton

    warnings.filterwarnings("ignore", "This DataLoader will create")
    device = torch.device("cuda:0")
    results = {
        "machine": machine.describe(),
        "triton": triton.__version__,
        "rounds": asked.rounds,
        "rungs": race_rungs(device, *read_split("train"), asked.rounds),
        "runs": whole_runs(device, asked.seeds),
    }
    machine.save(pathlib.Path(asked.out, "gpu.json") if asked.out else RESULTS, results)
    print(table(results))
    if not asked.out:
        machine.write_between(machine.README, "gpu", table(results))


if __name__ == "__main__":
    main()
