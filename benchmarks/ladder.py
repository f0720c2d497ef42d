"""The rungs of notebook 6, one after the other: images a second while training on all 60,000, in turns, medians.

"d2l" and "one by one" load with four worker processes; the first batch of "compiled" is timed with an empty cache of
torch.compile, as in a first run. The notebook shows the numbers that are kept here for what it does not run.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time
import warnings

import machine
import torch

from lenet_utils import ladder
from lenet_utils.data import Batches, read_split


def rungs(images, labels, compiled):
    in_memory = Batches(images, labels, 256, shuffle=True)
    one_by_one = torch.utils.data.DataLoader(ladder.OneByOne(images, labels), 256, shuffle=True, num_workers=4)
    versions = {
        "d2l": ladder.d2l_rung(one_by_one),
        "one by one": ladder.rung(one_by_one, wait=True),
        "in memory": ladder.rung(in_memory, wait=True),
        "no waiting": ladder.rung(in_memory),
        "quick layers": ladder.rung(in_memory, quick=True),
        "channels last": ladder.rung(in_memory, channels_last=True),
        "bfloat16": ladder.rung(in_memory, channels_last=True, bfloat16=True),
        "compiled": compiled,
        "fused by hand": None if ladder.why_not_fused() else ladder.fused_rung(in_memory),
    }
    return {name: run for name, run in versions.items() if run}


def compile_rung(images, labels):
    """The compiled rung, and the seconds of its first batch, compiler included; `(None, None)` where there is none."""
    run = ladder.rung(Batches(images, labels, 256, shuffle=True), channels_last=True, compiled=True)
    begin = time.perf_counter()
    try:
        ladder.rung([(images[:256, None] / 255, labels[:256])], channels_last=True, compiled=True)()
    except Exception as problem:  # no C++ compiler, or a version of Python that it does not know yet
        print("not compiled:", next(iter(str(problem).splitlines()), type(problem).__name__))
        return None, None
    return run, round(time.perf_counter() - begin, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--out", type=pathlib.Path, default=machine.RESULTS / "ladder.json")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", "This DataLoader will create")  # d2l's four workers on two cores
    images, labels = (values[: arguments.images] for values in read_split("train"))
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # empty: what a first run on a machine costs
        compiled, cold = compile_rung(images, labels)
        seconds = ladder.race(rungs(images, labels, compiled), arguments.rounds)
    speeds = {name: round(len(labels) / statistics.median(times)) for name, times in seconds.items()}
    results = {
        "machine": machine.describe(),
        "images": len(labels),
        "rounds": arguments.rounds,
        "compile_seconds": cold,
        "flops": round(ladder.measure_flops()),
        "bandwidth": round(ladder.measure_bandwidth()),
        "images_per_sec": speeds,
        "seconds": {name: [round(t, 3) for t in times] for name, times in seconds.items()},
    }
    machine.save(arguments.out, results)
    for name, speed in speeds.items():
        print(f"{name:15} {speed:10,} images a second, {speed / speeds['one by one']:5.2f} times one by one")
    print(f"the first batch compiled took {cold} s")


if __name__ == "__main__":
    main()
