"""Starting `torchrun` from a notebook: a program beside it, of which nothing is left when the cell ends."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from ..support.threads import share_of_cores


class Torchrun:
    """`torchrun` with `processes` of `lenet_utils.parallel`, as a program beside this one; iterate over what it prints.

    `arguments` are those of that module. On leaving `with`, for whatever reason, none of its processes is left.

    >>> with Torchrun(2, "--epochs=1", max_restarts=3) as lines:  # doctest: +SKIP
    ...     for line in lines:
    ...         print(line)
    """

    def __init__(self, processes, *arguments, max_restarts=0, module="lenet_utils.parallel", **environment):
        self.command = [
            sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}",
            f"--max-restarts={max_restarts}", "--monitor-interval=0.2",
            # Not --standalone: it asks the network for this machine's name, which an unplugged one may not know. And
            # by default torchrun meets at a port of this machine, and runs what anybody who reaches that has put there.
            "--rdzv-backend=c10d", "--rdzv-conf=store_type=file", "--local-addr=127.0.0.1",
        ]  # fmt: skip
        self.program = ["--module", module, "--tied", *map(str, arguments)]
        folders = [str(folder) for folder in sys.path if folder]
        threads = str(share_of_cores(processes))
        self.environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(folders)}
        self.environment |= environment

    def __enter__(self):
        if os.name != "posix":
            raise NotImplementedError(
                "torchrun cannot share work between processes on Windows, where PyTorch lacks the store (libuv) that "
                "it asks for: use the Windows Subsystem for Linux, or read on without running this"
            )
        self.folder = tempfile.TemporaryDirectory()  # nobody else may look into it
        command = [*self.command, f"--rdzv-endpoint={self.folder.name}/meeting", *self.program]
        self.running = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        return self

    def __iter__(self):
        for line in self.running.stdout:
            # torchrun's own lines begin with a letter, the time, and a place in its source.
            yield re.sub(r"^[IWE]\d{4} [\d:.]+ \d+ \S+\] (.*?)( of binary: .*)?$", r"torchrun: \1", line.rstrip("\n"))
        self.running.wait()

    def wait_until(self, condition):
        """Wait until `condition()` holds. Raises RuntimeError where the training is over first."""
        while not condition():
            if self.running.poll() is not None:
                raise RuntimeError("the training was over too early: begin again in a fresh folder, with more to do")
            time.sleep(0.01)

    def workers(self):
        """The process ids of the training processes that are running now."""
        return sorted(pid for pid, parent in processes_and_parents() if parent == self.running.pid)

    def __exit__(self, *_):
        """The processes may save, and end; whoever has not after 15 seconds is ended."""
        workers = []
        try:
            workers = self.workers()
            if self.running.poll() is None:
                self.running.terminate()  # torchrun hands it on to its workers
                self.running.wait(15)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also when Stop is pressed again
            self.running.stdin.close()  # to each worker the sign to end at once, with or without torchrun
            self.running.kill()
            for worker in workers:  # and those that hang
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            self.running.stdout.close()
            self.running.wait()
            self.folder.cleanup()


def processes_and_parents():
    """`(process id, its parent's)` of everything that runs: from /proc on Linux, where `ps` may be missing."""
    if os.path.exists("/proc/self/stat"):
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                # After the name, which may be cut in the middle of a letter.
                yield int(stat.parent.name), int(stat.read_bytes().rpartition(b")")[2].split()[1])
    else:
        listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, check=True).stdout
        yield from (tuple(map(int, line.split())) for line in listed.splitlines())
