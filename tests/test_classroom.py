"""Thirty learners on one machine, at the same moment, from one checkout that none of them can write to."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.doors

BENCHMARK = pathlib.Path(__file__).parent.parent / "benchmarks" / "classroom.py"
KERNELS = 30
MEGABYTES = 600  # of its own that each kernel needs


def available_megabytes():
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1000


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare, which makes the checkout read-only, is missing")
def test_a_class_of_thirty():
    if available_megabytes() < KERNELS * MEGABYTES:
        pytest.skip(f"{KERNELS} kernels need {KERNELS * MEGABYTES} MB, and {available_megabytes():.0f} MB are free")
    command = [sys.executable, BENCHMARK, f"--kernels={KERNELS}", "--print-json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert [run["images"] for run in runs] == [[60_000]] * KERNELS
    assert [run["writable"] for run in runs] == [[]] * KERNELS
    assert max(run["peak_mb"] for run in runs) < 1000
