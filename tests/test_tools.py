"""What the maintainers' tools share: a file that they change is changed whole or not at all."""

import pathlib
import sys

import cells
import exercise_cells
import nbformat
import pytest
import run_notebooks
import slides


@pytest.fixture
def path(tmp_path):
    """A notebook that each of the tools would change."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One\n\n# Two")])
    notebook.cells[0].metadata["nbgrader"] = {}
    path = tmp_path / "1_sums.ipynb"
    path.write_text(nbformat.writes(notebook, indent=4), "utf-8")
    return path


def run(path):
    run_notebooks.run(path)


def with_arguments(main):
    def call(path):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["tool", str(path)])
            main()

    return call


TOOLS = {
    "run_notebooks": run,
    "slides": with_arguments(slides.main),
    "exercise_cells": with_arguments(exercise_cells.main),
}


@pytest.fixture(params=TOOLS)
def change(request, monkeypatch):
    """A function that lets a tool change the notebook at a path; none of them starts a kernel here."""

    class Client:
        def __init__(self, notebook, **_):
            pass

        def execute(self):
            pass

    monkeypatch.setattr(run_notebooks.nbclient, "NotebookClient", Client)
    return TOOLS[request.param]


def test_each_tool_changes_the_file_and_leaves_nothing_beside_it(change, path):
    path.chmod(0o640)
    before = path.read_text("utf-8")
    change(path)
    assert path.read_text("utf-8") != before and cells.read(path)["cells"]
    assert list(path.parent.iterdir()) == [path] and path.stat().st_mode & 0o777 == 0o640


def test_a_disk_that_is_full_leaves_the_file_as_it_was(change, path, monkeypatch):
    def full(path, text, **_):
        path.write_bytes(text[:5].encode())
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        change(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_what_says_so_already_is_not_written_again(path):
    text, path = path.read_text("utf-8"), path.rename(path.with_name("same.ipynb"))
    before = path.stat().st_mtime_ns, path.stat().st_ino
    cells.write(path, text)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_new_file_is_written(tmp_path):
    cells.write(tmp_path / "new.ipynb", "{}\n")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["{}\n"]


def test_without_a_browser_the_readmes_picture_stays_and_one_sentence_says_why(monkeypatch):
    pytest.importorskip("playwright")
    import readme_picture

    monkeypatch.setattr(readme_picture.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"expected a browser on the PATH, chromium or .*: install Chromium or Chrome"):
        readme_picture.main()
