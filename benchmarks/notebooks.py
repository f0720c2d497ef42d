"""What each notebook takes, run from top to bottom in a kernel of its own: seconds, CPU seconds, and peak memory.

That is the kernel's, and, looked at ten times a second, that of all processes which a notebook starts, with pages that
they share counted once. A machine with a GPU gets a table of its own in the teacher's guide.
"""

import argparse
import contextlib
import json
import pathlib
import threading
import time

import machine
import nbclient
import nbformat
import psutil

FOLDER = pathlib.Path(__file__).parent.parent / "notebooks"
PROBE = """
import json, pathlib, resource
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"peak_mb": round(peak), "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in used), 1)}))
"""


def measure(path):
    """Run the notebook at `path` without changing the file; raises nbclient's error where a cell fails unasked."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    start, busy = time.perf_counter(), machine.busy_seconds()
    place = {"metadata": {"path": str(path.parent)}}
    client = nbclient.NotebookClient(notebook, timeout=1200, resources=place)
    with watched(client) as seen:
        client.execute()
    measured = json.loads("".join(output.get("text", "") for output in notebook.cells[-1].outputs))
    measured["together_mb"] = max(measured["peak_mb"], round(max(seen) / 1e6))
    result = {"notebook": path.stem, "seconds": round(time.perf_counter() - start, 1), **measured}
    other = machine.busy_seconds() - busy - measured["cpu_seconds"]
    return result | {"others_cpu_seconds": round(max(0, other), 1)}  # the notebook's client among them


@contextlib.contextmanager
def watched(client):
    """A list of the bytes that the kernel of `client` and all that it started held, from look to look."""
    seen, over = [0], threading.Event()

    def look():
        while not over.wait(0.1):
            with contextlib.suppress(AttributeError, TypeError, psutil.Error):  # not there yet, or there no more
                kernel = psutil.Process(client.km.provisioner.pid)
                seen.append(sum(map(share, [kernel, *kernel.children(recursive=True)])))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def share(process):
    """A process's bytes, of each page that it shares with others its part; 0 where it has ended."""
    with contextlib.suppress(psutil.Error):
        return process.memory_full_info().pss
    return 0


def table(results):
    """What was measured, in Markdown, as it stands in the teacher's guide."""
    machine_, runs = results["machine"], results["runs"]
    lines = ["| notebook | seconds | CPU seconds | peak memory | all its processes |", "|---|---|---|---|---|"]
    row = "| {notebook} | {seconds:.0f} | {cpu_seconds:.0f} | {peak_mb:,} MB | {together_mb:,} MB |"
    lines += [row.format(**run) for run in runs]
    minutes = sum(run["cpu_seconds"] for run in runs) / 60
    return "\n".join(
        [
            *lines,
            "",
            f"Together {minutes:.1f} CPU minutes; one run, on {machine_['cores']} cores of an {machine_['cpu']}, "
            f"{'with ' + machine_['gpu'] if machine_['gpu'] else 'no GPU'}, Python {machine_['python']}, "
            f"PyTorch {machine_['torch']}, {machine_['date']}. MB are 10^6 bytes.",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path, help="by default all, and the numbers are kept")
    chosen = parser.parse_args().notebooks
    anew = machine.read_files_anew()
    runs = [measure(path.resolve()) for path in chosen or sorted(FOLDER.glob("*.ipynb"))]
    results = {"machine": machine.describe(), "files_read_anew": anew, "runs": runs}
    if not chosen:
        on_gpu = bool(results["machine"]["gpu"])
        machine.save(machine.RESULTS / ("notebooks_gpu.json" if on_gpu else "notebooks.json"), results)
        mark = "measured on a GPU" if on_gpu else "measured"
        machine.write_between(FOLDER / "README.md", mark, table(results))
    print(table(results))


if __name__ == "__main__":
    main()
