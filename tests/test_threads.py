"""The CPU quota, read from folders that look like Linux's, and kept to by a fresh process."""

import math
import os

import pytest

from lenet_utils.support.threads import cpu_quota, share_of_cores


@pytest.fixture
def root(tmp_path):
    """A function that writes a machine's files, and returns the folder they lie in."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def v2(group, **maxima):
    """A cgroup v2 machine whose process is in `group`: the `cpu.max` of some groups, by path."""
    files = {f"sys/fs/cgroup{path}/cpu.max": text + "\n" for path, text in maxima.items()}
    return {"proc/self/cgroup": f"0::{group}\n", **files}


V2 = {
    "a whole number": (v2("/", **{"": "200000 100000"}), 2),
    "a fraction": (v2("/", **{"": "150000 100000"}), 1.5),
    "less than one": (v2("/", **{"": "25000 100000"}), 0.25),
    "another period": (v2("/", **{"": "30000 10000"}), 3),
    "no limit": (v2("/", **{"": "max 100000"}), math.inf),
    "in a group": (v2("/a/b", **{"/a/b": "200000 100000", "/a": "max 100000"}), 2),
    "the parent is tighter": (v2("/a/b", **{"/a/b": "400000 100000", "/a": "100000 100000"}), 1),
    "the parent is looser": (v2("/a/b", **{"/a/b": "100000 100000", "/a": "400000 100000"}), 1),
    "the grandparent is the only one": (v2("/a/b/c", **{"/a": "300000 100000", "/a/b/c": "max 100000"}), 3),
    "a group beside it does not count": (v2("/a/b", **{"/a/c": "100000 100000", "/a/b": "max 100000"}), math.inf),
    "the container sees its group as the root": (v2("/docker/123", **{"": "200000 100000"}), 2),
    "a group outside the container": (v2("/../other", **{"": "200000 100000"}), 2),
}
if os.name == "posix":  # Windows has no such folders
    V2["a colon in the name"] = (v2("/a:b", **{"/a:b": "200000 100000"}), 2)


@pytest.mark.parametrize(("files", "quota"), V2.values(), ids=V2)
def test_version_2(root, files, quota):
    assert cpu_quota(root(**files)) == quota


def test_processes_share_what_the_quota_allows(root, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    folder = root(**v2("/", **{"": "600000 100000"}))
    assert [share_of_cores(processes, folder) for processes in (1, 2, 4, 9)] == [6, 3, 1, 1]


def v1(group, quotas, folder="cpu,cpuacct", period="100000"):
    """A cgroup v1 machine, with a folder for each set of controllers and a v2 one without limits beside them."""
    lines = f"12:memory:/m\n4:cpuset:/\n3:cpu,cpuacct:{group}\n1:name=systemd:/x\n0::/y\n"
    files = {"proc/self/cgroup": lines}
    for path, quota in quotas.items():
        files[f"sys/fs/cgroup/{folder}{path}/cpu.cfs_quota_us"] = quota + "\n"
        files[f"sys/fs/cgroup/{folder}{path}/cpu.cfs_period_us"] = period + "\n"
    return files


V1 = {
    "a limit": (v1("/", {"": "200000"}), 2),
    "no limit": (v1("/", {"": "-1"}), math.inf),
    "in a group": (v1("/docker/123", {"/docker/123": "150000"}), 1.5),
    "the parent is tighter": (v1("/a/b", {"/a/b": "400000", "/a": "50000"}), 0.5),
    "the folder is called cpu": (v1("/a", {"/a": "300000"}, folder="cpu"), 3),
    "another controller's group": (v1("/a", {"/a": "300000", "/m": "100000"}, folder="cpu"), 3),
    "another period": (v1("/", {"": "30000"}, period="10000"), 3),
    "both versions at once": (v1("/", {"": "300000"}) | {"sys/fs/cgroup/unified/y/cpu.max": "100000 100000\n"}, 1),
}


@pytest.mark.parametrize(("files", "quota"), V1.values(), ids=V1)
def test_version_1(root, files, quota):
    assert cpu_quota(root(**files)) == quota


NONE = {
    "not Linux": {"etc/hosts": ""},
    "no groups": {"proc/self/cgroup": ""},
    "no files": {"proc/self/cgroup": "0::/\n"},
    "an empty file": v2("/", **{"": ""}),
    "words": v2("/", **{"": "two cores"}),
    "a period of 0": v2("/", **{"": "100000 0"}),
    "half a v1": {"proc/self/cgroup": "3:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n"},
}


@pytest.mark.parametrize("files", NONE.values(), ids=NONE)
def test_no_quota(root, files):
    assert cpu_quota(root(**files)) == math.inf


def test_this_machine_has_a_quota_or_none():
    assert cpu_quota() > 0


# A fresh process

FORGET = "import os; [os.environ.pop(name, None) for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')]\n"
KEEP_TO = """
import pathlib, torch, lenet_utils

for root in sorted(pathlib.Path("machines").iterdir()):
    torch.set_num_threads(4)
    lenet_utils.limit_threads(root)
    print(root.name, torch.get_num_threads())
"""


@pytest.fixture
def machines(root):
    """In the folder `machines` of the fresh process: one for each quota."""
    quotas = {
        "0.5": "50000",
        "1": "100000",
        "1.5": "150000",
        "2.9": "290000",
        "3": "300000",
        "9": "900000",
        "no": "max",
    }
    for name, quota in quotas.items():
        files = v2("/", **{"": f"{quota} 100000"})
        root(**{f"machines/{name}/{path}": text for path, text in files.items()})


def test_a_process_keeps_to_its_quota(python, machines):
    counts = dict(line.split() for line in python(FORGET + KEEP_TO).splitlines())
    assert counts == {"0.5": "1", "1": "1", "1.5": "1", "2.9": "2", "3": "3", "9": "4", "no": "4"}


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_that_the_user_chose_stays(python, machines, name):
    printed = python(FORGET + f"os.environ[{name!r}] = '4'\n" + KEEP_TO)
    assert {line.split()[1] for line in printed.splitlines()} == {"4"}


def test_importing_keeps_to_the_quota(python):
    printed = python(
        FORGET
        + """
import pathlib, torch

files = {"/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": "200000 100000"}

def read_text(path, *_, **__):
    if path.as_posix() not in files:
        raise FileNotFoundError(path)
    return files[path.as_posix()]

pathlib.Path.read_text = read_text
pathlib.Path.is_file = lambda path, *_, **__: path.as_posix() in files
torch.set_num_threads(4)
import lenet_utils
print(torch.get_num_threads())
"""
    )
    assert printed == "2"


def test_waiting_threads_sleep(python):
    """Before PyTorch is loaded, and only where the user has not chosen."""
    code = "import lenet_utils; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"
    forget_count = "import os; os.environ.pop('GOMP_SPINCOUNT', None); "
    forget = "import os; os.environ.pop('OMP_WAIT_POLICY', None); "
    assert python(forget_count + code, OMP_WAIT_POLICY="") == "None"
    assert python(forget_count + code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE None"
    assert python(forget_count + forget + code) == "PASSIVE 4000"
    assert python(forget + code, GOMP_SPINCOUNT="7") == "PASSIVE 7"
    assert python(forget_count + forget + "import torch; " + code) == "None None"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_forked_processes_train_where_this_one_has_computed(python):
    """On Linux, Python before 3.14 forks its pools; OpenMP's threads would be missing there, and be waited for."""
    code = """
import concurrent.futures, multiprocessing, sys, torch
import lenet_utils as d2l

assert torch.get_num_threads() == 2
train_iter, test_iter = d2l.load_data_fashion_mnist(256)
train_iter, test_iter = list(train_iter)[:3], list(test_iter)[:1]
d2l.layer_table(d2l.lenet()), d2l.evaluate_accuracy_gpu(d2l.lenet(), test_iter)

def fit(lr):
    d2l.train_ch6(d2l.lenet(), train_iter, test_iter, 1, lr, d2l.try_gpu(), animator=False)
    return torch.get_num_threads()

with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
    try:
        print(*pool.map(fit, (0.1, 0.9), timeout=60))
    except concurrent.futures.TimeoutError:
        for process in pool._processes.values():
            process.kill()
        raise
print(torch.get_num_threads())
"""
    assert python(code, OMP_NUM_THREADS="2", LENET_DEVICE="cpu").splitlines()[-2:] == ["1 1", "2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_on_arm_they_compute_without_onednn(python):
    """There it holds on to the number of threads with which it began, and the forked process would wait for ever."""
    code = """
import os, platform, torch
platform.machine = lambda: "aarch64"
import lenet_utils

if os.fork() == 0:
    print(torch.get_num_threads(), torch.backends.mkldnn.enabled, flush=True)
    os._exit(0)
os.wait()
print(torch.backends.mkldnn.enabled)
"""
    assert python(code).splitlines() == ["1 False", "True"]


@pytest.fixture
def one_core(benchmark):
    """The file to write a process's number to, so that it may use one CPU: of a real control group, made here."""
    try:
        group = benchmark("quota").group()
    except SystemExit as reason:
        pytest.skip(str(reason))
    yield group / "cgroup.procs"
    group.rmdir()


def test_a_real_quota_of_one_core(one_core, python):
    """On however many cores: one thread, as PyTorch would have taken one for each core that it sees."""
    join = f"import os, pathlib; pathlib.Path({str(one_core)!r}).write_text(str(os.getpid())); "
    code = "import lenet_utils, torch, lenet_utils.support.threads as t; print(t.cpu_quota(), torch.get_num_threads())"
    assert python(join + "os.environ.pop('OMP_NUM_THREADS', None); " + code) == "1.0 1"
