"""The quick ways of some layers: where none is taken, that none stays, and the trials that decide it.

The trials neither heed nor change what the learner has set.
"""

import copy
import pickle

import pytest
import torch
from torch import nn

from lenet_utils import explore, lenet
from lenet_utils.fused import networks
from lenet_utils.quick import convolution, has_own_forward, pooling, quick_layers

TRIALS = {
    "pooling": lambda: pooling.products_pay.__wrapped__((4, 6, 28, 28), 1),
    "convolution": lambda: convolution.same_bits.__wrapped__((4, 1, 28, 28), (6, 1, 5, 5), ((1, 1), (2, 2), (1, 1)), 1),
}


@pytest.fixture(autouse=True)
def without_a_clock(monkeypatch):
    """What a trial says is up to the bits alone: products are always the quicker way."""
    monkeypatch.setattr(pooling, "best_time", lambda way, X: (way(X), way is pooling.both_by_corners)[1])


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


def test_the_layers_are_pytorchs_again_also_after_an_error():
    net = lenet()
    with pytest.raises(KeyError), quick_layers(net):
        assert "forward" in vars(net[3])
        raise KeyError
    assert not any("forward" in vars(layer) for layer in net.modules())


def test_a_forward_that_somebody_else_put_there_stays():
    net = lenet()
    net[3].forward = theirs = lambda X: X
    with quick_layers(net), quick_layers(net):
        assert net[3].forward is theirs
    assert net[3].forward is theirs and "forward" not in vars(net[6])


@pytest.mark.filterwarnings("ignore:You are using .torch.load:FutureWarning")  # how PyTorch 2.4 copies by pickle
def test_a_net_can_be_copied_meanwhile():
    net, X = lenet(), torch.rand(2, 1, 28, 28)
    with quick_layers(net):
        twins = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    twins = *twins, copy.deepcopy(twins[0])
    assert all(torch.equal(twin(X), net(X)) for twin in twins)
    for twin in twins:
        assert not any(has_own_forward(layer) for layer in twin.modules())
        explore(twin, X, torch.zeros(2, dtype=torch.int64))
        networks.check_layers(twin)
        with quick_layers(twin):
            assert has_own_forward(twin[3])


def test_the_forward_of_another_layer_is_no_layers_usual_one():
    layer = nn.AvgPool2d(2)
    assert not has_own_forward(layer)
    layer.forward = layer.forward
    assert not has_own_forward(layer) and has_own_forward(copy.copy(layer))  # which computes with the first one


def test_what_is_pickled_meanwhile_needs_pytorch_only():
    net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.AvgPool2d(2))
    with quick_layers(net):
        assert b"lenet_utils" not in pickle.dumps(net)


def test_a_layer_that_somebody_put_right_meanwhile_does_no_harm():
    net = lenet()
    with quick_layers(net):
        for layer in net.modules():
            vars(layer).pop("forward", None)


def test_where_a_way_cannot_be_found_no_layer_keeps_one(monkeypatch):
    net = lenet()
    ways = iter([torch.sigmoid, torch.sigmoid])  # then it raises StopIteration
    monkeypatch.setattr(pooling, "quick_way", lambda layer: next(ways))
    with pytest.raises(RuntimeError), quick_layers(net):
        pass
    assert not any("forward" in vars(layer) for layer in net.modules())


@pytest.mark.parametrize(("device", "changed"), [("cpu", True), ("meta", False)])
def test_only_a_network_on_the_cpu_takes_quick_ways(device, changed):
    """Elsewhere its layers stay what they are: the kernels for a GPU decline a layer that was changed."""
    net = lenet().to(device)
    with quick_layers(net):
        assert any("forward" in vars(layer) for layer in net.modules()) is changed
