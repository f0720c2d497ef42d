"""How often PyTorch's threads should look for work before they sleep: alone, beside a busy process, beside a training.

A hundred batches of 256 for each number of looks (GOMP_SPINCOUNT), in fresh processes, by turns. Everybody gets a
session of their own, as every notebook's kernel has: Linux shares the cores between sessions, not between threads.
"""

import argparse
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys

import machine

LOOKS = ("0", "500", "1000", "2000", "4000", "8000", "16000", "as PyTorch has it")
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
IMAGES = 100 * 256
BUSY = [sys.executable, "-c", "while True: pass"]


def measure():
    """Train in this process, and print images a second, tests not included."""
    import lenet_utils as d2l  # before PyTorch, unless that is here already
    from lenet_utils.data import Batches, read_split

    images, labels = read_split("train")
    train_iter = Batches(images[:IMAGES], labels[:IMAGES], 256, shuffle=True)
    test_iter = Batches(images[:256], labels[:256], 256)
    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        history = d2l.train_ch6(d2l.lenet(), train_iter, test_iter, 1, 0.9, "cpu", animator=False)
    print(round(history.examples_per_sec))


def start(looks):
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), "--one", looks]
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    if looks.isdigit():
        environment["GOMP_SPINCOUNT"] = looks
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)


@contextlib.contextmanager
def busy():
    process = subprocess.Popen(BUSY, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def one_round(looks, beside):
    """Images a second of each training: alone, beside a busy process, and beside another one like it."""
    with busy() if beside == "a busy process" else contextlib.nullcontext():
        started = [start(looks) for _ in range(2 if beside == "another training" else 1)]
        try:
            return [int(process.communicate()[0]) for process in started]
        finally:
            for process in started:  # if one failed, the other would train on
                process.kill()
                process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", metavar="LOOKS", help=argparse.SUPPRESS)  # in the fresh processes
    asked = parser.parse_args()
    if asked.one:
        if not asked.one.isdigit():
            import torch  # noqa: F401
        return measure()
    runs = []
    for _ in range(asked.rounds):
        for beside in ("nobody", "a busy process", "another training"):
            for looks in LOOKS:
                runs.append({"looks": looks, "beside": beside, "examples_per_sec": one_round(looks, beside)})
                machine.save(machine.RESULTS / "waiting.json", {"machine": machine.describe(), "runs": runs})
                print(runs[-1], flush=True)
    for beside in dict.fromkeys(run["beside"] for run in runs):
        for looks in LOOKS:
            rates = [
                r for run in runs if (run["looks"], run["beside"]) == (looks, beside) for r in run["examples_per_sec"]
            ]
            print(
                f"beside {beside:16} {looks:>17}: {statistics.median(rates):8,.0f} ({min(rates):,} to {max(rates):,})"
            )


if __name__ == "__main__":
    main()
