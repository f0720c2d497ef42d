"""Colab, as near as it comes without Google: its versions of everything, and of the course one notebook file.

The set-up cell fetches the rest, from a checkout on this machine that stands in for the hosted course.
"""

import json
import os
import pathlib
import shutil
import subprocess

import nbclient
import nbformat
import pytest
from environments import uv

pytestmark = pytest.mark.environments

NOTEBOOKS = sorted((pathlib.Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
# Colab's own list, of which torch and torchvision bring most of the rest.
PREINSTALLED = [
    *("ipython==7.34.0", "ipykernel==6.17.1", "ipywidgets==7.7.1", "jupyter-client==7.4.9"),
    *("torch==2.11.0", "torchvision==0.26.0", "numpy==2.1.*", "matplotlib==3.10.*"),
    *("pandas==2.2.*", "scipy==1.16.*", "safetensors", "requests", "pillow"),
]


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """The Python of an environment with Colab's versions."""
    folder = tmp_path_factory.mktemp("colab")
    uv("venv", "--quiet", "--python", "3.13", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", python, *PREINSTALLED)
    spec = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    kernel = folder / "kernels" / "colab" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(spec | {"display_name": "Colab"}))
    return python


def frozen(python):
    return uv("pip", "freeze", "--quiet", "--python", python)


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_a_notebook_alone_runs_to_its_end(colab, hosted, tmp_path, monkeypatch, name):
    checkout, address, environment = hosted
    monkeypatch.setenv("JUPYTER_PATH", str(colab.parents[2]))
    shutil.copy(checkout / "notebooks" / name, tmp_path)
    before = frozen(colab)
    notebook = nbformat.read(tmp_path / name, as_version=4)
    saved = [len(pictures(cell)) for cell in notebook.cells]

    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="colab", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=os.environ | environment | {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"})

    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert printed.startswith(f"fetching the course from {address}\n")
    assert [len(pictures(cell)) for cell in notebook.cells] == saved
    assert not any(output.get("name") == "stderr" for cell in notebook.cells for output in cell.get("outputs", []))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "lenet-course"])
    assert frozen(colab) == before


def pictures(cell):
    """The cell's pictures, each with its description in the HTML."""
    found = [output.data for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    assert all(' alt="' in data.get("text/html", "") for data in found)
    return found


def test_the_environment_is_colabs(colab):
    """The versions asked for are those that came: IPython 7 in Python 3.13 is an unusual pair."""
    code = "import sys, IPython, ipykernel, torch; print(sys.version_info[:2], IPython.__version__, torch.__version__)"
    printed = subprocess.run([colab, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("(3, 13) 7.34.0 2.11.0")
