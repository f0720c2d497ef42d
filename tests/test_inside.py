"""The pictures of a network's inside: every number in its place, titles and alt texts, and what cannot be drawn."""

import itertools
import json
import pathlib

import matplotlib
import numpy as np
import pytest
import torch

from lenet_utils import inside, lenet
from lenet_utils.support.display import alt_text

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    matplotlib.pyplot.close("all")


def drawn(panel):
    """The numbers of the picture in `panel`, NaN where nothing is drawn."""
    return np.ma.filled(panel.images[0].get_array(), np.nan)


@pytest.fixture
def stages():
    return {"maps": torch.rand(1, 3, 4, 5), "numbers": torch.randn(1, 7), "one": torch.rand(2, 2).unsqueeze(0)}


# stages


def test_maps_stand_side_by_side_in_order(stages):
    row = drawn(inside.show_stages(stages)[0])
    assert row.shape == (4, 3 * 5 + 2 * inside.GAP)
    for k in range(3):
        np.testing.assert_array_equal(row[:, 6 * k : 6 * k + 5], stages["maps"][0, k])
    assert np.isnan(row[:, 5]).all() and np.isnan(row[:, 11]).all() and not np.isnan(row[:, -1]).any()


def test_numbers_become_a_strip_without_gaps(stages):
    np.testing.assert_array_equal(drawn(inside.show_stages(stages)[1]), stages["numbers"])


def test_the_batch_axis_may_be_left_out(stages):
    without = {name: values[0] for name, values in stages.items() if name != "one"}
    for one, other in zip(inside.show_stages(stages), inside.show_stages(without)):
        np.testing.assert_array_equal(drawn(one), drawn(other))
        assert one.get_ylabel() == other.get_ylabel()


def test_a_label_says_shape_and_ends_of_the_scale():
    maps, numbers = inside.show_stages({"a": torch.tensor([[[0.0, 2.5], [1.0, -1.0]]]), "b": torch.tensor([3.0, 1.0])})
    assert maps.get_ylabel() == "a\n1 of 2x2\n-1.00 to 2.50"
    assert numbers.get_ylabel() == "b\n2 numbers\n1.00 to 3.00"
    assert maps.images[0].get_clim() == (-1.0, 2.5)


def test_white_is_zero_where_numbers_have_signs():
    panel = inside.show_stages({"difference": torch.tensor([-3.0, 0.0, 1.0])}, signed=True)[0]
    assert panel.images[0].get_clim() == (-3.0, 3.0)
    assert all(channel > 0.95 for channel in panel.images[0].cmap(0.5)[:3])


def test_all_zeros_can_be_drawn(stages):
    zeros = {name: torch.zeros_like(values) for name, values in stages.items()}
    for signed in (False, True):
        inside.show_stages(zeros, signed=signed)[0].figure.canvas.draw()


def test_zero_is_white_where_all_is_zero():
    zeros = torch.zeros(2, 4, 4)
    for panel in (inside.show_stages({"same": zeros}, signed=True)[0],
                  inside.show_rows({"same": zeros}, signed=["same"])[0, 0]):  # fmt: skip
        image = panel.images[0]
        assert min(image.to_rgba(image.get_array())[0, 0]) > 0.95


def test_title_and_alt_text(stages):
    panels = inside.show_stages(stages, "A boot on its way")
    assert panels[0].figure.get_suptitle() == "A boot on its way"
    assert alt_text(panels[0].figure) == "A boot on its way. A row for each stage: maps, numbers, one"
    assert alt_text(inside.show_stages(stages, alt="three rows")[0].figure) == "three rows"


def test_a_title_of_two_lines_is_one_in_the_alt_text(stages):
    stages_figure = inside.show_stages(stages, "One line\nand another")[0].figure
    rows_figure = inside.show_rows({"a": torch.rand(1, 2, 2)}, "One line\nand another")[0, 0].figure
    assert alt_text(stages_figure) == "One line and another. A row for each stage: maps, numbers, one"
    assert alt_text(rows_figure) == "One line and another. Small pictures in rows: a"


def written_below(panel):
    """The names below a strip, with their places, and whether they are turned."""
    labels = panel.get_xticklabels()
    return [label.get_text() for label in labels], list(panel.get_xticks()), {label.get_rotation() for label in labels}


def test_names_stand_below_the_strips_of_as_many_numbers(stages):
    stages["the same number"] = torch.rand(7)
    names = ["coat", "bag", "boot", "shirt", "t-shirt", "sandal", "dress"]
    maps, first, one, second = inside.show_stages(stages, names=names)
    for strip in (first, second):
        assert written_below(strip) == (names, list(range(7)), {0.0})
    assert not len(maps.get_xticks()) and not len(one.get_xticks())
    assert not any(len(panel.get_xticks()) for panel in inside.show_stages(stages))


@pytest.mark.parametrize("names", [["ankle boot"] * 10, ["a name that is far too long"] * 10, list("ab" * 50)])
def test_names_have_room(names):
    """Beside each other, below their strip, and above the next one."""
    panels = inside.show_stages({"scores": torch.rand(len(names)), "next": torch.rand(5)}, names=names)
    panels[0].figure.canvas.draw()
    boxes = [label.get_window_extent() for label in panels[0].get_xticklabels()]
    assert all(box.x1 <= other.x0 for box, other in itertools.pairwise(boxes))
    strip, below = (panel.get_window_extent() for panel in panels)
    assert all(below.y1 < box.y0 < box.y1 < strip.y0 for box in boxes)
    assert strip.height > 0.9 * inside.SHORTEST * panels[0].figure.dpi


def test_names_that_fit_no_strip_are_refused(stages):
    with pytest.raises(ValueError, match="got 3 names and no strip of 3"):  # three maps are no strip
        inside.show_stages(stages, names=["a", "b", "c"])
    assert not matplotlib.pyplot.get_fignums()


def test_tensors_with_gradients_and_other_types_can_be_drawn():
    values = torch.rand(2, 3, 3, dtype=torch.float64, requires_grad=True)
    inside.show_stages({"maps": values, "counts": torch.arange(4)})
    assert values.requires_grad


def test_every_stage_of_lenet_can_be_drawn():
    X, stages = torch.rand(1, 1, 28, 28), {}
    for i, layer in enumerate(lenet()):
        X = stages[f"{i} {type(layer).__name__}"] = layer(X)
    assert len(inside.show_stages(stages)) == 13


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 7), (), (0,), (1, 1, 1, 1, 1)])
def test_a_stage_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="expected stage 'odd' to be maps") as caught:
        inside.show_stages({"odd": torch.rand(shape)})
    assert f"got {shape}" in str(caught.value) and not matplotlib.pyplot.get_fignums()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="expected stage 'odd' to hold finite numbers"):
        inside.show_stages({"odd": torch.tensor([0.0, value])})


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one stage"):
        inside.show_stages({})
    with pytest.raises(ValueError, match="at least one row"):
        inside.show_rows({})


# rows


def test_rows_and_columns_in_order():
    rows = {"grey": torch.rand(3, 4, 4), "weights": torch.randn(2, 5, 5)}
    axes = inside.show_rows(rows, "a finding", columns=["x", "y", "z"], signed=["weights"])
    assert axes.shape == (2, 3)
    for line, pictures in zip(axes, rows.values()):
        for panel, picture in zip(line, pictures):
            np.testing.assert_array_equal(drawn(panel), picture)
    assert [panel.get_title() for panel in axes[0]] == ["x", "y", "z"]
    assert [line[0].get_ylabel() for line in axes] == ["grey", "weights"]
    assert not axes[1, 2].images


def test_grey_goes_from_black_to_white_whatever_the_picture():
    panel = inside.show_rows({"": [torch.full((4, 4), 0.5)]})[0, 0]
    assert panel.images[0].get_clim() == (0, 1) and panel.images[0].cmap.name == "gray"


def test_bytes_are_drawn_from_black_to_white_too():
    image = torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8)
    panel = inside.show_rows({"": [image]})[0, 0]
    np.testing.assert_allclose(drawn(panel), [[0, 0.2], [0.4, 1]], rtol=1e-6)
    assert panel.images[0].get_clim() == (0, 1)


def test_the_default_device_does_not_matter(stages):
    rows = {"a tensor": torch.rand(1, 2, 2), "an array": [np.ones((2, 2))]}
    with torch.device("meta"):  # stands for a GPU
        row, picture = drawn(inside.show_stages(stages)[0]), drawn(inside.show_rows(rows)[0, 0])
    np.testing.assert_array_equal(row, drawn(inside.show_stages(stages)[0]))
    np.testing.assert_array_equal(picture, rows["a tensor"][0])


def test_signed_rows_share_a_scale_with_zero_in_the_middle():
    axes = inside.show_rows({"w": torch.tensor([[[1.0]], [[-4.0]]])}, signed=["w"])
    assert [panel.images[0].get_clim() for panel in axes[0]] == [(-4.0, 4.0)] * 2


def test_rows_have_an_alt_text():
    figure = inside.show_rows({"one": torch.rand(1, 2, 2), "": torch.rand(1, 2, 2)}, "What it shows")[0, 0].figure
    assert alt_text(figure) == "What it shows. Small pictures in rows: one"


def test_an_empty_row_and_no_title():
    axes = inside.show_rows({"a": torch.rand(1, 2, 2), "b": []}, signed=["b"])
    assert alt_text(axes[0, 0].figure) == "Small pictures in rows: a, b"


# What notebook 4 says of other networks


def test_what_the_notebook_says_of_twelve_networks():
    results = pathlib.Path(__file__).parent.parent / "benchmarks" / "results" / "inside.json"
    runs = json.loads(results.read_text("utf-8"))["runs"]
    assert len({run["seed"] for run in runs}) == 12 and not any(run["failed"] for run in runs)
    for run in runs:
        assert {"light", "dark"} & set(run["liked"]) and set("→←↑↓↗↖↙↘") & set(run["liked"]) and run["left_from_right"]
    noise = [run["noise_further_off"] for run in runs]
    assert all(stage["picture"] > 2 and stage["second maps"] < stage["picture"] - 0.3 for stage in noise)
    assert any(stage["scores"] > stage["picture"] for stage in noise)
    assert sum(max(run["lost_without"]) > 0.1 for run in runs) > 1  # points of a hundred: ten
