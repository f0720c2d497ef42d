"""Code as a notebook shows it: in the page's own colours, and long lines break between words.

JupyterLab breaks the lines of printed text wherever the window ends, in the middle of a word.
"""

import html
import inspect
import re
import textwrap

from . import checks
from .display import kernel_shell

# Kinds of text, as Pygments calls them. Outside JupyterLab its colours have no value, and the text keeps its own.
LOOKS = {
    "Keyword": "color: var(--jp-mirror-editor-keyword-color); font-weight: bold",
    "Operator.Word": "color: var(--jp-mirror-editor-keyword-color); font-weight: bold",  # and, in, not
    "Comment": "color: var(--jp-mirror-editor-comment-color); font-style: italic",
    "Literal.String": "color: var(--jp-mirror-editor-string-color)",
    "Name.Function": "color: var(--jp-mirror-editor-def-color); font-weight: bold",
    "Name.Class": "color: var(--jp-mirror-editor-def-color); font-weight: bold",
}


def show_source(*things):
    """Show the source of functions, methods or classes; in a script it is printed.

    Raises OSError where there is none, or where the file has changed and has something else in its place.
    """
    show_code("\n".join(map(source_of, things)))


def source_of(thing):
    code, thing = textwrap.dedent(inspect.getsource(thing)), inspect.unwrap(thing)
    if not may_be_of(code, thing):
        name = thing.__name__
        raise OSError(f"the file of {name} has changed since it was imported: restart the kernel to see its source")
    return code


def may_be_of(code, thing):
    """Whether `code` is `thing`'s, by its name: Python looks where it stood in its file when that was imported."""
    name = thing.__code__.co_name if hasattr(thing, "__code__") else getattr(thing, "__name__", "")
    if inspect.ismodule(thing) or not name.isidentifier():  # a lambda has none
        return True
    begun = re.match(r"\s*(@|((async )?def|class) )", code)
    first = re.search(r"^\s*((async )?def|class) (\w+)", code, re.MULTILINE)
    return bool(begun and first and first[3] == name)


def show_code(code, language="python"):
    """Show `code`, a text, in the colours of its `language` ("c", for example); in a script it is printed."""
    checks.text(code)
    if kernel_shell() is None:
        print(code)
        return
    from IPython.display import display

    display({"text/html": code_html(code, language), "text/plain": code}, raw=True)


def code_html(code, language="python"):
    """`code` as HTML. A line that is too long goes on below, further in."""
    # Pages made by nbconvert would take the letters of prose. Where JupyterLab's size is not known, the page's holds.
    letters = "font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size)"
    pre = f"{letters}; margin: 0 5px; white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere"
    return f'<pre style="{pre}">{"".join(map(line_html, lines_of_tokens(code, language)))}</pre>'


def line_html(tokens):
    """A line, given as pairs of a kind and a text."""
    text = "".join(text for _, text in tokens)
    hang = len(text) - len(text.lstrip(" ")) + 8  # letters; 4 would look like the body of a block
    inside = "".join(token_html(kind, text) for kind, text in tokens)
    # The line's end stands in it for pages that take all styles away, as GitHub's do.
    return f'<span style="display: block; padding-left: {hang}ch; text-indent: -{hang}ch">{inside}\n</span>'


def token_html(kind, text):
    look = next((look for name, look in LOOKS.items() if kind[: name.count(".") + 1] == tuple(name.split("."))), None)
    return f'<span style="{look}">{html.escape(text)}</span>' if look else html.escape(text)


def lines_of_tokens(code, language):
    """The lines of `code`, each a list of pairs: kind and text."""
    from pygments.lexers import get_lexer_by_name  # IPython brings it

    line = []
    for kind, text in get_lexer_by_name(language).get_tokens(code):
        first, *more = text.split("\n")
        line.append((kind, first))
        for text in more:
            yield line
            line = [(kind, text)]
