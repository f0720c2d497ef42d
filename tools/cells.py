"""What the tools share: which notebooks, their cells, and files that are written whole or not at all."""

import argparse
import json
import os
import pathlib
import shutil

NOTEBOOKS = pathlib.Path(__file__).parent.parent / "notebooks"


def asked(doc):
    """The paths of the notebooks that the command line names, by default all; `doc` is what its tool says of itself."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path, help="by default all")
    return parser.parse_args().notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return set(cell["metadata"].get("tags", []))


def read(path):
    """The notebook at `path`, as a dict."""
    return json.loads(path.read_text(encoding="utf-8"))


def titled(notebook):
    """The dict `notebook` with its heading as its title, which nbconvert gives to the pages and decks that it makes."""
    heading = source(notebook["cells"][0]).partition("\n")[0]
    return {**notebook, "metadata": {**notebook["metadata"], "title": heading.removeprefix("# ")}}


def as_text(notebook):
    """The dict `notebook` as Jupyter writes it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def write(path, text):
    """Write `text` to the file `path`, unless it says so already; a full disk, or a Stop, leaves it as it was."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    beside = path.with_suffix(".unfinished")
    try:
        beside.write_text(text, encoding="utf-8")
        if path.exists():
            shutil.copymode(path, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
