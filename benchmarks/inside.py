"""Whether what notebook 4 says holds for other networks: its own cells, run for networks from other seeds.

Each network is trained by the notebook's recipe, with `fused=True` for speed. What the notebook asserts is the claim: a
cell whose assertion fails is counted against the section that it stands in. Kept as well is what the text tells of
several networks: what each filter answers to, how many times further off than clothes noise is at each stage, and how
much accuracy is lost without each filter.
"""

import argparse
import contextlib
import pathlib
import time

import machine
import matplotlib.pyplot
import torch
from clinic import cells

NOTEBOOK = pathlib.Path(__file__).parent.parent / "notebooks" / "4_look_inside.ipynb"
CHANGES = {  # in the text of the notebook's cells
    "torch.manual_seed(0)": "torch.manual_seed({seed})",
    "TRAIN_AFRESH = False": "TRAIN_AFRESH = True",
    "10, 0.9, d2l.try_gpu())": "10, 0.9, 'cpu', fused=True, animator=False)",
}


def look(seed):
    """The names that the notebook's cells leave behind, for a network from `seed`; and the sections that failed."""
    names, failed = {}, []
    for heading, text in cells(NOTEBOOK):
        for old, new in CHANGES.items():
            text = text.replace(old, new.format(seed=seed))
        try:
            with contextlib.suppress(RuntimeError):  # of the cell that fails on purpose
                exec(text, names)
        except AssertionError:
            failed.append(heading)
        matplotlib.pyplot.close("all")
    return names, failed


@torch.no_grad()
def accuracy_without(net, k, X, y):
    maps = net[:3](X)  # out of the first sigmoid
    if k is not None:
        maps[:, k] = maps[:, k].mean()
    return (net[3:](maps).argmax(dim=1) == y).float().mean().item()


def measure(seed):
    """One network, as a dict for the JSON file."""
    begin = time.process_time()
    names, failed = look(seed)
    thousand = names["images"][:1000], names["labels"][:1000]
    whole = accuracy_without(names["net"], None, *thousand)
    return {
        "seed": seed,
        "failed": failed,
        "test_acc": round(names["right"].float().mean().item(), 4),
        "liked": names["liked"],
        "left_from_right": names["sides"].tolist(),
        "noise_further_off": {stage: round(times.item(), 2) for stage, times in names["further"].items()},
        "lost_without": [round(whole - accuracy_without(names["net"], k, *thousand), 3) for k in range(6)],
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="train from the seeds 1, 2, ... (%(default)s of them)")
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    results = {"machine": machine.describe(), "runs": []}
    for seed in range(1, arguments.seeds + 1):
        results["runs"].append(measure(seed))
        print(results["runs"][-1], flush=True)
    machine.save(machine.RESULTS / "inside.json", results)


if __name__ == "__main__":
    main()
