"""How the cost of an epoch grows: with the batch, with the number of images, with the number of cores.

Every setting runs in a fresh process: a few batches to warm up, then one epoch of `train_epoch`, or of its fused
likeness, on the first images of the training set. Tests are left out. Settings take turns, round by round.
"""

import argparse
import json
import statistics
import time

import machine

NUMBERS = machine.RESULTS / "growth.json"
PICTURE = machine.RESULTS / "growth.png"
CORES = machine.cores()
USUAL = {"batch": 256, "images": 60_000, "cores": CORES}
SWEEPS = {
    "batch": [16, 64, 256, 1024, 4096, 16_384],
    "images": [1000, 4000, 16_000, 60_000],
    "cores": sorted({min(2**i, CORES) for i in range(CORES.bit_length() + 1)}),
}
SIDES = ("eager", "fused")


def measure(side, batch, images, cores):
    """One epoch in this process, as a dict for the JSON file."""
    import lenet_utils as d2l  # before PyTorch, as a learner has it
    from lenet_utils.quick.memory import kept_memory

    device = d2l.try_gpu()
    run_epoch, train_iter, warm_up = prepare(d2l, side, batch, images, cores, device)
    with kept_memory(train_iter):  # as in `train_ch6`, once for all epochs
        run_epoch(warm_up)
        pages, begin = machine.page_faults(), time.perf_counter()
        run_epoch(train_iter)
        if device.type == "cuda":
            import torch

            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        pages = machine.page_faults() - pages
    peak = round(machine.peak_memory())
    return {"seconds": round(seconds, 4), "peak_mb": peak, "page_faults": pages, "device": str(device)}


def prepare(d2l, side, batch, images, cores, device):
    import torch

    from lenet_utils import data, fused, train
    from lenet_utils.support import stop

    torch.set_num_threads(cores)
    torch.manual_seed(0)
    pictures, labels = (part[:images] for part in data.read_split("train"))
    train_iter = data.Batches(pictures, labels, batch, shuffle=True).to(device)
    warm_up = data.Batches(pictures[: 4 * batch], labels[: 4 * batch], batch).to(device)
    net = d2l.lenet()
    net.apply(train.init_xavier)
    net.to(device)
    epoch = fused.fuse(net, 0.9, device)[0] if side == "fused" else train.train_epoch
    optimizer = train.SGD(net.parameters(), 0.9)

    def run_epoch(batches):
        with stop.StopBetweenBatches() as asked, train.quick_layers(net):
            epoch(net, batches, optimizer, device, train.History(str(device)), None, asked)

    return run_epoch, train_iter, warm_up


def settings():
    """What is measured: a dict for every point, one thing changed at a time."""
    points = [{**USUAL, name: value} for name, values in SWEEPS.items() for value in values]
    return [point for i, point in enumerate(points) if point not in points[:i]]


def sweep(rounds, sides):
    runs, anew = [], machine.read_files_anew()
    for number in range(rounds):
        for point in settings():
            for side in sides:
                flags = [f"--{name}={value}" for name, value in point.items()]
                runs.append({"side": side, **point, **machine.measure_afresh(__file__, "--side", side, *flags)})
                print(runs[-1], flush=True)
        results = {"machine": machine.describe(), "files_read_anew": anew, "rounds": number + 1, "runs": runs}
        machine.save(NUMBERS, results)


def curve(runs, side, name, quantity):
    """The medians for one sweep, as `(values, numbers)`."""
    usual = USUAL | {"cores": max(run["cores"] for run in runs)}  # of the machine that measured, not of this one
    usual = [(other, value) for other, value in usual.items() if other != name]
    same = [run for run in runs if run["side"] == side and all(run[other] == value for other, value in usual)]
    values = sorted({run[name] for run in same})
    return values, [statistics.median(quantity(run) for run in same if run[name] == value) for value in values]


def rate(run):
    return run["images"] / run["seconds"]


PANELS = {
    "batch": ("images in a batch", "images a second", rate),
    "images": ("images in an epoch", "seconds", lambda run: run["seconds"]),
    "cores": ("cores", "images a second", rate),
}


def draw(runs):
    from matplotlib.figure import Figure

    from lenet_utils.plot import STYLES

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (name, (xlabel, ylabel, quantity)) in zip(figure.subplots(1, 3), PANELS.items()):
        for style, side in zip(STYLES, dict.fromkeys(run["side"] for run in runs)):
            axes.plot(*curve(runs, side, name, quantity), label=side, **{"marker": "o", **style}, markersize=4)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if name == "cores":
            axes.set_xticks(sorted({run["cores"] for run in runs}))
            axes.set_ylim(bottom=0)
        else:
            axes.set(xscale="log", yscale="log")
        axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(PICTURE, dpi=110)


def table(results):
    """What was measured, in Markdown, as it stands in README.md."""
    runs, about = results["runs"], results["machine"]
    sides = [side for side in SIDES if any(run["side"] == side for run in runs)]
    cells = "".join(f" {side}: images a second | peak MB |" for side in sides)
    lines = ["| | |" + cells, "|---|---|" + "---|---|" * len(sides)]
    for name, (label, *_) in PANELS.items():
        for value in sorted({run[name] for run in runs}):
            line = f"| {label} | {value:,} |"
            for side in sides:
                values, rates = curve(runs, side, name, rate)
                peaks = curve(runs, side, name, lambda run: run["peak_mb"])[1]
                at = values.index(value)
                line += f" {rates[at]:,.0f} | {peaks[at]:,.0f} |"
            lines.append(line)
    about_runs = (
        f"Medians of {results['rounds']} rounds; {about['cores']} cores of an {about['cpu']}, "
        f"Python {about['python']}, PyTorch {about['torch']}, {about['date']}."
    )
    return "\n".join([*lines, "", about_runs])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--draw", action="store_true", help="only draw what has been measured")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # this and the next in fresh processes
    for name in SWEEPS:
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        return print(json.dumps(measure(asked.side, asked.batch, asked.images, asked.cores)))
    if not asked.draw:
        import lenet_utils

        sweep(asked.rounds, SIDES if lenet_utils.try_gpu().type == "cpu" else SIDES[:1])
    results = json.loads(NUMBERS.read_text())
    draw(results["runs"])
    print(table(results))
    machine.write_between(machine.README, "growth", table(results))


if __name__ == "__main__":
    main()
