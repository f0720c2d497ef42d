"""A lint over the notebooks: what nbval, which re-runs them, does not look at."""

import json
import math
import pathlib
import re
import statistics

import pytest
import slides
from cells import as_text, read, source, tags
from exercise_cells import HEADING, exercises
from nbval.plugin import comment_markers, metadata_tags

from lenet_utils import lenet
from lenet_utils.data import read_split

COURSE = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((COURSE / "notebooks").rglob("*.ipynb"))
NOTEBOOKS = [path for path in NOTEBOOKS if ".ipynb_checkpoints" not in path.parts]
ENGLISH = [path for path in NOTEBOOKS if path.parent.name == "notebooks"]  # test_chinese.py holds the others to these
LIMIT = 1_000_000  # bytes of a notebook
LONGEST = 12  # lines of a code cell without the tag "long-cell"
WIDEST = 78  # characters of a line of code or print: JupyterLab shows no more in a window of 800 pixels
OWN_TAGS = {"setup", "hide-input", "long-cell", "exercise", "check"}

# Numbers in prose that no cell computes. The first kind is history; the second is checked here.
HISTORY = {
    "1998": "the year of LeNet-5",
    "1967": "the year of a paper",
    "2009": "the year of a paper",
    "2010": "the year of a paper",
    "2011": "the year of a paper",
    "2013": "the year of a paper",
    "2014": "the year of a paper",
    "1964": "the year of a paper",
    "2015": "the year of a paper",
    "2016": "the year of a paper",
    "2017": "the year of a paper",
    "2018": "the year of a paper",
    "2019": "the year of a paper",
    "2020": "the year of a paper",
    "2021": "the year of a paper",
    "1312.6034": "the arXiv number of a paper",
    "1603.07285": "the arXiv number of a paper",
    "1605.01713": "the arXiv number of a paper",
    "1708.07747": "the arXiv number of a paper",
    "8,192": "the images in a batch up to which Goyal et al. (2017) lost no accuracy",
    "20": "MNIST's digits were fitted into 20x20 (LeCun et al. 1998, section III.A)",
    "1.7159": "the paper's scaled tanh",
    "0.1": "minus the paper's level of the background",
    "1.175": "the paper's level of white",
    "2.6": "a version of PyTorch",
}


def of_the_runs(name, test_acc):
    """The median of what `test_acc` says of each run in `benchmarks/results/`; None of a run doesn't count."""
    runs = json.loads((COURSE / "benchmarks" / "results" / name).read_text())["runs"]
    return statistics.median(accuracy for accuracy in map(test_acc, runs) if accuracy is not None)


def lenet_s_last(run):
    return run["test_acc"][-1] if run["variant"] == "lenet" else None


def lenet_s_in_small_steps(run):
    return run["test_acc"] if (run["net"], run["budget"]) == ("lenet()", "many small steps") and run["chosen"] else None


COMPUTED = {
    "0.8": lambda: round(of_the_runs("seeds.json", lenet_s_last), 1),
    "0.89": lambda: round(of_the_runs("budgets.json", lenet_s_in_small_steps), 2),
    "1.46": lambda: round(math.log(math.e + 9) - 1, 2),  # the loss of a perfect answer after one softmax too many
    "0.5": lambda: 5 / 10,  # of an epoch of 8 seconds, of which 5 go into loading and 2 into convolutions
    "2.29": lambda: round(8 / (5 / 10 + 2 + 1), 2),
    "1.33": lambda: round(8 / (5 + 1), 2),
    "938": lambda: math.ceil(60_000 / 64),
    "64": lambda: 256 // 4,
    "150": lambda: lenet()[4].weight[0].numel(),
    "1,040": lambda: 16 * (16 * 4 + 1),
    "0.4": lambda: (80 / 100 + 0 / 10) / 2,
    "370,236": lambda: 2 * 3 * 4 * 61_706 // 4,  # bytes that each of four processes sends round a ring
    "96": lambda: len(read_split("train")[0]) % 256,
    "16": lambda: len(read_split("t10k")[0]) % 256,
    "60,000": lambda: len(read_split("train")[0]),
    "55,000": lambda: len(read_split("train")[0]) - 5000,
    "10,000": lambda: len(read_split("t10k")[0]),
    "28": lambda: read_split("t10k")[0].shape[2],
    "784": lambda: read_split("t10k")[0][0].numel(),
}


def with_folder(path):
    return f"{path.parent.name}/{path.stem}"


def cells(notebook, kind):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def outputs(notebook):
    return [output for cell in cells(notebook, "code") for output in cell["outputs"]]


def unknown_markers(notebook):
    known = set(metadata_tags) | OWN_TAGS
    for cell in cells(notebook, "code"):
        yield from tags(cell) - known
        for comment in re.findall(r"^\s*#\s*((?:NBVAL|PYTEST)_\w+)", source(cell), re.MULTILINE):
            if comment not in comment_markers:
                yield comment


def svg_outputs(notebook):
    return [output for output in outputs(notebook) if "image/svg+xml" in output.get("data", {})]


def undeclared_errors(notebook):
    for cell in cells(notebook, "code"):
        for output in cell["outputs"]:
            if output["output_type"] == "error" and "raises-exception" not in tags(cell):
                yield output["evalue"]


def missing_errors(notebook):
    """Cells that say that they fail, and do not."""
    for cell in cells(notebook, "code"):
        if "raises-exception" in tags(cell) and not any(o["output_type"] == "error" for o in cell["outputs"]):
            yield source(cell)


def out_of_order(notebook):
    counts = [cell["execution_count"] for cell in cells(notebook, "code")]
    return [] if counts == list(range(1, len(counts) + 1)) else counts


def pictures_without_alt(notebook):
    for output in outputs(notebook):
        data = output.get("data", {})
        if "image/png" in data:
            alt = re.search(r'<img [^>]*alt="([^"]*)"', "".join(data.get("text/html", "")))
            if not alt or len(alt[1]) < 15 or alt[1].startswith("Figure without"):
                yield alt and alt[1]
    for cell in cells(notebook, "markdown"):
        yield from re.findall(r"!\[\s*\]\(.*?\)", source(cell))
    shown = [source(cell) for cell in cells(notebook, "markdown")]
    shown += ["".join(output.get("data", {}).get("text/html", "")) for output in outputs(notebook)]
    for tag in re.findall(r"<img\b[^>]*>", " ".join(shown)):
        if not re.search(r'\balt="[^"]+"', tag):
            yield tag[:100]


def widget_state(notebook):
    return [key for key in notebook["metadata"] if key == "widgets"]


def long_cells(notebook):
    for cell in cells(notebook, "code"):
        lines = [line for line in source(cell).splitlines() if line.strip()]
        if len(lines) > LONGEST and not tags(cell) & {"long-cell", "setup"}:
            yield lines[0]


def wide_lines(notebook):
    for cell in cells(notebook, "code"):
        if "setup" not in tags(cell):
            yield from (line for line in source(cell).splitlines() if len(line) > WIDEST)


def wide_prints(notebook):
    """Printed lines, which JupyterLab breaks inside words; not of cells whose prints name things of the machine."""
    for cell in cells(notebook, "code"):
        if "nbval-ignore-output" not in tags(cell):
            printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
            yield from (line for line in printed.splitlines() if len(line) > WIDEST)


def machine_paths(notebook):
    """Paths of the machine on which the notebook was run: tracebacks and warnings bring them in."""
    for output in outputs(notebook):
        text = json.dumps({k: v for k, v in output.items() if k != "data"}) + "".join(
            "".join(value) for kind, value in output.get("data", {}).items() if kind == "text/plain"
        )
        yield from re.findall(r"(?:/\w[\w.-]*){2,}/[\w.-]+\.py\b", text)


def broken_links(path, notebook):
    for cell in cells(notebook, "markdown"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", source(cell)):
            if not (path.parent / target).exists():
                yield target


def unchecked_numbers(notebook):
    """Numbers in the prose that stand neither in the code nor in an output, above ten."""
    evidence = [source(cell) for cell in cells(notebook, "code")]
    for output in outputs(notebook):
        evidence += ["".join(output.get("text", "")), output.get("evalue", "")]
        evidence.append("".join(output.get("data", {}).get("text/plain", "")))
    known = {value(number) for text in evidence for number in re.findall(NUMBER, text)}
    for cell in cells(notebook, "markdown"):
        prose = re.sub(r"`[^`]*`|\$\$.*?\$\$|\]\([^)]*\)|https?:\S+", " ", source(cell), flags=re.DOTALL)
        for number in re.findall(NUMBER, prose):
            small = value(number) <= 10 and "." not in number
            if not small and value(number) not in known and number not in HISTORY and number not in COMPUTED:
                yield number


NUMBER = r"\d+(?:[,_]\d{3})*(?:\.\d+)?"


def value(number):
    return float(number.replace(",", "").replace("_", ""))


CHECKS = {
    "unknown NBVAL markers or tags": unknown_markers,
    "SVG outputs": svg_outputs,
    "errors that are not declared": undeclared_errors,
    "declared errors that do not happen": missing_errors,
    "cells out of order": out_of_order,
    "pictures without alt text": pictures_without_alt,
    "widget state": widget_state,
    f"code cells of more than {LONGEST} lines": long_cells,
    f"code lines of more than {WIDEST} characters": wide_lines,
    f"printed lines of more than {WIDEST} characters": wide_prints,
    "paths of the machine": machine_paths,
    "numbers in prose that nothing checks": unchecked_numbers,
}


def test_there_are_notebooks():
    assert [path.name[0] for path in NOTEBOOKS[:5]] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=with_folder)
@pytest.mark.parametrize("fault", CHECKS)
def test_no(fault, path):
    assert not list(CHECKS[fault](read(path)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=with_folder)
def test_no_broken_links(path):
    assert not list(broken_links(path, read(path)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=with_folder)
def test_size(path):
    assert path.stat().st_size < LIMIT


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.stem)
def test_opens_and_ends_as_the_others_do(path):
    notebook = read(path)
    first, prose = source(notebook["cells"][0]), "\n".join(map(source, cells(notebook, "markdown")))
    assert first.startswith("# ")
    for part in ("You will be able to", "You need", "Time:"):
        assert f"**{part}**" in prose, part
    headings = re.findall(r"^## (\w+)", prose, re.MULTILINE)
    assert headings[-3:] == ["Summary", "Exercises", "References"]
    assert not list(faults_of_exercises(path, notebook))
    summary = prose.split("## Summary")[1].split("## Exercises")[0]
    assert 1 <= len(re.findall(r"^- ", summary, re.MULTILINE)) <= 5


def faults_of_exercises(path, notebook):
    """What the exercises at the end of a notebook lack: the shared form, the kinds, the numbers."""
    found = exercises(notebook)  # raises where a stub, a check or a solution is missing
    if not 3 <= len(found) <= 6:
        yield f"{len(found)} exercises"
    kinds = {task.kind for task in found}
    if path.stem[0].isdigit():
        yield from (f"none to {kind}" for kind in {"Predict", "Break", "Change", "Write"} - kinds)
    headings = [HEADING.match(source(task.text))[1] for task in found]
    if headings != [str(i) for i in range(1, len(found) + 1)]:
        yield f"headings numbered {headings}"
    if [task.number for task in found] != [f"{path.stem.partition('_')[0]}.{i}" for i in headings]:
        yield f"checks numbered {[task.number for task in found]}"
    prose = [source(cell) for cell in cells(notebook, "markdown")]
    if "## Exercises" not in "\n".join(prose[: prose.index(source(found[0].text))]):
        yield "exercises that stand before their heading"
    for task in found:
        # In the clinic the loop is there already, and only the diagnosis is not.
        untouched = rf"… {re.escape(task.number)} Not tried yet\.( Still to do: `diagnosis`\.)?\n"
        said = ["".join(output.get("text", "")) for output in task.check["outputs"]]
        if len(said) != 1 or not re.fullmatch(untouched, said[0]):
            yield f"an answer in the output of check {task.number}"


def test_the_set_up_cell_is_the_same_everywhere():
    setups = {source(cell) for path in NOTEBOOKS for cell in cells(read(path), "code") if "setup" in tags(cell)}
    assert len(setups) == 1
    for path in NOTEBOOKS:
        assert tags(cells(read(path), "code")[0]) == {"setup", "hide-input"}
        assert cells(read(path), "code")[0]["outputs"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=with_folder)
def test_folded_cells_say_so_to_other_programs_too(path):
    """JupyterLab has its own word for it; nbconvert, which makes pages for printing, can leave a tag's cells out."""
    for cell in read(path)["cells"]:
        assert bool(cell["metadata"].get("jupyter", {}).get("source_hidden")) == ("hide-input" in tags(cell))


@pytest.mark.parametrize("number", COMPUTED)
def test_numbers_in_prose(number):
    assert value(number) == pytest.approx(COMPUTED[number]())


def code(text="", *, outputs=(), count=1, tags=()):
    cell = {"cell_type": "code", "source": [text], "outputs": list(outputs), "execution_count": count}
    return cell | {"metadata": {"tags": list(tags)}}


def prose(text):
    return {"cell_type": "markdown", "source": [text], "metadata": {}}


PRINT = {"output_type": "stream", "text": ["-" * (WIDEST + 1)]}
PNG = {"output_type": "display_data", "data": {"image/png": "..."}}
ERROR = {"output_type": "error", "evalue": "oh", "ename": "E", "traceback": ['File "/home/me/x.py", line 1']}
FAULTY = {
    "unknown NBVAL markers or tags": [code("# NBVAL_IGNORE_OUTPUTS\n1")],
    "SVG outputs": [code(outputs=[{"output_type": "display_data", "data": {"image/svg+xml": "<svg/>"}}])],
    "errors that are not declared": [code(outputs=[ERROR])],
    "declared errors that do not happen": [code("1", tags=["raises-exception"])],
    "cells out of order": [code(count=2), code(count=1)],
    "pictures without alt text": [code(outputs=[PNG])],
    f"code cells of more than {LONGEST} lines": [code("x = 1\n" * (LONGEST + 1))],
    f"code lines of more than {WIDEST} characters": [code("#" * (WIDEST + 1))],
    f"printed lines of more than {WIDEST} characters": [code(outputs=[PRINT])],
    "paths of the machine": [code(outputs=[ERROR])],
    "numbers in prose that nothing checks": [prose("It learns 87.3 % of them."), code("print(87)")],
}


@pytest.mark.parametrize("fault", FAULTY)
def test_the_lint_finds(fault):
    assert list(CHECKS[fault]({"cells": FAULTY[fault], "metadata": {}}))


def test_the_lint_lets_the_widest_line_and_the_set_up_pass():
    assert not list(wide_lines({"cells": [code("#" * WIDEST), code("#" * (WIDEST + 1), tags=["setup"])]}))
    assert not list(wide_prints({"cells": [code(outputs=[{"output_type": "stream", "text": ["-" * WIDEST + "\n"]}])]}))


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.stem)
def test_every_cell_has_its_slide_type(path):
    assert as_text(slides.with_slides(read(path))) == path.read_text("utf-8"), "run tools/slides.py"


@pytest.mark.parametrize(
    "pattern", ["lenet_utils/fused/lenet.c", "lenet_utils/recorded/*.py", "benchmarks/results/*.json"]
)
def test_what_notebooks_read_without_naming_an_encoding_needs_none(pattern):
    """Python under Windows takes the country's own."""
    paths = list(ENGLISH[0].parents[1].glob(pattern))
    assert paths and all(path.read_bytes().isascii() for path in paths)


def test_what_a_slide_has_no_room_for_goes_on_the_next():
    """A deck does not scroll to what a press shows: below its lower edge nobody would see it."""
    lines = {"output_type": "stream", "text": ["a line\n"] * 10}  # 290 pixels with its code
    cells = [prose("## A heading"), *[code("print()", outputs=[lines])] * 4, code("x = 1"), prose("More.")]
    deck = slides.with_slides({"cells": cells, "metadata": {}})
    kinds = [cell["metadata"]["slideshow"]["slide_type"] for cell in deck["cells"]]
    assert kinds == ["slide", "fragment", "subslide", "fragment", "subslide", "fragment", "subslide"]


@pytest.mark.parametrize(
    ("cell", "pixels"),  # as Chromium shows a deck
    [
        ("3_train_on_gpu 9c3cc66f", 731),  # code and a picture that is made smaller
        ("2_layer_shapes 24219f27", 425),  # code and what it prints
        ("5_modern_lenet modern058", 134),  # one paragraph
        ("1_reshape 56245696", 108),
    ],
)
def test_a_cell_is_about_as_high_as_a_browser_makes_it(cell, pixels):
    name, wanted = cell.split()
    (found,) = (cell for cell in read(ENGLISH[0].with_stem(name))["cells"] if cell["id"] == wanted)
    assert slides.height(found) == pytest.approx(pixels, abs=25)


def test_a_comment_in_a_solution_begins_no_slide():
    text = "<details><summary>Solution</summary>\n\n```python\n# first the sum\nx = 1\n```\n\n</details>"
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": [text]}
    deck = slides.with_slides({"cells": [cell], "metadata": {}})
    assert [slides.slide_type(part) for part in deck["cells"]] == ["skip"]


def test_code_that_is_folded_up_is_on_no_slide():
    """A deck has no folds: the clinic's loops would tell each diagnosis before its curve."""
    assert slides.slide_type(code("def ill_1(): ...") | {"metadata": {"jupyter": {"source_hidden": True}}}) == "skip"


def fours(found):
    """The exercises of `found`, each as its four cells."""
    return [found[i : i + 4] for i in range(0, len(found), 4)]


SPOILT = {
    "1 exercises": lambda found: found[4:],
    "none to Write": lambda found: [cell for four in fours(found) if "Write" not in source(four[0]) for cell in four],
    "headings numbered": lambda found: found[4:] + found[:4],
    "checks numbered": lambda found: found[:-2] + found[2:3] + found[-1:],
    "an answer in the output": lambda found: [
        {**cell, "outputs": [{"text": ["✓ 1.1 Right.\n"]}]} if "outputs" in cell else cell for cell in found
    ],
}


@pytest.mark.parametrize("fault", SPOILT)
def test_the_lint_finds_in_exercises(fault):
    path = next(path for path in NOTEBOOKS if path.stem == "1_reshape")
    notebook = read(path)
    found = [c for task in exercises(notebook) for c in (task.text, task.stub, task.check, task.fold)]
    first = notebook["cells"].index(found[0])
    assert not list(faults_of_exercises(path, notebook))
    found = SPOILT[fault](found[:4] + found[-4:] if fault == "1 exercises" else found)
    notebook["cells"] = notebook["cells"][:first] + found
    assert any(said.startswith(fault) for said in faults_of_exercises(path, notebook))


def test_the_lint_finds_widget_state():
    assert widget_state({"cells": [], "metadata": {"widgets": {}}})
