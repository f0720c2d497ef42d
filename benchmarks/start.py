"""How long a learner waits: from `import lenet_utils` in a fresh process to the first finished batch of training.

The files come from the page cache: a first process, which is not counted, has read them. The peak of the memory
is that of the whole process after one epoch of train_ch6, testing included.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import time

STEPS = ("import lenet_utils", "load_data_fashion_mnist", "first batch", "total")  # importing loads PyTorch too


class Watched:
    """Training batches that note the time when the first one is finished: when the loop asks for the second."""

    def __init__(self, train_iter, net):
        self.train_iter, self.net, self.finished = train_iter, net, None

    def __len__(self):
        return len(self.train_iter)

    def __iter__(self):
        for i, batch in enumerate(self.train_iter):
            if i == 1:
                next(self.net.parameters()).sum().item()  # waits for the GPU, where there is one
                self.finished = time.perf_counter()
            yield batch


def measure():
    """Start in this process, which must not have imported torch yet."""
    times = [time.perf_counter()]
    import lenet_utils as d2l

    times.append(time.perf_counter())
    train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size=256)
    times.append(time.perf_counter())
    net = d2l.lenet()
    train_iter = Watched(train_iter, net)
    d2l.train_ch6(net, train_iter, test_iter, 1, 0.9, d2l.try_gpu())
    times.append(train_iter.finished)

    import machine

    seconds = [later - earlier for earlier, later in itertools.pairwise(times)]
    rounded = [round(value, 3) for value in [*seconds, times[-1] - times[0]]]
    return {**dict(zip(STEPS, rounded)), "peak_mb": round(machine.peak_memory())}


def compare(num_processes):
    import machine

    anew = machine.read_files_anew()  # before this process holds them itself

    import lenet_utils

    machine.measure_afresh(__file__, "--one")  # fills the page cache
    runs = [machine.measure_afresh(__file__, "--one") for _ in range(num_processes)]
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    results = {
        "machine": machine.describe(),
        "device": str(lenet_utils.try_gpu()),
        "files_read_anew": anew,
        "median": middle,
        "runs": runs,
    }
    machine.save(machine.RESULTS / "start.json", results)
    return runs


def table(runs):
    lines = ["                              median  from    to"]
    for step in STEPS:
        seconds = [run[step] for run in runs]
        lines.append(f"{step:27}{statistics.median(seconds):7.2f} s{min(seconds):6.2f}{max(seconds):6.2f}")
    peak = statistics.median(run["peak_mb"] for run in runs)
    return "\n".join([*lines, f"peak memory after one epoch: {peak:.0f} MB ({len(runs)} fresh processes)"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=7)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # in the fresh processes
    arguments = parser.parse_args()
    if arguments.one:
        with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
            result = measure()
        print(json.dumps(result))
    else:
        print(table(compare(arguments.processes)))


if __name__ == "__main__":
    main()
