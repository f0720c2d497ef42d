"""Memory that a large training step has freed: kept while it trains, unless user or C library have it otherwise."""

import ctypes
import platform
import types

import pytest
import torch

from lenet_utils import lenet, train_ch6
from lenet_utils.data import Batches
from lenet_utils.quick import memory
from lenet_utils.quick.memory import is_large, kept_memory

TRAIN = """
import ctypes, os, pathlib, resource, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a huge page would count as one
import torch
import lenet_utils as d2l
from lenet_utils.data import Batches

batches = Batches(torch.zeros(8192, 28, 28, dtype=torch.uint8), torch.zeros(8192, dtype=torch.int64), 1024)
net = d2l.lenet()

def train():
    '''Pages asked of the system until now, and megabytes held.'''
    d2l.train_ch6(net, batches, batches, 1, 0.9, torch.device("cpu"), animator=False)
    held = pathlib.Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt, int(held) * 1024 / 1e6

said, sys.stdout = sys.stdout, open(os.devnull, "w")
train()  # loads what is loaded on first use
before, _ = train()
after, held = train()
sys.stdout = said
print(after - before, held)
"""
STEPS = 8
MAP = 1024 * 6 * 28 * 28 * 4  # bytes that the first convolution gives in a step: 4,704 pages
PAGES = MAP // 4096


@pytest.fixture
def train(python, monkeypatch):
    """A function that tells the pages that an epoch asks of the system, and the megabytes that are held after it."""
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):  # this test's own choices only
        monkeypatch.delenv(name, raising=False)
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc has thresholds to set, and this Python does not use it")
    return lambda **environment: [float(number) for number in python(TRAIN, **environment).split()]


def test_a_step_asks_for_no_pages_that_the_one_before_had(train):
    assert train()[0] < 2 * STEPS * PAGES
    assert train(GLIBC_TUNABLES="glibc.malloc.tcache_count=7")[0] < 2 * STEPS * PAGES  # a choice, but not this one


@pytest.mark.parametrize(
    "choice",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}],
    ids=lambda choice: next(iter(choice)),
)  # fmt: skip
def test_a_choice_of_the_user_stays(train, choice):
    assert train(**choice)[0] > 4 * STEPS * PAGES  # every step, and every map of it


def test_what_was_kept_goes_back_after_the_training(train):
    _, held = train()
    _, least = train(MALLOC_TRIM_THRESHOLD_="131072")
    assert held < least + 4 * MAP / 1e6  # a step makes about eight times the first map


class Library:
    """A C library that notes what it is asked for."""

    def __init__(self):
        self.asked = []

    def mallopt(self, name, value):
        self.asked.append((name, value))
        return 1

    def malloc_trim(self, pad):
        self.asked.append("trim")


@pytest.fixture
def library(monkeypatch):
    made = Library()
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    return made


def batches(batch_size, resize=None):
    return Batches(
        torch.zeros(2, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), batch_size, resize=resize
    )


def test_the_usual_thresholds_come_back_and_all_is_given_back_whatever_happens(library):
    with pytest.raises(KeyError), kept_memory(batches(257)):
        assert dict(library.asked) == memory.KEEP
        raise KeyError
    assert dict(library.asked[2:4]) == memory.USUAL and library.asked[4:] == ["trim"]


def test_small_batches_change_nothing(library):
    with kept_memory(batches(256)):
        pass
    assert library.asked == []


def test_where_such_large_pieces_are_refused_the_largest_possible_ones_are_kept(library, monkeypatch):
    """As glibc before 2.35 does."""
    usual = memory.USUAL[memory.MMAP_THRESHOLD]
    monkeypatch.setattr(library, "mallopt", lambda name, value: library.asked.append((name, value)) or value != 2**28)
    with kept_memory(batches(257)):
        assert dict(library.asked) == {**memory.KEEP, memory.MMAP_THRESHOLD: usual}


@pytest.mark.parametrize(
    "name, value", [("MALLOC_MMAP_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1")]
)
def test_where_the_user_has_chosen_nothing_is_asked(library, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with kept_memory(batches(257)):
        pass
    assert library.asked == []


def test_another_choice_is_none(library, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.cpu.x86_non_temporal_threshold=1")
    with kept_memory(batches(257)):
        assert library.asked


def test_another_c_library_is_left_alone(library, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # without malloc_trim
    with kept_memory(batches(4096)):
        pass


def test_a_run_that_is_kept_keeps_its_memory_too(library, tmp_path):
    train_ch6(lenet(), batches(257), batches(257), 1, 0.9, "cpu", animator=False, checkpoint=tmp_path / "run")
    assert library.asked[-1] == "trim"


@pytest.mark.parametrize(
    "given, large",
    [
        (batches(256), False),
        (batches(257), True),
        (batches(32, resize=96), True),
        (batches(32, resize=[96]), True),
        (Batches(torch.zeros(1, 96, 96, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), 32), True),
        (batches(3, resize=(224, 224)), False),
        (batches(4, resize=(224, 225)), True),
        (torch.utils.data.DataLoader(range(9), batch_size=512), True),
        (torch.utils.data.DataLoader(range(9), batch_size=None), False),
        ([1, 2], False),
        (types.SimpleNamespace(batch_size="many"), False),
    ],
)
def test_what_is_large(given, large):
    assert is_large(given) is large


def test_the_usual_thresholds_are_glibcs():
    assert memory.USUAL == {memory.MMAP_THRESHOLD: 32 * 1024**2, memory.TRIM_THRESHOLD: 64 * 1024**2}
