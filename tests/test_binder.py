"""Binder: what repo2docker makes of this repository, and whether postBuild does its work in a clean environment."""

import ast
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import environments
import pytest
from environments import ENVIRONMENT, GUIDE, ON_PYPI, conda_packages, requirements, uv
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings along on Python 3.10

COURSE = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((COURSE / "pyproject.toml").read_text("utf-8"))
# packages whose module has another name
MODULES = {"pillow": "PIL", "ipython": "IPython", "markdown-it-py": "markdown_it"}
RUNTIME = requirements(PROJECT["project"]["dependencies"])
DEVELOPMENT = requirements(PROJECT["dependency-groups"]["dev"])
D2L = requirements(PROJECT["tool"]["uv"]["dependency-metadata"][0]["requires-dist"])


# What packages that pyproject.toml names need in all their versions, so that it need not be named.
BROUGHT_ALONG = {
    *("jupyter_client", "nbclient", "nbformat", "websocket", "yaml"),  # by JupyterLab
    *("packaging", "tomli"),  # by pytest
    "tomllib",  # by Python from 3.11 on
    "triton",  # by PyTorch for NVIDIA's GPUs, and nothing else asks for it
}


def modules(code):
    """The top-level modules that `code` imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def imported(notebook):
    """The top-level modules that a notebook's cells import."""
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            yield from modules("\n".join(line for line in lines if not line.startswith(("%", "!"))))


def test_conda_installs_what_pip_would():
    conda = requirements(conda_packages())
    for name, specifier in RUNTIME.items():
        assert conda.get(name) == specifier, name


def test_conda_installs_nothing_that_nobody_asked_for():
    for name, specifier in requirements(conda_packages()).items():
        wanted = RUNTIME.get(name, DEVELOPMENT.get(name, D2L.get(name)))
        assert wanted == specifier, name


def test_conda_is_asked_for_what_it_knows():
    """There is no torch on conda-forge, and its matplotlib brings Qt along."""
    names = {re.match(r"[\w-]+", line)[0] for line in ENVIRONMENT["dependencies"]}
    assert ENVIRONMENT["channels"] == ["conda-forge"] and not names & set(ON_PYPI.values())
    assert f"\nconda activate {ENVIRONMENT['name']}\n" in (COURSE / "README.md").read_text("utf-8")


def test_d2l_finds_there_what_it_imports():
    """postBuild installs it without its dependencies."""
    there = set(requirements(conda_packages())) | {"ipython", "matplotlib-inline", "pillow"}  # come with the others
    assert set(D2L) <= there
    assert f"d2l{DEVELOPMENT['d2l']}" in (COURSE / "postBuild").read_text("utf-8")


def test_python_is_one_that_the_project_allows():
    (python,) = [line for line in ENVIRONMENT["dependencies"] if line.startswith("python")]
    version = re.fullmatch(r"python=(\d+\.\d+)", python)[1]  # one `=`: the only form that repo2docker reads
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])


def test_nothing_forces_a_rebuild_on_every_commit():
    """Binder keeps its image of the environment as long as environment.yml names no file of the repository."""
    assert all(isinstance(line, str) for line in ENVIRONMENT["dependencies"])  # no list for pip, no `-e .`
    others = {"requirements.txt", "setup.py", "apt.txt", "start", "Dockerfile", "binder", ".binder"}
    assert not others & {path.name for path in COURSE.iterdir()}


@pytest.mark.parametrize("path", sorted((COURSE / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_import_what_is_installed(path):
    installed = {MODULES.get(name, name) for name in [*requirements(conda_packages()), *MODULES]}
    known = installed | sys.stdlib_module_names | {"lenet_utils", "d2l"}
    assert set(imported(path)) <= known


def test_programs_import_what_is_installed():
    """Not only here, where some other package may happen to bring it along: its older versions need not."""
    files = [path for folder in ("benchmarks", "tests", "tools") for path in (COURSE / folder).rglob("*.py")]
    files = [path for path in files if path.parent.name != "frameworks"]  # which are left out where they are missing
    ours = {"lenet_utils"} | {name for path in files for name in (path.stem, path.parent.name)}
    named = {MODULES.get(name, name) for name in [*RUNTIME, *DEVELOPMENT, *D2L]}
    used = {name for path in files for name in modules(path.read_text("utf-8"))}
    assert used - sys.stdlib_module_names - ours <= named | BROUGHT_ALONG


# What needs a package registry


@pytest.mark.environments
def test_repo2docker_takes_conda_with_our_python():
    if shutil.which("uv") is None:
        pytest.skip("uv, which fetches repo2docker, is not installed")
    command = ["uv", "tool", "run", "--from", "jupyter-repo2docker", "repo2docker", "--no-build", "--debug"]
    for_hub = re.search(r"^repo2docker --no-run --push (.+) \.$", GUIDE, re.MULTILINE)[1]
    command += [*for_hub.replace("YOUR-REGISTRY", "registry").split(), COURSE]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    version = re.search(r"python=(\d+\.\d+)", (COURSE / "environment.yml").read_text("utf-8"))[1]
    assert f"Building conda environment for python={version}" in said
    assert "RUN ./postBuild" in said
    # The environment is made before the repository is copied in, so a commit does not make it anew.
    assert said.index('--file "environment.yml"') < said.index("RUN ./postBuild")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """An environment with the packages of environment.yml and no course, and a copy of the course's own files."""
    return environments.make(tmp_path_factory.mktemp("binder"))


def frozen(folder):
    return set(uv("pip", "freeze", "--quiet", "--python", folder / "venv" / "bin" / "python").splitlines())


@pytest.mark.environments
def test_post_build_in_a_clean_environment(clean):
    before = frozen(clean)
    done = environments.run(clean, "./postBuild")
    assert done.returncode == 0, done.stdout + done.stderr
    added = {re.split(r"==| @ ", line)[0].removeprefix("-e ") for line in frozen(clean) - before}
    assert frozen(clean) >= before  # nothing changed its version
    assert {name for name in added if "/" not in name} <= {"d2l", "lenet-utils"} and len(added) == 2
    used = "import lenet_utils, d2l.torch; print(sum(p.numel() for p in lenet_utils.lenet().parameters()))"
    assert environments.run(clean, "python", "-W", "ignore", "-c", used).stdout == "61706\n"
    assert environments.run(clean, "jupyter", "lab", "--version").returncode == 0


@pytest.mark.environments
def test_post_build_stops_at_the_first_failure(clean, tmp_path):
    """With `set -e`: otherwise Binder would show a course that is half there."""
    broken = tmp_path / "python"
    broken.write_text('#!/bin/sh\necho "$@"; exit 3\n')
    broken.chmod(0o755)
    done = environments.run(clean, "./postBuild", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 3 and len(done.stdout.splitlines()) == 1
