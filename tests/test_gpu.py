"""What is written for a GPU runs, on a pretended one (tests/pretended_gpu) that is as strict, if not as fast."""

import pathlib
import re
import subprocess
import sys

import pretended_gpu
import pytest
import torch

COURSE = pathlib.Path(__file__).parent.parent
pytestmark = pytest.mark.doors


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs Python where PyTorch has that GPU, and returns what it ended with and what it printed."""
    if torch.cuda.is_available():
        pytest.skip("a GPU is there, and all tests run on it")
    folder = tmp_path_factory.mktemp("gpu")
    try:
        library = pretended_gpu.build(folder)
    except FileNotFoundError as problem:
        pytest.skip(str(problem))
    environment = pretended_gpu.environment(library, folder / "ipython")

    def run(*arguments):
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, cwd=COURSE, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


LEAVE_AT_ONCE = "sys.stdout.flush(); os._exit(code)"  # PyTorch's threads for a GPU may not survive Python's slow end
PYTEST = "import os, sys, pytest; code = pytest.main(sys.argv[1:]); " + LEAVE_AT_ONCE


def run_tests(run, *arguments):
    """The number of tests that passed, all that there were but those in need of something else than a GPU."""
    code, said = run("-c", PYTEST, "-q", "-rs", "-p", "no:cacheprovider", *arguments)
    assert code == 0, said[-5000:]
    assert "GPU" not in said
    return int(re.search(r"(\d+) passed", said)[1])


STRICT = """
import os
import sys

import pretended_gpu
import pytest
import torch

pretended_gpu.install()
waits = torch.cuda.pretended.waits_so_far
there, here = torch.ones(3, device="cuda"), torch.ones(3)
with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
    there + here
assert torch.equal((there + torch.tensor(1.0)).cpu(), here + 1)  # a single number may come from anywhere
assert torch.empty(3, device="cuda").isnan().all()
with pytest.raises(RuntimeError, match="invalid device ordinal"):
    torch.empty(3, device="cuda:1")

before = waits()
total = there.requires_grad_().square().sum()
total.backward()
assert waits() == before and torch.equal(there.grad.cpu(), 2 * here) and total.item() == 3 and waits() == before + 2

states = torch.get_rng_state(), torch.cuda.get_rng_state()
torch.nn.functional.dropout(there)
assert torch.equal(torch.get_rng_state(), states[0]) and not torch.equal(torch.cuda.get_rng_state(), states[1])

count, graph = torch.zeros(3, device="cuda"), torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    count += 1
    doubled = count * 2
assert count.tolist() == [0, 0, 0] and doubled.isnan().all()  # recorded, not done
graph.replay()
graph.replay()
assert count.tolist() == [2, 2, 2] and doubled.tolist() == [4, 4, 4]
with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        count.sum().item()
"""


def test_the_pretended_gpu_is_as_strict_as_a_gpu(run):
    assert run("-c", f"{STRICT}\ncode = 0; {LEAVE_AT_ONCE}") == (0, "")


def test_what_needs_a_gpu_passes(run):
    tests = ["tests/test_recorded.py", "tests/test_train.py", "tests/test_model.py", "tests/test_data.py"]
    assert run_tests(run, "-p", "pretended_gpu", "-n", "0", *tests) > 400


def test_notebooks_run_on_a_gpu(run):
    """With the same outputs as on a CPU, where they are compared. The fifth trains too long there, the sixth races."""
    notebooks = (path for path in sorted((COURSE / "notebooks").glob("*.ipynb")) if path.name[0] not in "56")
    assert run_tests(run, *notebooks) > 300
