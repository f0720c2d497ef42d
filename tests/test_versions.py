"""The oldest Python and packages that pyproject.toml allows: what a learner does first runs with them.

`tools/versions.py` runs all tests there, and with the newest ones; this part of them runs before every landing.
"""

import shutil
import subprocess

import pytest
import versions

pytestmark = pytest.mark.environments

FIRST = [
    "lenet_utils",  # that all of it can be imported, and its examples
    *("notebooks/0_start_here.ipynb", "notebooks/1_reshape.ipynb", "notebooks/2_layer_shapes.ipynb"),
    *(f"tests/test_{name}.py" for name in ("data", "model", "train", "plot")),
    "tests/exercises",
]


def test_with_the_oldest_packages_networks_are_trained_curves_drawn_and_exercises_checked(tmp_path):
    if shutil.which("uv") is None:
        pytest.skip("uv, which makes the environment, is not installed")
    python = versions.make(tmp_path / "venv", "3.10", "oldest")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FIRST]
    done = subprocess.run(command, cwd=versions.COURSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
