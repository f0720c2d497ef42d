"""The live page: what goes into it, and what it does in a real browser, with PyTorch as the oracle."""

import base64
import html
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
from collections import OrderedDict

import matplotlib.style
import numpy as np
import pytest
import torch
from live_page import NETS, TOO_WIDE, assert_same_outputs, grown, number, page_outputs, some_data, torch_outputs, until
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import nn

import lenet_utils
from lenet_utils import explore, lenet
from lenet_utils.data import LABELS
from lenet_utils.page import document, live, pack, picture
from lenet_utils.page.read_net import read_net

WEB = document.WEB
EVIL = "</script><img src=x onerror=\"hacked=1\"> & 'quoted' <!--"
WIDTHS = (360, 640, 720, 800, 1280, 1920)  # 640: a window of 1280 at twice the size


@pytest.fixture(scope="module")
def data():
    return some_data()


@pytest.fixture(scope="module")
def net():
    return grown(lenet)


@pytest.fixture(scope="module")
def saved(net, data, tmp_path_factory):
    return explore(net, *data).save(tmp_path_factory.mktemp("page") / "lenet.html")


@pytest.fixture
def opened(browser, saved):
    """A function that opens a saved page in a fresh context; errors and refused actions in it fail the test."""
    contexts, troubles = [], []

    def open_page(path=saved, in_frame=0, **options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        runs = options.get("java_script_enabled", True)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if runs and message.type == "error" else None)
        page.goto(path.as_uri())
        while len(page.frames) <= in_frame:  # a frame in a frame may come after the page is loaded
            page.wait_for_event("frameattached")
        shown = page.frames[in_frame] if in_frame else page
        if runs:
            until(shown, "globalThis.lenet?.answers.length > 0")
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def notebook_around(page):
    """A page with the HTML of a notebook's output in it, out of the bundle that a notebook asks for."""
    return f"<!doctype html><meta charset=utf-8><body style='margin: 0'>{page._repr_mimebundle_()['text/html']}"


# ---- computing


@pytest.mark.browser
@pytest.mark.parametrize("name", NETS)
def test_every_activation_is_pytorchs(name, data, opened, tmp_path):
    net = grown(NETS[name])
    page = opened(explore(net, *data).save(tmp_path / "net.html"))
    spreads = []
    for i, image in enumerate(data[0]):
        page.evaluate("(i) => lenet.choose(i)", i)
        assert_same_outputs(page, net, image)
        spreads.append(page_outputs(page)[-1])
    assert np.std(spreads, axis=0).max() > 0.1  # the pictures do not all look the same to it


@pytest.mark.browser
def test_pixels_that_are_no_bytes_stay_exact(net, opened, tmp_path):
    images = torch.rand(2, 1, 28, 28)
    page = opened(explore(net, images, torch.tensor([3, 4])).save(tmp_path / "noise.html"))
    page.evaluate("lenet.choose(1)")
    assert_same_outputs(page, net, images[1])


NEXT_FRAME = "() => new Promise(requestAnimationFrame)"  # a chosen picture's answer is painted in it
BARS = """() => [...document.querySelectorAll(".bar")].map((bar) => [
    bar.innerText.split("\\n")[0], bar.querySelector("i").style.width, bar.lastChild.textContent, bar.title,
    bar.classList.contains("best"), bar.classList.contains("label")])"""


def is_share(text, share):
    return text.endswith("%") and abs(float(text[:-1]) / 100 - share) < 0.000502  # rounded to a tenth of a per cent


@pytest.mark.browser
def test_the_answer_is_the_networks(net, data, opened):
    page = opened()
    images, labels = data
    with torch.inference_mode():
        all_scores = net(images)
    right = (all_scores.argmax(dim=1) == labels).tolist()
    assert any(right) and not all(right)
    for number_of, (scores, label) in enumerate(zip(all_scores, labels)):
        page.locator("#pictures button").nth(number_of).click()
        page.evaluate(NEXT_FRAME)
        shares, best = scores.softmax(dim=0), scores.argmax()
        verdict = "✓ as the label says" if best == label else f"✗ the label says {LABELS[label]}"
        answer = page.locator("#answer")
        share_of_best = answer.inner_text().removeprefix(LABELS[best]).removesuffix(verdict).strip()
        assert answer.inner_text() == f"{LABELS[best]} {share_of_best} {verdict}"
        assert is_share(share_of_best, shares[best])
        assert answer.locator("span").get_attribute("class") == ("right" if best == label else "wrong")
        bars = page.evaluate(BARS)
        assert [name for name, *_ in bars] == list(LABELS)
        for i, (name, width, share, title, is_best, is_label) in enumerate(bars):
            assert float(width[:-1]) == pytest.approx(100 * shares[i].item(), abs=0.01) and is_share(share, shares[i])
            assert title.startswith(f"{name}: {share}, score ")
            assert number(title.rpartition(" ")[2]) == pytest.approx(scores[i].item(), abs=2e-4)
            assert (is_best, is_label) == (i == best, i == label)
    until(page, f"document.getElementById('announcer').textContent === '{LABELS[best]}, {share_of_best}. {verdict}'")
    marked = (
        "(buttons) => buttons.map((button) => [button.classList.contains('wrong'), button.title, button.ariaLabel])"
    )
    for i, (is_wrong, title, label) in enumerate(page.locator("#pictures button").evaluate_all(marked)):
        called = "" if right[i] else f", which the network calls {LABELS[all_scores[i].argmax()]}"
        assert is_wrong != right[i] and title == label == f"Picture {i}: {LABELS[labels[i]]}{called}"


# ---- drawing and files


@pytest.mark.browser
def test_drawing_with_the_mouse_changes_the_answer_while_the_button_is_down(opened):
    page = opened()
    page.get_by_role("button", name="Empty").click()
    before = page_outputs(page)
    assert not before[0].any()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 40, steps=5)
    drawn = page_outputs(page)
    assert drawn[0].reshape(28, 28)[5, 5:22].min() > 0.9 and drawn[0].reshape(28, 28)[10:].max() == 0
    assert abs(drawn[-1] - before[-1]).max() > 0.01
    page.mouse.up()
    page.mouse.move(box["x"] + 100, box["y"] + 150, steps=3)
    assert (page_outputs(page)[0] == drawn[0]).all()  # nothing is drawn with the button up
    assert "label" not in page.locator("#answer").inner_text()  # a drawing has no label


@pytest.mark.browser
def test_drawing_and_erasing_with_keys(opened):
    page = opened()
    page.get_by_role("button", name="Empty").click()
    page.locator("#pad").focus()
    for key in ("ArrowLeft", "Space", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    pixels = page_outputs(page)[0].reshape(28, 28)
    assert pixels[14:17, 13].min() == 1 and pixels[20:].max() == 0
    page.get_by_role("button", name="Eraser").click()
    page.locator("#pad").focus()
    page.keyboard.press("Space")
    assert page_outputs(page)[0].reshape(28, 28)[16, 13] == 0


@pytest.mark.browser
def test_the_pen_is_as_wide_as_told_and_lets_go_when_the_browser_takes_it(opened):
    page = opened()
    pen, eraser = page.locator("#pen"), page.locator("#eraser")
    assert [tool.get_attribute("aria-pressed") for tool in (pen, eraser)] == ["true", "false"]
    away = np.hypot(*np.ogrid[-14:14, -14:14])  # of each pixel from the pen, which begins in the middle
    for size in (1, 2.5, 6):
        page.get_by_role("button", name="Empty").click()
        page.get_by_role("slider", name="Width").fill(str(size))
        page.locator("#pad").press("Space")
        drawn = page_outputs(page)[0].reshape(28, 28)
        assert drawn == pytest.approx(np.clip(size / 2 + 0.5 - away, 0, 1), abs=1e-6)
    eraser.click()
    assert [tool.get_attribute("aria-pressed") for tool in (pen, eraser)] == ["false", "true"]
    pen.click()
    box = page.locator("#pad").bounding_box()
    page.evaluate(
        "document.getElementById('pad').addEventListener('pointerdown', (event) => { globalThis.down = event })"
    )
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    before = page_outputs(page)[0]
    page.locator("#pad").evaluate("(pad) => pad.dispatchEvent(new PointerEvent('pointercancel', down))")
    page.mouse.move(box["x"] + 180, box["y"] + 20, steps=3)
    assert (page_outputs(page)[0] == before).all()


@pytest.mark.browser
def test_a_second_finger_draws_nothing(opened):
    page = opened(has_touch=True)
    page.get_by_role("button", name="Empty").click()
    box = page.locator("#pad").bounding_box()
    touches = page.context.new_cdp_session(page)
    fingers = [{"x": box["x"] + x, "y": box["y"] + y, "id": i} for i, (x, y) in enumerate([(20, 20), (200, 200)])]
    moved = [finger | {"x": finger["x"] + 60 - 120 * finger["id"]} for finger in fingers]
    for kind, points in [("touchStart", fingers[:1]), ("touchStart", fingers), ("touchMove", moved), ("touchEnd", [])]:
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    pixels = page_outputs(page)[0].reshape(28, 28)
    assert pixels[2, 3:10].min() == 1 and pixels[5:].max() == 0


def png_of(array, kind="image/png"):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, kind.removeprefix("image/"))
    return {"name": "mine", "mimeType": kind, "buffer": file.getvalue()}


@pytest.mark.browser
def test_a_dark_thing_on_white_is_inverted_centred_and_shrunk_by_averages(opened):
    page = opened()
    photograph = np.full((300, 400), 255, np.uint8)
    photograph[20:132, 250:306] = 0  # 112 x 56: four pixels of the file to one of the page
    photograph[20:22, 250:306] = 255
    photograph[20, 250] = 0  # it begins here, and half of the first row of pixels is white
    page.locator("#file").set_input_files(png_of(photograph))
    until(page, "lenet.source.kind === 'file'")
    pixels = page_outputs(page)[0].reshape(28, 28)
    assert pixels[1:, 7:21] == pytest.approx(1) and pixels[0, 8:21] == pytest.approx(0.5)
    assert pixels[:, :7].max() == 0 and pixels[:, 21:].max() == 0
    page.evaluate("lenet.choose(0)")  # the first file's pixels go
    page.locator("#file").set_input_files(png_of(255 - photograph))
    until(page, "lenet.source.kind === 'file'")
    assert page_outputs(page)[0].reshape(28, 28) == pytest.approx(pixels, abs=1e-6)  # bright on dark stays as it is


@pytest.mark.browser
def test_a_file_that_is_no_picture_is_told(opened):
    page = opened()
    page.locator("#file").set_input_files({"name": "<b>.png", "mimeType": "image/png", "buffer": b"no picture"})
    until(page, "document.getElementById('message').textContent !== ''")
    assert page.locator("#message").inner_text() == "<b>.png is no picture that this browser can open."


@pytest.mark.browser
def test_the_button_opens_a_file_and_the_same_one_again_and_what_was_said_of_a_bad_one_goes(opened):
    page = opened()
    for file in (png_of(np.eye(40, dtype=np.uint8) * 255), {"name": "bad", "mimeType": "image/png", "buffer": b"bad"}):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Open a picture…").click()
        chooser.value.set_files(file)
        until(page, "lenet.source.kind === 'file'")
        assert page.locator("#file").input_value() == ""  # else the browser would not tell of the same one again
    until(page, "document.getElementById('message').textContent.startsWith('bad is no picture')")
    page.get_by_role("radio", name="Picture 3:").click()
    assert page.locator("#message").inner_text() == ""


def coloured_bars():
    picture = np.zeros((60, 60, 3), np.uint8)
    for i in range(3):
        picture[15:45, 15 + 10 * i : 25 + 10 * i, i] = 255
    return picture


def see_through():
    picture = np.zeros((60, 60, 4), np.uint8)  # black, but nothing of it is seen
    picture[15:30, 15:45, 3] = 255
    return picture


FILES = {  # the pixels in the middle of three thirds of row 14, and the one in the corner
    "colours, as bright as they look": (coloured_bars, [0.299 / 0.587, 1, 0.114 / 0.587, 0.299 / 0.587]),
    "transparent, on white": (see_through, [1, 1, 1, 0]),
    "empty": (lambda: np.full((60, 60), 200, np.uint8), [0, 0, 0, 0]),
}


@pytest.mark.browser
def test_colours_see_through_and_empty_pictures(opened):
    page = opened()
    for make_picture, expected in FILES.values():
        page.evaluate("lenet.choose(0)")
        page.locator("#file").set_input_files(png_of(make_picture()))
        until(page, "lenet.source.kind === 'file'")
        pixels = page_outputs(page)[0].reshape(28, 28)
        shown = [pixels[14, 4], pixels[14, 14], pixels[14, 23], pixels[0, 0]]
        assert shown == pytest.approx(expected, abs=0.01) and not np.isnan(pixels).any()


DROP = """(name) => {
    const canvas = document.createElement("canvas");  // something dark on white
    canvas.getContext("2d").fillRect(100, 20, 50, 80);
    canvas.toBlob((blob) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([blob], name));
        const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
        document.getElementById("pad").dispatchEvent(drop);
    });
}"""


@pytest.mark.browser
def test_a_file_that_takes_long_replaces_nothing_that_was_chosen_later(opened):
    page = opened()
    page.evaluate("""() => {
        const read = createImageBitmap;
        globalThis.reading = 0;
        globalThis.createImageBitmap = async (file) => {
            reading++;
            if (file.name === "slow") await new Promise((resolve) => (globalThis.goOn = resolve));
            return read(file).finally(() => setTimeout(() => reading--));
        };
    }""")
    page.evaluate(DROP, "slow")
    until(page, "globalThis.goOn !== undefined")
    page.evaluate("() => { lenet.choose(5); goOn() }")
    until(page, "reading === 0")
    assert page.evaluate("lenet.source.index") == 5
    page.evaluate(DROP, "quick")
    until(page, "lenet.source.kind === 'file'")


@pytest.mark.browser
def test_files_dropped_beside_the_pad_open_nothing_and_all_offered_kinds_are_read(opened):
    page = opened()
    for kind in ("dragover", "drop"):  # dispatchEvent returns false where the browser's own way was stopped
        assert not page.evaluate(
            f"document.body.dispatchEvent(new DragEvent('{kind}', {{ bubbles: true, cancelable: true }}))"
        )
    for kind in page.locator("#file").get_attribute("accept").split(","):
        page.evaluate("lenet.choose(0)")
        page.locator("#file").set_input_files(png_of(np.eye(40, dtype=np.uint8) * 255, kind))
        until(page, "lenet.source.kind === 'file'")


# ---- one unit


def focus_by_tab(page, selector):
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab does not lead to {selector}")


@pytest.mark.browser
def test_by_keyboard_alone_to_a_unit_whose_sum_is_pytorchs(net, data, opened):
    page = opened()
    focus_by_tab(page, "#pictures button")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    focus_by_tab(page, '[role="slider"]')
    for key in ["Shift+ArrowRight"] * 3 + ["Home"] + ["PageDown"] * 5 + ["ArrowDown"] * 4 + ["ArrowRight"] * 6:
        page.keyboard.press(key)
    assert page.locator("#unit-title").inner_text() == "Convolution, map 5, row 4, column 6"
    label = page.evaluate("document.activeElement.ariaLabel + ' / ' + document.activeElement.ariaValueText")
    assert label.startswith("Convolution, map 5 / map 5, row 4, column 6: ")
    with torch.inference_mode():
        window = net[:4](data[0][2:3])[0, :, 4:9, 6:11]
        total = (window * net[4].weight[5]).sum()
        value = net[:5](data[0][2:3])[0, 5, 4, 6]
    assert number(page.locator('[data-number="sum"]').inner_text()) == pytest.approx(total.item(), abs=1e-4)
    assert number(page.locator('[data-number="bias"]').inner_text()) == pytest.approx(net[4].bias[5].item(), abs=1e-4)
    assert number(page.locator('[data-number="value"]').inner_text()) == pytest.approx(value.item(), abs=1e-4)
    assert page.locator("#unit-code").inner_text() == "In PyTorch: net[:5](X[2:3])[0, 5, 4, 6]"
    sigmoid = page.locator('[data-number="activation"]').inner_text()
    assert number(sigmoid.split("=")[-1]) == pytest.approx(value.sigmoid().item(), abs=1e-4)
    focus_by_tab(page, ".chip")
    page.keyboard.press("ArrowRight")  # the second of the six maps
    page.keyboard.press("ArrowRight")
    grids = page.locator(".grid").all()
    shown = [np.array([number(cell) for cell in grid.locator("td").all_inner_texts()]).reshape(5, 5) for grid in grids]
    weights = net[4].weight[5, 2].detach()
    expected = window[2].clone(), weights, window[2].clone() * weights
    for ours, theirs in zip(shown, expected):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=6e-4)
    assert page.evaluate("document.activeElement.ariaChecked") == "true"  # the focus stays where it was


@pytest.mark.browser
def test_keys_that_are_the_browsers_stay_so(opened):
    page = opened()
    stopped = """([selector, key, modifier]) => !document.querySelector(selector).dispatchEvent(
        new KeyboardEvent("keydown", { key, [modifier]: true, bubbles: true, cancelable: true }))"""
    for where in ("#pictures button", "#scope button", "#pad", "#layers [tabindex='0']"):
        assert page.evaluate(stopped, [where, "ArrowLeft", "shiftKey"])
        for modifier in ("altKey", "ctrlKey", "metaKey"):
            assert not page.evaluate(stopped, [where, "ArrowLeft", modifier])


@pytest.mark.browser
def test_layers_are_named_as_pytorch_finds_them(data, opened, tmp_path):
    shared = nn.Linear(20, 20)
    net = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(784, 20), shared, shared, nn.Dropout(), nn.Linear(20, 10))
    )
    page = opened(explore(net, *data).save(tmp_path / "nested.html"))
    paths = ["net[0]", *(f"net[1][{i}]" for i in range(5))]
    assert page.locator(".layer-path").all_inner_texts() == paths
    assert page.locator("#about").inner_text().startswith(f"6 layers, {784 * 20 + 20 + 420 + 210:,} numbers learned")
    assert page.locator(".layer.flatten").get_attribute("aria-label") == "Layer 1 of 6: Flatten, 784"
    page.evaluate("lenet.pin({ layer: 6, index: 9 })")
    page.get_by_role("button", name="ankle boot of net[1][4] to zero").click()
    page = opened(
        explore(nn.Sequential(nn.Identity(), nn.Dropout(), net[0], net[1][0])[1:], *data).save(tmp_path / "flat.html")
    )
    page.evaluate("lenet.pin({ layer: 2, index: 70 })")
    assert page.locator("#unit-code").inner_text() == "In PyTorch: net.eval()[:2](X[0:1])[0, 70]"


@pytest.mark.browser
def test_the_line_of_all_products_stays_open(opened):
    page = opened()
    page.evaluate("lenet.pin({ layer: 4, index: 17 })")
    page.locator(".written summary").click()
    until(page, "document.querySelector('.written[open]') !== null")
    page.wait_for_timeout(50)
    for layer in (3, 4):  # a pooling unit, which has none, and back
        page.evaluate("(layer) => lenet.pin({ layer, index: 17 })", layer)
    assert page.locator(".written[open]").count() == 1


@pytest.mark.browser
def test_a_written_out_line_adds_up(opened):
    page = opened()
    page.evaluate("lenet.pin({ layer: 8, index: 17 })")
    page.locator(".written summary").click()
    line = page.locator(".written p").first.inner_text()
    terms, result = line.split(" = ")
    assert terms.count("×") == 400
    computed = eval(terms.replace("−", "-").replace("×", "*"))
    assert computed == pytest.approx(number(result), abs=400 * 2e-3)


UNITS = {  # an index of None: where the smallest number goes in, which a ReLU and its line turn into something else
    "the corrected one": {
        (1, 200): "Sum of the 25 products",
        (3, 200): "The mean of 4 numbers",
        (7, 137): "5 × 25 + 2 × 5 + 2 = 137",
        (10, 3): "Sum of the 120 products",
        (12, 9): "Softmax, over all classes",
        (0, 30): "Reshape only writes the 784 numbers",
    },
    "a modern one": {
        (3, 200): "The largest of 9 numbers",
        (3, 0): "The largest of 4 numbers",  # those of the padding take no part
        (2, 20): "minus the mean seen in training",
        (2, 2000): "For map 4: minus the mean",
        (4, None): "max(0, ",
        (5, 20): "from 5 maps",
        (6, 20): "tanh(",
        (7, 20): "Dropout lets everything through",
        (8, 0): "The mean of 4 numbers",  # here they do: as zeros
        (10, 3): "The mean of 24 numbers",
        (13, 7): "For unit 7: minus the mean",
        (14, None): "max(0, ",
        (16, 3): "Sum of the 20 products",
    },
}
NUMBERS = "p.numbers, span.numbers, .written[open] p:not(.hint)"
MEANING = {"sqrt": np.sqrt, "exp": np.exp, "tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "max": max}


def sides(line, powers):
    """What stands between the equals signs of a written-out line, each side worked out; `powers`: Σ e^z."""
    for theirs, ours in {"Σ e^z": str(powers), "−": "-", "×": "*", "√": "sqrt", "σ": "sigmoid", "e^(-": "exp(-",
                         "e^(": "exp(", "%": " / 100"}.items():  # fmt: skip
        line = line.replace(theirs, ours)
    return [eval(side, MEANING) for side in line.split(" = ")]


@pytest.mark.browser
@pytest.mark.parametrize("name", UNITS)
def test_units_of_all_kinds_are_written_out_and_both_sides_of_each_line_agree(name, data, opened, tmp_path):
    page = opened(explore(grown(NETS[name]), *data).save(tmp_path / "net.html"))
    outputs = page_outputs(page)
    for (layer, index), expected in UNITS[name].items():
        before, value = outputs[max(0, layer - 1)], outputs[layer]
        index = int(before.argmin()) if index is None else index
        page.evaluate("(unit) => lenet.pin(unit)", {"layer": layer, "index": index})
        for closed in page.locator(".written:not([open]) summary").all():
            closed.click()
        text = page.locator("#unit-body").inner_text()
        assert expected in text and "undefined" not in text and "NaN" not in text and "{" not in text
        shown = page.locator("#unit-value").inner_text()
        assert number(shown) == pytest.approx(value[index], abs=1e-4)
        for line in page.locator(f"#unit-body :is({NUMBERS})").all_inner_texts():
            worked_out = sides(line, np.exp(outputs[-1].astype(float)).sum())
            assert worked_out == pytest.approx([worked_out[-1]] * len(worked_out), abs=max(1, line.count("×")) * 2e-3)
        for line in page.locator('p[data-number="value"]').all_inner_texts():
            assert number(line.split("=")[-1]) == pytest.approx(value[index], abs=1e-4)
        for curve in page.locator(".curve").all():
            z, y = (value[index], outputs[layer + 1][index]) if "Sum of" in text else (before[index], value[index])
            line = page.locator('[data-number="activation"]').inner_text()
            assert number(line.split("=")[-1]) == pytest.approx(y, abs=1e-4)
            points = [point.split(",") for point in curve.locator("polyline").get_attribute("points").split()]
            x, height = (float(curve.locator("circle").get_attribute(name)) for name in ("cx", "cy"))
            assert x == pytest.approx(60 + 56 * z / max(5, 1.15 * abs(z)), abs=0.01)
            assert height == pytest.approx(np.interp(x, *np.array(points, float).T), abs=0.5)
        if goes_in := page.locator("tr:has-text('In') td").all_inner_texts():
            assert [number(text) for text in goes_in] == pytest.approx([before[index]], abs=1e-4)
        if place := re.search(r"from row (\d+), column (\d+)", text):
            maps = before.reshape(5, 14, 30)[index // (7 * 15)]  # what the modern net's pooling is shown
            assert maps[tuple(map(int, place.groups()))] == value[index]


@pytest.mark.browser
def test_a_softmax_of_scores_too_large_for_exp_is_written_out_too(data, opened, tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([999.0, 1000.0]))
    page = opened(explore(net, data[0], data[1] % 2).save(tmp_path / "large.html"))
    page.evaluate("lenet.pin({ layer: 2, index: 0 })")
    text = "e^(999.0000 − 1000.0000) / Σ e^(z − 1000.0000) = 0.36788 / 1.3679 = 26.9%"
    assert text in page.locator("#sums").inner_text()


def pin(page, layer, index):
    page.evaluate("(unit) => lenet.pin(unit)", {"layer": layer, "index": index})


def is_blue(red, green, blue, *opacity):
    return blue > green > red


GROUNDS = """(elements) => elements.map((element) =>
    getComputedStyle(element).backgroundColor.match(/\\d+/g).map(Number))"""
PIXELS = """(selector) => {
    const canvas = document.querySelector(selector);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({ length: data.length / 4 }, (_, i) => [...data.slice(4 * i, 4 * i + 4)]);
}"""


def assert_blue_above_zero(colours, numbers):
    """Colours of numbers near zero are hardly any, so only those of the others are looked at."""
    numbers = np.asarray(numbers).flatten()
    large = abs(numbers) > 0.1 * abs(numbers).max()
    assert len(colours) == len(numbers) and (numbers[large] < 0).any() and (numbers[large] > 0).any()
    blue = np.array([is_blue(*colour) for colour in colours])
    assert (blue[large] == (numbers[large] > 0)).all()


@pytest.mark.browser
def test_a_convolutions_maps_with_their_subtotals_and_colours(net, data, opened):
    page = opened()
    pin(page, 4, 347)
    with torch.inference_mode():
        maps, value = net[:4](data[0][:1])[0], net[:5](data[0][:1])[0].flatten()[347].item()
    windows, weights = maps[:, 4:9, 7:12], net[4].weight[3].detach()
    subtotals = (windows * weights).sum(dim=(1, 2)).numpy()
    chips = page.locator(".chip")
    shown = chips.locator("b").all_inner_texts()
    assert [text[0] for text in shown] == ["−" if subtotal < 0 else "+" for subtotal in subtotals]
    assert [number(text) for text in shown] == pytest.approx(subtotals, abs=6e-4, rel=6e-4)
    assert_blue_above_zero(chips.locator(".chip-bar").evaluate_all(GROUNDS), subtotals)
    for i in (2, 5):
        chips.nth(i).click()
        grids = page.locator(".grid").all()
        for grid, numbers in zip(grids, (windows[i] - 0.5, weights[i], windows[i] * weights[i]), strict=True):
            cells = grid.locator("td")
            assert_blue_above_zero(cells.evaluate_all(GROUNDS), numbers)
        shown, whole = ("#where figure:nth-child(2)", f'.layer[data-layer="3"] .map:nth-child({i + 1})')
        assert page.evaluate(PIXELS, f"{shown} canvas") == page.evaluate(PIXELS, f"{whole} canvas")
        assert page.locator(f"{shown} figcaption").inner_text() == f"Comes from: Average pooling, map {i}"

    name, _, shown = page.locator("#readout").inner_text().partition(" = ")
    assert name == "Convolution · map 3, row 4, column 7" and number(shown) == pytest.approx(value, abs=6e-4, rel=6e-4)
    assert page.locator("#step-count").inner_text() == "48 of 100"
    code = page.locator("#unit-code")
    assert code.inner_text() == "In PyTorch: net[:5](X[0:1])[0, 3, 4, 7]"
    page.get_by_role("button", name="Filter 3 of net[4] to zero").click()
    assert code.inner_text() == ""  # PyTorch's own network is not changed
    page.get_by_role("button", name="Restore the trained network").click()
    assert code.inner_text() != ""
    page.get_by_role("button", name="Empty").click()
    page.evaluate(NEXT_FRAME)
    assert code.inner_text() == ""  # and it has no drawing


@pytest.mark.browser
def test_the_contributions_to_a_linear_unit_are_pytorchs(net, data, opened):
    page = opened()
    pin(page, 8, 17)
    with torch.inference_mode():
        x = net[:8](data[0][:1])[0].numpy()
    weights = net[8].weight[17].detach().numpy()
    products = x * weights
    order = np.argsort(-abs(products))
    rows = page.locator(".contributions tbody tr")
    texts = rows.evaluate_all("(rows) => rows.map((row) => [...row.children].map((cell) => cell.innerText))")
    bars = rows.locator("i").evaluate_all(
        "(bars) => bars.map((bar) => [bar.className, Number(bar.style.getPropertyValue('--share'))])"
    )
    assert len(texts) == 11 and len(bars) == 10
    for i, (name, *numbers, _), (side, share) in zip(order, texts, bars):
        assert name == f"map {i // 25}, row {i // 5 % 5}, column {i % 5}"
        assert [number(text) for text in numbers] == pytest.approx([x[i], weights[i], products[i]], abs=6e-4)
        assert side == ("negative" if products[i] < 0 else "positive")
        assert share == pytest.approx(abs(products[i]) / abs(products).max(), abs=1e-5)
    rest = products[order[10:]].sum()
    assert texts[10][0] == "The other 390 together" and number(texts[10][1]) == pytest.approx(rest, abs=6e-3)
    tiles = [page.evaluate(PIXELS, f".tiles canvas:nth-child({i + 1})") for i in range(16)]
    assert_blue_above_zero(np.concatenate(tiles), products)


SIGHTS = {  # layer and unit of the modern net: what is said of its field, where it goes, rows and columns of its cells
    (3, 0): ("7 × 5 pixels of the picture. Part of that is padding.", "ReLU, map 0, row 0, column 0", (3, 3)),
    (3, 3 * 15 + 7): ("7 × 5 pixels of the picture.", "ReLU, map 0, row 3, column 7", (3, 3)),
    (2, 30 + 1): ("3 × 3 pixels of the picture. Part of that is padding.", "Max pooling, 4 units whose", None),
    (4, 2 * 15 + 2): ("7 × 5 pixels", "Convolution, 72 units whose windows cover it", None),
    (5, 20): ("15 × 7 pixels", "Tanh, map 0, row 1, column 6", (3, 2)),
    (7, 14 + 1): ("15 × 7 pixels", "Average pooling, map 0, row 1, column 1", None),
    (8, 0): ("", "Convolution, 48 units whose", (2, 2)),
    (10, 3): ("", "Flatten, unit 3", (3, 8)),
}
PADDING = {  # what is written in the cells outside, at the edge
    (3, 0): [["−∞", "padding: −∞, never the largest"]] * 5,
    (8, 0): [["0.000", "padding: always 0"]] * 3,
}


@pytest.mark.browser
def test_padding_and_sides_that_differ_are_counted_in_what_a_unit_sees_and_where_it_goes(data, opened, tmp_path):
    page = opened(explore(grown(NETS["a modern one"]), *data).save(tmp_path / "net.html"))
    for unit, (sees, goes, sides) in SIGHTS.items():
        pin(page, *unit)
        captions = page.locator("#where figcaption").all_inner_texts()
        assert captions[0].startswith(f"It sees {sees}") and (sees[-1:] != "." or captions[0].endswith(f" {sees}"))
        assert captions[-1].startswith(f"Computed up to here. Goes to: {goes}")
        outside = page.locator("td.outside").evaluate_all(
            "(cells) => cells.map((cell) => [cell.innerText, cell.title])"
        )
        assert outside == PADDING.get(unit, [])
        if sides:
            rows = (
                page.locator(".grid").first.locator("tr").evaluate_all("(rows) => rows.map((row) => row.cells.length)")
            )
            assert rows == [sides[1]] * sides[0]


@pytest.mark.browser
def test_the_network_marks_the_unit_what_it_sees_and_nothing_else(opened):
    page = opened()
    pin(page, 4, 347)
    layers = page.locator("#layers .layer")
    classes = layers.evaluate_all("(all) => all.map(({ classList: c }) => [c.contains('seen'), c.contains('chosen')])")
    assert classes == [[at < 4, at == 4] for at in range(13)]
    marks = "(maps, name) => maps.map((map) => !map.querySelector(name).hidden)"
    for at, maps in ((0, 1), (3, 6), (4, 16), (6, 16)):
        shown = layers.nth(at).locator(".map")
        assert shown.evaluate_all(marks, ".field") == [at < 4] * maps, at
        assert shown.evaluate_all(marks, ".unit") == [at == 4 and i == 3 for i in range(maps)], at
    chosen = layers.nth(4).locator(".map").nth(3)
    whole, unit = chosen.evaluate(RECTANGLE), chosen.locator(".unit").evaluate(RECTANGLE)
    place = [(unit[side] - whole[side]) / whole["height"] * 10 for side in ("top", "left")]
    assert place == pytest.approx([4, 7], abs=0.2)
    assert [chosen.get_attribute(f"aria-value{part}") for part in ("now", "max")] == ["47", "99"]
    assert chosen.get_attribute("aria-valuetext").startswith("map 3, row 4, column 7: ")

    title = page.locator("#unit-title")
    pin(page, 1, 2 * 784 + 20 * 28 + 4)
    page.locator("#layers [tabindex='0']").focus()
    for goal in ("Sigmoid, map 2, row 20, column 4", "Average pooling, map 2, row 10, column 2"):
        page.keyboard.press("Shift+ArrowRight")
        assert title.inner_text() == goal
    page.locator(".bar").nth(3).click()
    assert title.inner_text() == "Linear, dress"
    assert page.locator(".bars").get_attribute("aria-valuenow") == "3"
    assert (
        page.locator(".bar").evaluate_all("(bars) => bars.map((bar) => bar.classList.contains('unit'))").index(True)
        == 3
    )
    chosen.evaluate("""(map) => map.dispatchEvent(
        new PointerEvent("pointermove", { pointerType: "touch", bubbles: true, clientX: 9, clientY: 9 }))""")
    assert page.evaluate("lenet.hovered") is None  # a finger that scrolls past points at nothing


@pytest.mark.browser
def test_the_numbers_below_a_layer_are_the_ends_of_its_scale(opened):
    page = opened()
    for at, values in enumerate(page_outputs(page)[:12]):
        middle = 0.5 if at in (2, 3, 5, 6, 7, 9, 11) else 0  # sigmoids and what passes their numbers on
        reach = abs(values - middle).max()
        legend = page.locator(f'.layer[data-layer="{at}"] .legend')
        assert legend.count() == (at > 0)
        if at:
            ends = [number(end) for end in legend.locator("span").all_inner_texts()]
            assert ends == pytest.approx([middle - reach, middle + reach], rel=0.05, abs=0.0051)
            told = [number(part) for part in re.findall(r"−?[\d.]+", legend.get_attribute("title"))]
            assert told == [ends[0], middle, ends[1]]


RECTANGLE = "(element) => element.getBoundingClientRect().toJSON()"


def seen_by(layers, unit):
    """The rows and columns of the picture that move `unit` of `lenet()[:layers]`, by PyTorch's gradient."""
    X = torch.rand(1, 1, 28, 28, requires_grad=True)
    lenet()[:layers](X).flatten()[unit].backward()
    rows, columns = X.grad[0, 0].nonzero().T
    return [rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()]


@pytest.mark.browser
def test_the_receptive_field_is_where_the_gradient_is(opened):
    page = opened()
    for layer, unit in [(1, 0), (1, 400), (3, 100), (4, 333), (6, 399), (6, 12), (8, 5)]:
        page.evaluate("(unit) => lenet.pin(unit)", {"layer": layer, "index": unit})
        pad, field = (page.locator(f"#pad {part}").evaluate(RECTANGLE) for part in ("canvas", ".field"))
        sides = (("top", "top", 0), ("bottom", "top", 1), ("left", "left", 0), ("right", "left", 1))
        shown = [round((field[side] - pad[start]) / pad["width"] * 28) - last for side, start, last in sides]
        assert shown == seen_by(layer + 1, unit)


@pytest.mark.browser
def test_where_a_units_number_goes(opened):
    page = opened()
    one = torch.zeros(1, 6, 14, 14)
    one[0, 2, 1, 6] = 1
    windows = nn.functional.conv2d(one, torch.ones(16, 6, 5, 5)).count_nonzero()
    goals = {
        (2, 5 * 784 + 9 * 28 + 4): "Goes to: Average pooling, map 5, row 4, column 2",
        (3, 2 * 196 + 1 * 14 + 6): f"Goes to: Convolution, {windows} units whose windows cover it",
        (6, 3 * 25 + 7): "Goes to: Flatten, unit 82",
        (7, 82): "Goes to: Linear, all 120 units",
        (8, 3): "Goes to: Sigmoid, unit 3",
    }
    for (layer, index), goal in goals.items():
        page.evaluate("(unit) => lenet.pin(unit)", {"layer": layer, "index": index})
        assert page.locator("#where figcaption").last.inner_text() == f"Computed up to here. {goal}"


@pytest.mark.browser
def test_pointing_shows_a_unit_and_leaving_shows_the_chosen_one_again(opened):
    page = opened()
    chosen = page.locator("#unit-title").inner_text()
    box = page.locator('.layer[data-layer="3"] .map').nth(2).bounding_box()
    page.mouse.move(box["x"] + box["width"] * 3.5 / 14, box["y"] + box["height"] * 9.5 / 14)
    assert page.locator("#unit-title").inner_text() == "Average pooling, map 2, row 9, column 3"
    opacity = "() => Number(getComputedStyle(document.querySelector('.steps')).opacity)"
    assert page.evaluate(opacity) < 0.5  # the steps are still the chosen unit's
    page.mouse.move(5, 5)
    assert page.locator("#unit-title").inner_text() == chosen and page.evaluate(opacity) == 1
    page.mouse.click(box["x"] + 1, box["y"] + 1)
    page.mouse.move(5, 5)
    assert page.locator("#unit-title").inner_text() == "Average pooling, map 2, row 0, column 0"


IN_SIGHT = """(selector) => {
    const { top, bottom } = document.querySelector(selector).getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
}"""


@pytest.mark.browser
@pytest.mark.parametrize("finger", [False, True])
def test_hints_speak_of_keys_only_where_there_are_some(finger, opened):
    page = opened(has_touch=finger)
    hints = page.locator(".below .hint, .tools .hint").all_inner_texts()
    assert any("Tap, or point at, any unit." in hint for hint in hints)
    assert any("Shift" in hint or "arrows" in hint for hint in hints) != finger
    page.get_by_role("radio", name="中文").click()
    hints = page.locator(".below .hint, .tools .hint").all_inner_texts()
    assert any("Shift" in hint or "按键" in hint for hint in hints) != finger


@pytest.mark.browser
def test_only_the_last_layer_says_that_its_bars_are_the_softmax(opened):
    page = opened()
    layers = page.locator(".layer").all_inner_texts()
    assert ["softmax" in text for text in layers] == [False] * 12 + [True]
    assert "10\nbars: softmax of these\nt-shirt" in layers[-1]


@pytest.mark.browser
def test_the_heading_of_a_small_window_is_one_line(opened):
    page = opened()
    page.evaluate("lenet.pin({ layer: 3, index: 600 })")
    for width in (375, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.locator(".grid caption").evaluate(RECTANGLE)["height"] < 25
        assert page.evaluate(TOO_WIDE) == []


@pytest.mark.browser
def test_a_tap_chooses_a_unit_and_its_number_is_in_sight(opened):
    page = opened(viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
    page.locator('.layer[data-layer="10"] .map').tap(position={"x": 2, "y": 2})
    assert page.locator("#unit-title").inner_text() == "Linear, unit 0"
    page.locator('.layer[data-layer="2"] .map').first.tap(position={"x": 2, "y": 2})
    assert page.evaluate(IN_SIGHT, "#readout") and "Sigmoid" in page.locator("#readout").inner_text()


@pytest.mark.browser
def test_keys_that_lead_to_another_layer_bring_it_in_sight(opened):
    page = opened(viewport={"width": 640, "height": 400})
    page.locator('#layers [role="slider"][tabindex="0"]').focus()
    for _ in range(11):
        page.keyboard.press("Shift+ArrowRight")
        assert page.evaluate(IN_SIGHT, "#layers :focus")


@pytest.mark.browser
def test_playing_steps_through_the_windows_until_it_is_stopped(opened):
    page = opened()
    page.evaluate("lenet.pin({ layer: 4, index: 200 })")
    page.locator("#step-speed").fill("40")
    page.get_by_role("button", name="Play").click()
    until(page, "lenet.pinned.index >= 203")
    page.get_by_role("button", name="Pause").click()
    index = page.evaluate("lenet.pinned.index")
    page.wait_for_timeout(120)
    assert page.evaluate("lenet.pinned.index") == index
    page.get_by_role("button", name="One back").click()
    assert page.evaluate("lenet.pinned.index") == index - 1
    page.locator("#step-position").fill("99")
    page.get_by_role("button", name="One on").click()
    assert page.evaluate("lenet.pinned.index") == 200  # around the end of the map, not into the next one


@pytest.mark.browser
def test_playing_is_as_fast_as_told(opened):
    page = opened()
    page.evaluate("""() => {
        const later = setTimeout;
        globalThis.waits = [];
        globalThis.setTimeout = (next, wait) => (waits.push(wait), later(next, wait));
    }""")
    for speed in (40, 8):
        page.locator("#step-speed").fill(str(speed))
        page.evaluate(
            "() => { waits.length = 0; const play = document.getElementById('step-play'); play.click(); play.click() }"
        )
        assert 1000 / speed in page.evaluate("waits")


@pytest.mark.browser
def test_one_button_leads_to_the_numbers_and_another_to_the_other_colours(opened):
    page = opened(color_scheme="light", viewport={"width": 640, "height": 400})
    assert not page.evaluate(IN_SIGHT, "#one-title")
    page.get_by_role("button", name="The numbers").click()
    assert page.evaluate(IN_SIGHT, "#one-title")
    theme, button, bars = "document.documentElement.dataset.theme", page.locator("#theme"), []
    for now, other in (("light", "Dark colours"), ("dark", "Light colours"), ("light", "Dark colours")):
        assert page.evaluate(theme) == now
        assert button.get_attribute("aria-label") == button.get_attribute("title") == other
        bars.append(page.evaluate(PIXELS, '.layer[data-layer="1"] .legend canvas'))
        button.click()
    assert bars[0] == bars[2] != bars[1]
    button.click()
    page.emulate_media(color_scheme="dark")  # as when the evening comes
    until(page, f"{theme} === 'dark'", seconds=10)


@pytest.mark.browser
def test_who_steps_by_one_hears_where_that_leads(opened):
    page = opened()
    page.evaluate("lenet.pin({ layer: 4, index: 200 })")
    page.get_by_role("button", name="One on").press("Enter")
    place = page.locator("#step-position").get_attribute("aria-valuetext")
    page.wait_for_function("(place) => document.getElementById('announcer').textContent === place", arg=place)


@pytest.mark.browser
@pytest.mark.parametrize("change", ["中文", "Max"])
def test_a_change_of_language_or_network_ends_the_play(opened, change):
    """The panel is made anew then; what an old one went on playing, no button could stop."""
    page = opened()
    page.evaluate("lenet.pin({ layer: 4, index: 200 })")
    page.locator("#step-speed").fill("40")
    page.get_by_role("button", name="Play").click()
    until(page, "lenet.pinned.index >= 203")
    page.get_by_role("radio", name=change).click()
    index = page.evaluate("lenet.pinned.index")
    page.wait_for_timeout(120)
    assert page.evaluate("lenet.pinned.index") == index
    assert page.locator("#step-play").text_content() == ("播放" if change == "中文" else "Play")


@pytest.mark.browser
def test_nothing_plays_for_those_who_want_no_motion(opened):
    page = opened(reduced_motion="reduce")
    assert not page.locator("#step-play").is_visible() and page.locator("#step-still").is_visible()
    page.get_by_role("button", name="One on").click()
    assert page.locator(".track i").first.evaluate("(bar) => getComputedStyle(bar).transitionDuration") == "0s"


# ---- changing the network


def swapped(net, kind, replacement):
    layers = [replacement() if isinstance(layer, kind) else layer for layer in net]
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            layers[i] = nn.MaxPool2d(2, 2)
    return nn.Sequential(*layers)


def with_filter_zeroed(net, layer, unit):
    copy = lenet().eval()
    copy.load_state_dict(net.state_dict())
    with torch.no_grad():
        copy[layer].weight[unit] = 0
        copy[layer].bias[unit] = 0
    return copy


@pytest.mark.browser
def test_changes_do_what_they_do_in_pytorch_and_one_button_takes_them_back(net, data, opened):
    page = opened()
    restore = page.get_by_role("button", name="Restore the trained network")
    before = page_outputs(page)
    assert restore.is_disabled()

    page.get_by_role("radio", name="Max", exact=True).click()
    assert_same_outputs(page, swapped(net, nn.AvgPool2d, lambda: nn.MaxPool2d(2, 2)), data[0][0])
    assert page.locator("#change-list").inner_text() == "Max pooling: all layers"
    restore.click()
    assert all((a == b).all() for a, b in zip(page_outputs(page), before))

    page.get_by_role("radio", name="ReLU", exact=True).click()
    # Without sigmoids the values go into the hundreds, where float32 itself is coarser than 1e-4.
    assert_same_outputs(page, swapped(net, nn.Sigmoid, nn.ReLU), data[0][0], rtol=2e-6)
    restore.click()

    page.evaluate("lenet.pin({ layer: 4, index: 333 })")
    page.get_by_role("button", name="Filter 3 of net[4] to zero").click()
    assert_same_outputs(page, with_filter_zeroed(net, 4, 3), data[0][0])
    page.evaluate("lenet.pin({ layer: 8, index: 17 })")
    restore.click()
    page.get_by_role("button", name="unit 17 of net[8] to zero").click()
    assert_same_outputs(page, with_filter_zeroed(net, 8, 17), data[0][0])
    restore.click()

    page.get_by_role("radio", name="this layer").click()
    page.get_by_role("button", name="Add").click()
    noisy = page_outputs(page)
    assert all((a == b).all() for a, b in zip(noisy[:8], before)) and abs(noisy[8] - before[8]).max() > 0.01
    restore.click()
    assert all((a == b).all() for a, b in zip(page_outputs(page), before))
    assert page.locator("#change-list li").count() == 0 and restore.is_disabled()


def weights_in(page):
    """The weights and biases of the layers that have some, by the layers' numbers, as arrays."""
    text = page.evaluate("""() => JSON.stringify(lenet.layers.map(({ weight, bias }) =>
        weight ? [weight, bias].map((numbers) => Array.from(numbers)) : null))""")
    return {at: [np.array(part) for part in parts] for at, parts in enumerate(json.loads(text)) if parts}


@pytest.mark.browser
def test_noise_is_as_strong_as_told_on_both_sides_of_zero_and_the_same_in_every_room(net, opened):
    rooms = []
    for page in (opened(), opened()):
        nothing = page.get_by_text("Nothing is changed: this is the network as trained.")
        assert nothing.is_visible()
        page.locator("#noise").fill("0.8")
        assert page.locator("#noise-value").inner_text() == "80%"
        page.get_by_role("button", name="Add").click()
        assert page.locator("#change-list").inner_text() == "80% noise: all layers" and not nothing.is_visible()
        rooms.append(weights_in(page))
    assert list(rooms[0]) == [1, 4, 8, 10, 12]
    for at, (weight, bias) in rooms[0].items():
        assert (weight == rooms[1][at][0]).all() and (bias == net[at].bias.detach().numpy()).all()
        trained = net[at].weight.detach().numpy().flatten()
        noise, uncertain = (weight - trained) / trained.std(), 0.8 / len(weight) ** 0.5
        assert abs(noise.mean()) < 4 * uncertain and abs(noise.std() - 0.8) < 4 * uncertain
        assert len(np.unique(noise.round(4))) > 0.5 * min(len(noise), 10_000)


@pytest.mark.browser
def test_a_change_of_this_layer_leaves_the_others_alone(opened):
    page = opened()
    page.get_by_role("radio", name="this layer").click()
    zero, add = page.locator("#zero"), page.get_by_role("button", name="Add")
    trained, kinds = weights_in(page), page.evaluate("lenet.layers.map((layer) => layer.kind)")
    for at, name, kind in ((2, "ReLU", "relu"), (3, "Max", "maxpool")):
        pin(page, at, 0)
        assert zero.is_disabled() and zero.inner_text().startswith("To zero a filter, choose") and add.is_disabled()
        page.get_by_role("radio", name=name, exact=True).click()
        kinds[at] = kind
        assert page.evaluate("lenet.layers.map((layer) => layer.kind)") == kinds
    pin(page, 4, 0)
    assert zero.is_enabled()
    add.click()
    assert page.locator("#change-list").inner_text() == "ReLU: net[2]\nMax pooling: net[3]\n30% noise: net[4]"
    same = {at: (weight == trained[at][0]).all() for at, (weight, _) in weights_in(page).items()}
    assert same == {1: True, 4: False, 8: True, 10: True, 12: True}


@pytest.mark.browser
def test_the_score_on_the_pictures_is_counted_anew_after_a_change(net, data, opened):
    page = opened()
    with torch.inference_mode():
        right = (net(data[0]).argmax(dim=1) == data[1]).sum().item()
        swap = (swapped(net, nn.Sigmoid, nn.ReLU)(data[0]).argmax(dim=1) == data[1]).sum().item()
    assert page.locator("#score").inner_text() == f"Right on {right} of these 20 pictures."
    page.get_by_role("radio", name="ReLU", exact=True).click()
    until(page, "document.getElementById('score').textContent.includes('as trained')")
    assert page.locator("#score").inner_text() == f"Right on {swap} of these 20 pictures; as trained, on {right}."


@pytest.mark.browser
def test_a_change_before_the_first_count_is_compared_with_the_trained_network(browser, saved, net, data):
    with torch.inference_mode():
        right = (net(data[0]).argmax(dim=1) == data[1]).sum().item()
    context = browser.new_context()
    context.add_init_script("performance.now = () => Infinity")  # the time for counting is always over
    page = context.new_page()
    page.goto(saved.as_uri())
    page.get_by_role("radio", name="ReLU", exact=True).click()
    page.evaluate("delete performance.now")
    until(page, "document.getElementById('score').textContent.includes('as trained')")
    assert page.locator("#score").inner_text().endswith(f"as trained, on {right}.")
    context.close()


@pytest.mark.browser
def test_the_focus_stays_in_its_section_when_the_network_is_restored(opened):
    page = opened()
    page.get_by_role("radio", name="Max", exact=True).click()
    page.get_by_role("button", name="Restore the trained network").press("Enter")
    assert page.evaluate("document.activeElement.closest('section')?.id") == "change"


# ---- for everybody


NAMELESS = """() => [...document.querySelectorAll("button, input:not([hidden]), [tabindex], [role]")]
    .filter((element) => element.getAttribute("role") !== "status")
    .filter((element) => !(element.ariaLabel || element.textContent.trim() || element.labels?.[0]?.textContent.trim()))
    .map((element) => element.outerHTML)"""


# Chromium's keyboard reaches what scrolls by itself; Safari's does not.
SCROLLS = """() => [...document.querySelectorAll("#page *")].filter((element) =>
    getComputedStyle(element).overflowY === "auto" && element.scrollHeight > element.clientHeight)"""
UNREACHED = f"() => ({SCROLLS})().filter((element) => !element.matches('[tabindex], :has(button)')).map(String)"


@pytest.mark.browser
def test_every_control_has_a_name_and_the_network_one_tab_stop(opened):
    page, scrolling = opened(), 0
    for layer in range(13):
        page.evaluate("(layer) => lenet.pin({ layer, index: 3 })", layer)
        for element in page.locator(".written:not([open]) summary").all():
            element.click()
        assert page.locator('#layers [role="slider"][tabindex="0"]').count() == 1
        assert page.evaluate(NAMELESS) == []
        assert page.get_by_role("group", name="Pen or eraser").get_by_role("button").count() == 2
        assert page.get_by_role("slider", name="Noise in the weights").get_attribute("aria-valuetext") == "30%"
        assert page.locator('[aria-hidden]:not([aria-hidden="true"])').count() == 0  # "" hides nothing
        scrolling += page.evaluate(f"() => ({SCROLLS})().length")
        assert page.evaluate(UNREACHED) == []
    assert scrolling > 0


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrasts_of_the_colours_in_use(theme, opened):
    page = opened(color_scheme=theme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    names = re.findall(r"^  --([\w-]+): #", (WEB / "page.css").read_text().split("}")[0], re.MULTILINE)
    read = "(name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()"
    colours = {name: page.evaluate(read, name) for name in names}
    for ground in ("ground", "card", "sunk"):
        for text in ("text", "muted", "accent", "good", "bad", "mark"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for part in ("edge", "below", "above"):
            assert contrast(colours[part], colours[ground]) >= 3, (part, ground)
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_blue_is_above_zero_as_in_the_courses_figures(theme, opened):
    page = opened(color_scheme=theme)
    page.evaluate("lenet.pin({ layer: 8, index: 0 })")  # a linear unit: its contributions have bars, too
    style = """(selector) =>
        getComputedStyle(document.querySelector(selector)).backgroundColor.match(/\\d+/g).map(Number)"""
    blue = [page.evaluate(style, selector) for selector in (".best .track i", ".bar-cell .positive")]
    assert all(is_blue(*colour) for colour in blue) and not is_blue(*page.evaluate(style, ".bar-cell .negative"))
    values, pixels = page_outputs(page)[8], page.evaluate(PIXELS, '.layer[data-layer="8"] .map canvas')
    assert is_blue(*pixels[values.argmax()]) and not is_blue(*pixels[values.argmin()])
    assert page.locator('.layer[data-layer="8"] .legend').get_attribute("title").startswith("Orange −")


def colours_of(page, at):
    """The numbers of layer `at`, as shares of its scale from -1 to 1; their colours; and those of the bar below it."""
    values = page_outputs(page)[at] - (0.5 if at == 2 else 0)
    block = f'.layer[data-layer="{at}"]'
    canvases = page.locator(f"{block} .map").count()
    maps = [page.evaluate(PIXELS, f"{block} .map:nth-child({i + 1}) canvas") for i in range(canvases)]
    colours, bar = np.concatenate(maps), np.array(page.evaluate(PIXELS, f"{block} .legend .scale"))
    return values / abs(values).max(), colours[:, :3].astype(float), bar[:, :3].astype(float)


@pytest.mark.browser
@pytest.mark.parametrize("at", [1, 2])  # a convolution around 0, a sigmoid around 1/2
def test_the_bar_below_a_layer_has_each_numbers_colour_in_its_place(at, opened):
    shares, colours, bar = colours_of(opened(), at)
    for place, colour in zip(np.linspace(-1, 1, len(bar)), bar):
        nearest = abs(shares - place).argmin()
        if abs(place) > 0.05 and abs(shares[nearest] - place) < 0.001:
            assert abs(colours[nearest] - colour).max() <= 4, place


@pytest.mark.browser
def test_small_numbers_around_zero_have_colours_too(opened):
    page = opened()
    for at, share, most, least in ((1, 0.04, 0.3, 0.12), (2, 0.5, 0.65, 0.4)):  # behind a sigmoid all are even
        shares, colours, bar = colours_of(page, at)
        strengths = np.linalg.norm(colours - bar[len(bar) // 2], axis=1) / np.linalg.norm(bar[0] - bar[len(bar) // 2])
        some = strengths[(shares < 0) & (abs(shares + share) < 0.1 * share)]
        assert len(some) and least < some.min() and some.max() < most, (at, some)


@pytest.mark.browser
def test_the_bar_below_a_layer_is_wide_enough_to_be_read(opened):
    page = opened()
    for width in (375, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        bars = [bar.evaluate(RECTANGLE)["width"] for bar in page.locator(".legend .scale").all()]
        assert len(bars) == 11 and min(bars) >= 40, bars


@pytest.mark.browser
def test_the_numbers_in_coloured_cells_can_be_read(opened):
    for theme in ("light", "dark"):
        page = opened(color_scheme=theme)
        page.evaluate("lenet.pin({ layer: 4, index: 333 })")
        pairs = page.evaluate("""() => [...document.querySelectorAll(".grid td")].map((cell) =>
            ["color", "backgroundColor"].map((part) => getComputedStyle(cell)[part].match(/\\d+/g).map(Number)))""")
        assert len(pairs) == 75
        for pair in pairs:
            assert contrast(*("#" + bytes(colour[:3]).hex() for colour in pair)) >= 4.5


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_with_the_readers_own_colours_the_frames_are_still_seen_on_the_pictures(theme, opened):
    page = opened(color_scheme=theme, forced_colors="active")
    page.evaluate("lenet.pin({ layer: 1, index: 406 })")
    frames = page.evaluate("""() => [...document.querySelectorAll(".pad .field, .still .field, .still .unit")].map(
        (frame) => [getComputedStyle(frame).outlineColor, getComputedStyle(frame).boxShadow])""")
    mark = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--mark')").strip()
    wanted = "rgb({}, {}, {})".format(*bytes.fromhex(mark[1:]))
    assert len(frames) >= 3
    assert all(colour == wanted and shadow != "none" for colour, shadow in frames), frames


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_with_the_readers_own_colours_what_is_chosen_and_what_has_the_focus_are_seen(theme, opened):
    page = opened(color_scheme=theme, forced_colors="active")
    page.evaluate("lenet.pin({ layer: 4, index: 406 })")
    look = """(button) => { const style = getComputedStyle(button);
        return [style.backgroundColor, style.borderTopWidth, style.borderTopColor].join() }"""
    for group in (".segmented", ".pictures", ".chips"):
        chosen = page.locator(f"{group} [aria-checked=true]").first
        other = page.locator(f"{group} [aria-checked=false]").first
        assert chosen.evaluate(look) != other.evaluate(look), group
    english = page.get_by_role("radio", name="English")
    ring = "(button) => ['Style', 'Width', 'Color', 'Offset'].map((part) => getComputedStyle(button)['outline' + part])"
    before = english.evaluate(ring)
    page.get_by_role("radio", name="中文").focus()
    page.keyboard.press("Home")  # by a key, so that the ring shows
    assert before[0] == "none" and english.evaluate(ring)[0] == "solid"


@pytest.mark.browser
def test_a_change_of_language_keeps_the_focus_and_says_each_name_in_its_own(opened):
    page = opened()
    page.get_by_role("radio", name="English").focus()
    for key, language in (("ArrowRight", "zh"), ("ArrowLeft", "en")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.lang") == language
        assert page.evaluate("document.activeElement.getAttribute('aria-checked')") == "true"


@pytest.mark.browser
@pytest.mark.parametrize("size", [(320, 256), (360, 640), (1280, 900)])
def test_the_readout_does_not_hide_the_map_that_keys_choose(size, opened):
    page = opened()
    page.set_viewport_size(dict(zip(("width", "height"), size)))
    hidden = """() => {
        const map = document.activeElement.getBoundingClientRect();
        const unit = document.activeElement.querySelector(".unit").getBoundingClientRect();
        const top = document.querySelector(".readout").getBoundingClientRect().top;
        return [map.bottom, unit.bottom].map((bottom) => Math.round(bottom - top)).filter((under) => under > 0);
    }"""
    for layer in (1, 4, 6):  # of 28, 10 and 5 pixels
        page.evaluate("(layer) => lenet.pin({ layer, index: 0 })", layer)
        page.locator(".layer").nth(layer).locator(".map").first.focus()
        for key in ("End", "Shift+ArrowRight", "PageDown", "Home"):
            page.keyboard.press(key)
            assert page.evaluate(hidden) == [], (layer, key)


@pytest.mark.browser
@pytest.mark.parametrize("width", [720, 744, 768])
def test_a_sigmoids_line_has_room_beside_its_curve_or_below(width, opened):
    page = opened()
    page.set_viewport_size({"width": width, "height": 1000})
    page.evaluate("lenet.pin({ layer: 2, index: 406 })")
    line = page.locator(".activation p").evaluate("(text) => text.getBoundingClientRect().width")
    assert line > 130, line


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_wider_than_the_page(language, opened):
    page = opened()
    page.locator("#languages button").nth(["en", "zh"].index(language)).click()
    for layer, index in ((0, 0), (1, 783), (2, 5), (3, 5), (4, 1599), (7, 399), (8, 119), (12, 9)):
        page.evaluate("(unit) => lenet.pin(unit)", {"layer": layer, "index": index})
        for element in page.locator(".written:not([open]) summary").all():
            element.click()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(TOO_WIDE) == [], (layer, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def wide(*layers):
    """A net whose layers are more, or larger, than LeNet's."""
    return grown(lambda: nn.Sequential(*layers))


WIDE = {
    "maps of one cell": lambda: wide(nn.Conv2d(1, 16, 5, 5), nn.Conv2d(16, 120, 5), nn.Flatten(), nn.Linear(120, 10)),
    "many maps": lambda: wide(nn.Conv2d(1, 64, 3, padding=1), nn.MaxPool2d(7), nn.Flatten(), nn.Linear(1024, 10)),
    "many units": lambda: wide(nn.Conv2d(1, 16, 5, padding=2), nn.Flatten(), nn.Linear(12544, 10)),
}


@pytest.mark.browser
@pytest.mark.parametrize("name", WIDE)
def test_large_layers_fit_too(name, data, opened, tmp_path):
    page = opened(explore(WIDE[name](), *data).save(tmp_path / "wide.html"))
    for width in (320, 375, 800, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(TOO_WIDE) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_on_paper_all_colours_are_there_and_nothing_sticks(opened):
    page = opened(color_scheme="dark", viewport={"width": 800, "height": 600})
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    style = "([selector, part]) => getComputedStyle(document.querySelector(selector))[part]"
    assert page.evaluate(style, ["#readout", "printColorAdjust"]) == "exact"
    assert page.evaluate(style, [".readout", "position"]) == "static"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.browser
def test_long_names_fit_and_the_check_mark_stays(net, data, opened, tmp_path):
    page = opened(explore(net, *data, names=["abcdefghijk" * 6] * 10).save(tmp_path / "long.html"))
    page.evaluate("lenet.pin({ layer: 12, index: 3 })")
    page.get_by_role("button", name=" to zero").click()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(TOO_WIDE) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = (
        "() => { const name = document.querySelector('.label .bar-name'); return name.scrollWidth > name.clientWidth; }"
    )
    assert not page.evaluate(cut)


@pytest.mark.browser
def test_large_kernels_scroll_in_boxes_of_their_own(data, opened, tmp_path):
    page = opened(explore(wide(nn.Conv2d(1, 2, 19), nn.Flatten(), nn.Linear(200, 10)), *data).save(tmp_path / "k.html"))
    for width in (320, 375, 800, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box, cell = (page.locator(f".grid{part}").first.evaluate(RECTANGLE) for part in ("-box", " td"))
        assert box["right"] <= width and cell["width"] > 30
    focus_by_tab(page, ".grid-box")
    page.set_viewport_size({"width": 375, "height": 800})
    page.evaluate("document.querySelector('.grid-box').scrollLeft = 100")
    before = page.locator("#unit-value").text_content()
    page.get_by_role("button", name="One on").click()
    assert page.locator("#unit-value").text_content() != before
    assert page.evaluate("document.querySelector('.grid-box').scrollLeft") == 100


@pytest.mark.browser
def test_the_page_speaks_both_languages(net, data, opened, tmp_path):
    page = opened()
    until(page, "document.getElementById('announcer').textContent !== ''")
    english = page.locator("body").inner_text()
    page.get_by_role("radio", name="中文").click()
    until(page, "!/[a-z]/.test(document.getElementById('announcer').textContent)")  # it waits a moment
    chinese = page.locator("body").inner_text()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert "卷积" in chinese and "短靴" in chinese
    left = set(re.findall(r"[A-Za-z]{3,}", chinese)) - {"English", "PyTorch", "net", "Sigmoid", "Tanh", "ReLU", "Space",
                                                         "Shift", "Tab", "Page", "Down", "softmax"}  # fmt: skip
    assert left == set()
    page.get_by_role("radio", name="English").click()
    until(page, "/[a-z]/.test(document.getElementById('announcer').textContent)")
    assert page.locator("body").inner_text() == english
    page = opened(explore(net, *data, language="zh", title="").save(tmp_path / "zh.html"))
    assert page.locator("#title").inner_text() == "走进你的网络"


def test_both_languages_have_the_same_labels_with_the_same_places():
    english, chinese = document.words()["en"], document.words()["zh"]
    assert list(english) == list(chinese)
    for key in english:
        assert sorted(re.findall(r"\{\w+\}", english[key])) == sorted(re.findall(r"\{\w+\}", chinese[key])), key
        assert chinese[key].strip() and english[key].strip()
    assert english["classes"].split("|") == list(LABELS) and len(chinese["classes"].split("|")) == len(LABELS)


def test_every_label_is_used_and_every_used_one_is_there():
    paths = [path for path in WEB.glob("*.*") if path.suffix in (".js", ".html")] + [pathlib.Path(document.__file__)]
    code = "".join(path.read_text(encoding="utf-8") for path in paths)
    keys = set(document.words()["en"])
    used = set(re.findall(r'(?:say\(|data-say=|data-label=)"([\w.]+)"', code))
    assert used <= keys
    unused = {key for key in keys - used if not key.startswith(("kind.", "short.", "language.", "column."))}
    assert all(f'"{key}"' in code for key in unused), unused


# ---- safe and self-contained


@pytest.mark.browser
@pytest.mark.parametrize("where", ["the file", "the notebook"])
def test_names_and_titles_stay_text(where, net, data, opened, tmp_path):
    shown = explore(net, *data, names=[f"{EVIL} {i}" for i in range(10)], title=EVIL + "\u2028")
    path = shown.save(tmp_path / "evil.html")
    if where == "the notebook":
        path.write_text(notebook_around(shown), encoding="utf-8")
    page = opened(path, in_frame=where == "the notebook")
    assert page.locator("#title").inner_text().strip() == EVIL
    assert page.evaluate("document.title").strip() == EVIL
    assert EVIL in page.locator(".bar-name").first.inner_text()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("typeof hacked") == "undefined"


@pytest.mark.browser
def test_no_request_leaves_the_page(browser, saved):
    context = browser.new_context()
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(saved.as_uri())
    until(page, "globalThis.lenet?.answers.length > 0")
    page.get_by_role("radio", name="Picture 3:").click()
    page.locator("#file").set_input_files(png_of(np.eye(40, dtype=np.uint8) * 255))
    page.wait_for_timeout(200)
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [saved.as_uri()]
    refused = page.evaluate("fetch('data:text/plain,x').then(() => 'sent', () => 'refused')")
    assert refused == "refused"  # the page's own policy, even for what would not leave the machine
    context.close()


def test_a_saved_page_brings_its_licence_and_that_of_the_pictures(net, data):
    notice = pathlib.Path(WEB / "notice.txt").read_text(encoding="utf-8")
    licence = (WEB.parents[2] / "LICENSE").read_text(encoding="utf-8").partition("\n\n")[2]
    theirs = (WEB.parents[1] / "FashionMNIST" / "LICENSE").read_text(encoding="utf-8")
    owner, _, permission = licence.partition("\n\n")
    assert owner in notice and "Copyright (c) 2017 Zalando SE" in notice and "Copyright (c) 2017 Zalando SE" in theirs
    assert notice.endswith(permission) and permission.split() == theirs.split()[-len(permission.split()) :]
    assert f"<!--\n{notice}-->" in explore(net, *data).html


def test_the_modules_use_nothing_that_could_run_or_fetch_text():
    code = "".join(path.read_text(encoding="utf-8") for path in WEB.glob("*.js"))
    code = code.replace('"net.eval()"', "")  # what the page writes for PyTorch
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch(",
                 "XMLHttpRequest", "WebSocket", "import(", "http:", "https:", "localStorage"):  # fmt: skip
        assert word not in code.replace("http://www.w3.org/2000/svg", ""), word


@pytest.mark.browser
def test_the_notebooks_frame_is_alive_and_can_reach_nothing_around_it(net, data, opened, tmp_path):
    path = tmp_path / "notebook.html"
    path.write_text(notebook_around(explore(net, *data)), encoding="utf-8")
    frame = opened(path, in_frame=1)
    assert_same_outputs(frame, net, data[0][0])
    reached = frame.evaluate("() => { try { return parent.document.title } catch { return 'refused' } }")
    assert reached == "refused"


@pytest.mark.browser
def test_the_notebooks_frame_has_room_for_a_lenet(net, data, opened, tmp_path):
    path = tmp_path / "notebook.html"
    path.write_text(notebook_around(explore(net, *data)), encoding="utf-8")
    frame = opened(path, in_frame=1)
    for width in list(document.HEIGHTS)[1:]:
        frame.page.set_viewport_size({"width": width, "height": 900})
        until(frame, f"innerWidth === {width} && innerHeight === {document.HEIGHTS[width]}")
        for layer, index in ((0, 0), (1, 0), (4, 0), (8, 0), (12, 0)):
            frame.evaluate("(unit) => lenet.pin(unit)", {"layer": layer, "index": index})
            assert frame.evaluate("document.documentElement.scrollHeight - innerHeight") <= 0, (width, layer)


# What surrounds an output elsewhere: VS Code's policy for what notebooks show, and Colab's frame around each output.
VS_CODE = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'
    'unsafe-eval'; style-src 'unsafe-inline'; img-src https: http: data:; font-src https:; connect-src https:;
    child-src https: data:">"""
COLAB = '<iframe sandbox="allow-scripts allow-forms allow-modals allow-downloads allow-popups" srcdoc="{}"></iframe>'


@pytest.mark.browser
@pytest.mark.parametrize("host", ["VS Code", "Colab"])
def test_alive_in_what_other_notebooks_put_around_it(host, net, data, opened, tmp_path):
    output = notebook_around(explore(net, *data))
    path = tmp_path / "host.html"
    path.write_text(VS_CODE + output if host == "VS Code" else COLAB.format(html.escape(output)), encoding="utf-8")
    frame = opened(path, in_frame=1 if host == "VS Code" else 2)
    assert_same_outputs(frame, net, data[0][0])


# ---- the picture that stands in, and the file


@pytest.mark.browser
@pytest.mark.parametrize("where", ["the file", "the notebook"])
def test_without_scripts_a_picture_stands_in(where, net, data, opened, tmp_path):
    path, shown = tmp_path / "page.html", explore(net, *data)
    html = notebook_around(shown) if where == "the notebook" else shown.html
    # Chromium begins a frame of its own process before it hears that scripts are off: there the sandbox forbids them.
    path.write_text(html.replace('sandbox="allow-scripts"', "sandbox"), encoding="utf-8")
    page = opened(path, java_script_enabled=False)
    image = page.get_by_alt_text("The network's answer to picture 0")
    assert image.bounding_box()["width"] > 700
    assert not page.locator("#page").is_visible()
    from PIL import Image

    image.evaluate("(image) => image.decode()")
    seen = Image.open(io.BytesIO(page.screenshot(clip=image.bounding_box()))).convert("L")
    assert np.mean(np.asarray(seen) < 20) > 0.02  # the black ground of the boot, so no frame lies over it


@pytest.mark.browser
def test_where_the_page_cannot_start_a_picture_stays_and_a_sentence_says_why(browser, saved):
    context = browser.new_context()
    context.add_init_script("delete Element.prototype.replaceChildren")  # as in Safari before 14
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(saved.as_uri())
    page.get_by_text("This is only a picture of the page.").wait_for()
    assert page.get_by_alt_text("The network's answer to picture 0").is_visible()
    assert "replaceChildren" in errors[0]
    assert not page.locator("#page").is_visible()
    context.close()


def test_the_bundle_has_html_a_picture_and_a_description(net, data):
    bundle = explore(net, *data)._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"].startswith("The network's answer to picture 0: ")
    assert "convolution 6 x 28 x 28" in bundle["text/plain"]
    alt = re.search(r'<img [^>]*alt="([^"]*)"', bundle["text/html"])[1]
    assert len(alt) > 100 and 'sandbox="allow-scripts"' in bundle["text/html"]


def test_the_picture_tells_the_answer_of_pytorch(net, data):
    with torch.inference_mode():
        shares = net(data[0][:1]).softmax(dim=1)[0]
    assert f"{LABELS[shares.argmax()]}, {shares.max():.1%}" in explore(net, *data).alt
    outputs = picture.all_outputs(net, data[0][:1], read_net(net, data[0])[0])
    for ours, theirs in zip(outputs, torch_outputs(net, data[0][0])[1:]):
        np.testing.assert_array_equal(ours.flatten(), theirs)


def test_the_picture_has_what_a_layer_gave_before_it_was_overwritten(data):
    net = grown(lambda: nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(1152, 10)))
    outputs = picture.all_outputs(net, data[0][:1], read_net(net, data[0])[0])
    assert outputs[1].min() < 0 <= outputs[2].min()


def test_many_classes_and_long_names_have_room_in_the_picture(data):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 100))
    packed = pack.pack(net, *data, [f"{i:02} and a name with many letters" for i in range(100)], None, "en")
    figure, description = picture.draw_still(net, data[0][:1], packed)
    written = [label.get_text() for label in figure.axes[-1].get_yticklabels()]
    assert len(written) == 15 and all(len(name) == 20 for name in written) and written == sorted(written)
    assert "letters" in description and description.endswith("bars for the 15 likeliest classes.")


def test_the_picture_has_the_pages_colours():
    light = (WEB / "page.css").read_text().split("}")[0]
    ends = [to_hex(picture.colours()(end)) for end in (0.0, 1.0)]
    assert ends == [re.search(rf"--{name}: (#\w+)", light)[1] for name in ("below", "above")]
    assert f"--middle: {picture.MIDDLE};" in light and is_blue(*picture.colours()(1.0))


STILLS = {
    "LeNet": (lenet, 2, 10),
    "no maps": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 84), nn.Sigmoid(), nn.Linear(84, 10)), 1, 10),
    "many layers": (lambda: nn.Sequential(*[nn.Conv2d(1, 1, 1) for _ in range(19)], nn.Flatten(), *[nn.ReLU()] * 7,
                                          nn.Linear(784, 100)), 5, 15),
}  # fmt: skip


@pytest.mark.parametrize("name", STILLS)
def test_the_picture_has_rows_that_fit_with_letters_that_can_be_read(name, data):
    make_net, rows, classes = STILLS[name]
    net = make_net()
    figure, _ = picture.draw_still(net, data[0][:1], pack.pack(net, *data, None, None, "en"))
    width, height = figure.get_size_inches()
    boxes = [axes.get_tightbbox().transformed(figure.dpi_scale_trans.inverted()) for axes in figure.axes]
    assert width <= 8.5 and all(box.x0 > -0.05 and box.x1 < 8.65 for box in boxes)
    assert all(box.y0 >= 0 and box.y1 <= height for box in boxes)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    tops = {round(axes.get_position(original=True).y1, 3) for axes in figure.axes}
    assert len(tops) == rows and len(figure.axes[-1].patches) == classes
    texts = [text for text in [*figure.texts, *figure.axes[-1].findobj(Text)] if text.get_text()]
    sizes = [text.get_fontsize() for text in texts]
    assert min(sizes) >= 8 and max(sizes[1:]) <= 9  # points; the first is the headline


def test_the_picture_says_what_its_colours_and_bars_mean_and_lists_what_is_drawn(data):
    net = lenet()
    figure, description = picture.draw_still(net, data[0][:1], pack.pack(net, *data, None, None, "en"))
    assert figure.texts[1].get_text().startswith("Blue is high, orange low; each layer has its own scale.")
    assert [axes.get_title(loc="left").split("\n")[0].lower() for axes in figure.axes] == [
        re.match(r"[a-z ]+(?= \d)", layer)[0] for layer in description.split(": ")[2].split("; ")[0].split(", ")
    ]
    assert "flatten" not in description
    assert figure.axes[-1].get_title(loc="left") == "Linear\n10; bars: softmax of these"


def test_colours_in_the_picture_grow_with_the_root_around_zero_only():
    assert picture.strengths(np.array([-4.0, 0, 1, 16]), 0) == pytest.approx([-0.5, 0, 0.25, 1])
    assert picture.strengths(np.array([0.25, 0.5, 1]), 0.5) == pytest.approx([-0.5, 0, 1])
    assert picture.strengths(np.zeros(3), 0) == pytest.approx(0)


def test_bars_are_shares_of_one():
    axes = Figure().subplots()
    picture.draw_bars(axes, ["a", "b"], np.array([0.25, 0.75]))
    assert axes.get_xlim() == (0, 1) and [bar.get_width() for bar in axes.patches] == [0.25, 0.75]


def test_any_name_can_be_drawn(data):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    alt = explore(net, data[0], torch.zeros(20, dtype=torch.int64), names=["$x_", "100 % {wool} \\"]).alt
    assert "$x_" in alt


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "usual", ["dark_background", {"figure.constrained_layout.use": True}, {"figure.autolayout": True}]
)
def test_the_picture_is_the_same_whatever_figures_usually_look_like(data, usual):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    plain = explore(net, *data)._repr_mimebundle_()["image/png"]
    with matplotlib.style.context(usual):
        assert explore(net, *data)._repr_mimebundle_()["image/png"] == plain


def test_the_picture_takes_the_fonts_that_are_set(data, monkeypatch):
    seen = []
    monkeypatch.setattr(picture, "can_be_drawn", lambda name: seen.append(matplotlib.rcParams["font.family"]) or True)
    with matplotlib.rc_context({"font.family": ["serif"]}):
        explore(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), *data)
    assert seen and all(family == ["serif"] for family in seen)


def test_names_that_the_font_cannot_write_are_numbers_in_the_picture(recwarn):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    shown = explore(net, torch.rand(3, 1, 28, 28), torch.zeros(3, dtype=torch.int64), names=["T恤", "coat"])
    assert "T恤" in shown.alt and not [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)]


def test_maps_side_by_side():
    whole = picture.mosaic(np.arange(12.0).reshape(4, 1, 3))
    np.testing.assert_array_equal(whole[0], [0, 1, 2, np.nan, 3, 4, 5])
    np.testing.assert_array_equal(whole[2], [6, 7, 8, np.nan, 9, 10, 11])
    assert picture.mosaic(np.zeros((64, 2, 2))).shape == (23, 23)
    assert picture.mosaic(np.zeros((120, 1, 1))).shape == (12, 10)
    assert picture.mosaic(np.zeros(84)).shape == (12, 7)
    np.testing.assert_array_equal(picture.mosaic(np.arange(7.0)), [[0, 1, 2], [3, 4, 5], [6, np.nan, np.nan]])


def test_the_file_is_small_and_whole(net, data):
    many = torch.rand(100, 1, 28, 28).mul(255).round().div(255)
    page = explore(net, many, torch.zeros(100, dtype=torch.int64))
    assert len(page.html.encode()) < 1_000_000 and len(page._repr_html_().encode()) < 1_000_000


def test_saving_replaces_a_file_whole_or_not_at_all(net, data, tmp_path, monkeypatch):
    page, path = explore(net, *data), tmp_path / "lenet.html"
    path.write_text("the old one")
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_text", disk_full)
        with pytest.raises(OSError, match="full"):
            page.save(path)
    assert path.read_text() == "the old one" and os.listdir(tmp_path) == ["lenet.html"]
    assert page.save(str(path)) == path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert page.save("~/lenet.html") == path
    assert path.read_text(encoding="utf-8") == page.html and page.html.startswith("<!doctype html>")
    assert os.listdir(tmp_path) == ["lenet.html"]


def test_a_folder_that_is_not_there_is_told_by_the_files_own_name(net, data, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing to save lenet\.html in"):
        explore(net, *data).save(tmp_path / "missing" / "lenet.html")


def test_a_link_that_lies_where_it_writes_is_not_followed(net, data, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / f".lenet.html.{os.getpid()}.part").symlink_to(precious)
    path = explore(net, *data).save(tmp_path / "lenet.html")
    assert precious.read_text() == "kept" and not path.is_symlink() and path.read_text().startswith("<!doctype html>")


def disk_full(path, *args, **kwargs):
    path.touch()
    raise OSError("the disk is full")


def test_the_page_is_a_copy_and_the_net_stays_as_it_was(data):
    net = grown(lenet).train()
    net[1].eval()
    before, random = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    page = explore(net, *data)
    html = page.html
    assert [layer.training for layer in net] == [i != 1 for i in range(13)] and net.training
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(random, torch.get_rng_state()) and all(p.grad is None for p in net.parameters())
    with torch.no_grad():
        net[1].weight.zero_()
    assert page.html is html and explore(net, *data).html != html


# ---- what may go in

X, y = torch.zeros(3, 1, 28, 28), torch.zeros(3, dtype=torch.int64)
WRONG = {
    "no net": ((None, X, y), "a torch.nn.Module, got NoneType"),
    "a function": ((lenet, X, y), "a torch.nn.Module, got function: did you forget the brackets"),
    "a net of one's own": ((nn.Linear(784, 10), X, y), "whose layers can be read in their order, got Linear"),
    "no tensors": ((lenet(), X.numpy(), y), "as two tensors, got ndarray and Tensor"),
    "no channel": ((lenet(), X[:, 0], y), r"shape \(N, 1, 28, 28\).*got torch.float32 and \(3, 28, 28\)"),
    "bytes": ((lenet(), X.to(torch.uint8), y), "type torch.float32.*got torch.uint8"),
    "larger images": ((lenet(), torch.zeros(3, 1, 32, 32), y), r"got torch.float32 and \(3, 1, 32, 32\)"),
    "too many": ((lenet(), torch.zeros(101, 1, 28, 28), y), "1 to 100 images.*got 101"),
    "none": ((lenet(), X[:0], y[:0]), "1 to 100 images.*got 0"),
    "too bright": ((lenet(), X + 255, y), "from 0 .black. to 1 .white., got 255 to 255"),
    "not a number": ((lenet(), X / 0, y), "from 0 .black. to 1"),
    "other labels": ((lenet(), X, y.float()), r"torch.int64 and shape \(3,\).*got torch.float32"),
    "fewer labels": ((lenet(), X, y[:2]), r"shape \(3,\).*got torch.int64 and \(2,\)"),
    "impossible labels": ((lenet(), X, y + 10), "labels from 0 to 9.*got 10 to 10"),
    "doubles": ((lenet().double(), X, y), "float"),
    "lazy": ((nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), X, y), r"lazy ones .*show it one batch first, net\(X\)"),
    "maps at the end": ((nn.Sequential(nn.Conv2d(1, 2, 3)), X, y), "ends in a row of 2 to 100 scores.*Conv2d"),
}  # fmt: skip


def test_the_default_device_and_type_do_not_matter(net, data):
    expected, usual = read_net(net, data[0])[1], torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):  # stands for a GPU
            weights = read_net(net, data[0])[1]
    finally:
        torch.set_default_dtype(usual)
    assert weights.dtype == np.float32 and np.array_equal(weights, expected)


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_shown_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        explore(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["a", "b"]}, "10 texts, one a class"),
        ({"names": [None] * 10}, "10 texts"),
        ({"names": 5}, "10 texts, one a class, got 5"),
        ({"names": {i: "cat" for i in range(10)}}, "a list of 10 texts, one a class, got {0: 'cat'"),
        ({"language": "fr"}, "one of en, zh, got 'fr'"),
        ({"title": 3}, "title to be a text"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        explore(lenet(), X, y, **options)


class Doubled(nn.Linear):
    def forward(self, X):
        return 2 * super().forward(X)


def other_forward(layer):
    layer.forward = torch.tanh
    return layer


UNKNOWN = {
    "unknown": (nn.PReLU(), "got PReLU as layer 1.*Reshape.*Conv2d, AvgPool2d, MaxPool2d.*Sigmoid, Tanh, ReLU"),
    "with its own forward": (Doubled(784, 784), "got Doubled as layer 1"),
    "another forward": (other_forward(nn.ReLU()), "got ReLU with a forward of its own as layer 1"),
    "no flatten": (nn.Conv2d(1, 1, 3), r"layer 2, Linear, to take .* shape \(3, 1, 26, 26\)"),
}


@pytest.mark.parametrize(("layer", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_layers_that_the_page_does_not_know_are_named(layer, message):
    first = nn.Identity() if isinstance(layer, nn.Conv2d) else nn.Flatten()
    with pytest.raises(ValueError, match=message):
        explore(nn.Sequential(first, layer, nn.Linear(784, 10)), X, y)


VARIANTS = [
    nn.Conv2d(1, 2, 3, dilation=2), nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
    nn.Conv2d(1, 2, 4, padding="same"), nn.AvgPool2d(3, ceil_mode=True), nn.AvgPool2d(2, divisor_override=3),
    nn.AvgPool2d(3, padding=1, count_include_pad=False), nn.MaxPool2d(2, dilation=2),
    nn.MaxPool2d(2, return_indices=True), nn.AdaptiveAvgPool2d(3), nn.BatchNorm2d(1, track_running_stats=False),
    nn.Flatten(2), nn.Linear(28, 5),
]  # fmt: skip


@pytest.mark.parametrize("layer", VARIANTS, ids=str)
def test_variants_of_layers_that_the_page_cannot_compute_are_refused(layer):
    with pytest.raises(ValueError, match=f"{type(layer).__name__}, layer 0, with "):
        explore(nn.Sequential(layer, nn.Flatten()), X, y)


def test_a_single_image_is_enough(data):
    explore(lenet(), data[0][:1], data[1][:1])


def test_images_that_want_gradients_are_shown_too(data):
    net = grown(lenet)
    assert explore(net, data[0].clone().requires_grad_(), data[1]).html == explore(net, *data).html


def test_a_reshape_is_the_picture_by_whatever_name_it_comes_first(data):
    net = grown(lenet)
    expected = [layer["kind"] for layer in read_net(net, data[0])[0]]
    for other in (nn.Sequential(net[:8], net[8:]), nn.Sequential(OrderedDict(reshape=net[0], rest=net[1:]))):
        assert [layer["kind"] for layer in read_net(other, data[0])[0]] == expected
    with pytest.raises(ValueError, match="got Reshape as layer 1"):
        explore(nn.Sequential(nn.Flatten(), *net), *data)


def test_one_size_in_a_list_is_both(data):
    pooling, net = nn.AvgPool2d([2], stride=(2,)), nn.Linear(196, 10)
    described = read_net(nn.Sequential(pooling, nn.Flatten(), net), data[0])[0][1]
    assert (described["kernel"], described["stride"]) == ([2, 2], [2, 2])


def test_a_layer_may_be_called_again(data):
    net = grown(lenet)
    net[5] = net[9] = net[11] = net[2]
    net[6] = net[3]
    layers, _ = read_net(net, data[0])
    assert [layer["path"] for layer in layers] == [str(i) for i in range(13)]


def test_a_hook_that_changes_the_answer_is_noticed():
    net = grown(lenet)
    net[3].register_forward_hook(lambda layer, inputs, output: output * 0)
    with pytest.raises(ValueError, match="take hooks away"):
        explore(net, torch.rand(3, 1, 28, 28), y)


def test_weights_that_are_no_numbers_are_refused():
    net = lenet()
    with torch.no_grad():
        net[4].bias[3] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinity in 4\.bias"):
        explore(net, X, y)


def test_a_net_that_makes_too_large_a_page_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 10))
    with pytest.raises(ValueError, match=r"at most 1,500,000 bytes.*318,010 weights"):
        explore(net, X, y)


# ---- the modules


def modules():
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(WEB.glob("*.js"))}


IMPORTED = re.compile(r'^import \{ ([^}]*) \} from "\./(\w+)\.js";$', re.MULTILINE)
EXPORTED = re.compile(r"^export (?:async )?(?:function|const) (\w+)", re.MULTILINE)
TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)


def test_the_modules_fit_together():
    found = modules()
    assert set(found) == set(document.MODULES)
    wanted = {name for text in found.values() for names, _ in IMPORTED.findall(text) for name in names.split(", ")}
    assert wanted == {name for text in found.values() for name in EXPORTED.findall(text)}  # no export without a use
    names = [name for text in found.values() for name in TOP_LEVEL.findall(text)]
    assert sorted(set(names)) == sorted(names)  # together they are one script, so each name is given once
    for module, text in found.items():
        imports = IMPORTED.findall(text)
        assert len(imports) == text.count("import ")  # each is of the form that is taken out when they are joined
        for wanted, source in imports:
            assert document.MODULES.index(source) < document.MODULES.index(module)
            for name in wanted.split(", "):
                assert name in EXPORTED.findall(found[source]), f"{module}.js wants {name} of {source}.js"
                assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{module}.js does not use {name}"
    assert not re.search(r"^(?:import|export) ", document.script(), re.MULTILINE)


@pytest.mark.parametrize("name", document.MODULES)
def test_the_modules_are_javascript(name):
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js on this machine's PATH; the browser reads the modules in the other tests")
    checked = ["node", "--input-type=module", "--check"]
    done = subprocess.run(checked, input=modules()[name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_eslint_is_content():
    eslint = shutil.which("eslint")
    if eslint is None:
        pytest.skip("there is no eslint on this machine's PATH (npm install --global eslint)")
    root = pathlib.Path(lenet_utils.__file__).parent.parent
    done = subprocess.run([eslint, "--max-warnings", "0", str(WEB)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_course_does_not_load_the_page():
    source = pathlib.Path(live.__file__).read_text(encoding="utf-8")
    at_once = re.findall(r"^(?:import|from) (\S+)", source, re.MULTILINE)
    assert set(at_once) == {"base64", "functools", "os", "pathlib", "re", "..support"}
    assert live.LIMIT == 1_500_000 and pack.MOST_IMAGES == 100
