"""The address of the hosted course: the same in the README and in every notebook, or in none of them."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import launch_links
import pytest

COURSE = pathlib.Path(__file__).parent.parent
NOWHERE = ("", "main")
BADGES = re.compile(r"\[!\[(Open \w+ \w+)\]\([^)]*\)\]\(([^)]*)\)")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the files that carry links, without links, and one notebook in a sub-folder."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # in a hook of git's they would lead to the repository that it runs in
    notebooks = shutil.ignore_patterns(".ipynb_checkpoints")
    shutil.copytree(COURSE / "notebooks", tmp_path / "notebooks", ignore=notebooks)
    shutil.copy(COURSE / "README.md", tmp_path)
    (tmp_path / "notebooks" / "deeper").mkdir()
    shutil.copy(COURSE / "notebooks" / "1_reshape.ipynb", tmp_path / "notebooks" / "deeper")
    launch_links.main(["--remove"], tmp_path)
    return tmp_path


def test_one_protected_file_and_none_is_written(tmp_path, monkeypatch):
    texts = {tmp_path / name: "new" for name in "ab"}
    for path in texts:
        path.write_text("old")
    monkeypatch.setattr(launch_links.os, "access", lambda path, mode: path != tmp_path / "b")
    with pytest.raises(launch_links.Unwritten, match=r"cannot write to .*b: nothing was written"):
        launch_links.write_all(texts)
    assert [path.read_text() for path in texts] == ["old", "old"]


def files(folder):
    paths = [folder / "README.md", *sorted((folder / "notebooks").rglob("*.ipynb"))]
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in paths}


def prose(name, text):
    return text if name.endswith(".md") else "".join(json.loads(text)["cells"][0]["source"])


def links(name, text):
    return dict(BADGES.findall(prose(name, text)))


def addresses(texts):
    """Every address and branch in a set-up cell."""
    cells = [cell for name, text in texts.items() if name.endswith(".ipynb") for cell in json.loads(text)["cells"]]
    written = re.compile(r'^COURSE, BRANCH = "(.*?)", "(.*?)"', re.MULTILINE)
    return {found for cell in cells for found in written.findall("".join(cell["source"]))}


def test_this_copy_says_the_same_everywhere():
    """Whatever was written last: writing it again would change no file."""
    texts = files(COURSE)
    ((address, branch),) = addresses(texts)
    repository = address.removeprefix("https://github.com/") or None
    for path, text in launch_links.linked(COURSE, repository, branch).items():
        assert path.read_text("utf-8") == text, path


def test_without_an_address_there_are_no_badges(copy):
    texts = files(copy)
    assert addresses(texts) == {NOWHERE}
    assert not any(links(name, text) for name, text in texts.items())


def test_written_and_taken_out_again(copy, capsys):
    before = files(copy)
    launch_links.main(["somebody/lenet-course"], copy)
    assert addresses(files(copy)) == {("https://github.com/somebody/lenet-course", "main")}
    for name, text in files(copy).items():
        path = "notebooks/0_start_here.ipynb" if name == "README.md" else name
        assert links(name, text) == {
            "Open in Colab": f"https://colab.research.google.com/github/somebody/lenet-course/blob/main/{path}",
            "Open on Binder": "https://mybinder.org/v2/gh/somebody/lenet-course/main?labpath="
            + path.replace("/", "%2F"),
        }
        assert (copy / path).exists()
    launch_links.main(["somebody/lenet-course", "--branch=autumn"], copy)
    launch_links.main(["--remove", "--branch=autumn"], copy)
    assert files(copy) == before


def test_twice_is_once(copy, capsys):
    launch_links.main(["somebody/lenet-course"], copy)
    once = files(copy)
    launch_links.main(["somebody/lenet-course"], copy)
    assert files(copy) == once
    assert capsys.readouterr().out.endswith(" 0 of them changed\n")


def test_another_place_and_branch_take_over(copy):
    launch_links.main(["somebody/lenet-course"], copy)
    launch_links.main(["other/name", "--branch", "autumn/2026"], copy)
    assert addresses(files(copy)) == {("https://github.com/other/name", "autumn/2026")}
    for name, text in files(copy).items():
        assert "somebody/" not in text
        assert "/gh/other/name/autumn%2F2026?" in links(name, text)["Open on Binder"]
        assert "/other/name/blob/autumn/2026/notebooks/" in links(name, text)["Open in Colab"]


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/some-body/le.net",
        "https://github.com/some-body/le.net.git",
        "git@github.com:some-body/le.net.git",
        "ssh://git@github.com/some-body/le.net.git",
        "https://some-body@github.com/some-body/le.net/",
    ],
)
def test_the_default_is_origin(copy, url):
    subprocess.run(["git", "init", "-q", copy], check=True)
    subprocess.run(["git", "-C", copy, "remote", "add", "origin", url], check=True)
    launch_links.main([], copy)
    assert addresses(files(copy)) == {("https://github.com/some-body/le.net", "main")}


@pytest.mark.parametrize(
    "url",
    [
        None,
        "https://example.org/some/where.git",
        "/a/folder",
        "https://notgithub.com/a/b",
        "git@mygithub.com:a/b.git",
        "https://evil.example/github.com/a/b",
    ],
)
def test_no_origin_on_github(copy, url):
    subprocess.run(["git", "init", "-q", copy], check=True)
    if url:
        subprocess.run(["git", "-C", copy, "remote", "add", "origin", url], check=True)
    before = files(copy)
    with pytest.raises(SystemExit, match="give OWNER/NAME"):
        launch_links.main([], copy)
    assert files(copy) == before


@pytest.mark.parametrize(
    "wrong",
    ["somebody", "a/b/c", "some body/x", "-x/y", "a/..", 'a/b"; rm', "https://github.com/a/b", "a--b/c", "a/b\n", ""],
)
def test_a_name_that_cannot_be(copy, wrong):
    before = files(copy)
    with pytest.raises(SystemExit, match="expected OWNER/NAME"):
        launch_links.main(["--", wrong], copy)
    assert files(copy) == before


@pytest.mark.parametrize("wrong", ["", "a b", "../x", "a..b", 'x"y'])
def test_a_branch_that_cannot_be(copy, wrong):
    with pytest.raises(SystemExit, match="branch"):
        launch_links.main(["a/b", f"--branch={wrong}"], copy)
    assert addresses(files(copy)) == {NOWHERE}


def no_readme_spot(copy):
    path = copy / "README.md"
    path.write_text(path.read_text("utf-8").replace("<!-- launch links -->", ""), "utf-8")
    return path


def no_set_up_cell(copy):
    path = copy / "notebooks" / "deeper" / "1_reshape.ipynb"
    path.write_text(path.read_text("utf-8").replace('"setup"', '"other"'), "utf-8")
    return path


def no_title(copy):
    path = copy / "notebooks" / "3_train_on_gpu.ipynb"
    path.write_text(path.read_text("utf-8").replace('"# ', '"', 1), "utf-8")
    return path


@pytest.mark.parametrize("spoil", [no_readme_spot, no_set_up_cell, no_title])
def test_all_or_nothing(copy, spoil):
    path = spoil(copy)
    before = files(copy)
    with pytest.raises(SystemExit, match="nothing was written") as stopped:
        launch_links.main(["a/b"], copy)
    assert path.name in str(stopped.value)
    assert files(copy) == before
    assert not list(copy.glob(".links-*"))


def test_a_disk_that_is_full(copy, monkeypatch):
    before = files(copy)
    write = pathlib.Path.write_text

    def full_after_two(path, *arguments, **keywords):
        if path.name == "2":
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **keywords)

    monkeypatch.setattr(pathlib.Path, "write_text", full_after_two)
    with pytest.raises(SystemExit, match="No space left"):
        launch_links.main(["a/b"], copy)
    assert files(copy) == before
