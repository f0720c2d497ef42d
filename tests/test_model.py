"""LeNet and the shapes in it: against torchinfo, arithmetic done here, and gradients that show what a unit sees."""

import html
import math
import re
import weakref

import pytest
import torch
from torch import nn

from lenet_utils import Reshape, layer_table, lenet, print_layer_shapes
from lenet_utils.lenet5 import lenet5
from lenet_utils.model import evaluation_mode, random_state_kept

# Reshape


@pytest.mark.parametrize("shape", [(3, 784), (3, 28, 28), (28, 28), (3, 1, 28, 28), (1, 784), (0, 784), (784, 28, 28)])
def test_reshape_takes(shape):
    X = torch.rand(shape)
    out = Reshape()(X)
    assert out.shape == (1 if shape == (28, 28) else shape[0], 1, 28, 28)
    assert torch.equal(out.flatten(), X.flatten())


@pytest.mark.parametrize("make", [
    lambda: torch.rand(784, 3).T,
    lambda: torch.rand(3, 28, 28).transpose(1, 2),
    lambda: torch.rand(6, 28, 28)[::2],
    lambda: torch.rand(1, 28, 28).expand(3, 28, 28),
    lambda: torch.rand(3, 28, 28, 1).permute(0, 3, 1, 2),
])  # fmt: skip
def test_reshape_takes_tensors_that_are_not_contiguous(make):
    X = make()
    assert torch.equal(Reshape()(X), X.contiguous().view(3, 1, 28, 28))


REFUSED = [
    (784,), (), (28,), (3, 783), (3, 785), (28, 29), (3, 28, 27), (3, 32, 32), (1, 3, 28, 28), (3, 28, 28, 1),
    (1, 1, 1, 28, 28), (2, 392), (1568,), (3, 56, 14), (2, 1, 784), (14, 56),
]  # fmt: skip


@pytest.mark.parametrize("shape", REFUSED, ids=str)
def test_reshape_refuses(shape):
    with pytest.raises(ValueError) as caught:
        Reshape()(torch.rand(shape))
    assert str(caught.value).endswith(f"got {shape}")
    assert "(N, 1, 28, 28)" in str(caught.value)


def test_reshape_lets_gradients_through():
    X = torch.rand(2, 784, requires_grad=True)
    Reshape()(X).sum().backward()
    assert torch.equal(X.grad, torch.ones(2, 784))


# LeNet


def test_lenet_has_61706_parameters():
    convolutions = [layer for layer in lenet() if isinstance(layer, nn.Conv2d)]
    assert sum(p.numel() for p in lenet().parameters()) == 61_706
    assert sum(p.numel() for conv in convolutions for p in conv.parameters()) == 2_572
    by_hand = 6 * (5 * 5 + 1) + 16 * (6 * 5 * 5 + 1) + 120 * (400 + 1) + 84 * (120 + 1) + 10 * (84 + 1)
    assert by_hand == 61_706


def test_lenet_has_a_sigmoid_between_any_two_layers_with_weights():
    names = [type(layer).__name__ for layer in lenet()]
    between = "".join("w" if name in ("Conv2d", "Linear") else "s" if name == "Sigmoid" else "" for name in names)
    assert between == "wswswswsw"


def test_lenet_against_the_same_steps_written_out():
    net, X = lenet(), torch.rand(3, 784)
    w = list(net.parameters())
    a = nn.functional.avg_pool2d(torch.sigmoid(nn.functional.conv2d(X.view(3, 1, 28, 28), w[0], w[1], padding=2)), 2)
    a = nn.functional.avg_pool2d(torch.sigmoid(nn.functional.conv2d(a, w[2], w[3])), 2).flatten(1)
    a = torch.sigmoid(torch.sigmoid(a @ w[4].T + w[5]) @ w[6].T + w[7]) @ w[8].T + w[9]
    assert torch.allclose(net(X), a, atol=1e-6)


def test_lenet_takes_what_reshape_takes():
    net, X = lenet(), torch.rand(2, 1, 28, 28)
    assert net(X).shape == (2, 10)
    assert torch.equal(net(X), net(X.view(2, 784)))
    assert torch.equal(net(X[:1]), net(X[0, 0]))


@pytest.mark.filterwarnings("ignore:Guards may run slower")  # on Python 3.13.0
def test_lenet_is_exported_for_batches_of_any_size():
    any_size = {0: torch.export.Dim("n")}
    program = torch.export.export(lenet(), (torch.zeros(3, 1, 28, 28),), dynamic_shapes=(any_size,))
    assert program.module()(torch.zeros(5, 1, 28, 28)).shape == (5, 10)


def test_two_lenets_share_nothing():
    a, b = lenet(), lenet()
    assert not {p.data_ptr() for p in a.parameters()} & {p.data_ptr() for p in b.parameters()}


# The printed lines

THIRTEEN_LINES = """\
Reshape output shape: torch.Size([1, 1, 28, 28])
Conv2d output shape: torch.Size([1, 6, 28, 28])
Sigmoid output shape: torch.Size([1, 6, 28, 28])
AvgPool2d output shape: torch.Size([1, 6, 14, 14])
Conv2d output shape: torch.Size([1, 16, 10, 10])
Sigmoid output shape: torch.Size([1, 16, 10, 10])
AvgPool2d output shape: torch.Size([1, 16, 5, 5])
Flatten output shape: torch.Size([1, 400])
Linear output shape: torch.Size([1, 120])
Sigmoid output shape: torch.Size([1, 120])
Linear output shape: torch.Size([1, 84])
Sigmoid output shape: torch.Size([1, 84])
Linear output shape: torch.Size([1, 10])
"""


def test_the_thirteen_lines(capsys):
    print_layer_shapes(lenet())
    assert capsys.readouterr().out == THIRTEEN_LINES


def test_the_printed_lines_are_those_of_the_notes_loop(capsys):
    net = lenet()
    print_layer_shapes(net, (4, 784))
    printed = capsys.readouterr().out
    X = torch.rand(4, 784)
    for layer in net:
        X = layer(X)
        print(layer.__class__.__name__, "output shape:", X.shape)
    assert capsys.readouterr().out == printed


# The table

HALF = nn.Sequential(
    nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.Conv2d(8, 8, 5, padding="same", groups=2, bias=False), nn.Tanh(), nn.Dropout(0.5),
    nn.Sequential(nn.Conv2d(8, 4, 3, dilation=2), nn.ReLU()),
    nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 5 * 5, 7),
)  # fmt: skip
NETS = {
    "LeNet": (lenet(), (1, 1, 28, 28)),
    "LeNet, five images": (lenet(), (5, 784)),
    "LeNet without Reshape": (lenet()[1:], (1, 1, 28, 28)),
    "strides, dilation, groups": (HALF, (2, 3, 56, 56)),
    "valid": (nn.Sequential(nn.Conv2d(1, 2, 4, padding="valid"), nn.MaxPool2d(3, dilation=2, stride=1)), (1, 1, 9, 9)),
    "same, dilated": (nn.Sequential(nn.Conv2d(1, 2, 3, padding="same", dilation=3)), (1, 1, 9, 9)),
    "same, even kernel": (nn.Sequential(nn.Conv2d(1, 2, 4, padding="same")), (1, 1, 9, 9)),
    "sides that differ": (nn.Sequential(nn.Conv2d(1, 2, (3, 5), stride=(2, 1), padding=(1, 0))), (1, 1, 9, 12)),
    "same, sides that differ": (nn.Sequential(nn.Conv2d(1, 2, (3, 5), padding="same", dilation=(2, 1))), (1, 1, 9, 12)),
}


@pytest.fixture(params=NETS.values(), ids=NETS)
def case(request):
    return request.param


def test_table_against_torchinfo(case):
    import torchinfo

    net, shape = case
    table = layer_table(net, shape)
    summary = torchinfo.summary(net, input_size=shape, verbose=0)
    theirs = [info for info in summary.summary_list if info.is_leaf_layer]
    assert [row.layer for row in table] == [info.class_name for info in theirs]
    assert [row.shape for row in table] == [tuple(info.output_size) for info in theirs]
    assert [row.parameters for row in table] == [info.num_params for info in theirs]
    assert table.parameters == summary.total_params == sum(p.numel() for p in net.parameters())


def test_multiply_adds_against_torchinfo(case):
    """torchinfo counts biases as well, as one more multiplication for each output; they are taken off here."""
    import torchinfo

    net, shape = case
    rows = layer_table(net, shape)
    theirs = [info for info in torchinfo.summary(net, input_size=shape, verbose=0).summary_list if info.is_leaf_layer]
    for row, info in zip(rows, theirs, strict=True):
        if row.layer in ("Conv2d", "Linear"):
            biases = math.prod(row.shape[1:]) if info.module.bias is not None else 0
            assert row.multiply_adds == info.macs // shape[0] - biases
        else:
            assert row.multiply_adds == 0


def test_lenets_multiply_adds_by_hand():
    by_hand = 6 * 28 * 28 * 25, 16 * 10 * 10 * 6 * 25, 400 * 120, 120 * 84, 84 * 10
    table = layer_table(lenet())
    assert tuple(row.multiply_adds for row in table if row.multiply_adds) == by_hand
    assert table.multiply_adds == sum(by_hand) == 416_520


def test_formulas_come_out_true(case):
    for row in layer_table(*case):
        if row.layer in ("Conv2d", "AvgPool2d", "MaxPool2d", "Flatten"):
            left, right = row.formula.split(" = ")
            assert eval(left) == int(right) == row.shape[2 if row.layer != "Flatten" else 1], row.formula


def test_lenets_formulas():
    formulas = [row.formula for row in layer_table(lenet()) if row.formula]
    assert formulas == [
        "(28 + 2*2 - 5)//1 + 1 = 28",
        "(28 - 2)//2 + 1 = 14",
        "(14 - 5)//1 + 1 = 10",
        "(10 - 2)//2 + 1 = 5",
        "16*5*5 = 400",
        "400 -> 120",
        "120 -> 84",
        "84 -> 10",
    ]


def test_a_rounded_up_pooling_gets_no_formula():
    (row,) = layer_table(nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), (1, 1, 5, 5))
    assert (row.shape, row.formula) == ((1, 1, 3, 3), "")


def test_lenets_receptive_fields():
    fields = [row.receptive_field for row in layer_table(lenet())]
    assert fields == [1, 5, 5, 6, 14, 14, 16, 16, 32, 32, 32, 32, 32]


def seen_side(layers, side):
    """How many rows and columns of the input the middle unit sees, by the gradient: the box around all non-zeros."""
    X = torch.rand(32, 1, side, side, dtype=torch.float64, requires_grad=True)
    out = nn.Sequential(*layers).double().eval()(X)
    assert out.shape[2] >= 3, "the middle unit should not lie at the border"
    out[:, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    touched = X.grad.abs().sum(dim=(0, 1)).nonzero()
    height, width = (touched.max(0).values - touched.min(0).values + 1).tolist()
    assert height == width
    return height


def tall(*layers, side):
    """Layers on a large image and without padding, so that no field is cut off at the border."""
    return pytest.param(layers, side, id=", ".join(type(layer).__name__ for layer in layers))


@pytest.mark.parametrize(("layers", "side"), [
    tall(nn.Conv2d(1, 6, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2),
         side=44),
    tall(nn.Conv2d(1, 3, 3, stride=2), nn.Tanh(), nn.Conv2d(3, 3, 3, stride=3), nn.Conv2d(3, 2, 2), side=60),
    tall(nn.MaxPool2d(3, stride=2), nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), side=60),
    tall(nn.Conv2d(1, 3, 3, dilation=2), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, dilation=3), nn.AvgPool2d(3, 1),
         side=30),
    tall(nn.Conv2d(1, 3, 3, padding="same", dilation=2), nn.Dropout(0.0), nn.AvgPool2d(2), nn.Conv2d(3, 2, 5), side=48),
    tall(nn.AvgPool2d(3), nn.Conv2d(1, 2, 1), nn.MaxPool2d(2, stride=1, dilation=2), side=30),
])  # fmt: skip
def test_receptive_fields_against_gradients(layers, side):
    rows = layer_table(nn.Sequential(*layers).float(), (1, 1, side, side))
    for i, row in enumerate(rows, start=1):
        assert row.receptive_field == seen_side(layers[:i], side)


def test_a_field_that_is_no_square_has_no_side():
    rows = layer_table(nn.Sequential(nn.Conv2d(1, 2, (3, 5)), nn.AvgPool2d(2)))
    assert [row.receptive_field for row in rows] == [None, None]


def test_a_linear_layer_over_an_oblong_map_sees_no_square():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 38, 10))
    assert [row.receptive_field for row in layer_table(net, (1, 1, 28, 40))] == [3, None, None]


def test_a_linear_layer_along_the_width_sees_no_square():
    (row,) = layer_table(nn.Sequential(nn.Linear(28, 10)))
    assert (row.shape, row.formula, row.multiply_adds) == ((1, 1, 28, 10), "28 -> 10", 28 * 28 * 10)
    assert row.receptive_field is None


def test_a_normalisation_over_the_batch_and_an_identity_see_no_more():
    norms = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Identity(), nn.Flatten(), nn.BatchNorm1d(2 * 26 * 26)
    net = nn.Sequential(*norms, nn.Identity(), nn.Linear(2 * 26 * 26, 10))
    assert [row.receptive_field for row in layer_table(net)] == [3, 3, 3, 3, 3, 3, 28]


def test_a_layer_that_the_table_does_not_know_ends_the_fields():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(2), nn.Conv2d(2, 2, 2))
    table = layer_table(net)
    assert [row.receptive_field for row in table] == [3, None, None]
    assert str(table).splitlines()[-2].endswith("?")


class Branches(nn.Module):
    """Two convolutions of the same input, and one of both."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 3, padding=1)
        self.c = nn.Conv2d(8, 2, 3)

    def forward(self, X):
        return self.c(torch.cat([self.a(X), self.b(X)], dim=1))


def test_behind_a_branch_no_field_is_known():
    assert [row.receptive_field for row in layer_table(Branches())] == [3, None, None]


def test_parameters_that_calls_share_count_once():
    shared, tied = nn.Linear(784, 784), nn.Linear(784, 784)
    tied.weight = shared.weight
    net = nn.Sequential(nn.Flatten(), shared, shared, tied)
    table = layer_table(net)
    assert [row.parameters for row in table] == [0, 784 * 784 + 784, 0, 784]
    assert table.parameters == sum(p.numel() for p in net.parameters())
    assert table.multiply_adds == 3 * 784 * 784


def test_work_that_is_not_known_is_not_zero():
    table = layer_table(lenet5())
    known = {row.layer: row.multiply_adds for row in table}
    assert known["PartialConv2d"] is None and known["Linear"] == 120 * 84
    assert str(table).splitlines()[-1].split()[-3:] == ["at", "least", f"{table.multiply_adds:,}"]
    assert "at least" not in str(layer_table(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))))


class Scaled(nn.Module):
    """A layer inside, and a parameter beside it."""

    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(784, 10), nn.Parameter(torch.ones(10))

    def forward(self, X):
        return self.layer(X) * self.scale


def test_no_parameter_is_forgotten():
    net = nn.Sequential(nn.Flatten(), Scaled())
    net.spare = nn.Linear(2, 2)
    net.forward = lambda X: net[1](net[0](X))
    table = layer_table(net)
    assert table.parameters == sum(p.numel() for p in net.parameters())
    assert re.split("  +", str(table).splitlines()[-2].strip()) == ["elsewhere", "16", "?", "?"]


class Sum(nn.Module):
    """What two branches give, added; `first` is in front of them."""

    def __init__(self, first):
        super().__init__()
        self.first, self.a, self.b = first, nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, X):
        X = self.first(X)
        return self.a(X) + self.b(X)


@pytest.mark.parametrize("first", [nn.Identity(), nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3)])
def test_the_field_of_a_branch_is_not_that_behind_the_other_branch(first):
    sides = [row.receptive_field for row in layer_table(Sum(first))]
    one = 3 if isinstance(first, nn.Conv2d) else 1
    assert sides == [one, one + 2, None]


class Counting(nn.Module):
    """A layer that counts how many of all layers' inputs are still there when it runs."""

    def __init__(self, inputs, counts):
        super().__init__()
        self.inputs, self.counts = inputs, counts

    def forward(self, X):
        self.inputs.append(weakref.ref(X))
        self.counts.append(sum(earlier() is not None for earlier in self.inputs))
        return X + 1


def test_what_layers_have_used_up_is_freed():
    inputs, counts = [], []
    layer_table(nn.Sequential(*(Counting(inputs, counts) for _ in range(8))))
    assert len(counts) == 8 and max(counts) <= 2


def test_two_lazy_nets_get_weights_of_their_own():
    nets = [nn.Sequential(nn.Flatten(), nn.LazyLinear(3)) for _ in range(2)]
    for net in nets:
        print_layer_shapes(net)
    assert not torch.equal(*(net[1].weight for net in nets))


def test_without_a_batch_axis_a_convolution_has_the_same_work():
    net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU())
    assert layer_table(net, (1, 28, 28)).multiply_adds == layer_table(net, (1, 1, 28, 28)).multiply_adds == 86_400


def test_without_a_batch_axis_a_linear_layer_has_the_same_work():
    net = nn.Sequential(nn.Linear(784, 10))
    assert layer_table(net, (784,)).multiply_adds == layer_table(net, (1, 784)).multiply_adds == 7840


class ByName(nn.Module):
    """A layer inside that is called with its input's name."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, X):
        return self.layer(input=X)


@pytest.mark.parametrize(("net", "name"), [(nn.Sequential(nn.LSTM(2, 2)), "LSTM"), (ByName(), "Linear")])
@pytest.mark.parametrize("look", [layer_table, print_layer_shapes])
def test_layers_of_other_things_than_tensors_are_named(look, net, name):
    with pytest.raises(ValueError, match=f"take a tensor and give one, and {name} does not"):
        look(net, (3, 2))


@pytest.mark.parametrize("look", [layer_table, print_layer_shapes])
def test_a_tensor_stands_for_its_shape(look, capsys):
    looks = [(look(lenet(), given), capsys.readouterr().out) for given in (torch.rand(2, 28, 28), (2, 28, 28))]
    assert looks[0] == looks[1]


def test_a_layer_by_itself_has_a_line(capsys):
    print_layer_shapes(nn.Linear(784, 10), (1, 784))
    assert capsys.readouterr().out == "Linear output shape: torch.Size([1, 10])\n"


@pytest.mark.parametrize(("net", "shape", "message"), [
    (lenet(), (-1, 1, 28, 28), r"a shape without negative sizes, e.g. .*, got \(-1, 1, 28, 28\)"),
    (lenet, (1, 784), r"torch.nn.Module, got function: did you forget the brackets\?"),
    (lenet(), 784, "a shape, .* or a tensor of one, got 784"), (lenet(), (1, 28.0), r"got \(1, 28.0\)"),
])  # fmt: skip
@pytest.mark.parametrize("look", [layer_table, print_layer_shapes])
def test_what_has_no_layers_or_is_no_shape(look, net, shape, message):
    with pytest.raises(ValueError, match=message):
        look(net, shape)


class InLists(nn.Module):
    """Containers that nobody calls, in one another; one layer that is called twice, and one never."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(
            [nn.ModuleDict({"first": nn.Conv2d(1, 6, 5)}), nn.Sequential(nn.ReLU(), nn.Flatten())]
        )
        self.head = nn.Linear(3456, 10)
        self.twice, self.never = nn.Softmax(1), nn.Sequential(nn.Linear(3, 4))

    def forward(self, X):
        Z = self.parts[0]["first"](X)
        return self.twice(self.twice(self.head(self.parts[1][1](self.parts[1][0](Z)))))


def test_lists_of_layers_have_lines_for_their_layers(capsys):
    print_layer_shapes(InLists())
    lines = [line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["Conv2d", "ReLU", "Flatten", "Linear", "Softmax", "Softmax"]
    assert lines == [row.layer for row in layer_table(InLists())][: len(lines)]


class InTwoLists(nn.Module):
    def __init__(self):
        super().__init__()
        flat = nn.Flatten()
        self.some, self.others = nn.ModuleList([flat]), nn.ModuleList([flat, nn.Linear(784, 10)])

    def forward(self, X):
        return self.others[1](self.some[0](X))


def test_a_layer_in_two_lists_has_one_line(capsys):
    print_layer_shapes(InTwoLists())
    assert [line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()] == ["Flatten", "Linear"]


@pytest.mark.parametrize("look", [layer_table, print_layer_shapes])
def test_a_net_for_colours_asks_for_their_shape(look):
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.Flatten(), nn.Linear(4 * 28 * 28, 5))
    with pytest.raises(ValueError, match=r"input_shape .* e.g. \(1, 3, 32, 32\) .* got \(1, 1, 28, 28\): PyTorch says"):
        look(net)
    look(net, (1, 3, 32, 32))
    for later in (net, nn.Sequential(net)):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):  # of a later layer, in PyTorch's words
            look(later, (1, 3, 28, 28))
    with pytest.raises(NotImplementedError):  # nor is a missing forward about shapes
        look(nn.Sequential(nn.Module()))


def test_a_flatten_of_some_axes_has_no_formula():
    (row,) = layer_table(nn.Sequential(nn.Flatten(2)))
    assert (row.shape, row.formula) == ((1, 1, 784), "")


def test_the_table_as_text():
    lines = str(layer_table(lenet())).splitlines()
    assert len(lines) == 1 + 13 + 1
    assert re.split("  +", lines[2]) == [
        "Conv2d", "(1, 6, 28, 28)", "(28 + 2*2 - 5)//1 + 1 = 28", "156", "117,600", "5 x 5",
    ]  # fmt: skip
    assert lines[-1].split() == ["total", "61,706", "416,520"]
    assert repr(layer_table(lenet())) == "\n".join(lines)


def test_the_table_in_a_notebook():
    rows = layer_table(lenet())._repr_html_().split("<tr>")[1:]
    assert not re.search("<th[^>]*></th>", "".join(rows))  # an empty cell heads nothing
    assert len(rows) == 1 + 13 + 1
    cells = re.findall(r">([^<]*)</td>", rows[9])
    assert list(map(html.unescape, cells)) == ["Linear", "(1, 120)", "400 -> 120", "48,120", "48,000", "32 x 32"]
    assert re.findall(r"text-align: (\w+)", rows[9]) == ["left"] * 3 + ["right"] * 3
    assert ">61,706</th>" in rows[-1]


# What looking leaves behind: nothing


class Noisy(nn.Module):
    """Draws random numbers in evaluation mode as well, and fails when it is told to."""

    fails = False

    def forward(self, X):
        if self.fails:
            raise ZeroDivisionError
        return X + torch.rand_like(X)


def odd_net():
    """A net whose modules are in different modes, with running averages, dropout, and gradients."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), Noisy(), nn.Flatten(), nn.LazyLinear(2))
    net(torch.rand(2, 1, 28, 28)).sum().backward()
    net.train()
    net[1].eval()
    return net


def state(net):
    modes = [module.training for module in net.modules()]
    tensors = [t.clone() for t in (*net.state_dict().values(), *(p.grad for p in net.parameters()))]
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in net.modules()]
    return modes, hooks, tensors, torch.get_rng_state()


def assert_same(before, after):
    assert before[:2] == after[:2]
    assert all(map(torch.equal, before[2], after[2]))
    assert torch.equal(before[3], after[3])


@pytest.mark.parametrize("look", [print_layer_shapes, layer_table])
def test_looking_changes_nothing(look):
    net = odd_net()
    before = state(net)
    look(net)
    assert_same(before, state(net))


@pytest.mark.parametrize("look", [print_layer_shapes, layer_table])
def test_looking_changes_nothing_where_it_fails(look):
    net = odd_net()
    before = state(net)
    net[3].fails = True
    with pytest.raises(ZeroDivisionError):
        look(net)
    assert_same(before, state(net))


def test_looking_keeps_no_graph():
    net = lenet()
    layer_table(net)
    assert all(p.grad is None for p in net.parameters())


def test_evaluation_mode_gives_each_module_its_own_mode_back():
    net = odd_net()
    before = [module.training for module in net.modules()]
    with pytest.raises(KeyError), evaluation_mode(net):
        assert not any(module.training for module in net.modules())
        raise KeyError
    assert [module.training for module in net.modules()] == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_table_of_a_net_with_other_numbers_is_the_same(dtype):
    assert layer_table(lenet().to(dtype)) == layer_table(lenet())


def test_the_table_wakes_no_gpu_that_the_net_is_not_on(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("a GPU was asked"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    layer_table(lenet())


@pytest.mark.parametrize(("name", "kept"), [("cpu", []), ("cuda:1", [torch.device("cuda:1")])])
def test_random_states_are_kept_of_one_gpu_at_most(monkeypatch, name, kept):
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: devices)
    assert random_state_kept(torch.device(name)) == kept


def test_sizes_of_a_pooling_may_be_lists():
    assert [row.shape for row in layer_table(nn.Sequential(nn.AvgPool2d([2, 4])))] == [(1, 1, 14, 7)]


@pytest.mark.filterwarnings("ignore")  # PyTorch would rather export, and says so
def test_lenet_can_be_traced():
    """So older exporters take it."""
    net, X = lenet(), torch.rand(2, 1, 28, 28)
    assert torch.equal(torch.jit.trace(net, X[:1])(X), net(X))
