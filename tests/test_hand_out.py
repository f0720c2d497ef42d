"""The copies of the notebooks for a class: without solutions, never over somebody's work, and graded by nbgrader."""

import copy
import json
import pathlib
import re
import shutil
import subprocess
import sys

import exercise_cells
import hand_out
import launch_links
import pytest
from cells import as_text, read, source
from exercise_cells import exercises

COURSE = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((COURSE / "notebooks").glob("*.ipynb"))
NBGRADER = "nbgrader==0.9.6"


@pytest.fixture(scope="module", params=["english", "chinese"])
def handed_out(request, tmp_path_factory):
    """The folder of the notebooks, and that of their copies."""
    folder = tmp_path_factory.mktemp("class") / "for_my_class"
    options = ["--chinese"] if request.param == "chinese" else []
    done = subprocess.run(
        [sys.executable, "tools/hand_out.py", folder, *options], cwd=COURSE, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"written to {folder}\n"
    return COURSE / "notebooks" / ("zh" if options else ""), folder


def test_every_notebook_is_handed_out(handed_out):
    _, folder = handed_out
    assert sorted(path.name for path in folder.glob("*.ipynb")) == [path.name for path in NOTEBOOKS]
    assert "the authors of this course" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "Zalando SE" in (folder / "LICENSE-pictures").read_text(encoding="utf-8")
    assert len(list(folder.iterdir())) == len(NOTEBOOKS) + 2
    assert [path.name for path in folder.parent.iterdir()] == ["for_my_class"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_solution_is_left_and_nothing_else_is_missing(path, handed_out):
    notebooks, folder = handed_out
    ours, theirs = read(notebooks / path.name), read(folder / path.name)
    text = (folder / path.name).read_text("utf-8")
    assert "<details>" not in text and "</details>" not in text
    for task in exercises(ours):
        assert not any(task.solution in source(cell) for cell in theirs["cells"])
    ours = hand_out.relinked(ours, [path.name for path in NOTEBOOKS])
    whole = [cell for cell in ours["cells"] if "<details>" not in source(cell)]
    assert [cell for cell in theirs["cells"] if cell in whole] == whole
    for cell in (cell for cell in ours["cells"] if "<details>" in source(cell)):
        around = source(cell).partition("<details>")[0].strip(), source(cell).rpartition("</details>")[2].strip()
        assert all(part in text.replace("\\n", "\n").replace('\\"', '"') for part in around)


def test_every_link_to_a_page_leads_somewhere(handed_out):
    _, folder = handed_out
    for path in folder.glob("*.ipynb"):
        prose = "".join(source(cell) for cell in read(path)["cells"] if cell["cell_type"] == "markdown")
        targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^):#][^):]*)\)", prose)]
        assert all((folder / target).is_file() for target in targets), targets
        assert len(targets) > 1 or path.stem == "clinic"


def run(*arguments):
    command = [sys.executable, "tools/hand_out.py", *arguments]
    return subprocess.run(command, cwd=COURSE, capture_output=True, text=True)


def test_some_notebooks_are_handed_out_without_links_to_the_others(tmp_path):
    assert run(tmp_path / "class", "0_start_here", "3_train_on_gpu.ipynb").returncode == 0
    assert [path.stem for path in sorted(tmp_path.glob("class/*.ipynb"))] == ["0_start_here", "3_train_on_gpu"]
    text = "".join(path.read_text("utf-8") for path in tmp_path.glob("class/*.ipynb"))
    assert set(re.findall(r"\]\((\w+)\.ipynb\)", text)) == {"3_train_on_gpu"}  # from notebook 0
    refused = run(tmp_path / "none", "3_train", "0_start_here")
    assert refused.returncode == 1 and "from 0_start_here, 1_reshape, " in refused.stderr
    assert refused.stderr.count("\n") == 1 and not (tmp_path / "none").exists()


def test_pictures_in_texts_come_along(tmp_path, monkeypatch):
    (tmp_path / "course" / "figures").mkdir(parents=True)
    for name in ("figures/mine.png", "my own.png", "third.png"):
        (tmp_path / "course" / name).write_bytes(b"a picture")
    monkeypatch.setattr(hand_out, "NOTEBOOKS", tmp_path / "course")
    with pytest.raises(ValueError, match="there is none"):
        hand_out.hand_out(tmp_path / "empty")
    notebook = read(NOTEBOOKS[0])
    text = '![a shoe](figures/mine.png "a title") ![](https://x.test/a.png) ![](//x.test/a.png) ![](attachment:a.png)'
    text += '\n![two words](my%20own.png)\n<img alt="" src="third.png">\n```\n![an example](none.png)\n```'
    notebook["cells"].append(prose(text))
    hand_out.write(tmp_path / "course" / "mine.ipynb", as_text(notebook))
    hand_out.hand_out(tmp_path / "class")
    for name in ("figures/mine.png", "my own.png", "third.png"):
        assert (tmp_path / "class" / name).read_bytes() == b"a picture"
    for missing in ("missing.png", "../course/figures/mine.png", str(tmp_path / "course" / "figures" / "mine.png")):
        notebook["cells"].append(prose(f"![a shoe]({missing})"))
        hand_out.write(tmp_path / "course" / "mine.ipynb", as_text(notebook))
        with pytest.raises(ValueError, match=f"got {missing}"):
            hand_out.hand_out(tmp_path / "other")
        assert not (tmp_path / "other").exists()
        notebook["cells"].pop()


def test_for_nbgrader_links_lead_from_one_assignment_to_the_next():
    text = "[on](2_b.ipynb#top), [back](1_a.ipynb), [page](../README.md), [plan](README.md#plan), [paper](https://a.b/c.md)"
    notebook = {"cells": [prose(text)]}
    (cell,) = hand_out.relinked(notebook, ["1_a.ipynb", "2_b.ipynb"], nbgrader=True)["cells"]
    assert source(cell) == "[on](../2_b/2_b.ipynb#top), [back](../1_a/1_a.ipynb), page, plan, [paper](https://a.b/c.md)"
    (cell,) = hand_out.relinked(notebook, ["2_b.ipynb"])["cells"]
    assert source(cell) == "[on](2_b.ipynb#top), back, page, plan, [paper](https://a.b/c.md)"


def test_no_badge_leads_to_the_solutions(tmp_path, monkeypatch):
    """A course that is hosted has them below each title: one press, and its solutions are there."""
    hosted = tmp_path / "hosted"
    hosted.mkdir()
    for path in NOTEBOOKS:
        linked = launch_links.linked_notebook(path.read_text("utf-8"), "owner/name", "main", path.name)
        (hosted / path.name).write_text(linked, "utf-8")
    hand_out.hand_out(tmp_path / "expected")
    monkeypatch.setattr(hand_out, "NOTEBOOKS", hosted)
    hand_out.hand_out(tmp_path / "class")
    for path in NOTEBOOKS:
        ours, expected = (read(tmp_path / folder / path.name)["cells"][0] for folder in ("class", "expected"))
        assert "Open in Colab" in source(read(hosted / path.name)["cells"][0])
        assert source(ours) == source(expected)


def test_the_results_of_an_earlier_run_can_be_left_out(tmp_path):
    hand_out.hand_out(tmp_path / "class", clear=True)
    for path in (tmp_path / "class").glob("*.ipynb"):
        code = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]
        assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_marking_again_changes_nothing(path):
    notebook = read(path)
    exercise_cells.mark(notebook)
    assert as_text(notebook) == path.read_text("utf-8"), "run tools/exercise_cells.py, then tools/slides.py"


def test_what_stands_around_a_fold_stays():
    notebook = {"cells": [prose("Why?\n\n<details><summary>Answer</summary>\n\nSo.\n\n</details>\n\nGo on.")]}
    (cell,) = hand_out.without_folds(notebook)["cells"]
    assert source(cell) == "Why?\n\nGo on."
    assert hand_out.without_folds({"cells": [prose("<details>So.</details>")]})["cells"] == []


def prose(text):
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "1_reshape.ipynb").write_text("a learner's work")
    with pytest.raises(FileExistsError, match="expected a new or an empty folder"):
        hand_out.hand_out(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1_reshape.ipynb"]
    assert (tmp_path / "1_reshape.ipynb").read_text() == "a learner's work"
    with pytest.raises(FileExistsError):
        hand_out.hand_out(tmp_path / "1_reshape.ipynb")


def test_the_command_says_why_it_refuses():
    done = subprocess.run(
        [sys.executable, "tools/hand_out.py", "notebooks"], cwd=COURSE, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("expected a new or an empty folder, got ") and done.stderr.count("\n") == 1


def test_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "of" / "class"
    done = subprocess.run([sys.executable, "tools/hand_out.py", folder], cwd=COURSE, capture_output=True, text=True)
    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr and done.stderr.count("\n") == 1


def test_an_empty_folder_will_do(tmp_path):
    hand_out.hand_out(tmp_path)
    assert len(list(tmp_path.glob("*.ipynb"))) == len(NOTEBOOKS)


def test_all_or_nothing(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    shutil.copytree(COURSE / "notebooks", broken, ignore=shutil.ignore_patterns("*checkpoints"))
    notebook = read(broken / "1_reshape.ipynb")
    notebook["cells"] = [cell for cell in notebook["cells"] if "check" not in cell["metadata"].get("tags", [])]
    (broken / "1_reshape.ipynb").write_text(json.dumps(notebook))
    monkeypatch.setattr(hand_out, "NOTEBOOKS", broken)
    with pytest.raises(ValueError, match='expected a code cell with the tag "check"'):
        hand_out.hand_out(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_what_is_not_whole_yet_lies_on_the_same_disk(tmp_path, monkeypatch):
    """From another one it would come file by file, and whoever is stopped meanwhile would keep half a course."""
    folders, written = [], hand_out.written
    monkeypatch.setattr(hand_out, "written", lambda folder, *more: folders.append(folder) or written(folder, *more))
    hand_out.hand_out(tmp_path / "home" / "lenet", names=["1_reshape"])
    assert [folder.parents[1] for folder in folders] == [(tmp_path / "home").resolve()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_exercises_carry_nbgraders_metadata(path):
    notebook = read(path)
    marked = copy.deepcopy(notebook)
    exercise_cells.mark(marked)
    assert notebook == marked, "run tools/exercise_cells.py"


def test_a_chinese_course_for_nbgrader_has_the_same_code(tmp_path):
    hand_out.hand_out(tmp_path / "english", nbgrader=True)
    hand_out.hand_out(tmp_path / "chinese", nbgrader=True, chinese=True)
    for path in NOTEBOOKS:
        place = pathlib.Path("source", path.stem, path.name)
        english, chinese = (read(tmp_path / language / place)["cells"] for language in ("english", "chinese"))
        code = [cell for cell in chinese if "outputs" in cell]
        assert code == [cell for cell in english if "outputs" in cell]
        assert "### BEGIN SOLUTION" in "".join(map(source, code))


def test_nbgraders_ids_are_unique():
    cells = [cell for path in NOTEBOOKS for cell in read(path)["cells"]]
    ids = [cell["metadata"]["nbgrader"]["grade_id"] for cell in cells if "nbgrader" in cell["metadata"]]
    assert ids and len(set(ids)) == len(ids)


def test_an_incomplete_exercise_is_named():
    heading = prose("### 2. Write: a loop\n\nDo.")
    for cells in ([heading] * 4, [heading]):
        with pytest.raises(ValueError, match=r'tag "exercise" below the text in \'### 2. Write: a loop\''):
            exercises({"cells": cells})


# What nbgrader's environment runs: hands out, takes two submissions, lets both validate, grades them, tells the scores.
GRADING = """
import json, logging, pathlib, sys
import nbformat
from nbgrader.apps import NbGraderAPI
from nbgrader.apps.nbgraderapp import NbGrader
from nbgrader.preprocessors import Execute
from nbgrader.validator import Validator
from traitlets.config import Config

name, answers = sys.argv[1], json.loads(sys.argv[2])
app = NbGrader()
app.load_config_file()
api = NbGraderAPI(config=app.config)

def done(result):
    assert result["success"], result.get("error") or result.get("log")

done(api.generate_assignment(name))
released = nbformat.read(f"release/{name}/{name}.ipynb", 4)
stubs = [c.source for c in released.cells if c.metadata.get("nbgrader", {}).get("solution")]
print(json.dumps({"stubs": stubs, "seconds a cell": Execute(config=app.config).timeout}))
for student, given in answers.items():
    notebook = nbformat.read(f"release/{name}/{name}.ipynb", 4)
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = given.get(grade_id, cell.source)
    folder = pathlib.Path("submitted", student, name)
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    validator = Validator(config=app.config, ignore_checksums=True)  # else a changed check is all that it tells
    found = validator.validate(str((folder / f"{name}.ipynb").resolve()))
    failed = [" ".join(cell["raw_error"].split()) for cell in found.get("failed", [])]
    done(api.autograde(name, student))
    with api.gradebook as gradebook:
        submission = gradebook.find_submission(name, student)
        scores = {g.cell.name: g.auto_score for n in submission.notebooks for g in n.grades}
        print(json.dumps({"student": student, "scores": scores, "score": submission.score,
                          "of": submission.max_score, "failed": failed}))
"""


@pytest.mark.environments
def test_nbgrader_hands_out_and_grades(tmp_path):
    """The real nbgrader: a right submission gets all points, a wrong one those for what is right in it."""
    name = "1_reshape"
    hand_out.hand_out(tmp_path / "course", nbgrader=True)
    tasks = {task.number.replace(".", "-"): task for task in exercises(read(COURSE / "notebooks" / f"{name}.ipynb"))}
    answers = {
        "right": {f"exercise-{number}": task.solution for number, task in tasks.items()},
        "wrong": {
            "exercise-1-1": "result = [[0, 3, 1], [4, 2, 5]]",
            "exercise-1-2": "def store(pictures):\n    return pictures",
            "check-1-4": "print('✓ 1.4 Right.')",  # somebody who is clever
        },
    }
    command = ["uv", "run", "--no-sync", "--frozen", "--project", COURSE, "--with", NBGRADER, "python", "-c", GRADING]
    done = subprocess.run(
        [*command, name, json.dumps(answers)], cwd=tmp_path / "course", capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    released, right, wrong = map(json.loads, done.stdout.splitlines())
    assert [stub.strip() for stub in released["stubs"]] == [source(task.stub) for task in tasks.values()]
    assert released["seconds a cell"] == 600  # some of them train
    assert right["score"] == right["of"] == sum(map(exercise_cells.points, tasks.values()))
    assert right["failed"] == []
    assert wrong["scores"] == {"check-1-1": 1, "check-1-2": 0, "check-1-3": 0, "check-1-4": 0}
    said = ["1.2 Not yet. The layer makes the right pictures of that", "1.3 Not tried yet."]
    assert len(wrong["failed"]) == 2 and all(text in failed for text, failed in zip(said, wrong["failed"]))
