"""The notebooks as pages and slides, made as the teacher's guide says, and printed: whole lines, nothing unfolded."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

COURSE = pathlib.Path(__file__).parent.parent
GUIDE = (COURSE / "notebooks" / "README.md").read_text("utf-8")
NOTEBOOKS = sorted(path.stem for path in (COURSE / "notebooks").glob("*.ipynb"))
A4 = (210 - 20) / 25.4 * 96  # CSS pixels between the margins that browsers leave

CUT_OFF = """() => [...document.querySelectorAll('pre, img, table')].filter(thing => {
    const inside = document.createRange();
    thing.matches('img') ? inside.selectNode(thing) : inside.selectNodeContents(thing);
    const holder = thing.closest('.jp-InputArea-editor, .jp-OutputArea-output, .jp-RenderedMarkdown') ?? document.body;
    return inside.getBoundingClientRect().right > holder.getBoundingClientRect().right + 1;
}).map(thing => thing.textContent || thing.alt)"""
LETTERS = "() => [...document.querySelectorAll('.jp-Cell pre')].map(thing => getComputedStyle(thing).fontFamily)"


def commands(section):
    """The shell commands of a section of the guide."""
    text = GUIDE.split(f"## {section}\n")[1].split("\n## ")[0]
    return [block.replace("\\\n", " ") for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder in which the guide's commands have put a page for each notebook."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "notebooks").symlink_to(COURSE / "notebooks")
    for command in commands("On paper, and as pages of a web site"):
        assert command.startswith(("uv run jupyter ", "perl "))
        command = command.replace("uv run jupyter", f"'{sys.executable}' -m jupyter")
        done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder / "pages"


@pytest.fixture
def sheet(browser, pages):
    """A function that opens the page of a notebook as it lies on paper, at a scale in percent."""
    tab = browser.new_page()
    tab.emulate_media(media="print")
    tab.route(re.compile("^https?:"), lambda route: route.abort())

    def sheet(name, scale):
        tab.set_viewport_size({"width": round(A4 * 100 / scale), "height": 1000})
        tab.goto((pages / f"{name}.html").as_uri(), wait_until="domcontentloaded")
        return tab

    yield sheet
    tab.close()


@pytest.mark.doors
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_whole_lines_at_the_scale_that_the_guide_names(sheet, name):
    scale = int(re.search(r"scale of (\d+)%", GUIDE)[1])
    assert sheet(name, scale).evaluate(CUT_OFF) == []
    tab = sheet(name, 100)
    assert tab.evaluate(CUT_OFF)  # else there would be no need of it
    letters = tab.evaluate(LETTERS)
    assert letters and all("monospace" in family for family in letters)


@pytest.mark.doors
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_folded_up_is_left_out_and_links_lead_to_pages(pages, name):
    page = (pages / f"{name}.html").read_text("utf-8")
    text = re.sub(r"<[^>]*>", "", page)
    assert re.search("<title>(.*?)</title>", page)[1] == re.search("<h1[^>]*>(.*?)<", page)[1]  # not the file's name
    assert "COURSE, BRANCH" not in text and "def ill_1" not in text
    assert ("mended_1" in text) == (name == "clinic")
    targets = re.findall(r'href="([^":#]+\.(?:ipynb|html))"', page)
    assert targets and not [target for target in targets if target.endswith(".ipynb")]
    assert {target for target in targets if "/" not in target} <= {f"{name}.html" for name in NOTEBOOKS}


@pytest.mark.doors
def test_decks_are_made_as_the_guide_says(tmp_path):
    """With all scripts from the network, or with none of them."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(COURSE / "notebooks" / "1_reshape.ipynb", tmp_path / "notebooks")
    decks = []
    for block in commands("As slides"):
        command = f"'{sys.executable}' -m jupyter " + block.partition("uv run jupyter ")[2]  # npm's comes before it
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and "not recognized" not in done.stderr, done.stderr
        (deck,) = tmp_path.rglob("*.html")
        decks.append(deck.read_text("utf-8"))
        deck.unlink()
    for deck, place in zip(decks, ("https://", "scripts/node_modules/"), strict=True):
        assert "COURSE, BRANCH" not in deck and "<details>" not in deck
        fetched = re.findall(r'<(?:script|link)\b[^>]* (?:src|href)="([^"]+)', deck)
        assert len(fetched) >= 4 and all(address.startswith(place) for address in fetched), fetched
