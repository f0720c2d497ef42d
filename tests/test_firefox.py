"""The live page in Firefox: that it computes, draws and fits there, too. All that it does is tested in test_page.py."""

import pathlib
import shutil
import time

import numpy as np
import pytest
from firefox import Firefox
from live_page import NETS, TOO_WIDE, assert_same_outputs, grown, number, page_outputs, some_data, until

from lenet_utils import explore, lenet

pytestmark = [pytest.mark.browser, pytest.mark.doors]
DATA = some_data()
RECTANGLE = "(selector) => document.querySelector(selector).getBoundingClientRect().toJSON()"


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("there is no Firefox on this machine's PATH")
    if pathlib.Path(program).resolve().name == "snap":
        pytest.skip("this Firefox is a snap, which cannot read the tests' files")
    started = Firefox(program, tmp_path_factory.mktemp("firefox"))
    yield started
    started.close()


@pytest.fixture
def opened(firefox, tmp_path):
    """A function that opens a net's page; errors and refused actions in it fail the test."""
    firefox.send("session.status")  # reads what the test before has left on its way
    firefox.logged.clear()

    def open_page(net, width=1280, height=900):
        firefox.open(explore(net, *DATA).save(tmp_path / "lenet.html"), width, height)
        until(firefox, "globalThis.lenet?.answers.length > 0")
        return firefox

    yield open_page
    time.sleep(0.6)  # the page announces what changed half a second later
    firefox.send("session.status")
    assert [entry["text"] for entry in firefox.logged if entry["level"] == "error"] == []


@pytest.mark.parametrize("name", NETS)
def test_every_activation_is_pytorchs(name, opened):
    net = grown(NETS[name])
    page = opened(net)
    for i, image in enumerate(DATA[0]):
        page.evaluate("(i) => lenet.choose(i)", i)
        assert_same_outputs(page, net, image)


def test_drawing_and_pointing_with_the_mouse(opened):
    page = opened(grown(lenet))
    page.evaluate("document.getElementById('clear').click()")
    before = page_outputs(page)
    box = page.evaluate(RECTANGLE, "#pad")
    page.mouse((box["x"] + 40, box["y"] + 40), "down", (box["x"] + 180, box["y"] + 40), "up")
    drawn = page_outputs(page)
    assert drawn[0].reshape(28, 28)[5, 5:22].min() > 0.9 and drawn[0].reshape(28, 28)[10:].max() == 0
    assert np.abs(drawn[-1] - before[-1]).max() > 0.01

    box = page.evaluate(RECTANGLE, '.layer[data-layer="3"] .map:nth-child(3)')
    page.mouse((box["x"] + box["width"] * 3.5 / 14, box["y"] + box["height"] * 9.5 / 14))
    until(page, "document.getElementById('unit-title').textContent === 'Average pooling, map 2, row 9, column 3'")
    shown = number(page.evaluate("document.getElementById('unit-value').textContent"))
    assert shown == pytest.approx(drawn[3].reshape(6, 14, 14)[2, 9, 3], abs=1e-4)


@pytest.mark.parametrize("width", [360, 640, 720, 1280])
def test_nothing_is_wider_than_the_page(width, opened):
    page = opened(grown(lenet), width, 700)
    for layer in range(13):
        page.evaluate("(layer) => lenet.pin({ layer, index: 3 })", layer)
        assert page.evaluate(TOO_WIDE) == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_all_buttons_and_keys_work(opened):
    """What they do is tested elsewhere; here that nothing behind them is missing in this browser."""
    page = opened(grown(lenet))
    page.evaluate("""() => {
        for (const place of document.querySelectorAll("#pad, .map, .pictures button"))
            for (const key of ["ArrowRight", "PageDown", "End", " "])
                place.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        for (const button of document.querySelectorAll("button:not(#upload)")) button.click();
    }""")
    assert page.evaluate("lenet.changes.length") == 0  # the last button was Restore
