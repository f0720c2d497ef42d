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


def why_no_mounts(folder):
    """Why nothing can be mounted read-only here, as in many containers; nothing where it can."""
    if shutil.which("unshare") is None:
        return "unshare, which makes the checkout read-only, is missing"
    code = "import classroom as c, subprocess, sys; sys.exit(subprocess.call(c.read_only_but(sys.argv[1], ['true'])))"
    tried = subprocess.run([sys.executable, "-c", code, folder], cwd=BENCHMARK.parent, capture_output=True, text=True)
    return tried.returncode and f"the checkout cannot be mounted read-only: {tried.stderr.strip()}"


def test_a_class_of_thirty(tmp_path):
    if reason := why_no_mounts(tmp_path):
        pytest.skip(reason)
    if available_megabytes() < KERNELS * MEGABYTES:
        pytest.skip(f"{KERNELS} kernels need {KERNELS * MEGABYTES} MB, and {available_megabytes():.0f} MB are free")
    command = [sys.executable, BENCHMARK, f"--kernels={KERNELS}", "--print-json"]
    done = subprocess.run(command, capture_output=True, text=True)  # a kernel that hangs ends at its cell's limit
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert [run["images"] for run in runs] == [[60_000]] * KERNELS
    assert [run["writable"] for run in runs] == [[]] * KERNELS
    assert max(run["peak_mb"] for run in runs) < 1000
