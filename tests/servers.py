"""What tests of servers share: free ports, and an end with the test, whatever state the test leaves a server in."""

import contextlib
import socket

import psutil


def free_ports(count):
    """Ports that nobody uses at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


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
