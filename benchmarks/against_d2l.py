"""Ten epochs of train_ch6, testing included: lenet_utils with its iterators against d2l with d2l's.

The two take turns, each time in a fresh process, with the same network and the same seed. The clock runs from
the call of train_ch6 to its return: reading the files, and importing, are not in it. Nothing is drawn by either,
since a script has no place to draw to; in a notebook drawing comes on top. Each side's module is the first that a
process imports: ours tells PyTorch's threads how to wait, d2l leaves them as they are.
"""

import argparse
import gzip
import importlib
import os
import pathlib
import statistics
import tempfile
import time

import machine

SIDES = {"lenet_utils": "lenet_utils", "d2l": "d2l.torch"}
IMAGES = 60_000


def measure(side, num_epochs):
    """Train once in this process, with the module `side`."""
    module = importlib.import_module(SIDES[side])
    import torch

    import lenet_utils

    train_iter, test_iter = module.load_data_fashion_mnist(batch_size=256)
    torch.manual_seed(0)
    net = lenet_utils.lenet()
    busy_before, cpu_before, begin = machine.busy_seconds(), cpu_seconds(), time.perf_counter()
    module.train_ch6(net, train_iter, test_iter, num_epochs, 0.9, lenet_utils.try_gpu())
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu_before
    others = max(0.0, machine.busy_seconds() - busy_before - cpu)
    peak = machine.peak_memory()
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "cpu_seconds_of_others": round(others, 2),  # what else the machine had to do meanwhile; 0 where not known
        "examples_per_sec": round(IMAGES * num_epochs / seconds),
        "peak_mb": round(peak),
        "test_acc": round(module.evaluate_accuracy_gpu(net, test_iter), 4),  # to see that both did the same work
    }


def cpu_seconds():
    """Time that the CPU has spent on this process and on its loader workers so far."""
    return sum(os.times()[:4])


def lay_out_data(folder):
    """d2l looks for the unpacked files in ../data/FashionMNIST/raw. Returns a folder from which that leads there."""
    from lenet_utils.support import files

    raw, work = folder / "data" / "FashionMNIST" / "raw", folder / "work"
    raw.mkdir(parents=True)
    work.mkdir()
    for name in files.MD5:
        (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress(files.read_checked(name)))
    return work


def compare(num_epochs, num_pairs, path):
    anew = machine.read_files_anew()  # before this process holds them itself
    # After PyTorch, when the course leaves the environment as it is, since the fresh processes inherit it.
    import torch  # noqa: F401

    import lenet_utils

    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        work = lay_out_data(pathlib.Path(folder))
        for i in range(num_pairs):
            pair = {side: machine.measure_afresh(__file__, "--side", side, "--epochs", num_epochs, folder=work)
                    for side in SIDES}  # fmt: skip
            pair["ratio"] = round(pair["d2l"]["seconds"] / pair["lenet_utils"]["seconds"], 2)
            pairs.append(pair)
            results = {"machine": machine.describe(), "device": str(lenet_utils.try_gpu()), "epochs": num_epochs}
            results["files_read_anew"] = anew
            machine.save(path, {**results, "median": medians(pairs), "pairs": pairs})
            print(f"pair {i + 1} of {num_pairs}: {pair}", flush=True)
    return pairs


def medians(pairs):
    return {**machine.medians(pairs, SIDES), "ratio": statistics.median(pair["ratio"] for pair in pairs)}


def table(pairs):
    middle = medians(pairs)
    lines = ["                seconds  CPU seconds  examples/s  peak MB  test acc"]
    for side in SIDES:
        line = "{seconds:9.1f}  {cpu_seconds:11.1f}  {examples_per_sec:10,.0f}  {peak_mb:7.0f}  {test_acc:8.4f}"
        lines.append(f"{side:14}" + line.format(**middle[side]))
    ratios = ", ".join(f"{pair['ratio']:.2f}" for pair in pairs)
    return "\n".join([
        *lines, f"medians of {len(pairs)} runs each; d2l's 4 loader workers come on top of its peak memory",
        f"d2l takes {middle['ratio']:.2f} times as long (median; pair by pair {ratios})",
    ])  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, default=machine.RESULTS / "against_d2l.json")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # in the fresh processes
    arguments = parser.parse_args()
    if arguments.side:
        machine.answer(measure, arguments.side, arguments.epochs)
    else:
        print(table(compare(arguments.epochs, arguments.pairs, arguments.out)))


if __name__ == "__main__":
    main()
