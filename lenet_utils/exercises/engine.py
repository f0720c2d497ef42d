"""How an exercise answers back: run what the learner made, and say whether it is right, or what kind of wrong.

An exercise is a function that takes the learner's answers, returns when they are right, and raises `Wrong` when not:

    @exercise("1.9", hints=("What does a count start with?", "Python counts from 0."))
    def last_index(f):
        n = int(torch.randint(2, 99, ()))
        if returned(f(n)) == n:
            raise Wrong("It gives the length, and not the last index.")
        if f(n) != n - 1:
            raise Wrong("It gives some other number.")
        return "A list of n things ends at n - 1."

`Wrong` says in full sentences what kind of wrong it is, and never what the answer would be. Answers that nobody has
touched yet (None, a function that is `...`) and everything that the learner's code raises are looked after here.
Random numbers are fresh on every call, so a wrong answer has to be found for every draw.
"""

import collections
import collections.abc
import contextlib
import copy
import dataclasses
import dis
import importlib.util
import inspect
import io
import linecache
import os
import random
import sys
import textwrap
import traceback

import numpy
import torch

from ..support.checks import OTHER_VERSIONS

MODULES = {
    "0": "start",
    "1": "reshape",
    "2": "shapes",
    "3": "training",
    "4": "inside",
    "5": "modern",
    "6": "speed",
    "7": "machines",
}  # of the numbered notebooks; another one's exercises are called as their module is, e.g. "clinic.3"
WIDTH = 76  # characters: JupyterLab breaks longer lines in the middle of a word
SIGNS = {
    "right": "✓ {} Right.",
    "wrong": "✗ {} Not yet.",
    "not handed over": "✗ {} Not yet.",  # no try, and no hint of the exercise would help
    "not tried": "… {} Not tried yet.",
    "stopped": "✗ {} Stopped.",
}


class Wrong(Exception):
    """An answer is wrong. Its text says in full sentences what kind of wrong, without the right answer."""


class NotTried(Exception):
    """There is no answer yet."""


class NotRight(AssertionError):
    """What `check` raises while nbgrader grades or validates, where an answer is anything but right."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    kind: str  # one of SIGNS
    text: str  # what kind of wrong, or what there is to say about a right answer


@dataclasses.dataclass(frozen=True)
class Exercise:
    judge: collections.abc.Callable
    hints: tuple


exercises = {}  # number: Exercise
wrong_tries = collections.Counter()  # number: since the last right answer


def exercise(number, hints):
    """Decorator: the function that judges the answers to exercise `number`, e.g. "1.4".

    `hints`: a weak one, which comes with the second wrong try, and a strong one, which comes with every later one.
    """
    weak, strong = hints

    def keep(judge):
        if number in exercises and exercises[number].judge.__module__ != judge.__module__:
            raise ValueError(f"expected a new exercise's number, got {number!r}, which there is already")
        exercises[number] = Exercise(judge, (weak, strong))
        return judge

    return keep


def tried(answer):
    """`answer`, if it is one. Raises NotTried for None, `...`, functions and classes with a body of only `...`.

    And for tuples and dicts with one of these in them.
    """
    if is_empty(answer):
        raise NotTried
    return answer


def is_empty(answer):
    if isinstance(answer, (tuple, dict)):  # a list with None in it is what some code of the learner's made
        return any(map(is_empty, answer.values() if isinstance(answer, dict) else answer))
    return answer is None or answer is ... or any(map(does_nothing, functions_of(answer)))


def functions_of(answer):
    """`answer` as a list if it is a function; the methods of a class's own, but of a layer or its class `forward` only.

    A layer may well have methods that do nothing, and counts only if its class is the notebook's.
    """
    if isinstance(answer, torch.nn.Module) and type(answer).__module__ == "__main__":
        answer = type(answer)
    members = [answer]
    if inspect.isclass(answer):
        own = vars(answer)
        members = [own.get("forward")] if issubclass(answer, torch.nn.Module) else own.values()
    undecorated = [inspect.unwrap(member) for member in members if inspect.isfunction(member)]  # of `@torch.no_grad()`
    return list(filter(inspect.isfunction, undecorated))


def does_nothing(function):
    """Whether its body is nothing but `...`, `pass` or a docstring."""
    steps = [(step.opname, step.argval) for step in dis.get_instructions(function) if step.opname != "RESUME"]
    return steps in ([("LOAD_CONST", None), ("RETURN_VALUE", None)], [("RETURN_CONST", None)])


def returned(value, what="it"):
    """`value`, what a function of the learner's gave back. Raises Wrong for None: a forgotten `return`."""
    if value is None:
        raise Wrong(f"{what[0].upper()}{what[1:]} returns nothing: is there a `return` with the result at the end?")
    return value


def attempt(function, *arguments, when):
    """What `function` of the learner's returns. Raises Wrong where it raises, or returns nothing.

    `when`: the case, as a beginning of a sentence, e.g. "With a batch of one".
    """
    if not callable(function):
        raise Wrong(f"A function is asked for, and that is of the type `{type(function).__name__}`.")
    try:
        return returned(function(*arguments), f"{when} it")
    except (Wrong, NotTried):
        raise
    except (Exception, SystemExit) as error:
        raise Wrong(f"{when} it {what_happened(error)}.") from error


def check(number, *answers):
    """Print whether `answers` solve exercise `number`, e.g. "1.4", and if not, what kind of wrong they are.

    The second wrong try brings a hint, the third a stronger one; a right one starts the count again.
    Nothing is raised, whatever the answers do, except `NotRight` while nbgrader grades or validates.
    """
    verdict = judge(number, *answers)
    if is_graded() and verdict.kind != "right":
        raise NotRight(as_text(number, verdict))
    print(printable(as_text(number, verdict, count_try(number, verdict))))


def judge(number, *answers):
    """The `Verdict` on `answers` to exercise `number`. Raises ValueError where there is no such exercise."""
    task = find(number)
    try:
        inspect.signature(task.judge).bind(*answers)
    except TypeError:
        names = ", ".join(inspect.signature(task.judge).parameters)
        return Verdict("not handed over", f"The cell with the check should hand over, in this order: {names}.")
    try:
        with undisturbed():
            return Verdict("right", task.judge(*map(copied, map(tried, answers))) or "")
    except NotTried:
        return Verdict("not tried", still_to_do(task.judge, answers))
    except Wrong as wrong:
        return Verdict("wrong", str(wrong))
    except KeyboardInterrupt as stop:
        return Verdict("stopped", f"It was still running{learners_line(stop)}. Does it ever come to an end?")
    except (Exception, SystemExit) as error:
        return Verdict("wrong", f"It {what_happened(error)}.")


def copied(answer):
    """A copy of a network, as judges may change it; every other answer itself."""
    try:
        return copy.deepcopy(answer) if isinstance(answer, torch.nn.Module) else answer
    except RuntimeError:  # PyTorch copies no tensor that was computed with a graph
        raise Wrong("The network keeps a tensor of an earlier run: make it anew before the check.") from None


def still_to_do(judge, answers):
    """Which of several answers are empty, where others are not; or ""."""
    names = inspect.signature(judge).parameters
    empty = [getattr(a, "__name__", name) for name, a in zip(names, answers) if is_empty(a)]
    return f"Still to do: {', '.join(f'`{name}`' for name in empty)}." if 0 < len(empty) < len(answers) else ""


def find(number):
    notebook = str(number).partition(".")[0]
    module = f"{__package__}.{MODULES.get(notebook, notebook)}"
    if importlib.util.find_spec(module):
        importlib.import_module(module)
    if number not in exercises:
        raise ValueError(f"expected the number of an exercise, e.g. '1.4', got {number!r}. {OTHER_VERSIONS}")
    return exercises[number]


@contextlib.contextmanager
def undisturbed():
    """Within it random numbers are fresh, prints unseen, and new tensors single precision on the CPU, whatever was set.

    After it these are as they were: the random state, the number of threads, grad mode, the default type and device,
    matplotlib's settings and figures.
    """
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    device = torch.empty(0).device  # where new tensors go; PyTorch 2.4's `get_default_device` fails after a None
    python_state, numpy_state = random.getstate(), numpy.random.get_state()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(gpus), drawings_kept(), hidden_output():
            torch.default_generator.seed()
            random.seed()
            numpy.random.seed()
            torch.set_grad_enabled(True)
            torch.set_default_dtype(torch.float32)
            torch.set_default_device(None)
            yield
    finally:
        random.setstate(python_state)
        numpy.random.set_state(numpy_state)
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        torch.set_default_device(device if device.type != "cpu" else None)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def hidden_output():
    """Hides what the learner's code prints, a hundred times over perhaps; nbgrader takes any warning for a failure."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def drawings_kept():
    """Closes the figures that are opened within it, and restores matplotlib's settings, if it was imported before."""
    matplotlib = sys.modules.get("matplotlib")
    figures = open_figures()
    with matplotlib.rc_context() if matplotlib else contextlib.nullcontext():
        try:
            yield
        finally:
            for figure in open_figures() - figures:
                sys.modules["matplotlib.pyplot"].close(figure)


def open_figures():
    pyplot = sys.modules.get("matplotlib.pyplot")
    return set(pyplot.get_fignums()) if pyplot else set()


def what_happened(error):
    """e.g. "ends in an error in your line 3, `y = x[4]`: IndexError: index 4 is out of bounds"."""
    place = learners_line(error)
    text = f"ends in an error{place}: {type(error).__name__}: {error}".rstrip(": .\n")  # PyTorch's may end a list
    words = "float", "integer", "positional argument but"  # the last is PyTorch's, which takes four sizes for one
    of_a_float = isinstance(error, TypeError) and any(word in str(error) for word in words)
    if of_a_float and "/" in place and "//" not in place:
        text += " (in Python `/` gives a number with a decimal point, and `//` a whole one)"  # PyTorch does not say it
    return text


def learners_line(error):
    """Where in the learner's own code `error` came: " in your line 3, `y = x[4]`", or "" where it did not."""
    steps = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if is_learners(frame)]
    if not steps:
        return ""
    frame, number = steps[-1]
    line = linecache.getline(frame.f_code.co_filename, number).strip()
    return f" in your line {number}" + (f", `{line}`" if line else "")


def is_learners(frame):
    return frame.f_globals.get("__name__") == "__main__"


def count_try(number, verdict):
    """The hint that is due after this verdict, or ""."""
    if verdict.kind == "right":
        del wrong_tries[number]
    if verdict.kind != "wrong":
        return ""
    wrong_tries[number] += 1
    weak, strong = exercises[number].hints
    return {1: "", 2: weak}.get(wrong_tries[number], strong)


def as_text(number, verdict, hint=""):
    """What a learner reads, in lines of at most WIDTH characters (but for words and code that are longer)."""
    parts = [f"{SIGNS[verdict.kind].format(number)} {verdict.text}".strip()] + ([f"Hint: {hint}"] if hint else [])
    lines = [line for part in parts for line in part.splitlines()]
    indents = [""] + ["  "] * (len(lines) - 1)
    return "\n".join(
        textwrap.fill(line, WIDTH, initial_indent=indent, subsequent_indent="  ", break_long_words=False)
        for line, indent in zip(lines, indents)
    )


def printable(text):
    """`text` as the output can show it: one that knows no ✓ (a file under Windows, say) gets a question mark."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def is_graded():
    """Whether nbgrader is running this notebook, to grade it or to show the learner that it would pass."""
    return bool(os.environ.get("NBGRADER_EXECUTION"))
