"""Whether the symptoms in the clinic are the faults' and not the seed's: the notebook's own cells, with other seeds.

Every cell is run as it stands, but for `fresh_net`, whose seeds are shifted. What the notebook asserts about its
curves is the claim; a cell whose assertion fails is counted against its patient.
"""

import argparse
import json
import pathlib
import time

import machine
import matplotlib.pyplot

NOTEBOOK = pathlib.Path(__file__).parent.parent / "notebooks" / "clinic.ipynb"
NOT_RUN = {"setup", "exercise", "check"}  # tags
SHIFT = "\n_fresh_net = fresh_net\nfresh_net = lambda seed: _fresh_net(seed + {offset})"


def cells(notebook=NOTEBOOK):
    """The code cells after the set-up, each with the heading that it stands under."""
    heading, found = "", []
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if text.startswith("## "):
            heading = text.splitlines()[0].removeprefix("## ")
        elif cell["cell_type"] == "code" and not NOT_RUN & set(cell["metadata"].get("tags", [])):
            found.append((heading, text))
    return found


def failures(offset):
    """The headings under which an assertion fails when the seeds are shifted by `offset`."""
    names, failed = {}, set()
    for heading, text in cells():
        shift = SHIFT.format(offset=offset) if "def fresh_net" in text else ""
        try:
            exec(text + shift, names)
        except AssertionError:
            failed.add(heading)
        matplotlib.pyplot.close("all")
    return sorted(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    matplotlib.use("Agg")
    results = {"machine": machine.describe(), "runs": []}
    for offset in range(10, 10 * args.seeds + 1, 10):
        begin = time.process_time()
        run = {"first_seed": offset, "failed": failures(offset)}
        run["cpu_seconds"] = round(time.process_time() - begin, 1)
        results["runs"].append(run)
        print(run, flush=True)
    machine.save(machine.RESULTS / "clinic.json", results)


if __name__ == "__main__":
    main()
