"""How `check` answers: its one line, its hints, what it leaves as it was, and what it does while nbgrader grades."""

import io
import random
import sys

import numpy
import pytest
import torch

from lenet_utils.exercises import check, engine
from lenet_utils.exercises.engine import NotRight, Verdict, Wrong, attempt, judge, returned, tried


@pytest.fixture
def exercise(monkeypatch):
    """A function that makes an exercise 9.1 of a judge."""
    monkeypatch.setattr(engine, "exercises", {})
    monkeypatch.setattr(engine, "wrong_tries", engine.collections.Counter())
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    return engine.exercise("9.1", hints=("A weak hint.", "A strong hint."))


@pytest.fixture
def half(exercise):
    """An exercise whose right answer is 0.5."""

    @exercise
    def judge_half(answer):
        if answer != 0.5:
            raise Wrong("It is not one half.")
        return "Well halved."


def learner(code):
    """The names that `code`, run as a notebook cell, defines."""
    names = {"__name__": "__main__"}
    engine.linecache.cache["<a cell>"] = len(code), None, code.splitlines(keepends=True), "<a cell>"
    exec(compile(code, "<a cell>", "exec"), names)
    return names


def said(capsys, answer):
    assert check("9.1", answer) is None
    printed = capsys.readouterr()
    assert not printed.err
    return printed.out


def test_right_wrong_and_not_tried(half, capsys):
    assert said(capsys, 0.5) == "✓ 9.1 Right. Well halved.\n"
    assert said(capsys, 0.4) == "✗ 9.1 Not yet. It is not one half.\n"
    assert said(capsys, None) == "… 9.1 Not tried yet.\n"


def test_hints_grow_stronger_and_a_right_answer_starts_again(half, capsys):
    wrong = "✗ 9.1 Not yet. It is not one half.\n"
    weak, strong = wrong + "  Hint: A weak hint.\n", wrong + "  Hint: A strong hint.\n"
    assert [said(capsys, 0.1) for _ in range(4)] == [wrong, weak, strong, strong]
    assert said(capsys, None) == "… 9.1 Not tried yet.\n"
    assert said(capsys, 0.1) == strong
    said(capsys, 0.5)
    assert [said(capsys, 0.2) for _ in range(2)] == [wrong, weak]


def test_a_verdict_is_told_where_the_output_knows_no_tick(half, monkeypatch):
    file = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # what Python writes to a file with under Windows
    monkeypatch.setattr(sys, "stdout", file)
    check("9.1", 0.5)
    file.flush()
    assert file.buffer.getvalue().startswith(b"? 9.1 Right. Well halved.")


def test_a_hint_is_counted_for_its_own_exercise(half, capsys):
    engine.exercise("9.2", hints=("Another.", "One more."))(engine.exercises["9.1"].judge)
    said(capsys, 0.1)
    check("9.2", 0.1)
    assert "Hint" not in capsys.readouterr().out


def test_lines_are_not_wider_than_jupyterlab_shows(exercise, capsys):
    @exercise
    def judge_long(answer):
        raise Wrong("It is a long story, with many words. " * 5)

    said(capsys, 1)
    lines = said(capsys, 1).splitlines()
    assert len(lines) > 3 and all(len(line) <= 76 for line in lines)
    assert lines[-1].endswith("weak hint.") and all(line.startswith("  ") for line in lines[1:])


STUBS = {
    "None": "answer = None",
    "dots": "answer = ...",
    "function": "def answer(x): ...",
    "described": 'def answer(x):\n    "Half of x."\n    pass',
    "class": "class answer:\n    def __init__(self, x): self.x = x\n    def half(self): ...",
    "layer": "import torch\nclass L(torch.nn.Module):\n    def forward(self, X): ...\nanswer = L()",
    "decorated": "import torch\n@torch.no_grad()\ndef answer(x): ...",
    "part": "answer = {'a': 1, 'b': None}",
    "rest": "answer = (None, 2)",
}
TRIED = {
    "zero": "answer = 0",
    "empty": "answer = ''",
    "forgotten": "def answer(x): x + 1",
    "other": "answer = len",
    "two Nones": "answer = [None, None]",
    "layer": "import torch\nanswer = torch.nn.Linear(2, 1)",
    "class": "class answer: x = None",
    "named as another": "import functools\n@functools.wraps(len)\ndef answer(x): return 1",
    "layer that resets nothing": "import torch\nclass L(torch.nn.Linear):\n    def reset_parameters(self): pass\n"
    "answer = L(2, 1)",
}


@pytest.mark.parametrize("stub", STUBS)
def test_an_untouched_stub_is_not_tried(exercise, stub):
    exercise(lambda answer: "never asked")
    assert judge("9.1", learner(STUBS[stub])["answer"]).kind == "not tried"


@pytest.mark.parametrize("answer", TRIED)
def test_anything_else_is_tried(exercise, answer):
    exercise(lambda answer: "")
    assert judge("9.1", learner(TRIED[answer])["answer"]).kind == "right"


def test_of_several_answers_the_empty_ones_are_named(exercise, capsys):
    exercise(lambda halve, largest, moved: "never asked")
    halve = learner("def halve(x): ...")["halve"]
    for answers, text in [
        ((halve, 2, {1: None}), " Still to do: `halve`, `moved`."),
        ((len, None, {}), " Still to do: `largest`."),
        ((halve, None, None), ""),
    ]:
        check("9.1", *answers)
        assert capsys.readouterr().out == f"… 9.1 Not tried yet.{text}\n"


def test_what_a_stub_returns_can_be_looked_at_too(exercise):
    exercise(lambda f: tried(f()))
    assert judge("9.1", lambda: None).kind == "not tried"


def test_a_forgotten_return_is_named():
    with pytest.raises(Wrong, match=r"^It returns nothing: is there a `return`"):
        returned(None)
    with pytest.raises(Wrong, match=r"^With two pictures it returns nothing"):
        attempt(lambda n: None, 2, when="With two pictures")
    assert attempt(lambda n: n - 2, 2, when="With two pictures") == 0


BROKEN = """
def answer(x):
    y = [x]
    return y[1]
"""


def test_an_error_is_told_with_the_learners_line(exercise):
    exercise(lambda f: f(1))
    text = judge("9.1", learner(BROKEN)["answer"]).text
    assert text == "It ends in an error in your line 4, `return y[1]`: IndexError: list index out of range."


@pytest.mark.parametrize(
    "line, noted",
    [
        ("range(x / 2)", True),
        ("range(x // 2.0)", False),
        ("range(x * 0.5)", False),
        ("x / '2'", False),
        ("(x / 2, answer())", False),
        ("float('1/2')", False),
    ],
)
def test_a_division_is_blamed_for_floats_only(exercise, line, noted):
    exercise(lambda f: f(1))
    text = judge("9.1", learner(f"def answer(x):\n    return {line}")["answer"]).text
    assert "Error: " in text and ("in Python `/` gives" in text) == noted


def test_the_line_is_the_learners_even_where_a_library_fails(exercise):
    code = "import torch\ndef answer(x):\n    return torch.nn.Linear(2, 1)(x)"
    exercise(lambda f: attempt(f, torch.rand(1, 3), when="For three numbers"))
    text = judge("9.1", learner(code)["answer"]).text
    assert text.startswith("For three numbers it ends in an error in your line 3, `return torch.nn.Linear(2, 1)(x)`: ")
    assert "mat1 and mat2 shapes cannot be multiplied" in text


def test_an_error_elsewhere_is_told_without_a_line(exercise):
    exercise(lambda answer: answer + 1)
    assert judge("9.1", "1").text.startswith("It ends in an error: TypeError: can only concatenate str")


@pytest.mark.parametrize(
    "code", ["exit()", "raise SystemExit(1)", "answer(x)"], ids=["exit", "SystemExit", "recursion"]
)
def test_nothing_gets_out(exercise, code, capsys):
    exercise(lambda f: f(1))
    assert "✗ 9.1 Not yet. It ends in an error" in said(capsys, learner(f"def answer(x):\n    {code}")["answer"])


def test_stop_ends_an_endless_loop(exercise, capsys):
    """Stop arrives as KeyboardInterrupt wherever the code is."""
    exercise(lambda f: f(1))
    endless = "def answer(x):\n    while True:\n        if x > 1000: raise KeyboardInterrupt\n        x += 1"
    text = said(capsys, learner(endless)["answer"])
    assert text.startswith("✗ 9.1 Stopped. It was still running in your line 3, `if x > 1000: raise")
    assert not engine.wrong_tries["9.1"]


def test_too_few_answers_in_the_check_cell(exercise, capsys):
    """It is no try, and brings no hint."""
    exercise(lambda small, large: "")
    text = "✗ 9.1 Not yet. The cell with the check should hand over, in this order:\n  small, large.\n"
    assert [said(capsys, 1) for _ in range(3)] == [text] * 3
    assert not engine.wrong_tries["9.1"]


def test_there_has_to_be_such_an_exercise():
    for number in ("1.99", "12.1", "nothing.1", 1.4, "engine.1"):
        with pytest.raises(ValueError, match=r"expected the number of an exercise.* of different versions: restart"):
            check(number, 1)


def test_every_number_belongs_to_one_exercise(exercise):
    exercise(lambda answer: "")
    other = eval("lambda answer: ''", {"__name__": "elsewhere"})
    with pytest.raises(ValueError, match="which there is already"):
        exercise(other)


def disturb(net):
    """Everything that a judge, and a learner's code in it, may do."""
    from matplotlib import pyplot as plt

    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    plt.figure()
    plt.rcParams["font.size"] = 31
    net.eval()
    with torch.no_grad():
        net[0].weight.fill_(7.0)
    print("training on cpu")


def surroundings(net):
    from matplotlib import pyplot as plt

    states = torch.get_rng_state().tolist(), random.getstate(), str(numpy.random.get_state())
    torch_settings = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    return *states, *torch_settings, plt.get_fignums(), dict(plt.rcParams), net.training, net[0].weight.tolist()


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("ending", [None, Wrong("No."), ValueError("oh"), KeyboardInterrupt()], ids=repr)
def test_everything_stays_as_it_was(exercise, grad, ending, capsys):
    @exercise
    def judge_net(net):
        disturb(net)
        if ending:
            raise ending

    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with torch.set_grad_enabled(grad):
        before = surroundings(net)
        text = said(capsys, net)
        assert surroundings(net) == before
    assert "training" not in text


def test_inputs_are_fresh_whatever_the_learner_seeded(exercise):
    drawn = []
    exercise(lambda answer: drawn.append((torch.rand(3).tolist(), random.random(), numpy.random.rand())))
    for _ in range(2):
        torch.manual_seed(0), random.seed(0), numpy.random.seed(0)
        judge("9.1", 1)
    assert all(once != again for once, again in zip(*drawn))


def test_judges_work_in_single_precision_whatever_the_learner_set(exercise):
    exercise(lambda answer: str(torch.rand(1).dtype))
    torch.set_default_dtype(torch.float64)
    try:
        assert judge("9.1", 1) == Verdict("right", "torch.float32")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_judges_work_on_the_cpu_whatever_the_learner_set(exercise):
    exercise(lambda answer: str(torch.rand(1).device))
    torch.set_default_device("meta")  # a device without a GPU
    try:
        assert judge("9.1", 1) == Verdict("right", "cpu")
        assert torch.get_default_device() == torch.device("meta")
    finally:
        torch.set_default_device(None)


def test_a_network_that_cannot_be_copied_is_told_so(exercise):
    exercise(lambda net: "never asked")
    net = torch.nn.Linear(2, 1)
    net.kept = net(torch.rand(1, 2))
    assert "a tensor of an earlier run" in judge("9.1", net).text


@pytest.mark.parametrize("how", ["autograde", "validate"])
def test_while_nbgrader_runs_it_only_what_is_right_passes(half, how, monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", how)
    assert said(capsys, 0.5) == "✓ 9.1 Right. Well halved.\n"
    for answer, text in [(0.4, "✗ 9.1 Not yet. It is not one half."), (None, "… 9.1 Not tried yet.")]:
        for _ in range(2):
            with pytest.raises(NotRight) as raised:
                check("9.1", answer)
            assert str(raised.value) == text


def test_a_warning_of_the_learners_code_is_not_shown(exercise, capsys):
    """nbgrader takes whatever stands on standard error for a failure."""
    import sys

    exercise(lambda answer: print("a warning", file=sys.stderr))
    assert said(capsys, 1) == "✓ 9.1 Right.\n"
