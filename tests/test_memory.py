"""Memory that a training step has freed: kept by the process, unless the user or the C library has it otherwise."""

import ctypes
import platform

import pytest

from lenet_utils.memory import keep_memory

TRAIN = """
import os, resource, sys, torch
import lenet_utils as d2l
from lenet_utils.data import Batches

batches = Batches(torch.zeros(4096, 28, 28, dtype=torch.uint8), torch.zeros(4096, dtype=torch.int64), 1024)
net = d2l.lenet()

def faults():
    d2l.train_ch6(net, batches, batches, 1, 0.9, torch.device("cpu"), animator=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

said, sys.stdout = sys.stdout, open(os.devnull, "w")
faults()  # the heap grows, and settles
before = faults()
new = faults() - before
sys.stdout = said
print(new)
"""
PAGES = 4 * 1024 * 6 * 28 * 28 * 4 // 4096  # what the first convolution alone makes in these four steps: 18,816


@pytest.fixture
def page_faults(python):
    """A function that counts the pages an epoch of four steps of 1,024 images asks of the system."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc has thresholds to set, and this Python does not use it")
    return lambda **environment: int(python(TRAIN, **environment))


def test_an_epoch_asks_for_no_pages_that_the_one_before_had(page_faults):
    assert page_faults() < 2 * PAGES
    assert page_faults(GLIBC_TUNABLES="glibc.malloc.tcache_count=7") < 2 * PAGES  # a choice, but not this one


@pytest.mark.parametrize(
    "choice",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}],
    ids=lambda choice: next(iter(choice)),
)  # fmt: skip
def test_a_choice_of_the_user_stays(page_faults, choice):
    assert page_faults(**choice) > 4 * PAGES  # every step, and every map of it


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # without mallopt
    keep_memory()
