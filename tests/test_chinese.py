"""The Chinese notebooks: the English ones' code and outputs, and texts that have lost nothing on the way."""

import json
import pathlib

import pytest
from exercise_cells import exercises

pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
import chinese

NOTEBOOKS = sorted(path.name for path in chinese.ENGLISH.glob("*.ipynb"))


def pair(name):
    return chinese.read(chinese.ENGLISH / name), chinese.read(chinese.CHINESE / name)


def test_every_notebook_is_there():
    assert sorted(path.name for path in chinese.CHINESE.glob("*.ipynb")) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_everything_but_the_texts_is_the_same(name):
    english, ours = pair(name)
    assert chinese.in_step(english, ours) == ours, "run tools/chinese.py"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_texts_say_the_same(name):
    assert not list(chinese.faults(*pair(name))), f"translate in notebooks/zh, then tools/chinese.py --done {name}"


def test_the_guide_says_the_same():
    english, ours = (path.read_text("utf-8") for path in chinese.GUIDES)
    assert chinese.guide_in_step(english, ours) == ours, "run tools/chinese.py"
    assert not list(chinese.faults_of_guide(english, ours))


@pytest.mark.parametrize("path", sorted(chinese.CHINESE.glob("*.md")), ids=lambda path: path.stem)
def test_no_broken_links(path):
    targets = [target for target in chinese.LINK.findall(path.read_text("utf-8")) if ":" not in target]
    assert targets
    for target in targets:
        assert (path.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_exercises_have_the_same_solutions(name):
    english, ours = map(exercises, pair(name))
    assert [(task.number, task.solution) for task in ours] == [(task.number, task.solution) for task in english]
    kinds = {(task.kind, other.kind) for task, other in zip(english, ours)}
    assert len(kinds) == len({kind for kind, _ in kinds}) == len({kind for _, kind in kinds})


# The checks themselves. Chinese marks: \uff0c is the comma, \uff1a the colon, \uff1f the question mark.

TEXT = "\n".join(
    [
        "## Sums",
        "",
        "**How many of 256?** See `sum`, [notebook 3](3.ipynb) and [the guide](../README.md): $a + \\text{more}$.",
        "",
        "- [中文版](zh/0.ipynb)",
        "",
        "| a | b |",
        "|---|---|",
        "",
        "```python",
        "x = 1  # one",
        "```",
    ]
)
TRANSLATED = "\n".join(
    [
        "## 求和",
        "",
        "**256 里有多少\uff1f** 见 `sum`、[笔记本 3](3.ipynb) 和[指南](../../README.md)\uff1a$a + \\text{更多}$。",
        "",
        "- [English](../0.ipynb)",
        "",
        "| 甲 | 乙 |",
        "|---|---|",
        "",
        "```python",
        "x = 1  # one",
        "```",
    ]
)
SPOILT = {
    "heading '##' is missing": ("## ", ""),
    "heading '###' is not in": ("## ", "### "),
    "number '256' is missing": ("256", "二百"),
    "number '255' is not in": ("256", "255"),
    "code '`sum`' is missing": ("`sum`", "求和"),
    "link '3.ipynb' is missing": ("(3.ipynb)", "(4.ipynb)"),
    "link '../../README.md' is missing": ("../../", "../"),
    "link '../0.ipynb' is missing": ("../0", "0"),
    "formula '$a + $' is missing": ("$a +", "$b +"),
    "item of a list '-' is missing": ("- [", "["),
    "row of a table 3 is missing": ("| 甲 | 乙 |", "| 甲 |"),
    "block of code '```python": ("# one", "# 一"),
    "bold part '**' is missing": ("**256 里有多少\uff1f**", "256 里有多少\uff1f"),
    "** that is not seen as such": ("** 见", "**见"),
    "no space between '见`'": ("见 `", "见`"),
    "no space between '记3'": ("笔记本 3", "笔记3"),
    "a Latin mark at '少?'": ("\uff1f", "?"),
    "picture '![' is not in": ("[指南]", "![指南]"),
    "bold part '**' is not in": ("`sum`", "**`sum`**"),
    "fold '<details>' is not in": ("- [", "<details>\n\n- ["),
}


def test_a_translation_that_lost_nothing_has_no_faults():
    assert list(chinese.faults_of_text(TEXT, TRANSLATED)) == []


@pytest.mark.parametrize("fault", SPOILT)
def test_the_checks_find(fault):
    old, new = SPOILT[fault]
    assert old in TRANSLATED
    assert any(found.startswith(fault) for found in chinese.faults_of_text(TEXT, TRANSLATED.replace(old, new)))


def test_a_text_left_in_english_is_found():
    assert "no Chinese in it" in list(chinese.faults_of_text("Look.", "Look."))


# The tool, from one notebook to the other


def prose(name, text):
    return {"cell_type": "markdown", "id": name, "metadata": {"slideshow": {"slide_type": "slide"}}, "source": [text]}


def code(text):
    return {"cell_type": "code", "id": "sum", "metadata": {}, "source": [text], "outputs": [], "execution_count": 1}


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "zh").mkdir()
    return tmp_path, tmp_path / "zh"


@pytest.fixture
def run(folders, capsys):
    """A function that runs the tool and returns what it ended with, and the lines that it printed."""

    guides = folders[0] / "README.md", folders[1] / "guide.md"
    guides[0].write_text("# Guide\n\n<!-- table -->\nold\n<!-- end of table -->\n", "utf-8")
    guides[1].write_text("# 指南\n\n<!-- table -->\n<!-- end of table -->\n", "utf-8")
    chinese.bring_guide(*guides, done=True)

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            chinese.main(arguments, folders, guides)
        return ended.value.code, capsys.readouterr().out.splitlines()

    return call


def save(folder, *cells):
    (folder / "1_sums.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}}), "utf-8")


def load(folder):
    return json.loads((folder / "1_sums.ipynb").read_text("utf-8"))["cells"]


def translate(folder, **texts):
    cells = [{**cell, "source": [texts.get(cell["id"], *cell["source"])]} for cell in load(folder)]
    save(folder, *cells)


def test_a_new_notebook_waits_for_its_translation(folders, run):
    save(folders[0], prose("a", "# One"), code("1 + 1"))
    assert run() == (1, ["1_sums: cell a (# One): not translated yet"])
    translate(folders[1], a="# 一")
    assert run()[0] == 1  # nobody has said yet that it is a translation
    assert run("--done", "1_sums") == (0, [])
    assert run() == (0, [])
    assert ["".join(cell["source"]) for cell in load(folders[1])] == ["# 一", "1 + 1"]


@pytest.fixture
def both(folders, run):
    save(folders[0], prose("a", "# One"), code("1 + 1"), prose("b", "Two."))
    run()
    translate(folders[1], a="# 一", b="二。")
    assert run("--done", "1_sums") == (0, [])
    return folders


def test_new_code_is_copied_and_a_changed_text_is_named(both, run):
    save(both[0], prose("a", "# One"), code("1 + 2"), prose("b", "Two or more."))
    assert run() == (1, ["1_sums: cell b (二。): the English text has changed since it was translated"])
    first, second, third = load(both[1])
    assert (first["source"], second["source"], third["source"]) == (["# 一"], ["1 + 2"], ["二。"])


def test_cells_come_go_and_move(both, run):
    save(both[0], prose("b", "Two."), prose("c", "Three."))
    gone = "1_sums: cell a is no longer in English, taken out: # 一"
    assert run() == (1, [gone, "1_sums: cell c (Three.): not translated yet"])
    assert [cell["source"] for cell in load(both[1])] == [["二。"], ["Three."]]
    assert run() == (1, ["1_sums: cell c (Three.): not translated yet"])


def test_a_cell_that_is_only_in_chinese_is_not_lost(both, run):
    save(both[1], *load(both[1]), prose("mine", "我的。"))
    before = load(both[1])
    ended, printed = run()
    assert "expected only cells of the English notebook, got '我的。'" in ended and printed == []
    assert load(both[1]) == before


@pytest.mark.parametrize("wrong", [["2"], ["1_sums", "README"], ["--done"]])
def test_bad_names_are_told(both, run, capsys, wrong):
    assert run(*wrong) == (2, [])


def test_a_file_that_cannot_be_read_is_named(both, run):
    (both[1] / "1_sums.ipynb").write_text("<<<<<<< HEAD", "utf-8")
    ended, _ = run()
    assert ended.startswith("1_sums: ") and "\n" not in ended
    assert (both[1] / "1_sums.ipynb").read_text("utf-8") == "<<<<<<< HEAD"


def test_a_disk_that_is_full(both, run, monkeypatch):
    def full(path, *arguments, **keywords):
        raise OSError(28, "No space left on device")

    save(both[0], prose("a", "# One"), code("1 + 9"), prose("b", "Two."))
    before = (both[1] / "1_sums.ipynb").read_text("utf-8")
    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(SystemExit, match="No space left"):
        chinese.main(["1_sums"], both)
    assert (both[1] / "1_sums.ipynb").read_text("utf-8") == before


def test_badges_are_no_change(both, run):
    save(both[0], prose("a", "# One\n\nText."), code("1 + 1"), prose("b", "Two."))
    translate(both[1], a="# 一\n\n文字。")
    assert run("--done", "1_sums") == (0, [])
    for folder in both:  # as launch_links.py writes them
        badges = "[![Open in Colab](badge.svg)](https://there) [![Open on Binder](badge.svg)](https://there)\n"
        text = "".join(load(folder)[0]["source"]).replace("\n", f"\n\n{badges}", 1)
        translate(folder, a=text)
    assert run() == (0, [])


def test_what_is_in_step_is_not_written_again(both, run):
    path = pathlib.Path(both[1], "1_sums.ipynb")
    path.chmod(0o444)
    before = path.stat().st_mtime_ns
    assert run() == (0, [])
    assert path.stat().st_mtime_ns == before


def test_what_benchmarks_wrote_into_the_guide_is_copied(folders, run):
    english, ours = folders[0] / "README.md", folders[1] / "guide.md"
    english.write_text(english.read_text("utf-8").replace("old", "12 s"), "utf-8")
    assert run() == (0, [])
    assert "<!-- table -->\n12 s\n<!-- end of table -->" in ours.read_text("utf-8")


def test_a_guide_without_its_measured_parts_is_found(folders, run):
    ours = folders[1] / "guide.md"
    ours.write_text(chinese.WRITTEN.sub("", ours.read_text("utf-8")), "utf-8")
    assert run() == (1, ["guide: expected places for what benchmarks write, table, got none"])


def test_a_guide_without_a_last_new_line_keeps_one_digest(folders, run):
    ours = folders[1] / "guide.md"
    ours.write_text(ours.read_text("utf-8").rstrip("\n"), "utf-8")
    assert run() == (0, [])
    assert run("--done", "guide") == (0, [])
    assert len(chinese.DIGEST.findall(ours.read_text("utf-8"))) == 1


def test_a_changed_guide_waits_for_its_translation(folders, run):
    english, ours = folders[0] / "README.md", folders[1] / "guide.md"
    english.write_text(english.read_text("utf-8") + "New.\n", "utf-8")
    assert run() == (1, ["guide: the English text has changed since it was translated"])
    ours.write_text(ours.read_text("utf-8").replace("<!-- english", "新的。\n<!-- english"), "utf-8")
    assert run("--done", "guide") == (0, [])
    assert run() == (0, [])
