"""The notebooks in the real JupyterLab, in a real browser, as a learner uses them: open, run all, watch, press Stop."""

import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.request

import nbformat
import psutil
import pytest
import servers
from lab_page import DONE, MINUTES, OUTPUTS, run_all, text_of
from run_notebooks import KERNEL

pytestmark = pytest.mark.browser

COURSE = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted(path.name for path in (COURSE / "notebooks").glob("*.ipynb"))
SCREENSHOTS = COURSE / "screenshots"
TOKEN = secrets.token_hex(16)  # whoever knows it may run programs as the tester


def address(runtime):
    """Of the server, once it listens: it names its port in a file of the folder `runtime` a moment before."""
    for path in runtime.glob("jpserver-*.json"):
        if text := path.read_text():
            told = json.loads(text)
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", told["port"]), timeout=1):
                return told["url"]


class Lab:
    """A JupyterLab server, on this machine only, over a copy of the course."""

    def __init__(self, folder):
        self.root = folder / "course"
        self.root.mkdir()
        for name in ("lenet_utils", "benchmarks"):
            (self.root / name).symlink_to(COURSE / name)
        shutil.copytree(COURSE / "notebooks", self.root / "notebooks")
        own = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
        own |= {
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces"),
        }
        options = [f"--ServerApp.root_dir={self.root}", "--port=0", "--allow-root"]
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = psutil.Popen(
                [
                    sys.executable,
                    "-m",
                    "jupyterlab",
                    "--no-browser",
                    "--ip=127.0.0.1",
                    "--expose-app-in-browser",
                    *options,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | own | {"PYTHONPATH": str(COURSE), "JUPYTER_TOKEN": TOKEN},
            )
        try:
            self.url = servers.wait(self.process, self.log, lambda: address(folder / "RUNTIME"))
        except BaseException:  # nobody else could stop it
            self.close()
            raise

    def set(self, plugin, **settings):
        """Settings of one of JupyterLab's own extensions, as its settings editor saves them."""
        request = urllib.request.Request(
            f"{self.url}lab/api/settings/@jupyterlab/{plugin}?token={TOKEN}",
            json.dumps({"raw": json.dumps(settings)}).encode(),
            method="PUT",
        )
        urllib.request.urlopen(request).close()

    def write(self, name, cells):
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata.kernelspec = KERNEL
        nbformat.write(notebook, self.root / "notebooks" / name)

    def close(self):
        servers.end(self.process)


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    server = Lab(tmp_path_factory.mktemp("lab"))
    server.set("apputils-extension:notification", fetchNews="false", checkForUpdates=False)
    yield server
    server.close()


@pytest.fixture
def page(lab, browser):
    # Without a scheme that Playwright makes up for all frames, a frame has the one that the page around it gives it.
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="null")
    context.set_default_timeout(2 * MINUTES)
    yield context.new_page()
    context.close()


def open_notebook(lab, page, name, windowing="full"):
    lab.set("notebook-extension:tracker", windowingMode=windowing)
    page.goto(f"{lab.url}lab/tree/notebooks/{name}?token={TOKEN}&reset")
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")
    page.wait_for_function("() => jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status == 'idle'")


def files(lab):
    return {path for path in lab.root.rglob("*") if ".ipynb_checkpoints" not in path.parts}


# Every notebook


@pytest.mark.doors
@pytest.mark.parametrize("name", [*NOTEBOOKS, "zh/1_reshape.ipynb"])
def test_a_notebook_from_top_to_bottom(lab, page, name):
    notebook = nbformat.read(COURSE / "notebooks" / name, as_version=4)
    open_notebook(lab, page, name, windowing="none")
    before = files(lab)
    run_all(page)
    assert files(lab) - before == set()  # a class may share one checkout, which nobody can write to

    shown = page.evaluate(OUTPUTS)
    assert len(shown) == len(notebook.cells)
    for cell, outputs in zip(notebook.cells, shown):
        failed = [output["evalue"] for output in outputs if output["output_type"] == "error"]
        assert bool(failed) == ("raises-exception" in cell.metadata.get("tags", [])), failed
        assert not [text_of([output]) for output in outputs if output.get("name") == "stderr"]
        pictures = [output for output in outputs if "image/png" in output.get("data", {})]
        assert len(pictures) == sum("image/png" in o.get("data", {}) for o in cell.get("outputs", []))
    drawn = page.eval_on_selector_all(
        ".jp-OutputArea-output img",
        "images => images.map(i => [i.alt, i.naturalWidth, i.getBoundingClientRect().width])",
    )
    assert len(drawn) == sum("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", []))
    for alt, pixels, width in drawn:
        assert len(alt) >= 15 and pixels > 100 and width > 100, (alt, pixels, width)
    living = page.locator(".jp-OutputArea-output iframe")
    assert living.count() == sum("explore(" in cell.source for cell in notebook.cells if cell.cell_type == "code")
    for frame in living.all():
        frame.content_frame.locator("#answer b").filter(has_text=re.compile(r"\w")).wait_for()
    take_screenshots(page, name.removesuffix(".ipynb").replace("/", "-"))


def take_screenshots(page, stem):
    """The whole notebook at two widths in both themes, sheet by sheet, for people to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for old in SCREENSHOTS.glob(f"{stem}-*.png"):
        old.unlink()
    page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        for width in (1280, 800):
            page.set_viewport_size({"width": width, "height": 3000})
            page.wait_for_timeout(500)
            panel = page.locator(".jp-WindowedPanel-outer")
            shown = panel.evaluate("panel => panel.clientHeight")
            last = page.locator(".jp-Notebook .jp-Cell").last  # JupyterLab leaves a screen of nothing below it
            bottom = last.evaluate("cell => cell.offsetTop + cell.offsetHeight")
            for sheet, top in enumerate(range(0, int(bottom), shown), start=1):
                panel.evaluate("(panel, top) => panel.scrollTo(0, top)", top)
                page.wait_for_timeout(200)
                page.screenshot(path=SCREENSHOTS / f"{stem}-{width}-{theme.split()[1].lower()}-{sheet}.png")


# The Chinese ones

# The text of each text cell as it is shown, without the code in it.
TEXTS = """() => [...document.querySelectorAll('.jp-MarkdownCell .jp-RenderedHTMLCommon')].map(shown => {
    const text = shown.cloneNode(true);
    text.querySelectorAll('code, pre, mjx-container').forEach(part => part.remove());
    return text.textContent;
})"""


@pytest.mark.doors
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_marks_are_left_in_the_chinese_texts(lab, page, name):
    """Between Han and punctuation, what Markdown takes for the end of bold depends on the program that shows it."""
    notebook = nbformat.read(COURSE / "notebooks" / "zh" / name, as_version=4)
    open_notebook(lab, page, f"zh/{name}", windowing="none")
    count = sum(cell.cell_type == "markdown" for cell in notebook.cells)
    page.wait_for_function(f"() => ({TEXTS})().filter(text => text.trim()).length == {count}")
    page.wait_for_function(f"() => !({TEXTS})().some(text => text.includes('$'))")  # until all formulas are set
    for text in page.evaluate(TEXTS):
        assert not re.search(r"\*|~~|`|(?<!\w)_|\]\s?\(", text), text
    # The formulas are those of the English notebook; what MathJax does not know in them it shows in red.
    assert page.locator("mjx-merror, mjx-container [style*=red]").all_text_contents() == []


# The training cell, as one watches it

LONG = "Some text, so that the page is longer than the window.\n\n" * 12
LOAD = "import lenet_utils as d2l\ntrain_iter, test_iter = d2l.load_data_fashion_mnist(256)\nnet = d2l.lenet()"
TRAIN = "history = d2l.train_ch6(net, train_iter, test_iter, num_epochs={}, lr=0.9, device='cpu')"
# On every frame: the picture, the height of the cell's outputs, and how far the notebook is scrolled.
WATCH = """() => {
    window.seen = [];
    window.pictures = new Set();
    const area = document.querySelectorAll('.jp-CodeCell .jp-Cell-outputArea')[1];
    const panel = document.querySelector('.jp-WindowedPanel-outer');
    const look = () => {
        const image = area.querySelector('img');
        const picture = image?.complete ? image.src.length + image.src.slice(-400) : '';
        window.seen.push([picture, area.offsetHeight, panel.scrollTop]);
        window.pictures.add(picture);
        window.watching = requestAnimationFrame(look);
    };
    look();
}"""


def press_stop(page):
    page.click("jp-button[data-command='notebook:interrupt-kernel'], button[data-command='notebook:interrupt-kernel']")


def test_the_curve_grows_in_place(lab, page):
    code, prose = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    lab.write(
        "watched.ipynb",
        [prose("# Watched"), code(LOAD), code(TRAIN.format(10)), prose(LONG), code("1 + 1"), prose(LONG)],
    )
    open_notebook(lab, page, "watched.ipynb")
    run_all(page, wait=False)
    page.wait_for_selector(".jp-CodeCell:has-text('train_ch6') img")
    page.eval_on_selector(".jp-WindowedPanel-outer", "panel => panel.scrollTo(0, 40)")
    page.wait_for_timeout(300)
    page.evaluate(WATCH)
    page.wait_for_function(f"() => window.pictures.size > 6 || ({DONE})()", timeout=5 * MINUTES)
    if not page.evaluate(DONE):
        press_stop(page)  # enough seen: a slow machine need not train to the end
    page.wait_for_function(DONE)
    page.wait_for_timeout(500)
    seen = page.evaluate("() => { cancelAnimationFrame(window.watching); return window.seen }")

    pictures = [picture for i, (picture, _, _) in enumerate(seen) if i == 0 or picture != seen[i - 1][0]]
    assert "" not in pictures  # never without a picture
    assert len(pictures) > 5  # the first one, and at least five changes
    heights = [height for _, height, _ in seen]
    assert min(heights) > 200 and min(heights) >= max(heights) - 60, (min(heights), max(heights))  # the last lines come
    assert {round(top) for _, _, top in seen} == {40}


def test_stop_leaves_a_history_and_a_usable_net(lab, page):
    code = nbformat.v4.new_code_cell
    after = "print(history, len(history.points) > 0, d2l.evaluate_accuracy_gpu(net, test_iter) > 0, not net.training)"
    lab.write("stopped.ipynb", [code(LOAD), code(TRAIN.format(50)), code(after)])
    open_notebook(lab, page, "stopped.ipynb")
    run_all(page, wait=False)
    page.wait_for_selector(".jp-CodeCell:has-text('train_ch6') img")
    page.wait_for_timeout(1500)
    press_stop(page)
    page.wait_for_function(DONE)

    _, trained, then = page.evaluate(OUTPUTS)
    assert not [output for output in trained + then if output["output_type"] == "error"]
    assert "stopped in epoch " in text_of(trained)
    assert text_of(then).startswith("History of ") and text_of(then).endswith(" True True True\n")


# Code

# The words of the shown code that are broken over two lines, and how many colours its letters have.
SHOWN_CODE = """() => {
    const shown = document.querySelector('.jp-RenderedHTML pre');
    const letters = document.createTreeWalker(shown, NodeFilter.SHOW_TEXT);
    const broken = [], colours = new Set();
    while (letters.nextNode()) {
        colours.add(getComputedStyle(letters.currentNode.parentElement).color);
        for (const word of letters.currentNode.data.matchAll(/\\w+/g)) {
            const range = document.createRange();
            range.setStart(letters.currentNode, word.index);
            range.setEnd(letters.currentNode, word.index + word[0].length);
            const parts = [...range.getClientRects()].filter(part => part.width > 0);
            if (parts.length > 1) broken.push(word[0]);
        }
    }
    const lines = [...shown.children].map(line => line.getBoundingClientRect().height);
    const wrapped = lines.filter(height => height > 1.5 * Math.min(...lines)).length;
    const between = shown.getBoundingClientRect().height - lines.reduce((sum, height) => sum + height, 0);
    const editor = document.querySelector(".jp-Notebook .cm-content");
    const sizes = [shown, editor].map(text => getComputedStyle(text).fontSize);
    return {broken, between, colours: colours.size, wrapped, sizes};
}"""


def test_shown_code_has_colours_and_breaks_between_words(lab, page):
    code = nbformat.v4.new_code_cell
    lab.write("shown.ipynb", [code("from lenet_utils import show_source, train\nshow_source(train.train_epoch)")])
    open_notebook(lab, page, "shown.ipynb")
    page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
    page.set_viewport_size({"width": 800, "height": 900})
    run_all(page)
    shown = page.evaluate(SHOWN_CODE)
    assert shown["broken"] == [] and shown["colours"] >= 4 and shown["wrapped"] > 0
    assert abs(shown["between"]) < 2, shown  # no empty lines between the lines
    assert len(set(shown["sizes"])) == 1, shown  # its letters are as large as those of the code that one writes


# The live page

EXPLORE = """
import lenet_utils as d2l
_, test_iter = d2l.load_data_fashion_mnist(batch_size=24)
d2l.explore(d2l.trained_lenet(), *next(iter(test_iter)))
""".strip()


def test_the_live_page_takes_no_focus_and_has_the_notebooks_theme(lab, page):
    code, prose = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    lab.write("live.ipynb", [prose(LONG), code(EXPLORE), prose(LONG)])
    open_notebook(lab, page, "live.ipynb", windowing="none")
    run_all(page)
    live = page.frame_locator(".jp-OutputArea-output iframe")
    live.locator("#score").filter(has_text="24").wait_for()  # the last that it does by itself
    assert page.evaluate("document.activeElement.tagName") != "IFRAME"
    assert page.eval_on_selector(".jp-WindowedPanel-outer", "panel => panel.scrollTop") == 0
    for theme in ("Dark", "Light"):
        page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}")
        live.locator(f"html[data-theme={theme.lower()}]").wait_for()
