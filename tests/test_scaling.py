"""The model of scaling in notebook 7, by hand."""

import pytest
from matplotlib.figure import Figure

from lenet_utils.parallel.scaling import Machine, draw


@pytest.fixture
def machine():
    return Machine("by hand", fixed=1.0, rate=10.0, latency=2.0, bandwidth=4.0)


def test_round_a_ring_each_message_has_a_share_and_up_a_tree_the_whole(machine):
    assert machine.ring(4, 16) == 6 * (2 + 16 / 4 / 4)
    assert machine.tree(4, 16) == 4 * (2 + 16 / 4)
    assert machine.tree(5, 16) == 6 * (2 + 16 / 4)  # a level more
    assert machine.ring(1, 16) == machine.tree(1, 16) == 0  # nobody to talk to


def test_the_faster_way_is_taken(machine):
    assert machine.all_reduce(4, 16) == machine.ring(4, 16) < machine.tree(4, 16)
    assert machine.all_reduce(64, 16) == machine.tree(64, 16) < machine.ring(64, 16)


def test_a_step_waits_for_the_largest_share(machine):
    assert machine.step(4, 42, 16) == pytest.approx(1 + 11 / 10 + machine.all_reduce(4, 16))


def test_the_figure_has_each_curve_under_its_own_name(machine):
    axes = Figure().subplots()
    draw(axes, machine, [1, 2, 4], 40, 16)
    curves = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    one = 40 / machine.step(1, 40, 16)
    assert curves["so many times one"] == pytest.approx([one, 2 * one, 4 * one])
    assert curves["a batch of 40 for all"] == pytest.approx([40 / machine.step(p, 40, 16) for p in (1, 2, 4)])
    assert curves["a batch of 40 for each"] == pytest.approx([40 * p / machine.step(p, 40 * p, 16) for p in (1, 2, 4)])
