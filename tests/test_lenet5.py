"""LeNet-5 of 1998: the paper's counts, shapes and connections, and each layer against brute force."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lenet_utils import lenet5 as room
from lenet_utils import print_layer_shapes
from lenet_utils.data import LABELS, read_split

# LeCun et al. 1998, section II.B.
TRAINABLE = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}


def count(layer):
    return sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize("name", TRAINABLE)
def test_trainable_parameters_of_a_layer(name):
    assert count(room.lenet5().get_submodule(name)) == TRAINABLE[name]


def test_trainable_parameters_of_all():
    assert count(room.lenet5()) == sum(TRAINABLE.values()) == 60_000


def test_shapes(capsys):
    print_layer_shapes(room.lenet5())
    shapes = [line.split("torch.Size")[1] for line in capsys.readouterr().out.splitlines() if "Tanh" not in line]
    assert shapes == [
        "([1, 1, 32, 32])", "([1, 6, 28, 28])", "([1, 6, 14, 14])", "([1, 16, 10, 10])", "([1, 16, 5, 5])",
        "([1, 120, 1, 1])", "([1, 120])", "([1, 84])", "([1, 10])",
    ]  # fmt: skip


def test_table_1():
    """Its margins: every map of S2 feeds ten maps of C3; 3, 4 or 6 connections a map, 60 in all; no two maps alike."""
    table = room.PartialConv2d(6, room.C3_SEES, 5).table
    assert table.sum(dim=0).tolist() == [10] * 6
    assert table.sum(dim=1).tolist() == [3] * 6 + [4] * 9 + [6]
    assert len(set(map(tuple, table.tolist()))) == 16


def test_table_1_row_by_row():
    """Three and four neighbours in a row, round the corner; two pairs; all."""
    three, four = ([{(k + i) % 6 for i in range(n)} for k in range(6)] for n in (3, 4))
    pairs = [{0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}]
    assert list(map(set, room.C3_SEES)) == [*three, *four, *pairs, set(range(6))]


def test_which_maps_c3_sees_by_gradient():
    """A map of C3 changes with the maps of the table and with no others."""
    layer = room.lenet5().c3
    seen = []
    for k in range(16):
        X = torch.rand(1, 6, 14, 14, requires_grad=True)
        layer(X)[0, k].sum().backward()
        seen.append(tuple(X.grad[0].abs().sum(dim=(1, 2)).nonzero().flatten().tolist()))
    assert seen == [tuple(sorted(maps)) for maps in room.C3_SEES]


def test_the_partial_convolution_by_brute_force():
    sees = ((0, 2), (1,), (2, 0, 1))
    layer, X = room.PartialConv2d(3, sees, kernel_size=2), torch.rand(2, 3, 4, 5)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    Y, kernels = layer(X), iter(layer.weight)
    for k, maps in enumerate(sees):
        expected = layer.bias[k].expand(2, 3, 4)
        for m in sorted(maps):  # the kernels lie in the order of the maps, whatever the order in `sees`
            expected = expected + F.conv2d(X[:, m : m + 1], next(kernels)[None, None])[:, 0]
        torch.testing.assert_close(Y[:, k], expected)


def test_subsampling_by_brute_force():
    layer, X = room.Subsampling(2), torch.rand(3, 2, 4, 6)
    nn.init.normal_(layer.coefficient)
    nn.init.normal_(layer.bias)
    Y = layer(X)
    assert Y.shape == (3, 2, 2, 3)
    for n, c, i, j in itertools.product(range(3), range(2), range(2), range(3)):
        four = sum(X[n, c, 2 * i + a, 2 * j + b] for a in (0, 1) for b in (0, 1))
        torch.testing.assert_close(Y[n, c, i, j], layer.coefficient[c] * four + layer.bias[c])


@pytest.mark.parametrize("shape", [(1, 2, 5, 4), (1, 2, 4, 5)])
def test_subsampling_refuses_odd_sizes(shape):
    with pytest.raises(ValueError, match="even height and width"):
        room.Subsampling(2)(torch.zeros(shape))


def test_the_frame_has_the_paper_s_levels():
    X = torch.zeros(1, 1, 28, 28)
    X[0, 0, 0, 0] = 1
    Y = room.Frame()(X)
    assert Y.shape == (1, 1, 32, 32)
    assert Y[0, 0, 2, 2].item() == pytest.approx(1.175)
    assert Y.min().item() == pytest.approx(-0.1) and (Y < 0).sum() == 32 * 32 - 1
    with pytest.raises(ValueError, match="put Reshape"):
        room.Frame()(torch.zeros(2, 784))


def test_the_scaled_tanh_keeps_the_codes_values():
    ones = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(room.ScaledTanh()(ones), ones, atol=1e-4, rtol=0)
    assert room.ScaledTanh()(torch.tensor(1e9)).item() == pytest.approx(1.7159)


def test_distances_by_brute_force():
    codes, X = torch.randn(3, 5), torch.randn(4, 5)
    scores = room.Distances(codes)(X)
    for n, c in itertools.product(range(4), range(3)):
        torch.testing.assert_close(scores[n, c], -sum((X[n, d] - codes[c, d]) ** 2 for d in range(5)))


def test_the_codes():
    assert room.CODES.shape == (len(LABELS), 7 * 12)
    assert set(room.CODES.flatten().tolist()) == {-1, 1}
    apart = torch.cdist(room.CODES, room.CODES, p=0)
    assert apart.fill_diagonal_(84).min() >= 19  # places in which two codes differ
    trouser = room.CODES[1].view(12, 7)  # two legs, and nothing between them
    assert trouser[-1].tolist() == [-1, 1, 1, -1, 1, 1, -1] and torch.equal(trouser, trouser.flip(1))
    assert room.lenet5().output.codes.data_ptr() != room.CODES.data_ptr()


def test_an_exact_code_is_the_best_answer():
    scores = room.Distances(room.CODES)(room.CODES)
    assert scores.argmax(dim=1).tolist() == list(range(10)) and scores.diagonal().tolist() == [0] * 10


def test_losses_by_brute_force():
    scores, y, j = -10 * torch.rand(4, 3, dtype=torch.double), torch.tensor([2, 0, 1, 1]), 2.5
    plain = sum(-scores[n, y[n]] for n in range(4)) / 4
    every = sum(-scores[n, y[n]] + (torch.exp(torch.tensor(-j)) + scores[n].exp().sum()).log() for n in range(4)) / 4
    torch.testing.assert_close(room.distance_loss(scores, y), plain)
    torch.testing.assert_close(room.map_loss(scores, y, j), every)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (room.Subsampling(2), (2, 2, 4, 4)),
        (room.PartialConv2d(3, ((0, 2), (1,)), 2), (2, 3, 3, 3)),
        (room.ScaledTanh(), (2, 3)),
        (room.Distances(torch.tensor([[1.0, -1.0], [-1.0, -1.0]])), (3, 2)),
    ],
    ids=lambda value: value.__class__.__name__,
)
def test_gradients(layer, shape):
    layer = layer.apply(room.init_1998).double()
    names, values = zip(*layer.named_parameters()) if count(layer) else ((), ())

    def run(X, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters)), (X,))

    assert torch.autograd.gradcheck(run, (torch.randn(shape, dtype=torch.double, requires_grad=True), *values))


def test_the_first_weights_lie_within_their_bounds():
    net = room.lenet5()
    fans = {"c1": 25, "s2": 4, "s4": 4, "c5": 400, "f6": 120}
    for name, fan in fans.items():
        values = torch.cat([p.detach().flatten() for p in net.get_submodule(name).parameters()])
        assert 0.5 < values.abs().max() * fan / 2.4 <= 1, name
    for k, (maps, bias) in enumerate(zip(room.C3_SEES, net.c3.bias)):
        first = sum(map(len, room.C3_SEES[:k]))
        kernels, fan = net.c3.weight[first : first + len(maps)], 25 * len(maps)
        assert 0.9 < kernels.abs().max() * fan / 2.4 <= 1
        assert abs(bias) <= 2.4 / fan


def test_it_learns_one_batch():
    images, labels = read_split("t10k")
    net, X, y = room.lenet5(), images[:20, None] / 255, labels[:20]
    first = room.map_loss(net(X), y)
    for _ in range(150):
        net.zero_grad()
        loss = room.map_loss(net(X), y)
        loss.backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.01 * p.grad
    assert loss < first / 4
    assert (net(X).argmax(dim=1) == y).float().mean() > 0.9


def test_layers_without_a_bias_have_first_weights_too():
    layer = nn.Linear(4, 3, bias=False).apply(room.init_1998)
    assert 0 < layer.weight.abs().max() <= 2.4 / 4
