"""PyTorch's threads: no more than the machine gives this process, and quiet while they wait.

A process that is allowed one core's worth of time on a machine with 64 cores, and starts 64 threads,
spends most of that time throttled. PyTorch looks at the cores only, so the course looks at the quota.
And where many processes share the cores, as in a class, threads that wait by spinning take the time of those that work.
"""

import math
import os
import pathlib
import platform
import sys


def cpu_quota(root="/"):
    """CPUs' worth of time that the control groups of this process allow, e.g. 1.5; infinity without a quota.

    Reads `cpu.max` (cgroup v2) or `cpu.cfs_quota_us` (v1) of the process's group and of every group above it,
    since the tightest one counts. `root` is for tests: the folder that `proc` and `sys` lie in.
    """
    try:
        lines = pathlib.Path(root, "proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:  # not Linux
        return math.inf
    mount = pathlib.Path(root, "sys/fs/cgroup")
    return min((group_quota(group) for line in lines for group in cpu_groups(mount, line)), default=math.inf)


def cpu_groups(mount, line):
    """The folders of the group that a line of /proc/self/cgroup names, and of all above it; none if not about CPUs."""
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return
    # "" is v2; v1 has a folder for each set of controllers. A container may see its own group as the root.
    for top in [mount / "cpu", mount / controllers] if controllers else [mount, mount / "unified"]:
        group = top / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def group_quota(group):
    """The quota of one control group's folder, in CPUs."""
    try:
        if (group / "cpu.max").is_file():
            allowed, period = (group / "cpu.max").read_text("ascii").split()
        else:
            allowed = (group / "cpu.cfs_quota_us").read_text("ascii").strip()
            period = (group / "cpu.cfs_period_us").read_text("ascii").strip()
        return math.inf if allowed in ("max", "-1") else int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def wait_asleep():
    """Let threads that wait for work sleep soon, unless the user chose otherwise. Too late once PyTorch is loaded.

    By default they spin for milliseconds, each on a core of its own. Beside one busy process on two cores, that
    made a training run 13 to 18 times slower. Going to sleep at once has its price, too: a thread has to be
    woken for every operation. To look some thousand times first bridges most of the short gaps, and costs a training
    beside a busy process about a sixth of its speed: `benchmarks/waiting.py` measures it.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "4000")  # GCC's OpenMP, the one in PyTorch's wheels for Linux


def limit_threads(root="/"):
    """Lower PyTorch's number of threads to the CPU quota; a number that the user chose stays."""
    import torch  # not above: wait_asleep has to come before it

    if "OMP_NUM_THREADS" in os.environ or "MKL_NUM_THREADS" in os.environ:
        return
    quota = cpu_quota(root)
    if quota < torch.get_num_threads():
        torch.set_num_threads(max(1, math.floor(quota)))


def one_thread_in_forks():
    """Let a process that is forked off this one compute with one thread, as the workers of a DataLoader do.

    With as many as here it would wait for ever, where GCC's OpenMP has computed here already: its threads are not
    forked along.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
        os.register_at_fork(after_in_child=compute_alone)


def compute_alone():
    import torch

    torch.set_num_threads(1)
    if platform.machine() == "aarch64":  # Linux on ARM: oneDNN keeps to the number that its first convolution found
        torch.backends.mkldnn.enabled = False


def share_of_cores(processes, root="/"):
    """Threads for each of `processes` that share this machine's cores, or what the quota allows of them; at least 1.

    `torchrun` gives each process one thread, whatever the machine has. Threads in excess of the cores only wait.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(cores, cpu_quota(root)) / processes))
