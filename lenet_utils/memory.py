"""Memory that one training step has freed, kept for the next one.

A step makes its maps anew, and frees them when it is over. glibc, Linux's usual C library, hands such large pieces back
to the system at once. The next step asks for them again, and the system fills every page with zeros when it is first
touched: with 4,096 images a step that took more than half of the time (`benchmarks/memory.py`).
"""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them


def keep_memory():
    """Let this process keep up to half a gigabyte of what it has freed, in pieces of up to a quarter, with glibc.

    With 4,096 images a step LeNet needs no more. A choice of the user, by one of glibc's environment variables, stays.
    """
    chosen = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys()
    if sys.platform != "linux" or chosen or "_threshold" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, 2**28)  # only a larger piece goes back when it is freed,
        mallopt(TRIM_THRESHOLD, 2**29)  # and smaller ones when more than this lies free at the end of the heap
