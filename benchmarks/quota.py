"""What a CPU quota of one core costs: training with the course's one thread, beside a thread for each core that shows.

Both run in a control group that may use one core's worth of time, in fresh processes, by turns. Linux only, as root.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import time

import machine

WARM_UP, BATCHES = 5, 60
GROUPS = {  # where the group goes, and what says that it may use one core
    "/sys/fs/cgroup": {"cpu.max": "100000 100000"},
    "/sys/fs/cgroup/cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"},
}


def group():
    """The folder of a new control group that may use one core's worth of time. Exits where none can be made."""
    for top, limits in GROUPS.items():
        folder = pathlib.Path(top, f"lenet-quota-{os.getpid()}")
        with contextlib.suppress(OSError):
            folder.mkdir()
            if all((folder / name).exists() for name in limits):  # the kernel made them
                for name, value in limits.items():
                    (folder / name).write_text(value)
                return folder
        if folder.exists():
            folder.rmdir()
    raise SystemExit("no control group with a CPU quota can be made here: it takes root and a writable /sys/fs/cgroup")


def measure(folder, threads):
    """Seconds for 60 batches in the group `folder`; `threads` 0 leaves their number to the course."""
    pathlib.Path(folder, "cgroup.procs").write_text(str(os.getpid()))
    import torch

    import lenet_utils as d2l
    from lenet_utils import train

    if threads:
        torch.set_num_threads(threads)
    train_iter, _ = d2l.load_data_fashion_mnist(256)
    net = d2l.lenet()
    optimizer = train.SGD(net.parameters(), 0.9)
    batches = [batch for batch, _ in zip(train_iter, range(WARM_UP + BATCHES))]
    for number, (X, y) in enumerate(batches):
        if number == WARM_UP:
            start = time.perf_counter()
        optimizer.zero_grad()
        train.cross_entropy(net(X), y).backward()
        optimizer.step()
    return {"threads": torch.get_num_threads(), "seconds": round(time.perf_counter() - start, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--one", nargs=2, metavar=("GROUP", "THREADS"), help=argparse.SUPPRESS)  # in fresh processes
    asked = parser.parse_args()
    if asked.one:
        return print(json.dumps(measure(asked.one[0], int(asked.one[1]))))
    folder = group()
    try:
        runs = [
            machine.measure_afresh(__file__, "--one", folder, n)
            for _ in range(asked.pairs)
            for n in (0, os.cpu_count())
        ]
    finally:
        folder.rmdir()
    machine.save(machine.RESULTS / "quota.json", {"machine": machine.describe(), "runs": runs})
    for n in sorted({run["threads"] for run in runs}):
        seconds = [run["seconds"] for run in runs if run["threads"] == n]
        print(f"{n} threads, quota of one core: {statistics.median(seconds):.2f} s ({min(seconds)} to {max(seconds)})")


if __name__ == "__main__":
    main()
