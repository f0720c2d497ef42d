"""The gradient of a first convolution the quick way: PyTorch's numbers to the bit, or not at all."""

import pytest
import torch
from torch import nn

from lenet_utils import lenet, train_ch6
from lenet_utils.quick import convolution, quick_layers
from lenet_utils.quick.convolution import FirstConvolution

SAME_BITS = convolution.same_bits  # as it is where no test replaces it


@pytest.fixture(autouse=True)
def with_avx2(monkeypatch):
    """Every machine goes through the code that is meant for AVX2."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.fixture
def same_everywhere(monkeypatch):
    """Where the bits differ, which is no fault, the quick way is taken nevertheless."""
    monkeypatch.setattr(convolution, "same_bits", lambda *_: True)


@pytest.fixture
def quick_calls(monkeypatch):
    calls = []
    apply = FirstConvolution.apply
    monkeypatch.setattr(FirstConvolution, "apply", lambda X, *rest: calls.append(tuple(X.shape)) or apply(X, *rest))
    return calls


def results(layer, X, seed=1):
    """What `layer` gives for `X`, and the gradients of its weights and biases."""
    out = layer(X)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))
    return out, *torch.autograd.grad(out, [p for p in layer.parameters() if p.requires_grad], grad)


LAYERS = {
    "lenet's": lambda: nn.Conv2d(1, 6, 5, padding=2),
    "no bias": lambda: nn.Conv2d(1, 4, 3, bias=False),
    "stride": lambda: nn.Conv2d(1, 8, 5, stride=2),
    "oblong": lambda: nn.Conv2d(1, 5, (3, 5), stride=(1, 2), padding=(2, 0)),
    "holes": lambda: nn.Conv2d(1, 3, 3, dilation=2),
    "many": lambda: nn.Conv2d(1, 96, 11, stride=4, padding=1),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("images", [1, 7, 96])
def test_the_gradients_are_right(make, images, quick_calls, same_everywhere):
    layer, X = make(), torch.rand(images, 1, 28, 30)
    with quick_layers(layer):
        found = results(layer, X)
    assert quick_calls == [(images, 1, 28, 30)]
    assert found[1].stride() == layer.weight.stride()
    exact = results(layer.double(), X.double())
    assert all((a - b).abs().max() < 1e-4 * b.abs().max() for a, b in zip(found, exact))


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("images", [1, 7, 256])
def test_they_are_pytorchs_to_the_bit(make, images):
    layer = make()
    for seed in range(3):
        X = torch.rand(images, 1, 28, 30, generator=torch.Generator().manual_seed(seed))
        expected = results(layer, X, seed)
        with quick_layers(layer):
            found = results(layer, X, seed)
        assert all(map(torch.equal, found, expected))


def test_where_the_bits_would_differ_pytorchs_way_is_taken(monkeypatch, quick_calls):
    compute = convolution.gradients

    def rounded_otherwise(grad, X, *rest):
        _, weights, biases = compute(grad, X, *rest)
        return None, weights * (1 + 1e-6 * (X.stride(1) == 1)), biases

    monkeypatch.setattr(convolution, "gradients", rounded_otherwise)
    convolution.same_bits.cache_clear()
    try:
        layer = nn.Conv2d(1, 6, 5)
        with quick_layers(layer):
            results(layer, torch.rand(4, 1, 28, 28))
    finally:
        convolution.same_bits.cache_clear()
    assert not quick_calls


def test_training_takes_the_quick_way_and_testing_does_not(quick_calls, same_everywhere):
    batches = [(torch.rand(4, 1, 28, 28), torch.arange(4))]
    net = lenet()
    train_ch6(net, batches, batches, 1, 0.1, "cpu", animator=False)
    assert quick_calls == [(4, 1, 28, 28)]
    net(batches[0][0])
    assert len(quick_calls) == 1  # afterwards the net is PyTorch's own again


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 6, 3, padding="same"),
        nn.Conv2d(1, 6, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(2, 6, 3),
        nn.ConvTranspose2d(1, 6, 3),
        type("Mine", (nn.Conv2d,), {})(1, 6, 3),
    ],
    ids=["padding by name", "mirrored padding", "two channels", "transposed", "a class of its own"],
)
def test_other_layers_go_their_own_way(quick_calls, same_everywhere, layer):
    X = torch.rand(2, 2 if layer.in_channels == 2 else 1, 12, 12)
    expected = results(layer, X)
    with quick_layers(layer):
        assert all(map(torch.equal, results(layer, X), expected))
    assert not quick_calls


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX2", reason="not a processor that it is for")
def test_on_the_processors_that_it_is_for_it_is_taken(quick_calls):
    """Otherwise nobody would see it, but for the time that training takes."""
    net = lenet()
    with quick_layers(net):
        net(torch.rand(256, 1, 28, 28))
    assert quick_calls == [(256, 1, 28, 28)]


def test_other_processors_go_pytorchs_way(monkeypatch, quick_calls, same_everywhere):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    net = lenet()
    with quick_layers(net):
        net(torch.rand(2, 1, 28, 28))
    assert not quick_calls


@pytest.mark.parametrize(
    "X",
    [
        torch.rand(1, 12, 12),
        torch.rand(0, 1, 12, 12),
        torch.rand(2, 1, 12, 24)[..., ::2],
        torch.rand(2, 1, 12, 12).requires_grad_(),
    ],
    ids=["one image", "no image", "strides", "gradients of the pixels"],
)
def test_other_tensors_go_pytorchs_way(quick_calls, same_everywhere, X):
    layer = nn.Conv2d(1, 6, 3)
    expected = results(layer, X)
    with quick_layers(layer):
        found = results(layer, X)
    assert not quick_calls and all(map(torch.equal, found, expected))


def test_under_autocast_and_in_a_compiler_pytorchs_way_is_taken(monkeypatch, quick_calls, same_everywhere):
    layer, X = nn.Conv2d(1, 6, 3), torch.rand(2, 1, 12, 12)
    with quick_layers(layer):
        with torch.autocast("cpu", torch.bfloat16):
            layer(X).float().sum().backward()
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        layer(X).sum().backward()
    assert not quick_calls


def test_under_vmap_pytorchs_way_is_taken(quick_calls, same_everywhere):
    layer, X = nn.Conv2d(1, 6, 3), torch.rand(2, 1, 12, 12)
    with quick_layers(layer):
        torch.func.vmap(lambda scale: layer(scale * X))(torch.arange(3.0)).sum().backward()
    assert not quick_calls and layer.weight.grad is not None


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of lenet's question whether the shape is right
def test_a_trace_made_during_training_holds_pytorchs_operations(tmp_path):
    """As by somebody who exports the best network after each epoch."""
    net, X = lenet(), torch.rand(2, 1, 28, 28)
    with quick_layers(net):
        torch.jit.save(torch.jit.trace(net, X), tmp_path / "net.pt")
    assert torch.equal(torch.jit.load(tmp_path / "net.pt")(X), net(X))


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_second_derivatives_are_pytorchs(make, quick_calls, same_everywhere):
    def second(layer):
        first = torch.autograd.grad(layer(X).pow(3).mean(), list(layer.parameters()), create_graph=True)
        return torch.autograd.grad(sum(grad.pow(2).sum() for grad in first), list(layer.parameters()))

    layer, X = make(), torch.rand(3, 1, 28, 30)
    expected = second(layer)
    with quick_layers(layer):
        found = second(layer)
    exact = SAME_BITS(X.shape, layer.weight.shape, convolution.settings(layer), torch.get_num_threads())
    within = 0 if exact else 1e-5  # a processor without AVX2 rounds otherwise, as `same_everywhere` allows
    assert quick_calls and all((a - b).abs().max() <= within * b.abs().max() for a, b in zip(found, expected))


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_what_is_frozen_gets_no_gradient(frozen, same_everywhere):
    layer, X = nn.Conv2d(1, 6, 3), torch.rand(2, 1, 12, 12)
    getattr(layer, frozen).requires_grad_(False)
    expected = results(layer, X)
    with quick_layers(layer):
        found = results(layer, X)
    assert len(found) == 2 and all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected))
