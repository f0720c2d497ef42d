"""Memory that one training step has freed, kept for the next one.

A step makes its maps anew, and frees them when it is over. glibc, Linux's usual C library, hands such large pieces back
to the system at once. The next step asks for them again, and the system fills every page with zeros when it is first
touched: with 1,024 images a step that took half of the time (`benchmarks/memory.py`).
"""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them


def keep_memory():
    """Let this process keep up to half a gigabyte of what it has freed, in pieces of up to a quarter.

    With 4,096 images a step LeNet needs no more. A choice of the user, by one of glibc's environment variables, stays.
    """
    chosen = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys()
    if not chosen and "_threshold" not in os.environ.get("GLIBC_TUNABLES", ""):
        set_thresholds(piece=2**28, kept=2**29)


def set_thresholds(piece, kept):
    """Larger pieces than `piece` bytes go back when they are freed, smaller ones when more than `kept` lies free.

    To be exact: free at the end of the heap. Returns False where the C library is not glibc, and nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return bool(mallopt and mallopt(MMAP_THRESHOLD, piece) and mallopt(TRIM_THRESHOLD, kept))
