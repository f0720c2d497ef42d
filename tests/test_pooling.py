"""Average pooling the quick way: PyTorch's numbers to the bit, and only while a network is trained."""

import copy
import pickle

import pytest
import torch
from torch import nn

from lenet_utils import lenet, pooling, train_ch6
from lenet_utils.pooling import HalveByMean
from lenet_utils.quick import quick_layers


def result_and_gradient(layer, X):
    X = X.clone().requires_grad_()
    out = layer(X)
    torch.manual_seed(1)
    out.backward(torch.randn_like(out))
    return out, X.grad


@pytest.mark.parametrize("shape", [(256, 6, 28, 28), (7, 16, 10, 10), (1, 1, 2, 4), (0, 3, 4, 4)])
@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-38])
def test_it_is_pytorchs_to_the_bit(shape, scale):
    torch.manual_seed(0)
    X = torch.randn(shape) * scale
    out, grad = result_and_gradient(HalveByMean.apply, X)
    expected, expected_grad = result_and_gradient(nn.AvgPool2d(2), X)
    assert torch.equal(out, expected) and torch.equal(grad, expected_grad)


def test_the_oracle_tells_orders_of_summing_apart():
    X = torch.randn(64, 6, 28, 28, generator=torch.Generator().manual_seed(0))
    first, second, third, fourth = pooling.corners(X)
    assert not torch.equal(((first + second) + (third + fourth)) / 4, nn.AvgPool2d(2)(X))


def test_what_does_not_compute_goes_the_same_way():
    X = torch.tensor([[float("nan"), 1.0, float("inf"), 1.0], [1.0, 1.0, 1.0, 1.0]]).reshape(1, 1, 2, 4)
    out = HalveByMean.apply(X)
    assert out[..., 0].isnan() and out[..., 1].isinf()


@pytest.fixture
def quick_calls(monkeypatch):
    calls = []
    apply = HalveByMean.apply
    monkeypatch.setattr(HalveByMean, "apply", lambda X: calls.append(tuple(X.shape)) or apply(X))
    return calls


def test_training_and_testing_take_the_quick_way(quick_calls):
    batches = [(torch.rand(4, 1, 28, 28), torch.arange(4))]
    net = lenet()
    train_ch6(net, batches, batches, 1, 0.1, "cpu", animator=False)
    assert quick_calls == [(4, 6, 28, 28), (4, 16, 10, 10)] * 2
    net(batches[0][0])
    assert len(quick_calls) == 4  # afterwards the net is PyTorch's own again


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(3),
        nn.AvgPool2d(2, stride=1),
        nn.AvgPool2d((2, 3)),
        nn.AvgPool2d(2, padding=1),
        nn.AvgPool2d(2, divisor_override=3),
        nn.MaxPool2d(2),
        type("Mine", (nn.AvgPool2d,), {})(2),
    ],
    ids=str,
)
def test_other_layers_go_their_own_way(quick_calls, layer):
    X = torch.randn(2, 3, 12, 12)
    with quick_layers(layer):
        out = layer(X)
    assert torch.equal(out, layer(X)) and not quick_calls


@pytest.mark.parametrize(
    "X",
    [
        torch.randn(2, 3, 5, 6),
        torch.randn(2, 3, 6, 5),
        torch.randn(3, 6, 6),
        torch.randn(2, 3, 6, 6, dtype=torch.float64),
        torch.randn(2, 3, 6, 6, dtype=torch.bfloat16),
        torch.randn(2, 3, 6, 6).contiguous(memory_format=torch.channels_last),
        torch.randn(2, 3, 6, 6, device="meta"),
    ],
    ids=["odd height", "odd width", "one image", "double", "bfloat16", "channels last", "not on the CPU"],
)
def test_other_tensors_go_pytorchs_way(quick_calls, X):
    layer = nn.AvgPool2d(2, ceil_mode=True)
    with quick_layers(layer):
        out = layer(X)
    expected = layer(X)
    assert not quick_calls and out.stride() == expected.stride()
    assert X.is_meta or torch.equal(out, expected)


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
    assert all(torch.equal(twin(X), net(X)) for twin in twins)
