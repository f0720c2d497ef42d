"""Typical wrong answers to the exercises of notebook 2, each with a piece of what the check says to it."""

from answers import but

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


SETUP = """
import torch
from torch import nn

def output_size(n, k, p=0, s=1):
    return (n + 2 * p - k) // s + 1
"""

CONVOLVE = """
def convolve(X, weight, bias, padding=0, stride=1):
    N, C, H, W = X.shape
    F, C, k, k = weight.shape
    rows = (H + 2 * padding - k) // stride + 1
    columns = (W + 2 * padding - k) // stride + 1
    X = nn.functional.pad(X, (padding, padding, padding, padding))
    out = torch.zeros(N, F, rows, columns)
    for n in range(N):
        for f in range(F):
            for i in range(rows):
                for j in range(columns):
                    y, x = i * stride, j * stride
                    piece = X[n, :, y:y + k, x:x + k]
                    out[n, f, i, j] = (piece * weight[f]).sum() + bias[f]
    return out
"""


AS_TENSORS = SHAPES.replace("H = (H", "H = (torch.as_tensor(H)").replace("\ndef", "import torch\n\ndef")

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


APART = """
def convolve(X, weight, bias, padding=0, stride=1):
    N, C, H, W = X.shape
    k = weight.shape[-1]
    out = torch.zeros(N, C, H - k + 1, W - k + 1)
    for i in range(H - k + 1):
        for j in range(W - k + 1):
            out[:, :, i, j] = (X[:, :, i:i + k, j:j + k] * weight[0]).sum(dim=(2, 3)) + bias
    return out
"""

PADDED_RESULT = CONVOLVE.replace("X = nn.functional.pad", "pad = lambda Y: nn.functional.pad")
PADDED_RESULT = PADDED_RESULT.replace("pad(X, (p", "pad(Y, (p").replace("return out", "return pad(out)")
PADDED_RESULT = PADDED_RESULT.replace("+ 2 * padding", "")

LIBRARY = """
def convolve(X, weight, bias, padding=0, stride=1):
    return nn.functional.conv2d(X, weight, bias, padding=padding, stride=stride)
"""

LAYER = """
def convolve(X, weight, bias, padding=0, stride=1):
    layer = nn.Conv2d(weight.shape[1], len(weight), weight.shape[2:], stride, padding)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer(X)
"""

LAST_POOLING = "nn.AvgPool2d(kernel_size=2, stride=2),\n    nn.Flatten"
IF_CONVOLUTION = "        if channels is not None:\n            C = channels"

WRONG = {
    "2.1": [
        ("sides, more = (14, 5), 144 + 1024", "What else has every filter"),
        ("sides, more = (14, 5), 6 * 5 + 16 * 5", "read one map each"),
        ("sides, more = (14, 5), 180 + 1280", "bias for every map"),
        ("sides, more = (14, 5), 150", "one of the two"),
        ("sides, more = (14, 5), 1040", "one of the two"),
        ("sides, more = (14, 5), [150, 1040]", "The second answer should be a number"),
        ("sides, more = ((14, 14), (5, 5)), 1190", "Each side should be a number"),
        ("sides, more = (14, 5), 0", "nothing to learn"),
        ("sides, more = (14, 5), 61706 + 1190", "how many come in"),
        ("sides, more = (14, 5), 7322", "Count those of one filter"),
        ("sides, more = (27, 9), 1190", "sides are not right"),
        ("sides, more = 14, 1190", "a pair"),
        ("sides, more = {14, 5}, 1190", "a pair"),  # has no order
        ("sides, more = '14, 5', 1190", "a pair"),
    ],
    "2.2": [
        (net(), "still says"),
        (net("broken.append(nn.Linear(10, 12))"), "Change a number in a layer that is there"),
        (net("broken[-1] = nn.Linear(80, 12)"), "80x12"),
        (net("broken[-3], broken[-1] = nn.Linear(120, 90), nn.Linear(90, 12)"), "More than one number"),
        (net("broken[-1] = nn.Linear(84, 120)"), "(1, 12), and it gives (1, 120)"),
        (net("broken[-1] = nn.Linear(84, 12)", "complains = True"), "compute the loss"),
        (net("broken[-1] = nn.Linear(84, 12)", "complains = torch.tensor([False, True])"), "say True or False."),
        (net("broken = list(broken)"), "Expected a network"),
        (net("broken[-1] = nn.Linear(84, 12)", "complains = 'False'"), "without quotation marks"),
        (net("broken[-1].weight = nn.Parameter(torch.rand(12, 84)); broken[-1].bias = None"), "By their own words"),
        (net("broken[-1] = nn.Linear(84, 12, bias=False)"), "A bias is gone"),
        (net("broken[-1] = nn.RNN(84, 12)"), "one tensor, and yours returns a tuple"),
    ],
    "2.3": [
        (NET32 + "net32 = nn.Sequential(*net32[:-5], nn.Linear(400, 10))\n", "Three linear layers"),
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
        (but(NET32, ("nn.Conv2d(1, 6", "nn.ZeroPad2d(2), nn.Conv2d(1, 6")), "padding in it"),
        (but(NET32, (LAST_POOLING, "nn.AdaptiveAvgPool2d(5), nn.Flatten")), "forces"),
        (but(NET32, (LAST_POOLING, "nn.Upsample(5), nn.Flatten")), "forces"),
        (NET32 + "net32 = net32[:7]", "reads nothing"),
        ("net32 = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))", "reads 1024"),
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
        (but(SHAPES, ("(H + 2 * p - k) // s", "round((H + 2 * p - k) / s)")), "over the edge"),
        (but(SHAPES, ("append((N, C, H, W))", "append((N, C, float(H), W))")), "whole number of rows"),
        (but(SHAPES, ("append((N, C, H, W))", "append((N, C, str(H), W))")), "whole number of rows"),
        (but(SHAPES, (IF_CONVOLUTION, f"{IF_CONVOLUTION}\n        else:\n            p = 0")), "padding of a pooling"),
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
        (but(SHAPES, ("    return shapes", "    return H")), "one shape for each window"),
        (but(SHAPES, ("    return shapes", "")), "returns nothing"),
    ],
    "2.5": [
        (but(COUNT, ("(inputs + 1)", "inputs")), "something is added"),
        (but(COUNT, ("(below * k * k + 1)", "below * k * k")), "something is added"),
        (but(COUNT, ("outputs * (inputs + 1)", "outputs * inputs + 1")), "One is too few"),
        (but(COUNT, ("maps * (below * k * k + 1)", "maps * below * k * k + 1")), "One is too few"),
        (but(COUNT, ("outputs * (inputs + 1)", "inputs * (outputs + 1)")), "not for each input"),
        (but(COUNT, ("(below * k * k + 1)", "(below * k + 1)")), "as high as it is wide"),
        (but(COUNT, ("(below * k * k + 1)", "(k * k + 1)")), "all* the maps"),
        (but(COUNT, ("(below * k * k + 1)", "below * (k * k + 1)")), "one bias, not one for each"),
        (
            but(COUNT, ("    return total", "    return total + sum(kind == 'pool' for kind, *_ in layers)")),
            "pooling learn",
        ),
        *(
            (
                but(
                    COUNT,
                    (
                        "    return total",
                        f"    return total + sum({count} for kind, k, *_ in layers if kind == 'pool')",
                    ),
                ),
                "pooling learn",
            )
            for count in ("k * k", "k * k + 1")
        ),
        (but(COUNT, ('        if kind == "conv"', '        total = 0\n        if kind == "conv"')), "last one's"),
        (but(COUNT, ("    return total", "    return [total]")), "and not a list"),
    ],
    "2.6": [
        (but(CONVOLVE, ("weight[f])", "weight[f].flip(1, 2))")), "by half a circle"),
        (but(CONVOLVE, ("weight[f])", "weight[f].mT)")), "lie on the columns"),
        (but(CONVOLVE, (").sum()", ").mean()")), "takes their mean"),
        (but(CONVOLVE, ("stride + 1", "stride")), "A place is missing"),
        (but(CONVOLVE, (" + bias[f]", "")), "The bias makes no difference"),
        (but(CONVOLVE, (" + bias[f]", " - bias[f]")), "takes it away"),
        (but(CONVOLVE, (").sum() + bias[f]", " + bias[f]).sum()")), "not to every product"),
        (but(CONVOLVE, ("(piece * weight[f])", "(piece[0] * weight[f, 0])")), "only the first of the maps"),
        (but(CONVOLVE, ("weight[f])", "weight[f, 0])")), "takes the same for all"),
        (but(CONVOLVE, (" + bias[f]", " + C * bias[f]")), "once for each map below"),
        (but(CONVOLVE, (").sum()", ").sum() / C")), "yours takes the mean"),
        (APART, "keeps the maps below apart"),
        (but(CONVOLVE, ("weight[f])", "weight[0])"), ("bias[f]", "bias[0]")), "made by the first filter"),
        (but(CONVOLVE, ("bias[f]", "bias[0]")), "have the bias of the first filter"),
        (but(CONVOLVE, ("return out", "return out[:, :1]")), "Four filters make four maps"),
        (but(CONVOLVE, ("return out", "return out.sum(dim=1, keepdim=True)")), "Four filters make four maps"),
        (but(CONVOLVE, ("return out", "return out if F == 1 else out[:, 0]")), "Four filters make four maps"),
        (but(CONVOLVE, ("return out", "return out[:1]")), "Of a batch of three"),
        (but(CONVOLVE, ("return out", "return out if N == 1 else out[0]")), "Of a batch of three"),
        (but(CONVOLVE, ("X[n, :", "X[N - 1 - n, :")), "but not the numbers"),
        (but(CONVOLVE, ("X[n, :", "X[0, :")), "others are not looked at"),
        (but(CONVOLVE, ("in range(N)", "in range(1)")), "others are not looked at"),
        (but(CONVOLVE, ("    N, C, H", "    padding = 0\n    N, C, H")), "The padding makes no difference"),
        (
            but(CONVOLVE, ("2 * padding", "padding"), ("(padding, padding, padding, padding)", "(padding, 0) * 2")),
            "yours leaves some out",
        ),
        (
            but(
                CONVOLVE,
                ("(W + 2 * padding", "(W"),
                ("(padding, padding, padding, padding)", "(0, 0, padding, padding)"),
            ),
            "yours leaves some out",
        ),
        (but(CONVOLVE, ("(padding, padding, padding, padding)", "(2 * padding, 0) * 2")), "to one end"),
        (but(CONVOLVE, ("(padding, padding, padding, padding)", "(0, 2 * padding) * 2")), "to one end"),
        (but(CONVOLVE, ("(padding, padding, padding, padding)", "(padding, padding, 0, 2 * padding)")), "to one end"),
        (
            but(CONVOLVE, ("padding, padding)", "padding, padding), mode='replicate'")),
            "repeats the pixels",
        ),
        (PADDED_RESULT, "The result gets the border"),
        (but(CONVOLVE, ("    N, C, H", "    stride = 1\n    N, C, H")), "The stride makes no difference"),
        (
            but(
                CONVOLVE,
                (
                    "padding - k) // stride",
                    "padding - k) // 1",
                ),
                ("y, x = i * stride, j * stride", "y, x = i, j"),
            ),
            "The stride makes no difference",
        ),
        (
            but(CONVOLVE, ("j * stride", "j"), ("(W + 2 * padding - k) // stride", "W + 2 * padding - k")),
            "one axis only",
        ),
        (but(CONVOLVE, ("y, x = i * stride, j * stride", "y, x = i, j")), "still goes on by one pixel"),
        (
            but(
                CONVOLVE,
                ("padding - k) // stride", "padding - k + stride - 1) // stride"),
                ("(padding, padding, padding, padding)", "(padding, padding + stride) * 2"),
            ),
            "over the edge",
        ),
        (LIBRARY, "PyTorch's convolution"),
        (but(LIBRARY, ("nn.functional.conv2d", "torch.conv2d")), "PyTorch's convolution"),
        (LAYER, "PyTorch's convolution"),
        (but(LIBRARY, ("def conv", "@torch.inference_mode()\ndef conv")), "PyTorch's convolution"),
        (but(CONVOLVE, ("return out", "return out.tolist()")), "something of the type"),
        (but(CONVOLVE, ("return out", "weight.zero_()\n    return out")), "It changes the pictures, filters or biases"),
        (
            but(CONVOLVE, ("C, k, k = weight.shape", "C, *_ = weight.shape\n    k = len(weight)")),
            "one pixel wide. Which axis",
        ),
        (but(CONVOLVE, ("return out", "return out.mT")), "Rows and columns of the result"),
        (but(CONVOLVE, ("(piece * weight[f])", "(piece @ weight[f])")), "multiplies rows by columns"),
        (but(CONVOLVE, ("(piece * weight[f])", "(piece[-1] * weight[f, -1])")), "each overwrites the one before"),
        (
            but(CONVOLVE, ("return out", "return out.expand(N, C, -1, -1) if F == 1 else out")),
            "as many maps as there are below",
        ),
        (but(CONVOLVE, ("weight[f])", "weight.sum(0))")), "adds up over the filters"),
        (but(CONVOLVE, ("return out", "return out.transpose(0, 1)")), "The first axis is for the pictures"),
        (but(CONVOLVE, ("X[n, :", "X.sum(0)[:")), "adds up over the pictures"),
        (but(CONVOLVE, ("    N, C, H", "    padding = min(padding, 1)\n    N, C, H")), "whatever the padding is"),
        (but(CONVOLVE, ("(H + 2 * padding", "(H"), ("(W + 2 * padding", "(W")), "Count the places with the padding"),
        (but(CONVOLVE, ("    N, C, H", "    stride = min(stride, 2)\n    N, C, H")), "and there should be"),
        (but(CONVOLVE, ("return out", "return out[0, 0]")), "Yours has 2"),
        (but(CONVOLVE, ("return out", "return nn.functional.pad(out, (0, 1))")), "and there should be"),
        (but(CONVOLVE, ("return out", "return out.sigmoid()")), "but not the numbers"),
        (but(CONVOLVE, ("    return out", "")), "returns nothing"),
        (but(CONVOLVE, ("padding=0, stride=1", "padding, stride")), "missing 2 required"),
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

UNFOLD = """
def convolve(X, weight, bias, padding=0, stride=1):
    k = weight.shape[-1]
    columns = nn.functional.unfold(X, k, padding=padding, stride=stride)  # (N, C * k * k, places)
    sides = [(side + 2 * padding - k) // stride + 1 for side in X.shape[2:]]
    return (weight.flatten(1) @ columns + bias.view(-1, 1)).view(len(X), len(weight), *sides)
"""

EINSUM = """
def convolve(X, weight, bias, padding=0, stride=1):
    k = weight.shape[-1]
    windows = nn.ZeroPad2d(padding)(X).unfold(2, k, stride).unfold(3, k, stride)
    return torch.einsum("nchwij,fcij->nfhw", windows, weight) + bias[:, None, None]
"""

AS_STRIDED = """
def convolve(X, weight, bias, padding=0, stride=1):
    (N, C, H, W), k, p = X.shape, weight.shape[-1], padding
    padded = X.new_zeros(N, C, H + 2 * p, W + 2 * p, dtype=torch.double)
    padded[:, :, p:p + H, p:p + W] = X
    n, c, h, w = padded.stride()
    sides = [(side + 2 * p - k) // stride + 1 for side in (H, W)]
    windows = padded.as_strided((N, C, *sides, k, k), (n, c, h * stride, w * stride, h, w))
    return torch.tensordot(windows, weight.double(), ([1, 4, 5], [1, 2, 3])).permute(0, 3, 1, 2) + bias.view(-1, 1, 1)
"""

WEIGHT_BY_WEIGHT = """
def convolve(X, weight, bias, padding=0, stride=1):
    X, k, out = nn.functional.pad(X, (padding,) * 4), weight.shape[-1], 0
    rows, columns = (side - k + 1 for side in X.shape[2:])
    for i in range(k):
        for j in range(k):
            shifted = X[:, :, i:i + rows:stride, j:j + columns:stride]
            out = out + (shifted[:, None] * weight[:, :, i, j, None, None]).sum(dim=2)
    return out + nn.Parameter(bias)[:, None, None]
"""

NUMBER_BY_NUMBER = """
def convolve(X, weight, bias, padding=0, stride=1):
    (N, C, H, W), (F, _, k, _), p, s = X.shape, weight.shape, padding, stride
    def pixel(n, c, i, j):
        return float(X[n, c, i, j]) if 0 <= i < H and 0 <= j < W else 0.0
    return torch.tensor([[[[float(bias[f]) + sum(
        pixel(n, c, i * s - p + a, j * s - p + b) * float(weight[f, c, a, b])
        for c in range(C) for a in range(k) for b in range(k))
        for j in range(output_size(W, k, p, s))] for i in range(output_size(H, k, p, s))]
        for f in range(F)] for n in range(N)])
"""

FOURIER = """
def convolve(X, weight, bias, padding=0, stride=1):
    X, k = nn.functional.pad(X, (padding,) * 4), weight.shape[-1]
    H, W = X.shape[2:]
    product = torch.fft.rfft2(X)[:, None] * torch.fft.rfft2(weight, s=(H, W)).conj()
    maps = torch.fft.irfft2(product, s=(H, W)).sum(dim=2)[..., :H - k + 1, :W - k + 1]
    return maps[..., ::stride, ::stride] + bias[:, None, None]
"""

RIGHT = {
    "2.6": [CONVOLVE, UNFOLD, EINSUM, AS_STRIDED, WEIGHT_BY_WEIGHT, NUMBER_BY_NUMBER, FOURIER],
    "2.3": [BY_HAND, OWN_RESHAPE, but(NET32, ("kernel_size=5", "5, padding='valid'"))],
    "2.1": ["sides, more = [14, 5], 1190.0", "sides, more = torch.tensor([14, 5]), torch.tensor([1190])"],
    "2.2": [
        net("broken[-1] = nn.Linear(84, 12)", "broken.double()"),
        net("broken[-1] = nn.Linear(84, 12)", "broken[1] = nn.Conv2d(1, 6, 5, padding='same')"),
        net("broken[3] = broken[6] = nn.AvgPool2d((2, 2), (2, 2))", "broken[-1] = nn.Linear(84, 12)"),
        net("broken[2] = broken[5] = broken[9] = broken[11] = nn.Sigmoid()", "broken[-1] = nn.Linear(84, 12)"),
    ],
    "2.4": [AS_TENSORS, but(SHAPES, ("append((N, C, H, W))", "append([N, C, H, W])"))],
    "2.5": [but(COUNT, ("    return total", "    return torch.tensor(total)"))],
}
