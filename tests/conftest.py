"""Fixtures that several test files share."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import torch

import lenet_utils

PACKAGE = pathlib.Path(lenet_utils.__file__).parent

# The tensors are small, and on a busy machine OpenMP's threads wait for each other far longer than they work.
torch.set_num_threads(1)


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


def fresh_environment():
    """This process's environment, for a child that imports the same lenet_utils and writes no bytecode."""
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
