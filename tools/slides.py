"""Give every cell of the notebooks its place in a deck of slides: `uv run tools/slides.py`, after cells have changed.

`jupyter nbconvert --to slides` then makes a deck in which each heading begins a slide, each further explanation goes
below it, and a cell is shown with its result on the next press, after the class has guessed: on the same slide where
it fits, else on the next, since a deck does not scroll by itself to what a press shows. Folded code, answers and
references stay out. Markdown cells are split where a heading stands inside, since a slide begins with a cell. The
notebook's own heading becomes the title of the deck, and of pages.
"""

import base64
import hashlib
import io
import itertools
import math
import re

from cells import as_text, asked, read, source, tags, titled, write
from PIL import Image

HEADING = re.compile(r"^(?=#{1,2} )", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)  # in which # begins a comment
ROOM = 680  # pixels from top to bottom of a slide as the teacher's guide makes it, 1200 wide and 700 high
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


def slide_type(cell, room=math.inf):
    """What the cell is in the deck, where the slide before it has `room` pixels left."""
    if cell["cell_type"] == "markdown":
        if source(cell).startswith(LEFT_OUT):
            return "skip"
        return "slide" if HEADING.match(source(cell)) else "subslide"
    folded = cell["metadata"].get("jupyter", {}).get("source_hidden")  # a deck would show the code
    if folded or "setup" in tags(cell):
        return "skip"
    return "fragment" if height(cell) <= room else "subslide"


def height(cell):
    """About how many pixels the cell takes in a deck, its outputs included."""
    text = source(cell)
    if cell["cell_type"] == "markdown":
        heading = 60 if HEADING.match(text) else 0
        return heading + 10 + 20 * len(text.split("\n\n")) + 26 * wrapped(text, 95)
    return 22 + 23 * len(text.splitlines()) + sum(map(output_height, cell["outputs"]))


def output_height(output):
    data = output.get("data", {})
    if "image/png" in data:
        width, high = Image.open(io.BytesIO(base64.b64decode("".join(data["image/png"])))).size
        return 15 + high * min(1, 1110 / width)  # a wider one is made smaller
    if "text/html" in data:
        return ROOM  # a table or a page
    printed = output.get("text") or data.get("text/plain", ["one line"])
    return 15 + 23 * wrapped("".join(printed).replace("\n\n", "\n \n"), 90)


def wrapped(text, width):
    """The number of lines when none may have more than `width` characters; empty ones count when printed only."""
    return sum(math.ceil(len(line) / width) for line in text.splitlines())


def with_slides(notebook):
    cells, room = [], ROOM
    for cell in itertools.chain.from_iterable(map(split, notebook["cells"])):
        kind = slide_type(cell, room)
        metadata = {**cell["metadata"], "slideshow": {"slide_type": kind}}
        cells.append({**cell, "metadata": dict(sorted(metadata.items()))})  # in JupyterLab's order
        if kind in ("slide", "subslide"):
            room = ROOM
        if kind != "skip":
            room -= height(cell)
    return titled({**notebook, "cells": cells})


def main():
    for path in asked(__doc__):
        write(path, as_text(with_slides(read(path))))


if __name__ == "__main__":
    main()
