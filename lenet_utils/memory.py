"""Memory that one training step has freed, kept for the next one.

A step makes its maps anew, and frees them when it is over. glibc, Linux's usual C library, hands pieces as large as these
back to the system at once. The next step asks for them again, and the system fills every page with zeros when it is first
touched: with 1,024 images a step that was half of the time.
"""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them
KEPT = 2**30  # bytes: what 4,096 images a step need, and some more


def keep_memory():
    """Let this process keep up to a gigabyte that it has freed, where the C library is glibc.

    What the user has chosen by one of glibc's environment variables stays.
    """
    chosen = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys()
    if sys.platform != "linux" or chosen or "_threshold" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, KEPT)  # smaller pieces come from the heap,
        mallopt(TRIM_THRESHOLD, KEPT)  # which gives its end back when more than this lies free there
