"""Stopping a training run between two batches, not in the middle of a weight update."""

import contextlib
import os
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
        self._before = {}  # signal: who reacted to it
        self._process = os.getpid()

    def __enter__(self):
        self._watch("SIGINT", self._note)
        return self

    def _watch(self, name, react):
        """Let `react` be called at the signal `name`, unless it is to be ignored, as by a job in the background.

        A handler that is not Python's (None) could not be put back, so it stays.
        """
        number = getattr(signal, name, None)  # Windows has no SIGUSR1
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            with contextlib.suppress(ValueError):  # not the main thread
                self._before[number] = signal.signal(number, lambda *_: self._react(number, react))

    def _react(self, number, react):
        """`react`, but not in a process that was forked within it, as a worker may be: there all is as before."""
        if os.getpid() == self._process:
            react()
        else:
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)

    def check(self):
        """Between two batches: stop here if somebody asked for it. Raises KeyboardInterrupt."""
        if self.requested:
            raise KeyboardInterrupt

    def _note(self):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, kind, error, trace):
        for number, before in self._before.items():
            signal.signal(number, before)
        self.lost_workers = self.requested and isinstance(error, RuntimeError) and "DataLoader worker" in str(error)
        if self.lost_workers:
            raise KeyboardInterrupt from error
