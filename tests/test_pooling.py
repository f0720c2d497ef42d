"""Average pooling the quick way: PyTorch's numbers to the bit, and only while a network is trained."""

import math
import types

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from lenet_utils import lenet, train_ch6
from lenet_utils.quick import pooling, quick_layers
from lenet_utils.quick.pooling import HalveByMean

WAYS = {"by product": pooling.both_by_product, "by corners": pooling.both_by_corners}


def result_and_gradient(layer, X):
    X = X.clone().requires_grad_()
    out = layer(X)
    torch.manual_seed(1)
    out.backward(torch.randn_like(out))
    return out, X.grad


@pytest.fixture(params=["by product", "by corners"])
def way(request, monkeypatch):
    """Both ways of adding, also where this machine would never take one of them."""
    if request.param == "by corners":
        monkeypatch.setattr(pooling, "products_are_exact", lambda X: False)
    else:
        monkeypatch.setattr(pooling, "products_pay", lambda *_: True)


@pytest.fixture
def products(monkeypatch):
    """The sizes of the windows' matrices that have been asked for: one per product."""
    widths = []
    monkeypatch.setattr(pooling, "windows", lambda width: widths.append(width) or ones(width))
    return widths


@pytest.fixture
def no_trials_kept():
    """Neither those of before nor those of the test."""
    pooling.products_pay.cache_clear()
    yield
    pooling.products_pay.cache_clear()


ones = pooling.windows


@pytest.mark.parametrize("quicker", WAYS)
@pytest.mark.parametrize("shape", [(256, 6, 28, 28), (7, 16, 10, 10), (1, 1, 2, 4), (0, 3, 4, 4), (3, 2, 6, 96)])
@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-38])
def test_it_is_pytorchs_to_the_bit(shape, scale, quicker, no_trials_kept, monkeypatch):
    monkeypatch.setattr(pooling, "best_time", lambda way, X: float(way is not WAYS[quicker]))
    torch.manual_seed(0)
    X = torch.randn(shape) * scale
    out, grad = result_and_gradient(HalveByMean.apply, X)
    expected, expected_grad = result_and_gradient(nn.AvgPool2d(2), X)
    assert torch.equal(out, expected) and torch.equal(grad, expected_grad)


def test_the_oracle_tells_orders_of_summing_apart():
    X = torch.randn(64, 6, 28, 28, generator=torch.Generator().manual_seed(0))
    first, second, third, fourth = pooling.corners(X)
    assert not torch.equal(((first + second) + (third + fourth)) / 4, nn.AvgPool2d(2)(X))


@pytest.mark.parametrize("shape", [(5, 6, 28, 28), (7, 16, 10, 10), (3, 1, 2, 4), (2, 3, 6, 48)])
def test_each_window_gets_its_own_four_pixels(shape, way):
    torch.manual_seed(0)
    X = torch.randint(-999, 999, shape).float()  # sums of whole numbers are the same in every order
    assert torch.equal(HalveByMean.apply(X), nn.AvgPool2d(2)(X))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_does_not_compute_spoils_its_own_window_only(number, way):
    X = torch.ones(2, 1, 4, 6)
    X[0, 0, 1, 2] = number
    grad = torch.ones(2, 1, 2, 3)
    grad[1, 0, 0, 1] = number
    results = []
    for layer in HalveByMean.apply, nn.AvgPool2d(2):
        leaf = X.clone().requires_grad_()
        out = layer(leaf)
        out.backward(grad)
        results.append((out, leaf.grad))
    for found, expected in zip(*results):
        assert torch.allclose(found, expected, rtol=0, atol=0, equal_nan=True)


def test_where_a_product_adds_in_another_order_it_is_not_taken(monkeypatch, no_trials_kept):
    def in_another_order(X):
        first, second, third, fourth = pooling.corners(X)
        return (first + second) + (third + fourth)

    monkeypatch.setattr(pooling, "sums_by_product", in_another_order)
    monkeypatch.setattr(pooling, "best_time", lambda way, X: way is pooling.both_by_corners)
    X = torch.randn(64, 6, 28, 28)
    assert torch.equal(HalveByMean.apply(X), nn.AvgPool2d(2)(X))


def test_the_windows_are_in_float32_on_the_cpu_whatever_is_usual():
    with torch.device("meta"):
        found = ones.__wrapped__(4)
    assert found.dtype == torch.float32 and found.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]] * 2


@pytest.mark.parametrize("quicker", WAYS)
def test_of_two_ways_with_the_same_bits_the_quicker_one_is_taken(quicker, products, no_trials_kept, monkeypatch):
    """Otherwise nobody would see it, but for the time that training takes."""
    monkeypatch.setattr(pooling, "best_time", lambda way, X: float(way is not WAYS[quicker]))
    X = torch.rand(256, 6, 28, 28)
    same_bits = torch.equal(pooling.sums_by_product(X), pooling.sums_by_corners(X))  # so far on every processor
    result_and_gradient(HalveByMean.apply, X)  # tries both
    products.clear()
    result_and_gradient(HalveByMean.apply, X)
    assert products == ([28, 28] if quicker == "by product" and same_bits else [])  # one forward and one backward


def test_the_time_is_the_best_of_several(monkeypatch):
    clock, calls = iter([0, 2, 10, 11, 20, 23, 30, 32, 40, 44]), []
    monkeypatch.setattr(pooling, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    assert pooling.best_time(calls.append, "X") == 1 and calls == ["X"] * 5


def test_a_few_windows_are_not_even_tried(products, no_trials_kept, monkeypatch):
    """On an emulated ARM, products add some windows in another order; a trial on so few may miss it, by chance."""
    monkeypatch.setattr(pooling, "best_time", lambda way, X: float(way is not WAYS["by product"]))
    result_and_gradient(HalveByMean.apply, torch.rand(1, 1, 2, 4))
    assert products == []


def test_wide_pictures_are_not_even_tried(products):
    result_and_gradient(HalveByMean.apply, torch.rand(2, 3, 6, 2 * pooling.WIDEST))
    assert not products


def test_half_precision_for_products_is_not_for_pooling(products):
    X = torch.rand(256, 6, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, *(result_and_gradient(f, X) for f in (HalveByMean.apply, nn.AvgPool2d(2)))))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert all(map(torch.equal, *(result_and_gradient(f, X) for f in (HalveByMean.apply, nn.AvgPool2d(2)))))
    finally:
        torch.set_float32_matmul_precision(before)
    assert not products


def test_a_precision_set_by_the_newer_way_counts_too(products, monkeypatch):
    def mixed():
        raise RuntimeError("you have used mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    result_and_gradient(HalveByMean.apply, torch.rand(4, 6, 28, 28))
    assert not products


def test_a_view_that_begins_somewhere_is_not_summed_by_products(products):
    X = torch.rand(1 + 4 * 6 * 28 * 28)[1:].view(4, 6, 28, 28)
    assert torch.equal(HalveByMean.apply(X), nn.AvgPool2d(2)(X)) and not products


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


def vmapped(layer, X):
    return torch.func.vmap(lambda scale: layer(scale * X))(torch.arange(3.0))


def forward_derivative(layer, X):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(layer(forward_ad.make_dual(X, X)))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # within PyTorch, on the first such question
@pytest.mark.parametrize("ask", [vmapped, forward_derivative])
def test_who_asks_for_other_derivatives_gets_pytorchs_own_layer(quick_calls, ask):
    layer, X = nn.AvgPool2d(2), torch.rand(2, 3, 6, 6)
    expected = ask(layer, X)
    with quick_layers(layer):
        found = ask(layer, X)
    assert not quick_calls and all(map(torch.equal, found, expected))


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (0, 3, 4, 4)])
def test_second_derivatives_are_pytorchs(shape, way):
    def second(layer):
        X = torch.linspace(-1, 1, math.prod(shape)).reshape(shape).requires_grad_()
        (first,) = torch.autograd.grad(layer(X).pow(3).sum(), X, create_graph=True)
        return first, *torch.autograd.grad(first.pow(2).sum(), X)

    assert all(map(torch.equal, second(HalveByMean.apply), second(nn.AvgPool2d(2))))


def test_a_compiler_gets_pytorchs_own_layer(monkeypatch, quick_calls):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    layer = nn.AvgPool2d(2)
    with quick_layers(layer):
        layer(torch.rand(2, 3, 6, 6))
    assert not quick_calls
