"""The quick ways of some layers: where none is taken, and the trials that decide it.

The trials neither heed nor change what the learner has set.
"""

import pytest
import torch

from lenet_utils import convolution, lenet, pooling
from lenet_utils.quick import quick_layers

TRIALS = {
    "pooling": lambda: pooling.same_order.__wrapped__((4, 6, 28, 28), 1),
    "convolution": lambda: convolution.same_bits.__wrapped__((4, 1, 28, 28), (6, 1, 5, 5), ((1, 1), (2, 2), (1, 1)), 1),
}


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_it_leaves_the_learners_random_numbers_alone(trial):
    before = torch.get_rng_state()
    trial()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_it_is_in_float32_on_the_cpu_whatever_is_usual(trial):
    usual, expected = torch.get_default_dtype(), trial()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert trial() is expected
    finally:
        torch.set_default_dtype(usual)


@pytest.mark.parametrize(("device", "changed"), [("cpu", True), ("meta", False)])
def test_only_a_network_on_the_cpu_takes_quick_ways(device, changed):
    """Elsewhere its layers stay what they are: the kernels for a GPU decline a layer that was changed."""
    net = lenet().to(device)
    with quick_layers(net):
        assert any("forward" in vars(layer) for layer in net.modules()) is changed
