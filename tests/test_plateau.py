"""The lab of the dead start: each measurement against a direct one."""

import contextlib
import copy
import itertools
import json
import math
import pathlib
import statistics

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lenet_utils import lenet, plateau
from lenet_utils.data import Batches, read_split


def small_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2)).double()


def batch(n=20):
    return torch.randn(n, 1, 2, 2, dtype=torch.double), torch.arange(n) % 2


def test_sharpness_is_the_hessian_s_largest_eigenvalue():
    net, (X, y) = small_net(), batch()
    names, shapes = zip(*[(name, p.shape) for name, p in net.named_parameters()])

    def loss(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        parameters = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes)}
        return F.cross_entropy(torch.func.functional_call(net, parameters, (X,)), y)

    flat = torch.cat([p.detach().flatten() for p in net.parameters()])
    largest = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat)).max().item()
    state = torch.random.get_rng_state()
    assert plateau.sharpness(net, X, y, rounds=300) == pytest.approx(largest, rel=1e-4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in net.parameters())


class Saddle(nn.Module):
    """Of two logits, whose loss has the curvatures 2 and, a ridge, -8."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.double))

    def forward(self, X):
        logit = 8 * self.w[1] ** 2 - 2 * self.w[0] ** 2
        return torch.stack([logit, 0 * logit]).expand(len(X), 2)


def test_sharpness_is_a_valleys_beside_a_steeper_ridge():
    X, y = torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)
    assert plateau.sharpness(Saddle(), X, y, rounds=100) == pytest.approx(2)


class Bowl(nn.Module):
    """Of two logits, whose loss has the given curvatures where the weights are zero."""

    def __init__(self, curvatures):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(len(curvatures)))
        self.curvatures = curvatures

    def forward(self, X):
        logit = -(self.curvatures * self.w**2).sum()
        return torch.stack([logit, 0 * logit]).expand(len(X), 2)


@pytest.mark.parametrize("ridge", [-1.02, -2.0, -0.5])
def test_twelve_rounds_tell_a_valley_from_a_ridge_of_its_size(ridge):
    """As in LeNet with batch normalisation; repeated products alone would need a hundred."""
    curvatures = torch.cat([torch.linspace(-0.2, 0.2, 1000), torch.tensor([1.0, ridge])])
    X, y = torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)
    for seed in range(5):
        torch.manual_seed(seed)
        assert plateau.sharpness(Bowl(curvatures), X, y) == pytest.approx(1.0, rel=0.001)


def test_a_loss_that_is_no_number_has_no_sharpness():
    net = Bowl(torch.tensor([1.0, math.nan]))
    assert math.isnan(plateau.sharpness(net, torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)))


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("change", ["as it is", "batch normalisation", "ReLU"])
def test_the_lab_s_strain_does_not_depend_on_where_the_search_begins(change, seed):
    images, labels = read_split("train")
    X, y = next(iter(Batches(images[-5000:], labels[-5000:], 128)))
    for network in plateau.STARTS:
        net = plateau.begin(plateau.STARTS[network][change], seed)
        long_searched = plateau.sharpness(net, X, y, rounds=30)
        for begin in range(2):
            torch.manual_seed(begin)
            assert plateau.sharpness(net, X, y) == pytest.approx(long_searched, rel=0.02)


def test_what_is_left_is_at_right_angles_to_all_others():
    """Rounding would leave a little of them, where next to nothing else is left."""
    torch.manual_seed(0)
    directions = []
    for _ in range(20):
        directions.append(plateau.at_right_angles(torch.randn(50), directions))
    inside = sum(directions) + 1e-5 * torch.randn(50).double()
    last = plateau.at_right_angles(inside, directions)
    assert max(abs(float(last @ other)) for other in directions) < 1e-13
    assert plateau.at_right_angles(sum(directions), directions) is None


def test_the_benchmarks_page_has_the_kept_strains():
    benchmarks = pathlib.Path(__file__).parent.parent / "benchmarks"
    runs = json.loads((benchmarks / "results" / "dead_start.json").read_text())["runs"]
    rows = (line.strip("|").split(" | ") for line in (benchmarks / "README.md").read_text("utf-8").splitlines())
    written = {cells[0].strip(): (cells[1], cells[4]) for cells in rows if len(cells) == 7}
    for change in plateau.STARTS["lenet()"]:
        strains = [
            [run["lr_times_sharpness"] for run in runs if (run["network"], run["change"]) == (network, change)]
            for network in plateau.STARTS
        ]
        assert written[change] == tuple(f"{statistics.median(of_seeds):.1f}" for of_seeds in strains)


def test_sharpness_leaves_the_random_state_and_finds_nothing_where_nothing_bends():
    X, y = batch()
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 10)).double()
    state = torch.get_rng_state()
    assert plateau.sharpness(net, X, y) > 0
    assert torch.equal(torch.get_rng_state(), state)
    dead = nn.Sequential(nn.Flatten(), nn.Linear(4, 10), nn.ReLU()).double()
    nn.init.constant_(dead[1].bias, -100.0)
    assert plateau.sharpness(dead, X, y) == 0


def test_sharpness_keeps_the_random_state_of_the_device_that_the_net_is_on(monkeypatch):
    X, y = batch()
    net, devices = nn.Sequential(nn.Flatten(), nn.Linear(4, 10)).double(), []
    monkeypatch.setattr(plateau, "random_state_kept", lambda device: devices.append(device) or contextlib.nullcontext())
    plateau.sharpness(net, X, y)
    assert len(devices) >= 2 and set(devices) == {net[1].weight.device}


def test_a_step_larger_than_two_over_the_sharpness_leads_up():
    net = nn.Sequential(nn.Linear(3, 2, bias=False)).double()  # without a layer between, the loss is convex
    X, y = torch.randn(30, 3, dtype=torch.double), torch.arange(30) % 2
    plateau.first_losses(net, [(X, y)] * 3000, 1.0)  # to the valley's bottom
    bottom = F.cross_entropy(net(X), y).item()
    rate = 2 / plateau.sharpness(net, X, y, rounds=200)
    with torch.no_grad():
        net[0].weight += 1e-4 * torch.randn(2, 3, dtype=torch.double)
    calm = plateau.first_losses(copy.deepcopy(net), [(X, y)] * 300, 0.9 * rate)
    wild = plateau.first_losses(copy.deepcopy(net), [(X, y)] * 300, 1.1 * rate)
    assert calm[-1] == pytest.approx(bottom, abs=1e-8) and wild[-1] > bottom + 1e-4


def test_losses_are_those_of_torch_s_sgd():
    net, batches = small_net(), [batch() for _ in range(4)]
    other = copy.deepcopy(net)
    optimizer, expected = torch.optim.SGD(other.parameters(), lr=0.5), []
    for X, y in batches:
        loss = F.cross_entropy(other(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert plateau.first_losses(net, batches, 0.5) == pytest.approx(expected)


def test_convolutions_can_be_frozen():
    net, X, y = lenet(), torch.rand(8, 1, 28, 28), torch.arange(8)
    before = copy.deepcopy(net.state_dict())
    plateau.first_losses(net, [(X, y)] * 3, 0.5, convolutions=0.0)
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.split(".")[0] in {"8", "10", "12"}}


def test_losses_end_with_the_first_that_is_no_number():
    net, (X, y) = small_net(), batch()
    losses = plateau.first_losses(net, [(X, y), (X * torch.nan, y), (X, y)], 0.1)
    assert len(losses) == 2 and losses[1] != losses[1]


def test_the_note_s_network_lacks_one_sigmoid():
    kinds = [type(layer) for layer in plateau.note_lenet()]
    assert kinds[-2:] == [nn.Linear, nn.Linear] and kinds.count(nn.Sigmoid) == 3


@pytest.mark.parametrize("network", plateau.STARTS)
@pytest.mark.parametrize("change", plateau.STARTS["lenet()"])
def test_each_start_changes_one_thing(network, change):
    net = plateau.begin(plateau.STARTS[network][change], seed=3)
    plain = plateau.begin(plateau.STARTS[network]["as it is"], seed=3)
    gain, convolutions = plateau.STARTS[network][change].gain, plateau.STARTS[network][change].convolutions
    assert convolutions == {"convolutions frozen": 0.0, "convolutions 10 times as fast": 10.0}.get(change, 1.0)
    assert gain == {"weights 4 times as large": 4.0}.get(change, 1.0)
    weights, expected = (
        [layer.weight for layer in n if hasattr(layer, "weight") and layer.weight.ndim > 1] for n in (net, plain)
    )
    assert all(torch.allclose(w, gain * e) for w, e in zip(weights, expected))
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    squashes = {"centred sigmoid": plateau.CentredSigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU}
    squash = squashes.get(change.split(",")[0], nn.Sigmoid)
    assert sum(isinstance(layer, squash) for layer in net) == sum(isinstance(layer, nn.Sigmoid) for layer in plain)
    norms = sum(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) for layer in net)
    assert norms == (len(net) - len(plain) if change == "batch normalisation" else 0)


@pytest.mark.parametrize("network", plateau.STARTS)
def test_a_start_s_learning_rate_is_the_one_in_its_name(network):
    for change, start in plateau.STARTS[network].items():
        assert start.lr == (float(change.split()[-1]) if "learning rate" in change else 0.9)


def test_the_centred_sigmoid_has_the_sigmoid_s_slope():
    x = torch.linspace(-5, 5, 11, dtype=torch.double, requires_grad=True)
    y = plateau.CentredSigmoid()(x)
    slope = torch.autograd.grad(y.sum(), x)[0]
    s = torch.sigmoid(x)
    assert torch.allclose(slope, s * (1 - s)) and y[5] == 0


def test_signal_spread_and_gradients():
    net, X, y = lenet(), torch.rand(6, 1, 28, 28), torch.arange(6)
    outputs = dict(plateau.signal(net, X))
    assert torch.equal(outputs["12 Linear"], net(X)) and outputs["2 Sigmoid"].shape == (6, 6, 28, 28)
    assert plateau.spread(torch.tensor([[0.0, 1.0], [2.0, 1.0]])) == pytest.approx(2**0.5 / 2)
    sizes = plateau.gradient_sizes(net, X, y)
    F.cross_entropy(net(X), y).backward()
    assert list(sizes) == ["1 Conv2d", "4 Conv2d", "8 Linear", "10 Linear", "12 Linear"]
    assert list(sizes.values()) == pytest.approx([net[i].weight.grad.norm().item() for i in (1, 4, 8, 10, 12)])


LAYERS = json.loads((pathlib.Path(__file__).parent.parent / "benchmarks/results/dead_layers.json").read_text())["runs"]


@pytest.mark.parametrize("run", [run for run in LAYERS if run["recipe"] == "notebook 3"], ids=lambda run: run["seed"])
def test_on_notebook_3_s_plateau_the_top_moves_first_and_the_first_layer_most(run):
    *_, last = (look for look, loss in enumerate(run["losses"]) if look == 0 or loss > 2.29)  # before the loss falls
    assert 1 < last < len(run["steps"]) - 1
    early, late = run["moved"][1], run["moved"][last]
    assert max(early[:3]) < min(early[3:]) and late[0] == max(late)
    assert run["gradients"][last][0] > 2 * run["gradients"][2][0]


def test_the_kept_looks_at_the_layers_are_those_of_a_run():
    """The first looks of one run again, by plain means."""
    [run] = [run for run in LAYERS if (run["recipe"], run["seed"]) == ("lab, centred sigmoid", 1)]
    net = plateau.begin(plateau.STARTS["lenet()"]["centred sigmoid"], seed=1)
    images, labels = read_split("train")
    X, y = next(iter(Batches(images[-500:], labels[-500:], 500)))
    first = [net[i].weight.detach().clone() for i in (1, 4, 8, 10, 12)]
    batches = itertools.islice(Batches(images[:19_200], labels[:19_200], 64, shuffle=True), 25)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.9)
    assert list(plateau.gradient_sizes(net, X, y).values()) == pytest.approx(run["gradients"][0], rel=1e-2)
    for pictures, answers in batches:
        optimizer.zero_grad()
        F.cross_entropy(net(pictures), answers).backward()
        optimizer.step()
    ways = [torch.dist(net[i].weight.detach(), then) / then.norm() for i, then in zip((1, 4, 8, 10, 12), first)]
    assert [float(way) for way in ways] == pytest.approx(run["moved"][1], rel=1e-2)
