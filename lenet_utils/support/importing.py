"""Importing PyTorch in less time: Python does not look for garbage meanwhile, among a million objects that all stay."""

import contextlib
import gc


@contextlib.contextmanager
def no_garbage_collection():
    """Within it Python's garbage collector rests; after it, it is as it was, and takes what came meanwhile for old."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if not gc.get_freeze_count():  # what somebody has frozen stays so
                gc.freeze()
                gc.unfreeze()  # into the oldest generation: the next look at the youngest would visit them all
            gc.enable()
