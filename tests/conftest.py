"""Fixtures that several test files share."""

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

# Two workers share the cores: what each of them starts, notebooks too, trains on one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # before PyTorch is loaded

import torch

import lenet_utils
from lenet_utils import train

PACKAGE = pathlib.Path(lenet_utils.__file__).parent
COURSE = pathlib.Path(__file__).parent.parent

# The tensors are small, and on a busy machine OpenMP's threads wait for each other far longer than they work.
torch.set_num_threads(1)


# A shell starts jobs in the background deaf to Ctrl-C. Many tests press it; they and all that they start shall hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header():
    return f"lenet_utils under test: {lenet_utils.__file__}"


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def book():
    """d2l 1.0.3's own module: the oracle."""
    from d2l import torch as module

    return module


class Clock:
    """In the place of the module `time`: it stands still, but for the seconds that `slow` batches take."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def slow(self, batches, seconds):
        clock = self

        class Slow(list):
            def __iter__(self):
                for batch in super().__iter__():
                    clock.now += seconds
                    yield batch

        return Slow(batches)


@pytest.fixture
def clock(monkeypatch):
    """What the training's timers read."""
    monkeypatch.setattr(train, "time", Clock())
    return train.time


@pytest.fixture
def python(tmp_path):
    """A function that runs code in a fresh Python process, in an empty folder, and returns what it printed."""

    def run(code, **environment):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=fresh_environment() | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def benchmark(monkeypatch):
    """A function that loads a script of `benchmarks/` by its name, as a module."""

    def load(name):
        monkeypatch.syspath_prepend(COURSE / "benchmarks")
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", COURSE / "benchmarks" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for script in COURSE.glob("benchmarks/*.py"):  # `machine`, and whatever else it imports from there
            sys.modules.pop(script.stem, None)
        return module

    return load


@pytest.fixture(scope="session")
def browser():
    """This machine's own Chromium or Chrome, without a window."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium or Chrome on this machine's PATH")
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=quiet, chromium_sandbox=False)
        yield started
        started.close()


@pytest.fixture(scope="session")
def hosted(tmp_path_factory):
    """A checkout that says where it is hosted; that address; and an environment whose git takes it for the checkout.

    The course is on the branch `autumn` only, and the branch that git takes unless told otherwise is empty.
    """
    address = "https://github.com/somebody/lenet-course"
    # Whoever starts the tests from a hook of git's, or signs all commits, shall notice nothing.
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ours |= {"GIT_CONFIG_GLOBAL": os.devnull}
    listed = subprocess.run(
        ["git", "-C", COURSE, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        env=ours,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip(f"this copy of the course is not a git repository: {listed.stderr.strip()}")
    checkout = tmp_path_factory.mktemp("hosted")
    for name in filter(None, listed.stdout.split("\0")):
        if (COURSE / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(COURSE / name, checkout / name)
    repository = address.removeprefix("https://github.com/")
    links = [sys.executable, "tools/launch_links.py", repository, "--branch=autumn"]
    subprocess.run(links, cwd=checkout, check=True)
    commit = ["-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "-q", "-m"]
    nothing = [["init", "-q"], [*commit, "nothing", "--allow-empty"], ["branch", "-M", "main"]]
    course = [["checkout", "-q", "-b", "autumn"], ["add", "-A"], [*commit, "the course"]]
    for command in (*nothing, *course, ["symbolic-ref", "HEAD", "refs/heads/main"]):
        subprocess.run(["git", *command], cwd=checkout, check=True, env=ours)
    instead = {"GIT_CONFIG_KEY_0": f"url.{checkout.as_uri()}.insteadOf", "GIT_CONFIG_VALUE_0": address}
    return checkout, address, {"GIT_CONFIG_COUNT": "1", "GIT_TERMINAL_PROMPT": "0", **instead}


def fresh_environment():
    """This process's environment, for a child that imports the same lenet_utils and writes no bytecode."""
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
