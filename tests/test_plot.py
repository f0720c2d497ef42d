"""The figures: drawn by hand-made clocks here, and by a real notebook kernel at the end."""

import base64
import copy
import functools
import gc
import html.parser
import io
import itertools
import json
import os
import pathlib
import struct
import sys
import types
import weakref

import matplotlib.figure
import matplotlib.style
import numpy as np
import pytest
import torch
from PIL import Image

import lenet_utils
from lenet_utils import Animator, History, plot, plot_confusion, set_alt, set_axes, show_images, use_svg_display
from lenet_utils.support import display

PACKAGE_PARENT = pathlib.Path(lenet_utils.__file__).parent.parent


@pytest.fixture(autouse=True)
def no_windows():
    """Draw without a display, and leave no figure to the next test."""
    from matplotlib import pyplot as plt

    matplotlib.use("Agg")
    plt.close("all")
    yield plt
    plt.close("all")


def curves(animator):
    return [line.get_xydata().tolist() for line in animator.draw().axes[0].lines]


class Clock:
    """Seconds that pass only when a test says so."""

    now = 100.0

    def __call__(self):
        return self.now


# Animator


def test_d2ls_positional_arguments():
    animator = Animator("epoch", "loss", ["a", "b"], [1, 5], [0.1, 10], "linear", "log", ("-", "m--"), 1, 1, (4, 3))
    animator.add(1, (0.5, 2))
    animator.add(2, (0.25, None))
    axes = animator.draw().axes[0]
    assert curves(animator) == [[[1, 0.5], [2, 0.25]], [[1, 2]]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")
    assert (axes.get_xlim(), axes.get_ylim()) == ((1, 5), (0.1, 10))
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--"]
    assert axes.lines[1].get_color() == "m"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert animator.fig.get_size_inches().tolist() == [4, 3]


def test_keeps_the_points_that_d2l_keeps(book, monkeypatch):
    monkeypatch.setattr(book, "use_svg_display", lambda: None)
    monkeypatch.setattr(book.display, "display", lambda *_: None)
    monkeypatch.setattr(book.display, "clear_output", lambda **_: None)
    ours, theirs = Animator(legend=["a", "b", "c"]), book.Animator(legend=["a", "b", "c"])
    for animator in (ours, theirs):
        animator.add(0.5, (1, 2, None))
        animator.add(1, (None, None, 3))
        animator.add([1.5, 1.6, None], (4, 5, 6))
    assert (ours.X, ours.Y) == (theirs.X, theirs.Y)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_any_grid_of_axes(rows, columns):
    animator = Animator(xlabel="epoch", nrows=rows, ncols=columns)
    animator.add(1, (1, 2))
    assert len(animator.draw().axes) == len(animator.axes) == rows * columns
    assert len(animator.axes[0].lines) == 2 and animator.axes[0].get_xlabel() == "epoch"
    grid = animator.axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)


@pytest.mark.parametrize("fmts", [None, ("-", "m--", "g-.", "r:"), ["b"]])
def test_a_fifth_series_and_a_ninth(fmts):
    animator = Animator(fmts=fmts)
    animator.add(0, range(9))
    assert [points[0][1] for points in curves(animator)] == list(range(9))


def test_series_tell_apart_without_colours_and_with():
    animator = Animator()
    animator.add(0, range(6))
    lines = animator.draw().axes[0].lines
    assert len({line.get_color() for line in lines}) == 6
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 6


def test_single_numbers_tensors_and_late_series():
    animator = Animator()
    animator.add(0, 1)
    animator.add(1, (torch.tensor(2.0, requires_grad=True), np.float32(3)))
    animator.add(2, [None, None])
    animator.add(torch.tensor(3), torch.tensor(4.0)), animator.add(4, np.array(5.0))
    assert curves(animator) == [[[0, 1], [1, 2], [3, 4], [4, 5]], [[1, 3]]]
    assert all(type(value) is float for value in itertools.chain(*animator.X, *animator.Y))


@pytest.mark.parametrize(("x", "y", "message"), [
    (1, (1, "two"), "numbers, or None, got 'two'"), (1, (1, [2, 3]), r"or None, got \[2, 3\]"),
    (1, torch.ones(2, 2), r"or None, got tensor\(\[1\., 1\.\]\)"), ("one", 1, "or None, got 'one'"),
    ([1, 2], (1, 2, 3), "as many x as y, got 2 and 3"), ([1, 2, 3], (1, 2), "as many x as y, got 3 and 2"),
])  # fmt: skip
def test_a_wrong_point_leaves_the_curves_as_they_were(x, y, message):
    animator = Animator()
    animator.add(0, (1, None))
    with pytest.raises(ValueError, match=message):
        animator.add(x, y)
    animator.add(2, (3, 4))
    assert curves(animator) == [[[0, 1], [2, 3]], [[2, 4]]]


def test_the_figure_has_all_points_and_is_drawn_once(monkeypatch, tmp_path):
    drawn, draw = [], Animator.draw
    monkeypatch.setattr(Animator, "draw", lambda animator: drawn.append(1) or draw(animator))
    animator = Animator(xlabel="epoch")
    assert animator.fig.axes[0].get_xlabel() == "epoch"
    animator.add(1, 1), animator.add(2, 3)
    animator.fig.savefig(tmp_path / "curve.png")
    assert [line.get_xydata().tolist() for line in animator.fig.axes[0].lines] == [[[1, 1], [2, 3]]]
    assert len(drawn) == 2 and animator.fig is animator.axes[0].figure


def test_a_copy_draws_by_itself():
    animator = Animator(xlabel="epoch", legend=["loss"])
    animator.add(1, 2.0)
    assert copy.deepcopy(animator).fig.axes[0].get_xlabel() == "epoch"


def test_an_empty_animator_draws():
    animator = Animator(legend=["a"])
    assert curves(animator) == [] and len(animator.axes) == 1


def test_drawing_twice_gives_the_same_picture():
    animator = Animator(legend=["a"])
    animator.add(1, 1)
    assert display.png_bytes(animator.draw()) == display.png_bytes(animator.draw())


def test_fifty_animators_leave_no_figure(no_windows):
    left = []
    for i in range(50):
        animator = Animator(legend=["a"])
        animator.add(i, (i, 2 * i))
        if i < 5:
            animator.draw()
        left += [weakref.ref(animator), weakref.ref(animator.fig)]
    del animator
    gc.collect()
    assert no_windows.get_fignums() == []
    assert not any(ref() for ref in left)


# How often a notebook's picture is drawn


def drawing_run(cost, step, seconds):
    """Add points every `step` seconds where a drawing takes `cost`: the animator, and when how many were drawn."""
    clock, animator, shown = Clock(), Animator(), []

    def show(_):
        clock.now += cost
        shown.append((clock.now - 100, len(animator.X[0])))

    animator.draw = lambda: None
    animator._output = plot.CellOutput(animator, clock)
    animator._output.picture = types.SimpleNamespace(show=show)
    while clock.now < 100 + seconds:
        clock.now += step
        animator.add(clock.now, 1)
    return animator, shown


@pytest.mark.parametrize("cost", [0.001, 0.1, 0.9])
@pytest.mark.parametrize("step", [0.001, 0.25, 3.0])
def test_drawing_takes_at_most_a_twentieth_of_the_time(cost, step):
    _, shown = drawing_run(cost, step, 100)
    for n, (passed, _) in enumerate(shown[1:], start=2):
        assert n * cost <= 0.05 * passed + cost * 0.05 + 1e-9
    assert len(shown) * cost <= 0.05 * 105 + cost


def test_drawing_does_not_starve():
    _, shown = drawing_run(0.1, 0.01, 100)
    assert len(shown) >= 40
    times = [passed for passed, _ in shown]
    assert max(b - a for a, b in itertools.pairwise(times)) <= 5


def test_importing_matplotlib_does_not_hold_the_next_pictures_back():
    """It takes a second, once, and is no drawing: counted as such, the second picture would come after 40 seconds."""
    clock = Clock()

    class SlowToBegin(Animator):
        @functools.cached_property
        def axes(self):
            clock.now += 1.0
            return super().axes

    animator, shown = SlowToBegin(), []

    def show(_):
        clock.now += 0.1
        shown.append(clock.now)

    animator._output = plot.CellOutput(animator, clock)
    animator._output.picture = types.SimpleNamespace(show=show)
    for i in range(40):
        clock.now += 1
        animator.add(i, 1)
    assert len(shown) >= 10


def test_after_a_picture_that_cannot_be_drawn_come_others(monkeypatch):
    """In a notebook: a wrong format in one cell, mended in the next."""
    callbacks, shown = [], []
    events = types.SimpleNamespace(register=lambda _, f: callbacks.append(f), unregister=lambda _, f: callbacks.clear())
    monkeypatch.setattr(plot, "kernel_shell", lambda: types.SimpleNamespace(events=events))
    picture = types.SimpleNamespace(show=shown.append, finish=lambda: shown.append("kept"))
    monkeypatch.setattr(plot, "LivePicture", lambda: picture)
    animator = Animator(fmts=["nonsense"])
    with pytest.raises(ValueError):
        animator.add(1, 1)
    for leave in list(callbacks):  # the cell ends
        with pytest.raises(ValueError):
            leave()
    animator.fmts = None
    animator.add(2, 2)
    for leave in list(callbacks):
        leave()
    assert shown == [animator.fig, "kept"] and callbacks == []


def test_the_first_point_is_drawn_at_once():
    _, shown = drawing_run(0.1, 0.25, 1)
    assert shown[0][1] == 1


def test_flush_shows_what_is_left_and_only_that():
    animator, shown = drawing_run(0.9, 0.1, 10)
    assert shown[-1][1] < len(animator.X[0])
    animator.flush()
    assert shown[-1][1] == len(animator.X[0])
    count = len(shown)
    animator.flush()
    assert len(shown) == count


# Lines in a terminal


def test_at_most_one_line_a_second(capsys):
    clock, animator = Clock(), Animator(xlabel="epoch", legend=["loss", "acc"])
    animator._output = plot.TextOutput(animator, clock)
    for i in range(1, 1001):
        clock.now += 0.01
        animator.add(i / 100, (i, None))
    lines = capsys.readouterr().out.splitlines()
    assert 9 <= len(lines) <= 10
    assert lines[0].startswith("epoch 1.0") and "acc" not in lines[0]
    animator.add(10.5, (None, 0.5))
    assert capsys.readouterr().out == ""
    animator.flush()
    animator.flush()
    assert capsys.readouterr().out == "epoch 10.50, loss 1000.000, acc 0.500\n"


def test_lines_of_series_without_a_name(capsys):
    animator = Animator()
    animator.add(3, (1, 2))
    animator.flush()
    assert capsys.readouterr().out == "x 3.00, series 1 1.000, series 2 2.000\n"


def test_flushing_nothing_prints_nothing(capsys):
    Animator().flush()
    assert capsys.readouterr().out == ""


def test_adding_only_none_prints_nothing_wrong(capsys):
    animator = Animator()
    animator.add(1, (None, None))
    animator.flush()
    assert "None" not in capsys.readouterr().out


def test_a_script_with_d2ls_loop_shows_its_last_point(python):
    """d2l's loops call `add` and nothing else; what the throttle held back comes at the end of the script."""
    printed = python("""
import lenet_utils as d2l
animator = d2l.Animator(xlabel="epoch", legend=["loss"])
for epoch in range(5):
    animator.add(epoch + 1, (1 / (epoch + 1),))
""")
    assert printed.splitlines()[-1:] == ["epoch 5.00, loss 0.200"]


# The other figures


def test_set_axes_like_d2ls(book, no_windows):
    def properties(function):
        _, axes = no_windows.subplots()
        axes.plot([1, 2], [3, 4])
        function(axes, "epoch", "loss", [1, 9], [0.1, 5], "log", "log", ["a"])
        legend = [text.get_text() for text in axes.get_legend().get_texts()]
        grid = axes.xaxis.get_gridlines()[0].get_visible()
        return axes.get_xlabel(), axes.get_ylabel(), axes.get_xlim(), axes.get_ylim(), axes.get_xscale(), legend, grid

    assert properties(set_axes) == properties(book.set_axes)


def test_set_axes_without_limits_and_legend(no_windows):
    _, axes = no_windows.subplots()
    axes.plot([1, 2], [3, 4])
    set_axes(axes, None, None, None, None, "linear", "linear", [])
    assert axes.get_legend() is None
    assert axes.get_xlim()[0] < 1 and axes.get_xlim()[1] > 2


IMAGES = {
    "tensor": torch.rand(3, 5, 4),
    "tensor with a channel": torch.rand(3, 1, 5, 4),
    "tensor in colour": torch.rand(3, 5, 4, 3),
    "tensor with a gradient": torch.rand(3, 5, 4, requires_grad=True),
    "bytes": (torch.rand(3, 5, 4) * 255).byte(),
    "array": np.random.default_rng(0).random((3, 5, 4)),
    "list of arrays": list(np.random.default_rng(0).random((3, 5, 4))),
}


@pytest.mark.parametrize("images", IMAGES.values(), ids=IMAGES)
def test_show_images_takes(images):
    axes = show_images(images, 1, 3)
    for cell, image in zip(axes, images):
        image = image.detach().numpy() if torch.is_tensor(image) else image
        (shown,) = cell.get_images()
        assert np.array_equal(shown.get_array(), image.squeeze())


def test_show_images_takes_colours_first():
    """As torchvision's ToTensor gives them."""
    images = torch.rand(2, 3, 5, 6)
    for cell, image in zip(show_images(images, 1, 2), images):
        assert np.array_equal(cell.get_images()[0].get_array(), image.permute(1, 2, 0))


def test_show_images_takes_colours_last_in_pictures_three_pixels_high():
    image = torch.rand(3, 5, 3)
    (axes,) = show_images([image], 1, 1)
    assert np.array_equal(axes.get_images()[0].get_array(), image)


def test_show_images_takes_pil_images():
    from PIL import Image

    image = Image.fromarray(np.arange(20, dtype=np.uint8).reshape(5, 4))
    (axes,) = show_images([image], 1, 1)
    assert np.array_equal(axes.get_images()[0].get_array(), np.asarray(image))


def test_show_images_one_by_one():
    axes = show_images(torch.rand(1, 28, 28), 1, 1, titles=["one"], scale=2)
    assert axes.shape == (1,)
    assert axes[0].get_title() == "one"
    assert axes[0].figure.get_size_inches().tolist() == [2, 2]


def test_fewer_images_than_cells_and_fewer_titles_than_images():
    axes = show_images(torch.rand(3, 28, 28), 2, 2, titles=["a", "b"])
    assert axes.shape == (4,)
    assert [len(cell.get_images()) for cell in axes] == [1, 1, 1, 0]
    assert [cell.get_title() for cell in axes] == ["a", "b", "", ""]
    assert not any(cell.axison for cell in axes)


def test_more_images_than_cells():
    axes = show_images(torch.rand(9, 28, 28), 2, 3, scale=2)
    assert len(axes) == 6
    assert axes[0].figure.get_size_inches().tolist() == [6, 4]  # three columns wide, two rows high


def test_numbers_are_shown_in_grey_and_otherwise_where_asked():
    for given, shown in [({}, "gray"), ({"cmap": "viridis"}, "viridis")]:
        (axes,) = show_images(torch.rand(1, 28, 28), 1, 1, **given)
        assert axes.get_images()[0].get_cmap().name == shown


def test_plot_history_of_a_run_and_of_nothing(tmp_path):
    history = History("cpu", points=[(0.5, 2.0, 0.25), (1.0, 1.5, 0.5)])
    history.add(1.5, 0.5, 100, 1.0, 0.625)
    left, right = plot.plot_history(history, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert "1.500" in left.get_title() and "test accuracy 0.625 after 1 epoch" in right.get_title()
    assert "nats" in left.get_ylabel() and left.get_xlabel() == right.get_xlabel() == "epoch"
    assert left.lines[0].get_xydata().tolist() == [[0.5, 2.0], [1.0, 1.5]]
    assert right.lines[1].get_xydata().tolist() == [[1, 0.625]]
    assert len(right.get_legend().get_texts()) == 2
    left, right = plot.plot_history(History("cpu"))
    assert left.get_title() and right.get_xlabel()


@pytest.mark.parametrize("make", [lambda counts: counts, torch.tensor, np.array])
def test_plot_confusion(make):
    counts = [[90, 10, 0], [0, 100, 0], [5, 6, 40]]
    axes = plot_confusion(make(counts), ["a", "b", "c"], title="mixed up", alt="a table")
    assert axes.get_images()[0].get_array().tolist() == counts
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(j, i): str(counts[i][j]) for i in range(3) for j in range(3)}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert "answer" in axes.get_xlabel() and "label" in axes.get_ylabel()
    assert (axes.get_title(), display.alt_text(axes.figure)) == ("mixed up", "a table")


def test_fractions_in_a_confusion_matrix_have_two_decimals():
    axes = plot_confusion(torch.tensor([[0.996, 0.004], [1.0, 0.0]], requires_grad=True), ["a", "b"])
    assert [text.get_text() for text in axes.texts] == ["1.00", "0.00", "1.00", "0.00"]
    axes = plot_confusion(torch.tensor([[7.0, 0.0], [1.0, 6.0]]), ["a", "b"])
    assert [text.get_text() for text in axes.texts] == ["7", "0", "1", "6"]


@pytest.mark.parametrize("counts", [[[1, 2]], torch.ones(3, 3), [1, 2]])
def test_a_confusion_matrix_of_another_size_is_refused(counts, no_windows):
    with pytest.raises(ValueError, match=r"counts of shape \(2, 2\), a row and a column for each of 2 names, got \("):
        plot_confusion(counts, ["a", "b"])
    assert no_windows.get_fignums() == []


def test_numbers_in_a_confusion_matrix_stand_out():
    axes = plot_confusion([[100, 0], [50, 51]], ["a", "b"])
    assert [text.get_color() for text in axes.texts] == ["white", "black", "black", "white"]


# Descriptions


class Images(html.parser.HTMLParser):
    """Collects the attributes of every <img>."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        assert tag == "img"
        self.found.append(dict(attributes))


def only_image(text):
    (attributes,) = Images(text).found
    return attributes


@pytest.mark.parametrize("alt", ["plain", 'a "b" <c> & d', "it's > 3 < 4", "<script>alert(1)</script>", "图像"])
def test_descriptions_are_escaped(alt):
    (axes,) = show_images(torch.rand(1, 28, 28), 1, 1, alt=alt)
    bundle = display.bundle(axes.figure)
    image = only_image(bundle["text/html"])
    assert image["alt"] == bundle["text/plain"] == alt
    assert image["src"] == "data:image/png;base64," + bundle["image/png"]


def test_a_picture_has_its_size_written_down():
    animator = Animator(figsize=(5, 3))
    animator.add(1, 1)
    bundle = display.bundle(animator.draw())
    png = base64.b64decode(bundle["image/png"])
    width, height = struct.unpack(">II", png[16:24])
    image = only_image(bundle["text/html"])
    assert int(image["width"]) == width * 96 // display.DPI and int(image["height"]) == height * 96 // display.DPI
    assert int(image["width"]) == pytest.approx(5 * 96, abs=30)


def test_a_figure_without_a_description_gets_one_of_its_words(no_windows):
    figure, axes = no_windows.subplots()
    assert display.alt_text(figure) == "Figure without a title"
    figure.suptitle("Two runs")
    axes.plot([1, 2], label="train")
    axes.set(title="the loss\nfalls", xlabel="epoch", ylabel="nats")
    axes.legend()
    assert display.alt_text(figure) == "Figure: Two runs; the loss falls; nats against epoch; train"
    set_alt(figure, "mine")
    assert display.alt_text(figure) == "mine"


# What a picture keeps


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(display.png_bytes(figure))).convert("RGB"))


@pytest.mark.parametrize(("style", "behind"), [
    ({}, 255), ({"axes.facecolor": "none", "figure.facecolor": (1, 1, 1, 0)}, 255), ("dark_background", 0),
])  # fmt: skip
def test_what_lies_behind_a_figure(style, behind):
    """White, also where a notebook's style has nothing there; the colour of a style that has one."""
    with matplotlib.style.context(style):
        figure = matplotlib.figure.Figure()
        figure.subplots().set_title("white on white would be nothing")
        drawn = pixels(figure)
    assert (drawn[0, 0] == behind).all() and drawn.std() > 1


def test_a_photograph_keeps_its_colours():
    figure = matplotlib.figure.Figure()
    red, green = np.mgrid[0:1:64j, 0:1:64j]
    figure.subplots().imshow(np.stack([red, green, 1 - red], axis=-1))
    assert len(np.unique(pixels(figure).reshape(-1, 3), axis=0)) > 1000


def test_behind_a_photograph_nothing_shines_through():
    figure = matplotlib.figure.Figure(facecolor=(0, 0, 0, 0.2))
    figure.subplots().imshow(np.zeros((2, 2, 3)))
    drawn = Image.open(io.BytesIO(display.png_bytes(figure))).convert("RGBA")
    assert drawn.getpixel((0, 0)) == (255, 255, 255, 255)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["figure.constrained_layout.use", "figure.autolayout"])
def test_images_are_shown_whatever_layout_is_usual(name):
    with matplotlib.rc_context({name: True}):
        axes = show_images(torch.rand(4, 28, 28), 2, 2, titles="abcd")
        axes[0].set_position([0, 0.5, 0.5, 0.5])
        axes[0].figure.add_axes([0.9, 0.1, 0.05, 0.8])
        display.png_bytes(axes[0].figure)
    assert axes[0].get_position().bounds == (0, 0.5, 0.5, 0.5), "what the user moves stays there"


# Inside a notebook or not


def test_outside_a_notebook():
    assert display.kernel_shell() is None
    assert use_svg_display() is None
    assert isinstance(Animator()._output, plot.TextOutput)


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch):
    terminal = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert display.kernel_shell() is None


def test_any_shell_with_a_kernel_is_a_notebooks(monkeypatch):
    """Colab's is of a class of its own."""
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert display.kernel_shell() is shell


def test_use_svg_display_loads_nothing_outside_a_notebook(python):
    code = "import sys, lenet_utils; lenet_utils.use_svg_display(); print('matplotlib_inline' in sys.modules)"
    assert python(code) == "False"


# A real kernel

CELLS = {
    "set up": """
import gc, hashlib, json, os, signal, time, weakref
import torch
import lenet_utils as d2l
from lenet_utils.support import display

drawn, draw = [], d2l.Animator.draw

def noted(animator):
    drawn.append(len(animator.X[0]))
    return draw(animator)

d2l.Animator.draw = noted

def report(**facts):
    print(json.dumps(facts))
""",
    "loop": """
animator = d2l.Animator(xlabel="epoch", xlim=[1, 40], legend=["train loss", "test acc"])
for epoch in range(40):
    animator.add(epoch + 1, (1 / (epoch + 1), None))
    animator.add(epoch + 1, (None, 1 - 1 / (epoch + 1)))
    time.sleep(0.005)
""",
    "after loop": """
report(drawn=drawn[-1], times=len(drawn), html=display.bundle(animator.fig)["text/html"])
""",
    "another cell adds": """
animator.add(41, (0, 0))
""",
    "nothing more": "pass",
    "two animators": """
one, two = d2l.Animator(xlabel="one"), d2l.Animator(xlabel="two")
for i in range(10):
    one.add(i, i)
    two.add(i, -i)
""",
    "an error": """
failing = d2l.Animator(xlabel="failing")
for i in range(10):
    failing.add(i, 1 / (7 - i))
""",
    "after error": "report(drawn=drawn[-1])",
    "fifty": """
left = []
for i in range(50):
    passing = d2l.Animator()
    passing.add(i, i)
    left.append(weakref.ref(passing))
del passing
""",
    "after fifty": """
gc.collect()
from matplotlib import pyplot as plt
waiting = [repr(function) for function in get_ipython().events.callbacks["post_execute"]]
report(alive=sum(ref() is not None for ref in left), figures=plt.get_fignums(),
       waiting=[text for text in waiting if "lenet_utils" in text])
""",
    "images": """
d2l.show_images(torch.rand(4, 28, 28), 2, 2, titles=list("abcd"), alt="four <random> images");
""",
    "after images": "report(figures=plt.get_fignums())",
    "svg": """
d2l.use_svg_display()
plt.plot([1, 2])
plt.title("a line");
""",
    "stop": """
class Interrupting(list):
    def __iter__(self):
        for i, batch in enumerate(super().__iter__()):
            if i == 3:
                signal.raise_signal(signal.SIGINT)
            yield batch

batch = torch.rand(4, 1, 28, 28), torch.arange(4)
net = d2l.lenet()
history = d2l.train_ch6(net, Interrupting([batch] * 10), [batch], 3, 0.1, "cpu")
""",
    "after stop": "report(epochs=len(history), stopped=history.stopped, points=len(history.points))",
}


@pytest.fixture(scope="module")
def kernel_run(tmp_path_factory):
    """The outputs of each of CELLS, run by a real kernel, and the types of the messages that made them."""
    import nbclient
    import nbformat

    class Client(nbclient.NotebookClient):
        types = {}  # noqa: RUF012

        def process_message(self, message, cell, cell_index):
            self.types.setdefault(names[cell_index], []).append(message["msg_type"])
            return super().process_message(message, cell, cell_index)

    names, folder = list(CELLS), tmp_path_factory.mktemp("kernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code.strip()) for code in CELLS.values()])
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        patch.setenv("PYTHONPATH", str(PACKAGE_PARENT), prepend=os.pathsep)
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        patch.setenv("MPLBACKEND", "Agg")  # as computing centres set it for scripts: no figure would be shown
        resources = {"metadata": {"path": str(folder)}}
        Client(notebook, timeout=120, kernel_name="python3", allow_errors=True, resources=resources).execute()
    return {name: cell.outputs for name, cell in zip(names, notebook.cells)}, Client.types


@pytest.fixture
def cells(kernel_run):
    """The outputs of each cell."""
    return kernel_run[0]


def pictures(outputs):
    return [output for output in outputs if output.output_type == "display_data"]


def printed(outputs):
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def reported(outputs):
    return json.loads(printed(outputs))


def test_only_the_cell_meant_to_fail_fails(cells):
    failing = {name for name, outputs in cells.items() if any(output.output_type == "error" for output in outputs)}
    assert failing == {"an error"}


def test_each_picture_lies_over_the_one_before_and_the_last_stands_alone(monkeypatch):
    """Firefox shows a new picture some frames late; without the one behind it the curve would blink."""
    sent = []
    handle = types.SimpleNamespace(update=lambda data, raw: sent.append(data))
    monkeypatch.setattr("IPython.display.display", lambda data, raw, display_id: sent.append(data) or handle)
    live, animator = display.LivePicture(), Animator(xlabel='a style="', legend=["loss"])
    alone = []
    for i in range(3):
        animator.add(i, i)
        live.show(animator.draw())
        alone.append(display.bundle(animator.fig))
    live.finish()

    assert sent[0] == alone[0] and sent[3] == alone[2]
    for i in (1, 2):
        image = only_image(sent[i].pop("text/html"))
        behind = f"background: url(data:image/png;base64,{alone[i - 1]['image/png']}) 0 0 / 100% 100%; "
        expected = only_image(alone[i].pop("text/html"))
        assert image == expected | {"style": behind + expected["style"]}
        assert sent[i] == alone[i]


def test_a_loop_without_flush_leaves_one_picture(cells, kernel_run):
    (output,) = cells["loop"]
    assert output.output_type == "display_data"
    assert set(output.data) == {"text/html", "image/png", "text/plain"}
    alt = only_image(output.data["text/html"])["alt"]
    assert alt == output.data["text/plain"]
    newest = "epoch 40.00, train loss 0.025, test acc 0.975"
    assert alt == f"Figure: epoch; train loss, test acc. Newest: {newest}"
    types = kernel_run[1]["loop"]
    assert types.count("display_data") == 1 and "update_display_data" in types


def test_the_picture_holds_the_last_points(cells):
    facts = reported(cells["after loop"])
    assert facts["drawn"] == 40
    assert facts["html"] == cells["loop"][0].data["text/html"]
    assert facts["times"] < 40  # the throttle


def test_no_cell_clears_its_output(kernel_run):
    assert not any("clear_output" in types for types in kernel_run[1].values())


def test_another_cell_gets_a_picture_of_its_own(cells):
    (output,) = cells["another cell adds"]
    assert output.data["text/html"] != cells["loop"][0].data["text/html"]
    assert cells["nothing more"] == []


def test_two_animators_have_a_picture_each(cells):
    described = [output.data["text/plain"].partition(".")[0] for output in pictures(cells["two animators"])]
    assert described == ["Figure: one", "Figure: two"]


def test_the_points_before_an_error_are_shown(cells):
    (output,) = pictures(cells["an error"])
    assert output.data["text/plain"] == "Figure: failing. Newest: failing 6.00, series 1 1.000"
    assert reported(cells["after error"])["drawn"] == 7


def test_fifty_animators_in_a_notebook_leave_nothing(cells):
    assert reported(cells["after fifty"]) == {"alive": 0, "figures": [], "waiting": []}


def test_shown_images_have_their_description(cells):
    (output,) = pictures(cells["images"])
    assert only_image(output.data["text/html"])["alt"] == "four <random> images"
    assert "image/png" in output.data
    assert reported(cells["after images"])["figures"] == []


def test_svg_in_a_notebook(cells):
    (output,) = pictures(cells["svg"])
    shown = only_image(output.data["text/html"])  # which notebooks prefer to the SVG beside it
    assert shown["alt"] == "Figure: a line"
    kind, _, drawn = shown["src"].partition(",")
    assert kind == "data:image/svg+xml;base64" and b"<svg" in base64.b64decode(drawn)


def test_the_stop_button_in_a_notebook(cells):
    assert "stopped in epoch 1 of 3" in printed(cells["stop"])
    assert len(pictures(cells["stop"])) == 1
    assert reported(cells["after stop"]) == {"epochs": 0, "stopped": "in epoch 1 of 3", "points": 1}
