"""The servers that tests start: each ends with its test, whatever state the test leaves it in."""

import contextlib

import psutil


def end(server, patience=30):
    """End the process `server` and all that it has started, by force what still runs after `patience` seconds."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended itself, with a word in its log
        family = [server, *server.children(recursive=True)]
        server.terminate()
        psutil.wait_procs([server], timeout=patience)  # it ends the others, as a rule
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
