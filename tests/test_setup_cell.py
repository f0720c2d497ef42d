"""The first cell of every notebook: silent where the course is, and where it is not, the way to it or one sentence."""

import json
import pathlib
import re
import shutil

import pytest

COURSE = pathlib.Path(__file__).parent.parent
NOTEBOOK = "notebooks/1_reshape.ipynb"
# The course is installed in the environment of these tests; a lone notebook's environment does not know it.
ALONE = "import os, sys; sys.path = [p for p in sys.path if not os.path.isdir(os.path.join(p, 'lenet_utils'))]\n"
WHERE = "\nprint(lenet_utils.__file__)"


def setup_cell(course=COURSE):
    cells = json.loads((course / NOTEBOOK).read_text("utf-8"))["cells"]
    return "".join(next(cell for cell in cells if "setup" in cell["metadata"].get("tags", []))["source"])


@pytest.fixture
def run(python, tmp_path):
    """A function that runs a set-up cell in a folder without the course, and returns what it prints or raises."""

    def run(cell, environment=None, then=WHERE):
        caught = f"{ALONE}try:\n    exec({cell + then!r})\nexcept ModuleNotFoundError as error:\n    print('!', error)"
        return python(caught, PYTHONPATH="", **environment or {})

    return run


@pytest.mark.parametrize("folder", ["", "notebooks", "notebooks/zh/deeper"])
def test_silent_inside_the_course(run, tmp_path, folder):
    """Found by the folder alone: in JupyterLab, in VS Code, on Binder, and in a sub-folder of it.

    It comes before another course that is installed, and before one that was fetched some day.
    """
    copy, others = tmp_path / "copy", [tmp_path / "installed", tmp_path / "copy" / folder / "lenet-course"]
    (copy / folder).mkdir(parents=True)
    (copy / "lenet_utils").symlink_to(COURSE / "lenet_utils")
    for other in others:
        (other / "lenet_utils").mkdir(parents=True)
        (other / "lenet_utils" / "__init__.py").touch()
    inside = f"os.chdir({str(copy / folder)!r})\nsys.path.insert(0, {str(others[0])!r})\n"
    assert run(inside + setup_cell()) == str(copy / "lenet_utils" / "__init__.py")


def test_silent_where_it_is_installed(python):
    assert python(setup_cell() + WHERE) == str(COURSE / "lenet_utils" / "__init__.py")


def test_no_course_and_no_address(run):
    without, count = re.subn('COURSE, BRANCH = ".*?"', 'COURSE, BRANCH = ""', setup_cell())
    assert count == 1
    printed = run(without)
    assert printed.startswith("! lenet_utils was not found") and "inside a copy of the whole course" in printed
    assert len(printed.splitlines()) == 1


def test_fetches_the_course_once(run, hosted, tmp_path):
    checkout, address, environment = hosted
    fetched = tmp_path / "lenet-course" / "lenet_utils" / "__init__.py"
    assert run(setup_cell(checkout), environment) == f"fetching the course from {address}\n{fetched}"
    assert run(setup_cell(checkout), environment) == str(fetched)
    batches = "\nprint(*map(len, lenet_utils.load_data_fashion_mnist(256)))"
    assert run(setup_cell(checkout), environment, batches) == "235 40"  # the data came along


def test_fetches_the_branch_that_the_links_open(run, hosted, tmp_path):
    """A class may work on another than the one that goes on, on which there is no course here."""
    checkout, _, environment = hosted
    cell = setup_cell(checkout)
    assert '"autumn"' in cell and "No module named" in run(cell.replace('"autumn"', '"main"'), environment)
    shutil.rmtree(tmp_path / "lenet-course")
    assert run(cell, environment).endswith(str(tmp_path / "lenet-course" / "lenet_utils" / "__init__.py"))
    assert (tmp_path / "lenet-course" / ".git" / "shallow").read_text()  # not with all that ever was


def test_no_way_to_the_address(run, hosted, tmp_path):
    checkout, address, environment = hosted
    nowhere = {**environment, "GIT_CONFIG_KEY_0": f"url.{tmp_path}/nowhere.insteadOf"}
    printed = run(setup_cell(checkout), nowhere)
    assert printed.splitlines()[-1].startswith(f"! {address} could not be fetched")
    assert not (tmp_path / "lenet-course").exists()


def test_no_git(run, hosted, tmp_path):
    checkout, _, environment = hosted
    printed = run(setup_cell(checkout), {**environment, "PATH": str(tmp_path)})
    assert "could not be fetched" in printed and "git" in printed.splitlines()[-1]
