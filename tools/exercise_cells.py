"""Where the exercises of a notebook stand: shared by the tools that hand them out and by the tests.

An exercise is four cells in a row: a text that begins with a heading like `### 1. Predict: a title`; a code cell with
the tag `exercise`, whose stub the learner replaces; a code cell with the tag `check`; and a text in <details>, the
solution, with a complete replacement of the stub as its first block of Python.
"""

import dataclasses
import re

HEADING = re.compile(r"### (\d+)\. (Predict|Break|Change|Write): (.+)")
NUMBER = re.compile(r"""\bcheck\(\s*["']([\w.]+)["']""")
SOLUTION = "<details><summary>Solution</summary>"
CODE = re.compile(r"```python\n(.*?)\n```", re.DOTALL)


@dataclasses.dataclass
class Exercise:
    text: dict  # the four cells
    stub: dict
    check: dict
    fold: dict

    @property
    def number(self):
        """What `check` calls it, e.g. "1.4"."""
        return NUMBER.search(source(self.check))[1]

    @property
    def kind(self):
        return HEADING.match(source(self.text))[2]

    @property
    def solution(self):
        """The code that replaces the stub."""
        return CODE.search(source(self.fold))[1]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return set(cell["metadata"].get("tags", []))


def exercises(notebook):
    """The exercises of `notebook`, a dict as its file has it. Raises ValueError where one is incomplete."""
    cells = notebook["cells"]
    found = [Exercise(*cells[i : i + 4]) for i, cell in enumerate(cells) if HEADING.match(source(cell))]
    for task in found:
        if fault := fault_in(task):
            raise ValueError(f"expected {fault} in {source(task.text).splitlines()[0]!r}")
    return found


def fault_in(task):
    """What an exercise lacks, or None."""
    needed = {
        'a code cell with the tag "exercise" below the text': tags(task.stub) == {"exercise"},
        'a code cell with the tag "check" below that': tags(task.check) == {"check"},
        'check("number of the notebook.number of the exercise", ...)': NUMBER.search(source(task.check)),
        f"a last cell that begins with {SOLUTION}": source(task.fold).startswith(SOLUTION),
        "a block of Python in the solution": CODE.search(source(task.fold)),
    }
    return next((fault for fault, is_there in needed.items() if not is_there), None)
