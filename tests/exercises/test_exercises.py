"""The checkers checked: every exercise of every notebook with its stub, its solution, and typical wrong answers.

Beside this file lies one for each module of `lenet_utils/exercises`, of the same name, with

    WRONG = {"1.4": [("code that replaces the stub", "words of its message"), ...], ...}
    RIGHT = {"1.4": ["code of an answer that is right, too", ...], ...}  # or left out
    SETUP = "code that the notebook has run before: what stubs and checks use beyond the import cell"  # or left out
    TRAINS = {"5.4"}  # exercises that take seconds, so they are tried with one draw of random inputs; or left out

The words have to stand in the message for that answer, and in no message for another kind of wrong in that exercise.
"""

import ast
import contextlib
import functools
import importlib
import itertools
import json
import linecache
import numbers
import pathlib
import re
import runpy
import time

import pytest
import torch
from exercise_cells import exercises, source

from lenet_utils import ladder
from lenet_utils.exercises import ask, engine

HERE = pathlib.Path(__file__).parent
NOTEBOOKS = sorted((HERE.parent.parent / "notebooks").glob("*.ipynb"))
DRAWS = 3  # of random inputs: no verdict may depend on luck
LEAST = 4  # kinds of wrong an exercise


def read(path):
    return json.loads(path.read_text("utf-8"))


FOUND = {task.number: (path, task) for path in NOTEBOOKS for task in exercises(read(path))}


def module_of(number):
    notebook = number.partition(".")[0]
    return engine.MODULES.get(notebook, notebook)


@functools.cache
def cases(module):
    """The WRONG, SETUP, TRAINS and RIGHT that lie beside this file for `module`."""
    given = runpy.run_path(str(HERE / f"{module}.py")) if (HERE / f"{module}.py").exists() else {}
    return given.get("WRONG", {}), given.get("SETUP", ""), given.get("TRAINS", set()), given.get("RIGHT", {})


WRONG = [
    (number, code, words) for number in FOUND for code, words in cases(module_of(number))[0].get(number, [])
]  # fmt: skip
RIGHT = [(number, code) for number in FOUND for code in cases(module_of(number))[3].get(number, [])]


COUNTER = itertools.count()


def execute(code, names):
    """Run `code` as a notebook cell: in `__main__`, with its lines known to whoever looks for them."""
    name = f"<cell {next(COUNTER)}>"
    linecache.cache[name] = len(code), None, code.splitlines(keepends=True), name
    exec(compile(code, name, "exec"), names)


def imports(notebook):
    """The import cells of a notebook, without the set-up cell."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "lenet_utils.exercises" in source(cell):
            return source(cell)
    raise AssertionError("no import cell with `from lenet_utils.exercises import check`")


def verdicts(number, code, draws=None, judge=engine.judge):
    """What the check cell of exercise `number` says when `code` stands in the stub's place; for several draws."""
    path, task = FOUND[number]
    _, setup, slow, _ = cases(module_of(number))
    names, said = {"__name__": "__main__"}, []
    for cell in (imports(read(path)), setup, code):
        execute(cell, names)
    names["check"] = lambda number, *answers: said.append(judge(number, *answers))
    for _ in range(draws or (1 if number in slow else DRAWS)):
        execute(source(task.check), names)
    return said


def numbers_of(answers):
    """The numbers among what is handed over, in tuples and lists too."""
    if isinstance(answers, (tuple, list)):
        return {number for answer in answers for number in numbers_of(answer)}
    return {answers} if isinstance(answers, numbers.Real) and not isinstance(answers, bool) else set()


def tells(text, number):
    """Whether `number`, with three digits or more, stands in `text`; with two it may mean something else there."""
    spelt = {f"{number:,}", f"{number:_}", f"{number}", *(f"{number:.{digits}g}" for digits in (3, 4, 5))}
    spelt = {digits for digits in spelt if "e" not in digits and len(re.sub(r"^0[.]0*|[^\d]", "", digits)) >= 3}
    return any(re.search(rf"(?<![\d.,]){re.escape(digits)}(?![.,]?\d)", text) for digits in spelt)


@functools.cache
def wrong_messages(number, code):
    return verdicts(number, code)


@pytest.fixture(autouse=True)
def nothing_stays_replaced():
    """Some judges put functions of their own in the place of others, for as long as an answer runs."""
    yield
    for owner in (torch, torch.Tensor, torch.nn.functional, time, ladder):
        places = {name: str(getattr(function, "__module__", None)) for name, function in vars(owner).items()}
        assert not [name for name, place in places.items() if place.startswith(("lenet_utils.exercises", "unittest"))]


@pytest.mark.parametrize("number", FOUND)
def test_the_stub_is_not_tried(number):
    assert [v.kind for v in verdicts(number, source(FOUND[number][1].stub), draws=1)] == ["not tried"]


@pytest.mark.parametrize("number", FOUND)
def test_the_solution_is_right(number):
    said = verdicts(number, FOUND[number][1].solution)
    assert {v.kind for v in said} == {"right"}, said


@pytest.mark.parametrize("number, code", RIGHT)
def test_another_right_answer_is_right(number, code):
    said = verdicts(number, code)
    assert {v.kind for v in said} == {"right"}, said


@pytest.mark.parametrize("number, code, words", WRONG, ids=[f"{number}-{words}" for number, _, words in WRONG])
def test_a_wrong_answer_is_told_what_kind_of_wrong(number, code, words):
    said = wrong_messages(number, code)
    assert {v.kind for v in said} == {"wrong"}, said
    assert all(words in v.text for v in said), said
    assert all(v.text[-1] in ".?!" or "ends in an error" in v.text for v in said), "full sentences"
    assert not any(re.search(r"(shape|\w,) \(tensor\(", v.text) for v in said), "shapes of plain numbers"


@pytest.mark.parametrize("number", FOUND)
def test_every_kind_of_wrong_has_a_message_of_its_own(number):
    wrong = cases(module_of(number))[0].get(number, [])
    assert len({words for _, words in wrong}) >= LEAST
    for (code, own), (other, words) in itertools.permutations(wrong, 2):
        if words != own:
            assert not any(words in v.text for v in wrong_messages(number, code)), (words, code, other)


@pytest.mark.parametrize("number", FOUND)
def test_solutions_are_not_told(number):
    """No message and no hint holds a line of the solution."""
    task = engine.find(number)
    told = list(task.hints) + [
        v.text
        for code, _ in cases(module_of(number))[0].get(number, [])
        for v in wrong_messages(number, code)
        if "in your line" not in v.text
    ]
    lines = [line.strip() for line in FOUND[number][1].solution.splitlines()]
    lines = [line for line in lines if len(line) > 15 or re.match(r"\w+ = ", line)]  # `guess = 0.1` tells it all
    given_away = [line for line in lines if any(line in text for text in told)]
    assert not given_away


def assigns_only(number):
    return all(isinstance(step, ast.Assign) for step in ast.parse(FOUND[number][1].solution).body)


@pytest.mark.parametrize("number", [n for n in FOUND if assigns_only(n) and n not in cases(module_of(n))[2]])
def test_numbers_of_solutions_are_not_told(number):
    """But to whoever has written them already."""
    (right,) = verdicts(number, FOUND[number][1].solution, draws=1, judge=lambda number, *answers: numbers_of(answers))
    assert not any(tells(hint, n) for hint in engine.find(number).hints for n in right)
    for code, _ in cases(module_of(number))[0].get(number, []):
        missing = [n for n in right if not tells(code, n)]
        assert not any(tells(v.text, n) for v in wrong_messages(number, code) for n in missing), code


@pytest.mark.parametrize("number, text", [(938, "It is 938."), (370236, "370,236 bytes"), (16 / 7, "2.29 times")])
def test_a_number_is_found_in_a_message_but_not_in_a_longer_one(number, text):
    assert tells(text, number) and not tells("1938, 938.5, 9,380, 1,370,236 and 12.29", number)


def test_every_exercise_stands_in_a_notebook():
    for module in HERE.parent.parent.joinpath("lenet_utils", "exercises").glob("[!_]*.py"):
        engine.importlib.import_module(f"lenet_utils.exercises.{module.stem}")
    assert sorted(engine.exercises) == sorted(FOUND)


@pytest.mark.parametrize("number", FOUND)
def test_solutions_are_code_as_in_a_cell(number):
    solution = FOUND[number][1].solution
    ast.parse(solution)
    assert all(len(line) <= 78 for line in solution.splitlines())


def test_windows_of_2_4_fit_whatever_is_drawn(monkeypatch):
    """The smallest maps: four windows of 5 without padding, each two steps at a time."""
    shapes = importlib.import_module("lenet_utils.exercises.shapes")
    smallest = {(2, 4): 4, (2, 5): 5, (0, 2): 0, (1, 2): 2}
    monkeypatch.setattr(shapes, "between", lambda low, high: smallest.get((low, high), low))
    monkeypatch.setattr(shapes, "distinct", lambda low, high, count: [low, low + 1])
    shape, windows, _ = shapes.many_windows()
    assert len(shapes.shapes_by_torch(shape, windows)) == 4


@pytest.mark.parametrize("value, rounded", [(0.81, True), (0.807, False), (0.8067, False), (0.8, False), (0.82, False)])
def test_what_is_rounded_too_far_is_told_so(value, rounded):
    with pytest.raises(engine.Wrong, match="right but for rounding") if rounded else contextlib.nullcontext():
        ask.complain_about_rounding(value, 242 / 300, within=6e-4)


def test_2_3_praises_lenet_5_only_for_its_layers():
    net32 = runpy.run_path(str(HERE / "shapes.py"))["NET32"]
    sigmoid_last = net32.replace("84), nn.Sigmoid()", "84)") + "net32.append(nn.Sigmoid())\n"
    windows = net32.replace("16, kernel_size=5", "16, kernel_size=6").replace("6, kernel_size=5", "6, kernel_size=3")
    for code, words in [
        (net32, "was meant"),
        (net32.replace("AvgPool2d", "MaxPool2d"), "keeps the windows"),
        (sigmoid_last, "keeps the windows"),
        (windows, "other windows"),
    ]:
        (verdict,) = verdicts("2.3", code, draws=1)
        assert verdict.kind == "right" and words in verdict.text, verdict


def test_what_a_learning_rate_ruins_is_no_luck():
    start = importlib.import_module("lenet_utils.exercises.start")
    assert start.accuracy_after_steps(2.5) == start.accuracy_after_steps(2.5)


def test_rounding_shows_in_6_5_whatever_is_drawn(monkeypatch):
    """Even where no other convolution leaves a pixel over."""
    speed = importlib.import_module("lenet_utils.exercises.speed")
    monkeypatch.setattr(speed, "random_convolution", lambda plain: (torch.nn.Conv2d(3, 4, 2), 9, 8))
    rounded = runpy.run_path(str(HERE / "speed.py"))["ROUNDED"]
    assert {v.kind for v in verdicts("6.5", rounded, draws=30)} == {"wrong"}
