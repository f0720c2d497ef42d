"""Write where the course is hosted into README.md and all notebooks: `uv run tools/launch_links.py OWNER/NAME`.

Without a name, that of the git remote `origin`. It writes the badges that open the course in Colab and on Binder, and
the address and the branch from which a notebook that was opened alone fetches the rest. Either all files are changed
or none, and a second time changes nothing. `--remove` takes everything out again, for a copy that is not hosted.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from urllib.parse import quote

from cells import as_text, source, tags

COURSE = pathlib.Path(__file__).parent.parent
START = "notebooks/0_start_here.ipynb"
README_SPOT = re.compile(r"(?<=<!-- launch links -->\n).*?(?=<!-- end of launch links -->)", re.DOTALL)
NOTEBOOK_SPOT = re.compile(r"\A(?P<title># .*\n)(?:\n\[!\[Open in Colab\].*\n)?")
ADDRESS_SPOT = re.compile(r'^COURSE, BRANCH = "[^"]*", "[^"]*"', re.MULTILINE)
REPOSITORY = re.compile(r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}/(?!\.\.?$)[A-Za-z0-9._-]{1,100}")
BRANCH_BY_DEFAULT = "main"
BRANCH = re.compile(r"(?!.*\.\.)\w[\w./-]*")


class Unwritten(Exception):
    """Nothing was written; says why in one sentence."""


def address(repository):
    return f"https://github.com/{repository}" if repository else ""


def badges(repository, branch, path):
    """One line of Markdown: the two badges that open the notebook at `path`; nothing without a repository."""
    if not repository:
        return ""
    colab = f"https://colab.research.google.com/github/{repository}/blob/{branch}/{path}"
    binder = f"https://mybinder.org/v2/gh/{repository}/{quote(branch, safe='')}?labpath={quote(path, safe='')}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({binder})\n"
    )


def replace_once(spot, new, text, path):
    """`text` with what the pattern `spot` finds replaced by `new`. Raises Unwritten unless it finds one place."""
    changed, count = spot.subn(new, text)
    if count != 1:
        raise Unwritten(f"expected one place for the links in {path}, found {count}: nothing was written")
    return changed


def linked_notebook(text, repository, branch, path):
    """The notebook's JSON `text` with the badges under its title, and address and branch in its set-up cell."""
    notebook = json.loads(text)
    first, setup = notebook["cells"][0], next((c for c in notebook["cells"] if "setup" in tags(c)), {"source": []})
    line = badges(repository, branch, path)
    edit(first, NOTEBOOK_SPOT, lambda found: found["title"] + (f"\n{line}" if line else ""), path)
    edit(setup, ADDRESS_SPOT, lambda _: f'COURSE, BRANCH = "{address(repository)}", "{branch}"', path)
    return as_text(notebook)


def edit(cell, spot, new, path):
    cell["source"] = replace_once(spot, new, source(cell), path).splitlines(keepends=True)


def linked(course, repository, branch):
    """{path: its new text} for README.md and every notebook below the folder `course`."""
    readme, line = course / "README.md", badges(repository, branch, START)
    texts = {readme: replace_once(README_SPOT, lambda _: line, readme.read_text("utf-8"), readme.name)}
    for path in sorted((course / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            name = path.relative_to(course).as_posix()
            texts[path] = linked_notebook(path.read_text("utf-8"), repository, branch, name)
    return texts


def write_all(texts):
    """Write every file beside its place first, and move them there only when all of them are written."""
    with tempfile.TemporaryDirectory(prefix=".links-", dir=next(iter(texts)).parent) as folder:
        for number, (path, text) in enumerate(texts.items()):
            if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
                raise Unwritten(f"cannot write to {path}: nothing was written")
            pathlib.Path(folder, str(number)).write_text(text, encoding="utf-8")
            shutil.copymode(path, pathlib.Path(folder, str(number)))
        for number, path in enumerate(texts):
            os.replace(pathlib.Path(folder, str(number)), path)


def origin(course):
    """OWNER/NAME of the git remote `origin`. Raises Unwritten."""
    asked = subprocess.run(["git", "-C", course, "remote", "get-url", "origin"], capture_output=True, text=True)
    # Anchored: an address that only has GitHub's name in it is somebody else's.
    ours = r"(?:https://(?:[^/@]+@)?|(?:ssh://)?git@)github\.com[:/]([^/]+/[^/]+?)(?:\.git)?/?"
    found = re.fullmatch(ours, asked.stdout.strip())
    if not found:
        raise Unwritten("the git remote `origin` is not a repository on GitHub: give OWNER/NAME")
    return found[1]


def main(arguments=None, course=COURSE):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", nargs="?", metavar="OWNER/NAME", help="on GitHub; by default that of `origin`")
    parser.add_argument("--branch", default=BRANCH_BY_DEFAULT, help="or a tag; by default %(default)s")
    parser.add_argument("--remove", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        repository = None if asked.remove else origin(course) if asked.repository is None else asked.repository
        if repository is not None and not REPOSITORY.fullmatch(repository):
            raise Unwritten(f"expected OWNER/NAME as GitHub has them, got {repository!r}: nothing was written")
        if not BRANCH.fullmatch(asked.branch):
            raise Unwritten(f"expected the name of a branch, got {asked.branch!r}: nothing was written")
        branch = BRANCH_BY_DEFAULT if asked.remove else asked.branch
        texts = linked(course, repository, branch)
        changed = {path: text for path, text in texts.items() if path.read_text("utf-8") != text}
        if changed:
            write_all(changed)
    except (Unwritten, OSError) as problem:
        sys.exit(str(problem))
    print(f"{address(repository) or 'no address'} in {len(texts)} files, {len(changed)} of them changed")


if __name__ == "__main__":
    main()
