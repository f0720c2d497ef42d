"""Code, shown in a notebook."""

import html.parser
import importlib
import inspect
import operator
import pathlib
import sys

import pytest

import lenet_utils as d2l
from lenet_utils import train
from lenet_utils.support import source

PACKAGE = pathlib.Path(d2l.__file__).parent
LONG = """\
def speak(words):
    if words:
        return "a text that is longer than a narrow window"  # and <i>one</i> more
"""


class Page(html.parser.HTMLParser):
    """What a page makes of HTML: its text, and the text in each style."""

    def __init__(self, markup):
        super().__init__()
        self.text, self.open, self.styled = "", [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.open.append((tag, dict(attributes).get("style", "")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text += data
        self.styled.append((data, self.open[-1][1]))

    def style_of(self, text):
        return next(style for data, style in self.styled if text in data)


FILES = [*sorted(PACKAGE.glob("*.py")), PACKAGE / "fused" / "lenet.c"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_letter_is_lost(path):
    """Without the styles, too, which GitHub takes away."""
    text = path.read_text(encoding="utf-8")
    page = Page(source.code_html(text, {".py": "python", ".c": "c"}[path.suffix]))
    assert page.text == text and not page.open


def test_words_have_the_colours_of_the_page():
    page = Page(source.code_html(LONG))
    for word, kind in {"return": "keyword", "a text": "string", "# and <i>": "comment", "speak": "def"}.items():
        assert f"var(--jp-mirror-editor-{kind}-color)" in page.style_of(word)
    assert "var(" not in page.style_of("words")


def test_a_line_goes_on_further_in_than_it_began():
    page = Page(source.code_html(LONG))
    assert "padding-left: 16ch; text-indent: -16ch" in page.style_of("        ")


def test_a_notebook_gets_it_in_colours_and_as_text(monkeypatch):
    shown = []
    monkeypatch.setattr(source, "kernel_shell", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    d2l.show_code("int main(void);", language="c")
    [data] = shown
    assert data["text/html"] == source.code_html("int main(void);", "c") and data["text/plain"] == "int main(void);"


def test_a_script_prints_it(capsys):
    d2l.show_source(train.accuracy)
    assert capsys.readouterr().out == inspect.getsource(train.accuracy) + "\n"


def test_a_function_is_none():
    with pytest.raises(ValueError, match=r"a text, got <function accuracy .*>: show_source shows"):
        d2l.show_code(train.accuracy)


def test_several_one_below_the_other_and_methods_at_the_left_edge(capsys):
    d2l.show_source(d2l.Accumulator.add, d2l.Accumulator.__len__)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("def")] == ["def add(self, *values):", "def __len__(self):"]


IMPORTED = """
import functools

def plain(x):
    return x

@functools.lru_cache
def kept(x):
    return plain(x)

class Thing:
    def method(self):
        '''
Text at the left edge.
        '''

anonymous = lambda x: x
plain.__name__ = "renamed"
"""


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A module, and a function that writes its file anew."""
    path = tmp_path / "imported_here.py"
    path.write_text(IMPORTED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "imported_here", raising=False)
    return importlib.import_module("imported_here"), path.write_text


def test_whatever_has_a_source_is_shown(imported, capsys):
    module, _ = imported
    things = [module.plain, module.kept, module.Thing, module.Thing().method, module.anonymous, module]
    begin = ["def plain", "@functools", "class Thing", "def method", "anonymous =", "\nimport functools"]
    for thing, text in zip(things, begin):
        d2l.show_source(thing)
        assert capsys.readouterr().out.lstrip(" ").startswith(text)


@pytest.mark.parametrize("new", ["def new(x):\n" + "    x += 1\n" * 50, "import math\n" * 50, "\n\n\n"])
@pytest.mark.parametrize("thing", ["plain", "kept", "Thing.method"])
def test_a_file_that_has_changed_since_it_was_imported(imported, thing, new):
    """It would be the source of whatever stands there now."""
    module, write = imported
    write(new + IMPORTED)
    with pytest.raises(OSError, match=r"the file of \w+ has changed since it was imported: restart the kernel"):
        d2l.show_source(operator.attrgetter(thing)(module))
