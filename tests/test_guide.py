"""The teacher's guide and the README: their numbers are the measured ones, and every notebook is in them."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import torch
from PIL import Image

import lenet_utils as d2l
from lenet_utils.data import read_split

COURSE = pathlib.Path(__file__).parent.parent
GUIDE = (COURSE / "notebooks" / "README.md").read_text("utf-8")
README = (COURSE / "README.md").read_text("utf-8")
BENCHMARKS = (COURSE / "benchmarks" / "README.md").read_text("utf-8")
CONTRIBUTING = (COURSE / "CONTRIBUTING.md").read_text("utf-8")
RESULTS = COURSE / "benchmarks" / "results"
NOTEBOOKS = sorted(path.stem for path in (COURSE / "notebooks").glob("*.ipynb"))
TEXTS = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "notebooks/README.md"]
GIGABYTE = 1000  # in MB; Binder guarantees one


@pytest.mark.parametrize(("name", "mark"), [("notebooks", "measured"), ("classroom", "class")])
def test_the_guide_has_the_measured_numbers(benchmark, name, mark):
    results = json.loads((RESULTS / f"{name}.json").read_text())
    written = GUIDE.split(f"<!-- {mark} -->\n")[1].split(f"\n<!-- end of {mark} -->")[0]
    assert written == benchmark(name).table(results)


@pytest.mark.parametrize("name", ["frameworks", "growth", "memory", "scaling", "gpu"])
def test_the_benchmarks_page_has_the_measured_numbers(benchmark, name):
    if not (RESULTS / f"{name}.json").exists():
        pytest.skip(f"{name}.json: not measured yet")
    results = json.loads((RESULTS / f"{name}.json").read_text())
    written = BENCHMARKS.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- end of {name} -->")[0]
    assert written == benchmark(name).table(results)


def test_the_table_of_growth_is_that_of_the_machine_that_measured(benchmark, monkeypatch):
    """However many cores this one has."""
    growth = benchmark("growth")
    results = json.loads((RESULTS / "growth.json").read_text())
    written = growth.table(results)
    monkeypatch.setitem(growth.USUAL, "cores", 16)
    assert growth.table(results) == written


def test_every_notebook_was_measured_and_fits_binder():
    runs = json.loads((RESULTS / "notebooks.json").read_text())["runs"]
    assert [run["notebook"] for run in runs] == NOTEBOOKS
    assert all(run["peak_mb"] < GIGABYTE for run in runs)
    assert all(run["together_mb"] < 2 * GIGABYTE for run in runs)  # all processes, with pip's PyTorch; Binder's is half
    assert sum(run["cpu_seconds"] for run in runs) < 30 * 60


def test_own_pictures_are_learned_as_the_guide_says(tmp_path, monkeypatch, capsys):
    """300 enlarged pictures of three kinds, in colour, as somebody might bring them."""
    images, labels = read_split("train")
    for kind in (0, 5, 8):
        (tmp_path / "my_pictures" / str(kind)).mkdir(parents=True)
        for i, image in enumerate(images[labels == kind][:100]):
            picture = Image.fromarray(image.numpy()).convert("RGB").resize((64, 64))
            picture.save(tmp_path / "my_pictures" / str(kind) / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "my_pictures" in code]
    names = {}
    torch.manual_seed(0)
    exec(code.replace("d2l.explore", "page = d2l.explore"), names)
    assert d2l.evaluate_accuracy_gpu(names["net"], [(names["X"], names["y"])]) > 0.8
    assert '"names": ["0", "5", "8"]' in names["page"].html and "training on" in capsys.readouterr().out


def test_the_readme_has_the_measured_times():
    seconds = {run["notebook"]: run["seconds"] for run in json.loads((RESULTS / "notebooks.json").read_text())["runs"]}
    rows = re.findall(r"^\| \[.*?\]\(notebooks/(\w+)\.ipynb\) \|.*\| (\d+) s \|$", README, re.MULTILINE)
    assert rows == [(name, f"{seconds[name]:.0f}") for name in NOTEBOOKS]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_guide_speaks_of_each_notebook(name):
    section = re.search(rf"^### (?:{name[0]}\.|The {name}) .*?(?=^##)", GUIDE, re.MULTILINE | re.DOTALL)[0]
    assert "*Goal:*" in section and "| they think | what helps |" in section and "*Ask:*" in section


MINUTES = {
    "ten minutes": 10, "half an hour": 30, "three quarters of an hour": 45, "an hour": 60, "an hour and a half": 90,
}  # fmt: skip


def test_the_guides_plan_says_what_the_notebooks_say():
    plan = re.search(r"^## A plan\n.*?(?=^## )", GUIDE, re.MULTILINE | re.DOTALL)[0]
    rows = re.findall(r"^\| (\d\. .*|The clinic) \| (\d+) \| (.*) \|$", plan, re.MULTILINE)
    headings = re.findall(r"^### (\d\. .*|The clinic) \((\d+) minutes", GUIDE, re.MULTILINE)
    assert [row[:2] for row in rows] == headings
    for name, (_, minutes, builds_on) in zip(NOTEBOOKS, rows, strict=True):
        first = "".join(json.loads((COURSE / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"][0]["source"])
        assert MINUTES[re.search(r"\*\*Time:\*\* (.*?)(?: to read and play)?[.;]", first)[1]] == int(minutes)
        needs = re.search(r"\*\*You need\*\*(.*?)\*\*Time", first)[1]
        assert sorted(re.findall(r"\((\d)_\w+\.ipynb\)", needs)) == re.findall(r"\d", builds_on)
    minutes = [int(row[1]) for row in rows]  # the clinic's stand last
    said = " ".join(plan.split())
    assert f"All nine take {sum(minutes)} minutes" in said
    paths = {"0 and 1": [0, 1], "0 and 3": [0, 3], "0, 1, 2 and 3 in the morning": [0, 1, 2, 3]}
    for words, taken in (paths | {"4 and the clinic in the afternoon": [4, -1]}).items():
        assert f"{words} ({sum(minutes[i] for i in taken)} minutes)" in said


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_and_picture_leads_to_a_file(name):
    path = COURSE / name
    targets = re.findall(r"\]\((?!https?:)([^()\s]+)\)", path.read_text("utf-8"))
    assert targets
    assert not [target for target in targets if not (path.parent / target).exists()]


def test_maintainers_are_told_of_every_module():
    tables = [line for line in CONTRIBUTING.split("## Where everything stands")[1].splitlines() if line[:1] == "|"]
    named = {name for line in tables for name in re.findall(r"`([\w/]+(?:\.py|\.c|/))`", line)}
    modules = COURSE / "lenet_utils"
    assert [name for name in named if not (modules / name).exists()] == []
    there = {path.name for path in modules.glob("*.py")} | {f"{path.parent.name}/" for path in modules.glob("*/*.py")}
    told = there - {"support/", "parallel/"} | {
        f"{room}/{path.name}" for room in ("support", "parallel") for path in modules.glob(f"{room}/[!_]*.py")
    }
    assert told - {"__init__.py"} <= named


@pytest.mark.parametrize(
    ("folder", "page", "told"),
    [("tools", README + GUIDE + CONTRIBUTING, "tools/{}"), ("benchmarks", BENCHMARKS, "\n| `{}` | ")],
    ids=["tools", "benchmarks"],
)
def test_every_program_is_named_where_one_looks_for_it(folder, page, told):
    shared = {"machine.py", "cells.py"}  # which the others import
    programs = {path.name for path in (COURSE / folder).glob("*.py")} - shared
    assert [name for name in programs if told.format(name) not in page] == []


@pytest.mark.parametrize("name", sorted({path.name for path in (COURSE / "tools").glob("*.py")} - {"cells.py"}))
def test_a_tool_that_is_asked_for_help_gives_it_and_does_nothing_else(name):
    for module in {"chinese.py": ["markdown_it"], "readme_picture.py": ["playwright"]}.get(name, []):
        pytest.importorskip(module)
    command = [sys.executable, COURSE / "tools" / name, "--help"]
    wide = os.environ | {"COLUMNS": "80"}  # argparse breaks its lines there
    done = subprocess.run(command, env=wide, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {name} ")
