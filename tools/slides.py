"""Give every cell of the notebooks its place in a deck of slides: `uv run tools/slides.py`, after cells have changed.

`jupyter nbconvert --to slides` then makes a deck in which each heading begins a slide, each further explanation goes
below it, and a cell is shown with its result on the next press, after the room has guessed. Folded code, answers and
references stay out. Markdown cells are split where a heading stands inside, since a slide begins with a cell.
"""

import argparse
import hashlib
import itertools
import pathlib
import re

from cells import as_text, read, source, tags, write

FOLDER = pathlib.Path(__file__).parent.parent / "notebooks"
HEADING = re.compile(r"^(?=#{1,2} )", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)  # in which # begins a comment
LEFT_OUT = ("<details>", "## References")  # how cells begin that nobody would show


def split(cell):
    """The Markdown cell as one cell for each heading in it; other cells as they are."""
    parts = parts_of(source(cell))
    if cell["cell_type"] != "markdown" or len(parts) < 2:
        return [cell]
    rest = [{**cell, "id": hashlib.sha256(part.encode()).hexdigest()[:8], "source": lines(part)} for part in parts[1:]]
    return [{**cell, "source": lines(parts[0])}, *rest]


def parts_of(text):
    """The text in pieces, each of which but the first begins with a heading."""
    code = [range(*fence.span()) for fence in FENCE.finditer(text)]
    places = [found.start() for found in HEADING.finditer(text) if not any(found.start() in fence for fence in code)]
    pieces = [text[a:b].strip("\n") for a, b in itertools.pairwise([0, *places, len(text)])]
    return [piece for piece in pieces if piece.strip()]


def lines(text):
    return text.splitlines(keepends=True)


def slide_type(cell):
    if cell["cell_type"] == "markdown":
        if source(cell).startswith(LEFT_OUT):
            return "skip"
        return "slide" if HEADING.match(source(cell)) else "subslide"
    folded = cell["metadata"].get("jupyter", {}).get("source_hidden")  # a deck would show the code
    return "skip" if folded or "setup" in tags(cell) else "fragment"


def with_slides(notebook):
    cells = [part for cell in notebook["cells"] for part in split(cell)]
    for cell in cells:
        cell["metadata"] = {**cell["metadata"], "slideshow": {"slide_type": slide_type(cell)}}
    return {**notebook, "cells": cells}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path, help="by default all")
    for path in parser.parse_args().notebooks or sorted(FOLDER.glob("*.ipynb")):
        write(path, as_text(with_slides(read(path))))


if __name__ == "__main__":
    main()
