"""Environments of their own, for the tests that need another one than theirs."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml
from packaging.requirements import Requirement

COURSE = pathlib.Path(__file__).parent.parent
GUIDE = (COURSE / "notebooks" / "README.md").read_text("utf-8")
ENVIRONMENT = yaml.safe_load((COURSE / "environment.yml").read_text("utf-8"))
ON_PYPI = {"pytorch": "torch", "matplotlib-base": "matplotlib"}  # what conda-forge calls otherwise


def requirements(lines):
    return {r.name: r.specifier for r in map(Requirement, lines)}


def conda_packages():
    """The packages of environment.yml, by PyPI's names, without Python and pip."""
    for line in ENVIRONMENT["dependencies"]:
        name = re.match(r"[\w-]+", line)[0]
        if name not in ("python", "pip"):
            yield ON_PYPI.get(name, name) + line.removeprefix(name)


def uv(*arguments):
    """What uv prints, e.g. for `uv("pip", "freeze")`; its own message where it fails."""
    program = shutil.which("uv")
    if program is None:
        pytest.skip("uv, which makes the environment, is not installed")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make(folder, *packages):
    """An environment such as Binder and the hubs make of environment.yml, and a copy of the course beside it."""
    uv("venv", "--quiet", "--seed", "--python", "3.12", folder / "venv")
    uv("pip", "install", "--quiet", "--python", folder / "venv" / "bin" / "python", *conda_packages(), *packages)
    kept = shutil.ignore_patterns(".git", ".venv", "__pycache__", "uv.lock", "screenshots")
    shutil.copytree(COURSE, folder / "course", ignore=kept)
    return folder


def variables(folder, **more):
    """The variables for a process in the environment in `folder`, which knows nothing of this one's packages."""
    path = f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return kept | {"PATH": path, "PYTHONPATH": ""} | more


def run(folder, *command, **more):
    """`command` in the course's copy in `folder`, by its environment."""
    return subprocess.run(command, cwd=folder / "course", env=variables(folder, **more), capture_output=True, text=True)
