"""A class: thirty kernels open the training notebook at the same moment, all from one checkout.

Each learner has a home folder; all else, the checkout included, is mounted read-only, so nothing is written there. The
notebook runs up to its training cell, which trains for one epoch instead of ten, as all learners share this machine's
cores. Linux only, since it asks the system for the mount and for each kernel's memory.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import jupyter_client
import machine
import nbclient
import nbformat

COURSE = pathlib.Path(__file__).parent.parent
NOTEBOOK = COURSE / "notebooks" / "3_train_on_gpu.ipynb"
PROBE = """
import json, os, pathlib, torch
def megabytes(name, of):
    lines = pathlib.Path("/proc/self", of).read_text().splitlines()
    return round(next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name + ":")))
print(json.dumps({"peak_mb": megabytes("VmHWM", "status"), "share_mb": megabytes("Pss", "smaps_rollup"),
                  "threads": torch.get_num_threads(), "images": history.images,
                  "writable": [f for f in (".", "/", pathlib.Path(d2l.__file__).parent) if os.access(f, os.W_OK)]}))
"""


def shortened(epochs):
    """The training notebook up to the cell that trains, with another number of epochs, and a probe behind it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    trains = next(i for i, cell in enumerate(notebook.cells) if "lr, num_epochs = 0.9, 10" in cell.source)
    notebook.cells = notebook.cells[: trains + 1]
    notebook.cells[-1].source = notebook.cells[-1].source.replace("0.9, 10", f"0.9, {epochs}")
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    return notebook


def learn(home, epochs):
    """One learner's run. Everything that Jupyter, IPython and matplotlib keep is theirs, below `home`."""
    notebook = shortened(epochs)
    # Sockets in a file of their own: thirty kernels that look for free ports at the same moment find the same ones.
    sockets = jupyter_client.AsyncKernelManager(transport="ipc", ip=str(home / "kernel"))
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = nbclient.NotebookClient(notebook, km=sockets, timeout=1200, startup_timeout=600, resources=place)
    environment = at_home(home)
    start = time.perf_counter()
    client.execute(env=environment)
    printed = "".join(output.text for output in notebook.cells[-1].outputs if output.get("name") == "stdout")
    return json.loads(printed) | {"seconds": round(time.perf_counter() - start, 1)}


def at_home(home):
    home.mkdir()
    elsewhere = ("MPLCONFIGDIR", "IPYTHONDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if name not in elsewhere}
    return kept | {"HOME": str(home), "TMPDIR": str(home), "JUPYTER_RUNTIME_DIR": str(home / "runtime")}


def in_class(homes, kernels, epochs):
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(kernels) as pool:
        jobs = [pool.submit(learn, homes / f"learner-{i}", epochs) for i in range(kernels)]
        runs = [job.result() for job in jobs]
    return {"seconds": round(time.perf_counter() - start, 1), "runs": runs}


def read_only_but(folder, command):
    """`command`, for which everything except `folder` is mounted read-only."""
    if shutil.which("unshare") is None:
        raise SystemExit("expected util-linux's `unshare`, which makes the checkout read-only for one command")
    mounts = 'mount --bind "$1" "$1"; mount --bind "$2" "$2"; mount -o remount,bind,ro "$2"; mount -o remount,bind,ro /'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *user, "sh", "-ec", f'{mounts}; shift 2; exec "$@"', "sh", folder, COURSE, *command]


def run(kernels, epochs):
    """The class in a process of its own, as only there the file system is read-only; what it measured, as a dict."""
    with tempfile.TemporaryDirectory(prefix="class-") as homes:
        command = [sys.executable, __file__, f"--kernels={kernels}", f"--epochs={epochs}", f"--homes={homes}"]
        environment = at_home(pathlib.Path(homes, "teacher"))
        child = subprocess.run(read_only_but(homes, command), env=environment, stdout=subprocess.PIPE, text=True)
    if child.returncode:
        raise SystemExit("the class did not finish: the reason stands above")
    return json.loads(child.stdout)


def table(results):
    """What was measured, in a sentence or two, as it stands in the teacher's guide."""
    runs, about = results["runs"], results["machine"]
    peaks, shares = ([run[name] for run in runs] for name in ("peak_mb", "share_mb"))
    return (
        f"{len(runs)} kernels that opened notebook 3 at the same moment on {about['cores']} cores of an {about['cpu']} "
        f"({about['date']}), from one read-only checkout, "
        f"and trained for {len(runs[0]['images'])} epoch instead of ten, finished after {results['seconds']:.0f} s. "
        f"Peak memory of a kernel: {statistics.median(peaks):.0f} MB (at most {max(peaks)}), "
        f"{statistics.median(shares):.0f} MB when what all of them share is divided among them."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--print-json", action="store_true", help="print the numbers instead of keeping them")
    parser.add_argument("--homes", type=pathlib.Path, help=argparse.SUPPRESS)  # in the process of the class
    asked = parser.parse_args()
    anew = None if asked.homes or asked.print_json else machine.read_files_anew()
    result = in_class(asked.homes, asked.kernels, asked.epochs) if asked.homes else run(asked.kernels, asked.epochs)
    if asked.homes or asked.print_json:
        print(json.dumps(result))
    else:
        results = {"machine": machine.describe(), "files_read_anew": anew, **result}
        machine.save(machine.RESULTS / "classroom.json", results)
        machine.write_between(COURSE / "notebooks" / "README.md", "class", table(results))
        print(table(results))


if __name__ == "__main__":
    main()
