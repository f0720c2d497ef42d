"""Stopping a training run between two batches, not in the middle of a weight update."""

import contextlib
import signal


class StopBetweenBatches:
    """Within it, the first Stop (Jupyter's button, Ctrl-C) waits for the next `check`; a second one interrupts at once.

    Outside the main thread Python delivers no signals; there it changes nothing. The worker processes of a DataLoader
    hear a Stop, too, and may be gone before the next `check`: what PyTorch then raises counts as the Stop that it is.

    >>> with StopBetweenBatches() as stop:
    ...     for batch in "ab":
    ...         stop.check()  # raises KeyboardInterrupt here, if at all
    """

    def __init__(self):
        self.requested = False
        self.lost_workers = False  # who would have brought the next batch
        self._before = None

    def __enter__(self):
        with contextlib.suppress(ValueError):  # not the main thread
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def check(self):
        """Between two batches: stop here if somebody asked for it. Raises KeyboardInterrupt."""
        if self.requested:
            raise KeyboardInterrupt

    def _note(self, *_):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, kind, error, trace):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        self.lost_workers = self.requested and isinstance(error, RuntimeError) and "DataLoader worker" in str(error)
        if self.lost_workers:
            raise KeyboardInterrupt from error
