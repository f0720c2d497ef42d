"""Training by one and by two processes, and what the model of `lenet_utils/parallel/scaling.py` says.

Each process has one thread, so that two of them have twice the cores. Rounds take turns; medians are kept. The model
gets its four numbers from one process (at two batch sizes) and from bare all-reduces; what two processes do
while they train, it has to predict. Two that train at the same time, each for itself, show what sharing the machine
costs; how long an all-reduce takes during the training shows what waiting for each other costs.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

import machine
import torch
from torch import distributed

from lenet_utils import lenet, train
from lenet_utils.parallel.program import data
from lenet_utils.parallel.resume import train as train_as_team
from lenet_utils.parallel.scaling import Machine, draw
from lenet_utils.parallel.team import join, leave

RESULT = machine.RESULTS / "scaling.json"
SIZE = 4 * 61_706  # bytes of LeNet's gradients
SETTINGS = {1: (128, 256, 512), 2: (256, 512)}  # images a step, of all processes together


def measure(images):
    """In a process, or in each of a team: a line of JSON from the first."""
    torch.set_num_threads(1)
    team = join("cpu")
    results = {"processes": team.size, "step": {}, "all_reduce": {}, "all_reduce_in_training": {}}
    for batch in SETTINGS[team.size]:
        train_iter, test_iter = data(batch, images)
        torch.manual_seed(0)
        more = {"init_weights": train.init_xavier, "animator": False, "team": team}
        with open(os.devnull, "w") as nowhere, timed_all_reduce() as waits:
            said, sys.stdout = sys.stdout, nowhere
            history = train_as_team(lenet(), train_iter, test_iter, 2, 0.9, team.device, **more)
            sys.stdout = said
        results["step"][batch] = history.seconds[1] / len(train_iter)  # the first epoch warms up
        if waits:
            results["all_reduce_in_training"][batch] = statistics.mean(waits[len(train_iter) :])
    if team.size > 1:
        for numbers in (1, SIZE // 4):
            results["all_reduce"][4 * numbers] = all_reduce_seconds(numbers)
    if team.rank == 0:
        print(json.dumps(results))
    leave()


@contextlib.contextmanager
def timed_all_reduce():
    """A list of the seconds that each all-reduce takes within it: the wait for the slower process is a part."""
    seconds, untimed = [], distributed.all_reduce

    def timed(message):
        begin = time.perf_counter()
        untimed(message)
        seconds.append(time.perf_counter() - begin)

    distributed.all_reduce = timed
    try:
        yield seconds
    finally:
        distributed.all_reduce = untimed


def all_reduce_seconds(numbers, times=300):
    message = torch.zeros(numbers)
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        distributed.all_reduce(message)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def start(processes, images):
    command = [sys.executable, __file__, "--measure", f"--images={images}"]
    if processes > 1:
        where = ["--rdzv-backend=c10d", "--rdzv-conf=store_type=file", "--local-addr=127.0.0.1"]
        command[1:1] = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", *where]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def median(rounds, *keys):
    def look_up(result):
        for key in keys:
            result = result[key]
        return result

    return statistics.median(map(look_up, rounds))


def fit(alone, together):
    """The model's four numbers, from one process and from bare all-reduces.

    One process trains on 128 and 256 images, the shares of a team of two.
    """
    small, large = (median(alone, "step", str(batch)) for batch in (128, 256))
    rate = (256 - 128) / (large - small)
    short, long = (median(together, "all_reduce", str(size)) for size in (4, SIZE))
    # Two processes: two messages one after the other, each with half of the bytes.
    return Machine("two cores", max(0.0, small - 128 / rate), rate, short / 2, SIZE / max(long - short, 1e-9))


def beyond_the_model(alone, together, apart):
    """What the model leaves out, in milliseconds: what sharing the machine costs, and what waiting for each other."""

    def ms(results, *keys):
        return round(1000 * median(results, *keys), 1)

    steps = [(batch, ms(alone, "step", str(batch)), ms(apart, "step", str(batch))) for batch in SETTINGS[1]]
    bare = ms(together, "all_reduce", str(SIZE))
    waits = [(batch, bare, ms(together, "all_reduce_in_training", str(batch))) for batch in SETTINGS[2]]
    return {
        "side_by_side": [dict(zip(("batch", "alone_ms", "beside_ms"), row)) for row in steps],
        "all_reduce": [dict(zip(("batch", "bare_ms", "in_training_ms"), row)) for row in waits],
    }


def main(rounds, images):
    busy, began = machine.busy_seconds(), time.time()
    alone, together, apart = [], [], []
    for _ in range(rounds):
        alone.append(start(1, images))
        together.append(start(2, images))
        with concurrent.futures.ThreadPoolExecutor(2) as both:
            apart += both.map(start, (1, 1), (images, images))
    model = fit(alone, together)
    rows = [
        {"processes": p, "batch": batch, "measured": batch / median(results, "step", str(batch)),
         "model": model.images_per_second(p, batch, SIZE)}
        for p, results in ((1, alone), (2, together)) for batch in SETTINGS[p]
    ]  # fmt: skip
    busy_cores = (machine.busy_seconds() - busy) / (time.time() - began)
    about = machine.describe() | {"threads": 1, "rounds": rounds, "busy_cores": round(busy_cores, 2)}
    parameters = {name: getattr(model, name) for name in ("fixed", "rate", "latency", "bandwidth")}
    results = {
        "machine": about, "model": parameters, "images_per_second": rows, **beyond_the_model(alone, together, apart),
        "runs": alone + together, "at_the_same_time": apart,
    }  # fmt: skip
    machine.save(RESULT, results)
    print(table(results))
    machine.write_between(machine.README, "scaling", table(results))
    picture(model, rows)


def table(results):
    """What was measured, in Markdown, as it stands in README.md."""
    lines = ["| processes | images a step | images a second | the model says |", "|---|---|---|---|"]
    for row in results["images_per_second"]:
        fitted = row["processes"] == 1 and row["batch"] <= 256  # see `fit`
        model = "fitted" if fitted else f"{row['model']:,.0f}"
        lines.append(f"| {row['processes']} | {row['batch']} | {row['measured']:,.0f} | {model} |")
    lines += ["", "| images a step of one process | milliseconds alone | beside another training |", "|---|---|---|"]
    lines += ["| {batch} | {alone_ms} | {beside_ms} |".format(**row) for row in results["side_by_side"]]
    lines += ["", "| images a step of two | milliseconds of a bare all-reduce | in training |", "|---|---|---|"]
    lines += ["| {batch} | {bare_ms} | {in_training_ms} |".format(**row) for row in results["all_reduce"]]
    about = results["machine"]
    made = f"Medians of {about['rounds']} rounds; {about['cores']} cores of an {about['cpu']}, {about['date']}."
    return "\n".join([*lines, "", made])


def picture(model, rows):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    draw(axes, model, [1, 2, 4, 8], 256, SIZE)
    for batch_for, marker in ((lambda p: 256, "x"), (lambda p: 256 * p, "+")):
        chosen = [row for row in rows if row["batch"] == batch_for(row["processes"])]
        axes.plot([row["processes"] for row in chosen], [row["measured"] for row in chosen], marker,
                  color="black", markersize=10, linestyle="none", label=None)  # fmt: skip
    axes.set_title("A core for each process: model (lines), measured (crosses)")
    figure.savefig(RESULT.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=24_576)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    measure(asked.images) if asked.measure else main(asked.rounds, asked.images)
