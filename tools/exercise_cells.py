"""Where the exercises of a notebook stand; `uv run tools/exercise_cells.py` gives their cells what nbgrader needs.

An exercise is four cells in a row: a text that begins with a heading like `### 1. Predict: a title`; a code cell with
the tag `exercise`, whose stub the learner replaces; a code cell with the tag `check`; and a text in <details>, the
solution, with a complete replacement of the stub as its first block of Python. Authors write these; the metadata for
nbgrader follow from them, and chinese.py copies them. The tools that hand the notebooks out, and the tests, find the
exercises here.
"""

import dataclasses
import re

from cells import as_text, asked, read, source, tags, write

HEADING = re.compile(r"### (\d+)\. (\w+)(?:: |\uff1a)(.+)")  # the second colon is the Chinese one
NUMBER = re.compile(r"""\bcheck\(\s*["']([\w.]+)["']""")
SOLUTION = ("<details><summary>Solution</summary>", "<details><summary>解答</summary>")
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


def exercises(notebook):
    """The exercises of `notebook`, a dict as its file has it. Raises ValueError where one is incomplete."""
    cells = notebook["cells"] + [{"cell_type": "markdown", "metadata": {}, "source": ""}] * 3  # for a last heading
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
        f"a last cell that begins with {SOLUTION[0]}": source(task.fold).startswith(SOLUTION),
        "a block of Python in the solution": CODE.search(source(task.fold)),
    }
    return next((fault for fault, is_there in needed.items() if not is_there), None)


def mark(notebook):
    """Put nbgrader's metadata on the exercises of `notebook`, in place: stubs to fill in, checks that bring points."""
    for cell in notebook["cells"]:
        cell["metadata"].pop("nbgrader", None)
    for task in exercises(notebook):
        name = task.number.replace(".", "-")
        shared = {"schema_version": 3, "task": False}
        stub = {"grade": False, "grade_id": f"exercise-{name}", "locked": False, "solution": True}
        check = {"grade": True, "grade_id": f"check-{name}", "locked": True, "points": points(task), "solution": False}
        task.stub["metadata"]["nbgrader"] = dict(sorted((stub | shared).items()))
        task.check["metadata"]["nbgrader"] = dict(sorted((check | shared).items()))
        for cell in (task.stub, task.check):
            cell["metadata"] = dict(sorted(cell["metadata"].items()))  # as Jupyter writes them


def points(task):
    return 2 if task.kind == "Write" else 1


def main():
    for path in asked(__doc__):
        notebook = read(path)
        mark(notebook)
        write(path, as_text(notebook))


if __name__ == "__main__":
    main()
