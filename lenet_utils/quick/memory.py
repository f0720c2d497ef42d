"""Memory that one training step has freed, kept for the next one.

A step makes its maps anew, and frees them when it is over. Of what small steps free, glibc, Linux's usual C library,
keeps enough by itself. What larger ones free it hands back to the system, at once. The next step asks for it again, and
the system fills every page with zeros when it is first touched: with 4,096 images a step that took more than half of
the time (`benchmarks/memory.py`).
"""

import contextlib
import ctypes
import os
import re
import sys

from ..data import Batches

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # as glibc's malloc.h numbers them
LARGE = 256 * 28 * 28  # pixels of a batch, above which glibc keeps too little
# Bytes: a larger piece goes back when it is freed, and smaller ones when more lies free at the end of the heap.
KEEP = {MMAP_THRESHOLD: 2**28, TRIM_THRESHOLD: 2**29}
USUAL = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}  # the highest ones that glibc comes to by itself


@contextlib.contextmanager
def kept_memory(batches):
    """Within it this process keeps up to half a gigabyte of what it frees, if the `batches` are large ones.

    With 4,096 images a step LeNet needs no more. After it everything goes back to the system; so of two within each
    other the first to end ends both. Nothing changes without glibc, or where the user has chosen otherwise, by one of
    glibc's environment variables.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "malloc_trim") or not is_large(batches) or is_chosen():
        yield
        return
    set_thresholds(libc, KEEP)
    try:
        yield
    finally:
        set_thresholds(libc, USUAL)
        libc.malloc_trim(0)


def is_large(batches):
    """By the pixels of a batch; other iterators than the course's tell their `batch_size` at best, and no more."""
    size, sides = getattr(batches, "batch_size", None), 28
    if isinstance(batches, Batches):
        sides = batches.resize or batches.images.shape[1:]
    height, width = (sides, sides) if isinstance(sides, int) else (sides[0], sides[-1])
    return isinstance(size, int) and size * height * width > LARGE


def is_chosen():
    names = {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"}
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return bool(names & os.environ.keys()) or bool(re.search(r"malloc\.(mmap|trim)_threshold", tunables))


def set_thresholds(libc, thresholds):
    for name, size in thresholds.items():
        libc.mallopt(name, size) or libc.mallopt(name, USUAL[name])  # glibc before 2.35 refuses pieces above 32 MB
