"""Write the notebooks without their solutions to a new folder: `uv run tools/hand_out.py ../for_my_class`.

Name notebooks behind the folder, `0_start_here 1_reshape`, and only these are handed out.
With `--nbgrader` the folder becomes a course for nbgrader instead: an assignment for each notebook, in which the
solutions stand where nbgrader looks for them, so that `nbgrader generate_assignment 1_reshape` takes them out.
With `--chinese` the notebooks in Chinese are handed out, with `--clear` without the results of an earlier run.
Links to notebooks that are handed out as well still lead there; those to other pages of the course become plain words,
and the badges that open the course elsewhere are left out. Pictures that a notebook's text shows from a file beside it
come along, as do the licences of the course and of the data.
The folder has to be new or empty, so nobody's work is overwritten; and it appears whole or not at all.
"""

import argparse
import pathlib
import re
import shutil
import sys
import tempfile
import urllib.parse

from cells import NOTEBOOKS, as_text, read, source, write
from exercise_cells import exercises
from launch_links import NOTEBOOK_SPOT

FOLD = re.compile(r"\n*^<details\b[^>]*>.*?</details>\n*", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[([^\[\]]*)\]\(((?:\.\./)*\w[\w/]*\.(?:ipynb|md))(#[^()\s]*)?\)")  # to another page of the course
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
PICTURE = re.compile(r"""!\[[^\]]*\]\((?:<([^>]+)>|([^()\s]+))[^()]*\)|<img\b[^>]*\bsrc=["']([^"']+)""")
ELSEWHERE = re.compile(r"\w+:|//")  # on the web, or in the notebook itself
COURSE = NOTEBOOKS.parent
LICENCES = {"LICENSE": "LICENSE", "LICENSE-pictures": "lenet_utils/FashionMNIST/LICENSE"}
NBGRADER_CONFIG = """\
# For nbgrader, made by tools/hand_out.py of the LeNet course.
c = get_config()  # noqa
c.ClearSolutions.code_stub = {"python": ""}  # the stubs stand in the notebooks already
c.Execute.timeout = 600  # seconds a cell: some of them train
"""


def without_badges(notebook):
    """`notebook` without the badges of launch_links.py: what they open has the solutions."""
    first, *others = notebook["cells"]
    text = NOTEBOOK_SPOT.sub(lambda found: found["title"], source(first))
    return {**notebook, "cells": [{**first, "source": text.splitlines(keepends=True)}, *others]}


def without_folds(notebook):
    """`notebook` without whatever is folded up in its texts; cells of which nothing is left go too."""
    kept = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = FOLD.sub("\n\n", source(cell)).strip("\n")
            cell = {**cell, "source": text.splitlines(keepends=True)}
        if source(cell) or cell["cell_type"] != "markdown":
            kept.append(cell)
    return {**notebook, "cells": kept}


def relinked(notebook, names, nbgrader=False):
    """`notebook` with links to the notebooks `names` only; for nbgrader each of them lies in a folder of its own."""

    def link(match):
        label, target, anchor = match.groups(default="")
        if target not in names:
            return label
        return f"[{label}](../{pathlib.PurePath(target).stem}/{target}{anchor})" if nbgrader else match[0]

    cells = [
        {**cell, "source": LINK.sub(link, source(cell)).splitlines(keepends=True)}
        if cell["cell_type"] == "markdown"
        else cell
        for cell in notebook["cells"]
    ]
    return {**notebook, "cells": cells}


def cleared(notebook):
    """`notebook` without the results of an earlier run."""
    fresh = {"outputs": [], "execution_count": None}
    return {**notebook, "cells": [cell | fresh if "outputs" in cell else cell for cell in notebook["cells"]]}


def for_nbgrader(notebook):
    """`notebook` as nbgrader's source: below each stub its solution, in the lines that nbgrader takes out."""
    solutions = {id(task.stub): task.solution for task in exercises(notebook)}
    cells = [
        {**cell, "source": with_solution(source(cell), solutions[id(cell)]).splitlines(keepends=True)}
        if id(cell) in solutions
        else cell
        for cell in notebook["cells"]
    ]
    return without_folds({**notebook, "cells": cells})


def with_solution(stub, solution):
    return f"{stub}\n### BEGIN SOLUTION\n{solution}\n### END SOLUTION"


def chosen_among(paths, names):
    """Those of `paths` that `names` names; all of them if it names none. Raises ValueError for a name too many."""
    if not paths:
        raise ValueError("expected notebooks to hand out, and there is none: take a fresh copy of the course")
    known, names = [path.stem for path in paths], [name.removesuffix(".ipynb") for name in names]
    if not set(names) <= set(known):
        raise ValueError(f"expected names of notebooks, from {', '.join(known)}; got {', '.join(names)}")
    return [path for path in paths if not names or path.stem in names]


def copy_pictures(notebook, beside, to):
    """Copies what the texts of `notebook` show, as `![](file)` or `<img src="file">`, from files.

    Raises ValueError where one is missing, or elsewhere."""
    texts = [FENCE.sub("", source(cell)) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    for text in texts:
        for found in PICTURE.finditer(text):
            name = urllib.parse.unquote(found[1] or found[2] or found[3])
            if ELSEWHERE.match(name):
                continue
            path = pathlib.PurePath(name)
            if path.is_absolute() or ".." in path.parts or not (beside / path).is_file():
                raise ValueError(f"expected a picture beside its notebook, or in a folder there, got {name}")
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(beside / name, to / name)


def written(folder, notebooks, nbgrader, clear, names=()):
    """Write notebooks and licences into the empty `folder`. Raises ValueError where an exercise is incomplete."""
    paths = chosen_among(sorted(notebooks.glob("*.ipynb")), names)
    for path in paths:
        notebook = without_badges(read(path))
        exercises(notebook)
        target = folder / "source" / path.stem / path.name if nbgrader else folder / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        notebook = for_nbgrader(notebook) if nbgrader else without_folds(notebook)
        notebook = relinked(notebook, [path.name for path in paths], nbgrader)
        notebook = cleared(notebook) if clear else notebook
        copy_pictures(notebook, path.parent, target.parent)
        write(target, as_text(notebook))
    for name, path in LICENCES.items():
        shutil.copyfile(COURSE / path, folder / name)
    if nbgrader:
        (folder / "nbgrader_config.py").write_text(NBGRADER_CONFIG, encoding="utf-8")


def hand_out(out, nbgrader=False, chinese=False, clear=False, names=()):
    """Make the folder `out`, of all notebooks or those of `names`. Raises FileExistsError unless it is new or empty."""
    out = pathlib.Path(out).resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"expected a new or an empty folder, got {out}, where something is already: name another")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".handing-out-") as unfinished:
        made = pathlib.Path(unfinished) / "made"
        made.mkdir()
        written(made, NOTEBOOKS / "zh" if chinese else NOTEBOOKS, nbgrader, clear, names)
        if out.exists():
            out.rmdir()
        shutil.move(made, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a notebook, e.g. 1_reshape; by default all")
    parser.add_argument("--nbgrader", action="store_true", help="make a course for nbgrader, solutions included")
    parser.add_argument("--chinese", action="store_true", help="the notebooks in Chinese")
    parser.add_argument("--clear", action="store_true", help="without the results of an earlier run")
    chosen = parser.parse_args()
    try:
        hand_out(chosen.folder, chosen.nbgrader, chosen.chinese, chosen.clear, chosen.names)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print("written to", chosen.folder)
