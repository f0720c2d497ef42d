"""Typical wrong answers to the exercises of notebook 2, each with a piece of what the check says to it."""

LENET = """
import torch
from torch import nn
import lenet_utils as d2l
broken = d2l.lenet()
complains = False
"""

NET32 = """
net32 = nn.Sequential(
    nn.Conv2d(1, 6, kernel_size=5), nn.Sigmoid(),
    nn.AvgPool2d(kernel_size=2, stride=2),
    nn.Conv2d(6, 16, kernel_size=5), nn.Sigmoid(),
    nn.AvgPool2d(kernel_size=2, stride=2),
    nn.Flatten(),
    nn.Linear(16 * 5 * 5, 120), nn.Sigmoid(),
    nn.Linear(120, 84), nn.Sigmoid(),
    nn.Linear(84, 10))
"""

SHAPES = """
def shapes_after(shape, windows):
    shapes = []
    N, C, H, W = shape
    for channels, k, p, s in windows:
        if channels is not None:
            C = channels
        H = (H + 2 * p - k) // s + 1
        W = (W + 2 * p - k) // s + 1
        shapes.append((N, C, H, W))
    return shapes
"""

COUNT = """
def count_parameters(layers):
    total = 0
    for kind, *sizes in layers:
        if kind == "conv":
            below, maps, k = sizes
            total += maps * (below * k * k + 1)
        if kind == "linear":
            inputs, outputs = sizes
            total += outputs * (inputs + 1)
    return total
"""


AS_TENSORS = SHAPES.replace("H = (H", "H = (torch.as_tensor(H)").replace("\ndef", "import torch\n\ndef")


def but(code, *changes):
    """`code` with pieces replaced: (old, new), (old, new), ..."""
    for old, new in changes:
        assert old in code, old
        code = code.replace(old, new)
    return code


KEEPS = f"""{NET32}
class Keeps(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, X):
        self.scores = self.layers(X)
        return self.scores

net32 = Keeps(net32)
net32(torch.rand(1, 1, 32, 32))
"""


BORDER = f"""{NET32}
class Bordered(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, X):
        Y = torch.zeros_like(X)
        Y[..., 2:-2, 2:-2] = X[..., 2:-2, 2:-2]
        return self.layers(Y)

net32 = Bordered(net32)
"""


def net(*changes):
    return LENET + "\n".join(changes)


LAST_POOLING = "nn.AvgPool2d(kernel_size=2, stride=2),\n    nn.Flatten"
IF_CONVOLUTION = "        if channels is not None:\n            C = channels"

WRONG = {
    "2.1": [
        ("sides, more = (14, 5), 144 + 1024", "What else has every filter"),
        ("sides, more = (14, 5), 6 * 5 + 16 * 5", "read one map each"),
        ("sides, more = (14, 5), 180 + 1280", "bias for every map"),
        ("sides, more = (14, 5), 150", "one of the two"),
        ("sides, more = (14, 5), [150, 1040]", "The second answer should be a number"),
        ("sides, more = ((14, 14), (5, 5)), 1190", "Each side should be a number"),
        ("sides, more = (14, 5), 0", "nothing to learn"),
        ("sides, more = (14, 5), 61706 + 1190", "how many come in"),
        ("sides, more = (14, 5), 7322", "Count those of one filter"),
        ("sides, more = (27, 9), 1190", "sides are not right"),
        ("sides, more = 14, 1190", "a pair"),
    ],
    "2.2": [
        (net(), "still says"),
        (net("broken.append(nn.Linear(10, 12))"), "Change a number in a layer that is there"),
        (net("broken[-1] = nn.Linear(80, 12)"), "80x12"),
        (net("broken[-3], broken[-1] = nn.Linear(120, 90), nn.Linear(90, 12)"), "More than one number"),
        (net("broken[-1] = nn.Linear(84, 120)"), "(1, 12), and it gives (1, 120)"),
        (net("broken[-1] = nn.Linear(84, 12)", "complains = True"), "compute the loss"),
        (net("broken[-1] = nn.Linear(84, 12)", "complains = torch.tensor([False, True])"), "say True or False"),
        (net("broken = list(broken)"), "Expected a network"),
        (net("broken[-1].weight = nn.Parameter(torch.rand(12, 84)); broken[-1].bias = None"), "By their own words"),
        (net("broken[-1] = nn.Linear(84, 12, bias=False)"), "A bias is gone"),
        (net("broken[-1] = nn.RNN(84, 12)"), "one tensor, and yours returns a tuple"),
    ],
    "2.3": [
        (but(NET32, ("nn.Conv2d(1, 6", "d2l.Reshape(), nn.Conv2d(1, 6")), "28x28 only"),
        (but(NET32, ("nn.Conv2d(1, 6, kernel_size=5)", "nn.Conv2d(1, 6, kernel_size=5, padding=2)")), "padding in it"),
        (
            but(
                NET32,
                ("nn.Conv2d(1, 6, kernel_size=5)", "nn.Conv2d(1, 6, kernel_size=7)"),
                ("5 * 5, 120", "4 * 4, 120"),
            ),
            "reads 256",
        ),
        (but(NET32, (LAST_POOLING, "nn.AdaptiveAvgPool2d(5), nn.Flatten")), "forces"),
        (
            "net32 = d2l.lenet()[1:]\nnet32[0].padding = (0, 0)\n"
            "net32.register_forward_pre_hook(lambda _, given: nn.functional.pad(given[0], (0,) * 4))",
            "brings the maps to another size",
        ),
        (but(NET32, ("    nn.Flatten(),\n", "")), "multiplied"),
        (but(NET32, ("nn.Linear(84, 10)", "nn.Linear(84, 12)")), "it should give"),
        (BORDER, "a black border"),
        ("net32 = 400", "Expected a network"),
        (KEEPS, "a tensor of an earlier run"),
    ],
    "2.4": [
        (but(SHAPES, ("// s + 1", "// s")), "stops in"),
        (but(SHAPES, ("append((N, C, H, W))", "append((N + 1, C, H, W))")), "how many pictures there are"),
        (but(SHAPES, ("2 * p", "p")), "On how many sides"),
        (but(SHAPES, ("2 * p", "0")), "padding makes no difference"),
        (but(SHAPES, ("// s + 1", "+ 1")), "stride makes no difference"),
        (but(SHAPES, ("(H + 2 * p - k) // s", "-(-(H + 2 * p - k) // s)")), "over the edge"),
        (but(SHAPES, ("//", "/")), "whole number of rows"),
        (but(SHAPES, ("W = (W + 2 * p - k) // s", "W = (W + 2 * p - k) / s")), "whole number of columns"),
        (but(SHAPES, ("append((N, C, H, W))", "append(H)")), "for each window, and got"),
        (
            but(
                SHAPES,
                ("shape\n", "shape = list(shape)\n"),
                ("append((N, C, H, W))", "append(shape); shape[:] = N, C, H, W"),
            ),
            "the same object",
        ),
        (but(SHAPES, (IF_CONVOLUTION, "        C = channels")), "behind a pooling"),
        (but(SHAPES, ("            C = channels", "            pass")), "behind a convolution"),
        (but(SHAPES, ("        W = (W + 2 * p - k) // s + 1", "        W = H")), "Is every map a square"),
        (but(SHAPES, ("windows:\n", "windows:\n        N, C, H, W = shape\n")), "looks at the picture again"),
        (but(SHAPES, ("shapes.append((N, C, H, W))", "shapes.append((C, H, W))")), "four numbers"),
        (but(SHAPES, ("    return shapes", "    return shapes[-1]")), "one shape for each window"),
        (but(SHAPES, ("    return shapes", "")), "returns nothing"),
    ],
    "2.5": [
        (but(COUNT, ("(inputs + 1)", "inputs")), "something is added"),
        (but(COUNT, ("outputs * (inputs + 1)", "outputs * inputs + 1")), "One is too few"),
        (but(COUNT, ("outputs * (inputs + 1)", "inputs * (outputs + 1)")), "not for each input"),
        (but(COUNT, ("(below * k * k + 1)", "(below * k + 1)")), "as high as it is wide"),
        (but(COUNT, ("(below * k * k + 1)", "(k * k + 1)")), "all* the maps"),
        (but(COUNT, ("(below * k * k + 1)", "below * (k * k + 1)")), "one bias, not one for each"),
        (
            but(COUNT, ("    return total", "    return total + sum(kind == 'pool' for kind, *_ in layers)")),
            "pooling learn",
        ),
        (but(COUNT, ('        if kind == "conv"', '        total = 0\n        if kind == "conv"')), "last one's"),
        (but(COUNT, ("    return total", "    return [total]")), "and not a list"),
    ],
}

BY_HAND = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.first, self.second = nn.AvgPool2d(2), nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.dense = nn.Sequential(nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Linear(84, 10))

    def forward(self, X):
        for layer in (self.first, self.second):
            X = self.pool(layer(X).sigmoid())
        return self.dense(X.flatten(1))


net32 = Net()
"""

OWN_RESHAPE = f"""{NET32}
class Reshape32(d2l.Reshape):
    def forward(self, X):
        return X.reshape(-1, 1, 32, 32)

net32.insert(0, Reshape32())
"""

RIGHT = {
    "2.3": [BY_HAND, OWN_RESHAPE],
    "2.1": ["sides, more = [14, 5], 1190.0", "sides, more = torch.tensor([14, 5]), torch.tensor([1190])"],
    "2.2": [
        net("broken[-1] = nn.Linear(84, 12)", "broken.double()"),
        net("broken[3] = broken[6] = nn.AvgPool2d((2, 2), (2, 2))", "broken[-1] = nn.Linear(84, 12)"),
        net("broken[2] = broken[5] = broken[9] = broken[11] = nn.Sigmoid()", "broken[-1] = nn.Linear(84, 12)"),
    ],
    "2.4": [AS_TENSORS],
    "2.5": [but(COUNT, ("    return total", "    return torch.tensor(total)"))],
}
