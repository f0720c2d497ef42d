"""What tests of servers share: free ports, the wait for an answer, and an end.

A server ends with its test, whatever state that leaves it in.
"""

import contextlib
import socket
import time

import psutil


def free_ports(count):
    """Ports that nobody uses at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait(server, log, answer):
    """What the function `answer` returns as soon as that is something; `log`, the file, says why it never will."""
    end = time.monotonic() + 120
    while not (found := answer()):
        assert server.poll() is None, log.read_text()
        if time.monotonic() > end:
            raise TimeoutError(log.read_text())
        time.sleep(0.1)
    return found


def end(server):
    """End the process `server` and all that it has started, by force what still runs after half a minute."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended itself, with a word in its log
        family = [server, *server.children(recursive=True)]
        server.terminate()
        psutil.wait_procs([server], timeout=30)  # it ends the others, as a rule
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
