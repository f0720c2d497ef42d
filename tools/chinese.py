"""Bring the Chinese notebooks in step with the English ones: `uv run tools/chinese.py`, after a notebook has changed.

A notebook in notebooks/zh is its English twin, cell by cell, with its texts in Chinese. Everything else is copied: the
code, its outputs, the slides. A translated cell keeps in its metadata, as `english`, a digest of the text that it was
translated from. Where that text has changed since, or a number, a formula, a link or a piece of code was lost on the
way, the tool names the cell and ends with 1. Translate it in JupyterLab, then say so: `uv run tools/chinese.py --done
1_reshape`. So with the teacher's guide, into which benchmarks write what they measured: these parts are copied, and its
digest stands in its last line.
"""

import argparse
import collections
import hashlib
import re
import sys

from cells import NOTEBOOKS, as_text, read, source, titled, write
from markdown_it import MarkdownIt

ENGLISH, CHINESE = NOTEBOOKS, NOTEBOOKS / "zh"
GUIDES = ENGLISH / "README.md", CHINESE / "guide.md"
BADGES = re.compile(r"\n\[!\[Open in Colab\].*\n?")  # by launch_links.py, others in each language
FENCE = re.compile(r"```.*?```", re.DOTALL)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\]\(([^)]*)\)")
NUMBER = re.compile(r"\d+(?:[,_]\d{3})*(?:\.\d+)?")
HAN = r"[\u3400-\u9fff]"
MARKS = {
    "heading": re.compile(r"^#+ ", re.MULTILINE),
    "item of a list": re.compile(r"^ *(?:-|\d+\.) ", re.MULTILINE),
    "row of a table": re.compile(r"^\|.*\|$", re.MULTILINE),
    "fold": re.compile(r"</?(?:details|summary)\b[^>]*>"),
    "picture": re.compile(r"!\["),
}
WRITTEN = re.compile(r"<!-- (.+?) -->\n(.*?)<!-- end of \1 -->", re.DOTALL)  # by benchmarks
DIGEST = re.compile(r"<!-- english: (\w+) -->\n?")
MARKDOWN = MarkdownIt("commonmark").enable("table")


def digest(text):
    """Of a text without the badges, in which each language has links of its own."""
    return hashlib.sha256(BADGES.sub("", text).strip().encode()).hexdigest()[:12]


def in_step(english, chinese):
    """The notebook `english` with the texts of `chinese`; where that has none yet, the English one."""
    known = {cell["id"]: cell for cell in chinese["cells"] if cell["cell_type"] == "markdown"}
    return titled({**english, "cells": [translated(cell, known.get(cell["id"])) for cell in english["cells"]]})


def left_over(english, chinese):
    """The text cells of `chinese` that `english` doesn't have. Raises ValueError for one that was never in it."""
    known = {cell["id"] for cell in english["cells"]}
    left = [cell for cell in chinese["cells"] if cell["cell_type"] == "markdown" and cell["id"] not in known]
    for cell in left:
        if "english" not in cell["metadata"]:
            raise ValueError(f"expected only cells of the English notebook, got {source(cell)!r}: add it there first")
    return left


def translated(cell, chinese):
    if cell["cell_type"] != "markdown" or chinese is None:
        return cell
    kept = {"english": chinese["metadata"]["english"]} if "english" in chinese["metadata"] else {}
    return {**cell, "metadata": {**cell["metadata"], **kept}, "source": chinese["source"]}


def with_digests(english, chinese):
    """`chinese`, in step with `english`, as somebody leaves it who has translated all of it."""
    cells = [{**cell, "metadata": {**cell["metadata"]}} for cell in chinese["cells"]]
    for cell, ours in zip(english["cells"], cells, strict=True):
        if cell["cell_type"] == "markdown":
            ours["metadata"]["english"] = digest(source(cell))
    return {**chinese, "cells": cells}


def faults(english, chinese):
    """What is wrong with the texts of `chinese`, in step with `english`: a line each."""
    for cell, ours in zip(english["cells"], chinese["cells"], strict=True):
        if cell["cell_type"] == "markdown":
            for fault in faults_of_cell(cell, ours):
                yield f"cell {cell['id']} ({beginning(ours)}): {fault}"


def beginning(cell):
    return source(cell).partition("\n")[0][:40]


def faults_of_cell(english, chinese):
    if "english" not in chinese["metadata"]:
        yield "not translated yet"
        return
    if chinese["metadata"]["english"] != digest(source(english)):
        yield "the English text has changed since it was translated"
    yield from faults_of_text(BADGES.sub("", source(english)), BADGES.sub("", source(chinese)))


def faults_of_text(english, chinese):
    """What a translation may not lose or add, and what a Chinese text looks like.

    A number is lost when it stands nowhere in the text any more.
    """
    ours, theirs = parts(chinese), parts(english)
    theirs["link"] = collections.Counter(map(from_below, theirs["link"].elements()))
    for kind in ours:
        for missing in (theirs[kind] - ours[kind]).elements():
            yield f"{kind} {missing!r} is missing"
        for added in (ours[kind] - theirs[kind]).elements():
            yield f"{kind} {added!r} is not in the English text"
    yield from faults_of_typography(chinese)


def parts(text):
    """Everything in a text that is the same in both languages: {kind: a Counter}."""
    found = {"block of code": FENCE.findall(text)}
    text = FENCE.sub(" ", text)
    found["bold part"] = ["**"] * sum(token.type == "strong_open" for token in inline(FORMULA.sub("x", text)))
    found |= {name: [mark.strip() for mark in pattern.findall(text)] for name, pattern in MARKS.items()}
    found["row of a table"] = [row.count("|") for row in found["row of a table"]]
    found["item of a list"] = ["-" if mark == "-" else "1." for mark in found["item of a list"]]
    found["formula"] = [re.sub(r"\\text\{[^}]*\}", "", formula) for formula in FORMULA.findall(text)]
    text = FORMULA.sub(" ", text)
    found["code"] = CODE.findall(text)
    text = CODE.sub(" ", text)
    found["link"] = LINK.findall(text)
    found["number"] = set(NUMBER.findall(LINK.sub(" ", text)))
    return {kind: collections.Counter(values) for kind, values in found.items()}


def inline(text):
    return [child for token in MARKDOWN.parse(text) for child in token.children or []]


def from_below(target):
    """The link `target` of an English notebook as one from the folder below; to the other language, from there."""
    if target.startswith(("http:", "https:", "#")):
        return target
    if target.startswith("zh/"):
        return "../" + target.removeprefix("zh/")
    return "../" + target if target.startswith("../") else target


def faults_of_typography(text):
    # Behind Chinese punctuation, Markdown takes ** for the end of bold only before a space, a mark or a new line.
    for token in inline(FORMULA.sub("x", FENCE.sub(" ", text))):
        if token.type == "text" and "**" in token.content:
            yield f"** that is not seen as such in {token.content[:40]!r}"
    prose = LINK.sub("]", FORMULA.sub(" x ", FENCE.sub(" ", text)))
    if not re.search(HAN, prose):
        yield "no Chinese in it"
    for wrong in re.findall(f"{HAN}[A-Za-z0-9`]|[A-Za-z0-9`]{HAN}", prose):
        yield f"no space between {wrong!r}"
    for wrong in re.findall(f"{HAN}[,;:?!()]|[,;:?!()]{HAN}", CODE.sub(" x ", prose)):
        yield f"a Latin mark at {wrong!r}"


# The teacher's guide


def guide_in_step(english, chinese):
    """The Chinese guide with what benchmarks have written into the English one."""
    written = {found[1]: found[0] for found in WRITTEN.finditer(english)}
    return WRITTEN.sub(lambda found: written.get(found[1], found[0]), chinese)


def guide_with_digest(english, chinese):
    return DIGEST.sub("", chinese).rstrip("\n") + f"\n<!-- english: {digest(WRITTEN.sub('', english))} -->\n"


def faults_of_guide(english, chinese):
    written = [sorted(found[1] for found in WRITTEN.finditer(text)) for text in (english, chinese)]
    if written[0] != written[1]:
        places = ", ".join(written[0])
        yield f"expected places for what benchmarks write, {places}, got {', '.join(written[1]) or 'none'}"
    english = WRITTEN.sub("", english)
    if DIGEST.findall(chinese) != [digest(english)]:
        yield "the English text has changed since it was translated"
    yield from faults_of_text(english, DIGEST.sub("", WRITTEN.sub("", chinese)))


def bring_notebook(english, chinese, done):
    """Bring one notebook in step, on the disk; returns its faults. `done`: its texts are translated."""
    english, before = read(english), read(chinese) if chinese.exists() else {"cells": []}
    gone = [
        f"cell {cell['id']} is no longer in English, taken out: {source(cell)}" for cell in left_over(english, before)
    ]
    ours = in_step(english, before)
    ours = with_digests(english, ours) if done else ours
    chinese.parent.mkdir(exist_ok=True)
    write(chinese, as_text(ours))
    return gone + list(faults(english, ours))


def bring_guide(english, chinese, done):
    english = english.read_text("utf-8")
    ours = guide_in_step(english, chinese.read_text("utf-8"))
    ours = guide_with_digest(english, ours) if done else ours
    write(chinese, ours)
    return list(faults_of_guide(english, ours))


def main(arguments=None, folders=(ENGLISH, CHINESE), guides=GUIDES):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="e.g. 1_reshape, or guide; by default all")
    parser.add_argument("--done", action="store_true", help="the Chinese of NAME says now what the English says")
    asked = parser.parse_args(arguments)
    there = [*sorted(path.stem for path in folders[0].glob("*.ipynb")), "guide"]
    if not set(asked.names) <= set(there):
        parser.error(f"expected names among {', '.join(there)}, got {' '.join(asked.names)}")
    if asked.done and not asked.names:
        parser.error("expected the names of what has been translated, got none")
    found = False
    for name in asked.names or there:
        paths = guides if name == "guide" else [folder / f"{name}.ipynb" for folder in folders]
        try:
            named = (bring_guide if name == "guide" else bring_notebook)(*paths, asked.done)
        except (OSError, ValueError) as problem:
            sys.exit(f"{name}: {problem}")
        for fault in named:
            print(f"{name}: {fault}")
            found = True
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
