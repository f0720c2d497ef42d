"""What it costs when memory that a step has freed goes back to the system, by the number of images in a step.

Both sides train as `train_ch6` does, in fresh processes, by turns: with freed memory kept while batches of over 256
images are trained on, and with the highest thresholds that glibc comes to by itself: 32 MB for a piece, twice that for
the heap's end.
"""

import argparse
import statistics

import growth
import machine

RESULT = machine.RESULTS / "memory.json"
SIDES = {
    "kept": {},
    "given back": {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20)},
}
BATCHES = (64, 256, 1024, 4096, 16_384)
IMAGES = 24_576  # whole batches, except for the last number


def sweep(rounds):
    runs, anew = [], machine.read_files_anew()
    for number in range(rounds):
        for batch in BATCHES:
            for side, environment in SIDES.items():
                flags = ["--side=eager", f"--batch={batch}", f"--images={IMAGES}", f"--cores={growth.CORES}"]
                run = machine.measure_afresh(growth.__file__, *flags, **environment)
                runs.append({"memory": side, "batch": batch, "images": IMAGES, **run})
                print(runs[-1], flush=True)
        results = {"machine": machine.describe(), "files_read_anew": anew, "rounds": number + 1, "runs": runs}
        machine.save(RESULT, results)
    return results


def table(results):
    """What was measured, in Markdown, as it stands in README.md."""
    heads = "".join(f" {side}: images a second | pages a step | peak MB |" for side in SIDES)
    lines = ["| images a step |" + heads, "|---|" + "---|" * 3 * len(SIDES)]
    for batch in BATCHES:
        steps, line = -(-IMAGES // batch), f"| {batch:,} |"
        for side in SIDES:
            runs = [run for run in results["runs"] if (run["memory"], run["batch"]) == (side, batch)]
            seconds, pages, peak = (
                statistics.median(run[name] for run in runs) for name in ("seconds", "page_faults", "peak_mb")
            )
            line += f" {IMAGES / seconds:,.0f} | {pages / steps:,.0f} | {peak:,.0f} |"
        lines.append(line)
    about = results["machine"]
    made = f"Medians of {results['rounds']} rounds; {about['cores']} cores of an {about['cpu']}, {about['date']}."
    return "\n".join([*lines, "", made])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    measured = table(sweep(parser.parse_args().rounds))
    print(measured)
    machine.write_between(machine.README, "memory", measured)
