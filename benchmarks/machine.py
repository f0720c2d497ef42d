"""What the benchmarks share: the machine in words, fresh processes, peak memory, files written whole or not at all."""

import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

import numpy

HERE = pathlib.Path(__file__).parent
RESULTS, README = HERE / "results", HERE / "README.md"


def describe():
    """What a reader must know about the machine to judge a number, without the name of anybody's computer."""
    import torch  # not above: what runs without PyTorch is measured without it

    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "date": datetime.date.today().isoformat(),
    }


def describe_without_threads():
    """`describe()` where the number of threads stands in every run: it changes the last digits."""
    return {name: value for name, value in describe().items() if name != "threads"}


def cores():
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cpu_model():
    """The processor's name; with its family where the name has no number, as in "AMD EPYC", which is several.

    64-bit ARM's have numbers instead of a name: "aarch64 (implementer 0x41, part 0xd0b)" is a Cortex-A76.
    """
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    about = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in about and "CPU part" in about:
        return f"{platform.machine()} (implementer {about['CPU implementer']}, part {about['CPU part']})"
    name = about.get("model name", platform.machine())
    return name if re.search(r"\d", name) or "cpu family" not in about else f"{name} (family {about['cpu family']})"


def peak_memory():
    """The most memory that this process has held so far, in MB (10^6 bytes)."""
    try:
        # Linux's ru_maxrss begins with what the parent held when it started this process; this one does not.
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
    except OSError:  # macOS, which counts in bytes
        import resource  # which Windows does not have

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def page_faults():
    """How often the system has had to find a page of memory for this process so far; 0 on Windows."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def read_files_anew():
    """Let Linux forget the files that it keeps in memory, as a restart does. True where it did: as root on Linux.

    What has just been installed lies in memory in larger pieces than what was read from the disk, and a process counts
    each piece that it touches as its own: PyTorch's libraries for GPUs then add 100 MB that nothing ever looks at.
    """
    try:
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")
    except OSError:
        print("the files are not read anew, for want of rights: peaks of memory may be 100 MB higher than elsewhere")
        return False
    return True


def busy_seconds():
    """CPU time that the whole machine has spent since it was started, on anything; 0 where it does not tell."""
    try:
        ticks = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:  # not Linux
        return 0.0
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, ticks)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def measure_afresh(script, *arguments, folder=None, **more):
    """What `script`, started in a process of its own with `arguments`, prints: a line of JSON, as a dict.

    `more`: variables for its environment.
    """
    command = [sys.executable, str(pathlib.Path(script).resolve()), *map(str, arguments)]
    # What a first process compiled may be kept for the next ones, as on a learner's machine.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"MPLBACKEND": "Agg"}
    child = subprocess.run(command, cwd=folder, env=environment | more, capture_output=True, text=True)
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed:\n{child.stderr}")
    return json.loads(child.stdout)


def answer(measure, *arguments):
    """In a process that `measure_afresh` started: print what `measure` returns as JSON, and nothing that it prints."""
    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        result = measure(*arguments)
    print(json.dumps(result))


def medians(rounds, sides):
    """The median over `rounds` of every number of each of `sides`: {side: {name: number}}, as each round is."""
    return {side: {name: statistics.median(turn[side][name] for turn in rounds) for name in rounds[0][side]}
            for side in sides}  # fmt: skip


def save(path, results):
    """Write `results` as JSON, a line for each item of a list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, as_json(results))


def write(path, text):
    """Write `text` to the file `path`: a reader sees the old file or the new one, also where the disk is full."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def finished_runs(path):
    """The runs kept in the file `path`, if any. Exits if another machine or other versions measured them."""
    if not path.exists():
        return []
    results = json.loads(path.read_text())
    here, there = describe(), results["machine"]
    if " (family" not in there["cpu"]:  # an older file says less
        here["cpu"] = here["cpu"].partition(" (family")[0]
    known = here.keys() & there.keys() - {"date"}
    if any(here[name] != there[name] for name in known):
        raise SystemExit(f"{path.name} was measured elsewhere, {there}: move it away to begin anew")
    return results["runs"]


def write_between(path, mark, text):
    """Put `text` between the comments `<!-- mark -->` and `<!-- end of mark -->` of the Markdown file `path`."""
    page, marks = path.read_text("utf-8"), (f"<!-- {mark} -->\n", f"<!-- end of {mark} -->")
    if any(page.count(text) != 1 for text in marks):
        raise SystemExit(
            f"expected {' and '.join(map(str.strip, marks))} once each in {path}; this belongs there:\n{text}"
        )
    before, _, rest = page.partition(marks[0])
    after = rest.partition(marks[1])[2]
    write(path, f"{before}<!-- {mark} -->\n{text}\n<!-- end of {mark} -->{after}")


def as_json(results):
    entries = []
    for key, value in results.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n  " + ",\n  ".join(json.dumps(item) for item in value) + "\n ]"
        entries.append(f' "{key}": {text}')
    return "{\n" + ",\n".join(entries) + "\n}\n"
