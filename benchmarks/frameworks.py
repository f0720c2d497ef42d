"""The same recipe in this course, in d2l, and in other frameworks, taking turns in fresh processes.

LeNet with sigmoids and average pooling, Xavier's weights, SGD at 0.9, batches of 256, the same 60,000 images, tested
on all 10,000 after every epoch. The clock runs around the whole training: what compiles, compiles inside it.
Starting up is what comes before: importing, and reading the files. Frameworks that are not installed are left out:

    uv run --with jax,flax,optax,lightning,keras,tensorflow-cpu,tinygrad python benchmarks/frameworks.py

tinygrad's CPU backend calls clang. A framework that fails is named, with its error, and the others go on.
"""

import argparse
import importlib.metadata
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec, module_from_spec, spec_from_file_location

import machine

HERE = pathlib.Path(__file__).parent
RESULTS, PICTURE = machine.RESULTS / "frameworks.json", machine.RESULTS / "frameworks.png"
IMAGES = 60_000
# name in the table: the file in frameworks/, and the packages and programs that it needs
ROWS = {
    "this course": ("course", ["lenet_utils"]),
    "this course, `fused=True`": ("course_fused", ["lenet_utils"]),
    "d2l": ("book", ["d2l"]),
    "JAX with flax": ("flax_jax", ["jax", "flax", "optax"]),
    "Keras on TensorFlow": ("keras_tensorflow", ["keras", "tensorflow"]),
    "Lightning": ("lightning_torch", ["lightning"]),
    "tinygrad": ("tinygrad_tiny", ["tinygrad", "clang"]),
}
COLUMNS = ("seconds", "examples_per_sec", "own_examples_per_sec", "start_up_seconds", "peak_mb", "test_acc")


def installed():
    """The rows whose packages and programs are all here."""
    return [name for name, (_, needs) in ROWS.items() if all(find_spec(need) or shutil.which(need) for need in needs)]


def load(path):
    """The Python file at `path`, as a module."""
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_data():
    """Images uint8 and labels uint8 of both sets, without lenet_utils itself, which would load PyTorch."""
    files = load(HERE.parent / "lenet_utils" / "support" / "files.py")
    return [
        [files.read_idx(f"{split}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")]
        for split in ("train", "t10k")
    ]


def measure(name, num_epochs, seed):
    """Train once in this process."""
    begin = time.perf_counter()
    sys.path.insert(0, str(HERE / "frameworks"))
    module = load(HERE / "frameworks" / f"{ROWS[name][0]}.py")
    data = module.read() if hasattr(module, "read") else read_data()  # the course and the book read their own way
    start = time.perf_counter()
    result = module.train(data, num_epochs, seed)
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 2),
        "examples_per_sec": round(IMAGES * num_epochs / seconds),
        "own_examples_per_sec": round(result["own_examples_per_sec"]),
        "start_up_seconds": round(start - begin, 2),
        "peak_mb": round(machine.peak_memory()),
        "test_acc": round(result["test_acc"], 4),
    }


def compare(names, num_epochs, num_rounds, path):
    anew = machine.read_files_anew()  # before this process holds them itself
    import torch  # noqa: F401  # before the course, which then leaves the environment of the fresh processes as it is
    from against_d2l import lay_out_data

    runs, failed = [], {}
    with tempfile.TemporaryDirectory() as folder:
        work = lay_out_data(pathlib.Path(folder))
        for i in range(num_rounds):
            for name in names:
                arguments = ("--one", name, "--epochs", num_epochs, "--seed", i)
                try:
                    measured = machine.measure_afresh(__file__, *arguments, folder=work)
                except SystemExit as error:
                    failed[name] = str(error).strip().splitlines()[-1]
                    print(f"{name}: {failed[name]}", flush=True)
                else:
                    runs.append({"framework": name, "round": i + 1, **measured})
                    print(runs[-1], flush=True)
            results = {"machine": machine.describe(), "files_read_anew": anew}
            results |= {"versions": versions(names), "epochs": num_epochs}
            left_out = [row for row in ROWS if row not in names]
            machine.save(path, results | {"left_out": left_out, "failed": failed, "runs": runs})
    return json.loads(path.read_text())


def versions(names):
    packages = {package for name in names for package in ROWS[name][1] if package not in ("lenet_utils", "clang")}
    where = importlib.metadata.packages_distributions()  # tensorflow may have come as tensorflow-cpu
    return {package: importlib.metadata.version(where[package][0]) for package in sorted(packages)}


def medians(runs):
    """For each framework, in the order of the runs, the median of every column."""
    names = dict.fromkeys(run["framework"] for run in runs)
    return {name: {column: statistics.median(run[column] for run in runs if run["framework"] == name)
                   for column in COLUMNS} for name in names}  # fmt: skip


def table(results):
    """What was measured, in Markdown, as it stands in README.md."""
    middle = medians(results["runs"])
    lines = [
        "| | seconds | images a second, all told | by its own timer | start-up, seconds | peak MB | test accuracy |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    row = "| {name} | {seconds:.1f} | {examples_per_sec:,.0f} | {own_examples_per_sec:,.0f} | {start_up_seconds:.1f} "
    row += "| {peak_mb:,.0f} | {test_acc:.3f} |"
    lines += [row.format(name=name, **values) for name, values in middle.items()]
    rounds = max(run["round"] for run in results["runs"])
    about = results["machine"]
    left_out = f" Left out, since not installed: {', '.join(results['left_out'])}." if results["left_out"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    about_runs = (
        f"Medians of {rounds} rounds of {results['epochs']} epochs with their tests, taking turns in fresh processes; "
        f"{about['cores']} cores of an {about['cpu']}, Python {about['python']}, PyTorch {about['torch']}, {packages}, "
        f"{about['date']}. d2l's loader workers come on top of its peak.{left_out}"
    )
    lines += ["", about_runs]
    return "\n".join(lines)


def draw(results):
    """Images a second, all told, from the table, the quickest on top."""
    from matplotlib.figure import Figure

    from lenet_utils.plot import STYLES

    speeds = {name: row["examples_per_sec"] for name, row in medians(results["runs"]).items()}
    names = sorted(speeds, key=speeds.get)
    figure = Figure(figsize=(7.2, 0.8 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    ours = [name.startswith("this course") for name in names]
    colors = [STYLES[0]["color"] if mine else "0.6" for mine in ours]
    bars = axes.barh([name.replace("`", "") for name in names], [speeds[name] for name in names], color=colors)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    about = results["machine"]
    axes.set(xlabel=f"images a second, tests and compiling included\n{about['cores']} cores of an {about['cpu']}")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.16)
    figure.savefig(PICTURE, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=ROWS, help="nothing is kept")
    parser.add_argument("--draw", action="store_true", help="only tell and draw what has been measured")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--one", choices=ROWS, help=argparse.SUPPRESS)  # in the fresh processes
    arguments = parser.parse_args()
    if arguments.one:
        return machine.answer(measure, arguments.one, arguments.epochs, arguments.seed)
    if arguments.draw:
        return tell(json.loads(RESULTS.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "frameworks.json") if arguments.only else RESULTS
        results = compare(arguments.only or installed(), arguments.epochs, arguments.rounds, path)
    if not results["runs"]:
        sys.exit("none of them ran to its end")
    if arguments.only:
        return print(table(results))
    tell(results)


def tell(results):
    print(table(results))
    machine.write_between(machine.README, "frameworks", table(results))
    draw(results)


if __name__ == "__main__":
    main()
