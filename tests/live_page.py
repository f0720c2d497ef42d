"""The live page as any browser shows it: networks to look into, and what has to be the same as in PyTorch.

A `page` is a page or a frame of Playwright's, or whatever else evaluates JavaScript as these do.
"""

import base64
import copy
import time

import numpy as np
import torch
from torch import nn

from lenet_utils import lenet
from lenet_utils.data import read_split

TOO_WIDE = """() => [...document.querySelectorAll("section *")].filter((element) =>
    element.getBoundingClientRect().right > element.closest("section").getBoundingClientRect().right + 1)
    .map((element) => element.outerHTML.slice(0, 120))"""


class TheNotesReshape(nn.Module):
    def forward(self, x):
        return x.view(-1, 1, 28, 28)


TheNotesReshape.__name__ = "Reshape"  # as a learner who copies the note names it


def notes_net():
    """The study note's network: no activation between its last two linear layers."""
    layers = [layer for i, layer in enumerate(lenet()) if i not in (0, 11)]
    return nn.Sequential(TheNotesReshape(), *layers)


def modern_net():
    """ReLU and max pooling, and the other layers that the page knows."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 5, 3, stride=(2, 1), padding=(1, 2), bias=False), nn.BatchNorm2d(5)),
        nn.MaxPool2d(3, stride=2, padding=1), nn.ReLU(),  # in this order, since below zero padding is not just zeros
        nn.Sequential(nn.Conv2d(5, 12, (3, 2), padding="valid"), nn.Tanh(), nn.Dropout(), nn.AvgPool2d(2, padding=1)),
        nn.Conv2d(12, 12, 3, padding="same"), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(12, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Identity(), nn.Linear(20, 10),
    )  # fmt: skip


NETS = {"the note's": notes_net, "the corrected one": lenet, "a modern one": modern_net}


def grown(make_net):
    """A net whose weights are large enough that its answers differ, and whose averages are not those of the start."""
    torch.manual_seed(1)
    net = make_net()
    gain = 6 if any(isinstance(layer, nn.Sigmoid) for layer in net) else 2  # sigmoids flatten
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=gain / layer.weight[0].numel() ** 0.5)
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.2, 3)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return net.eval()


def some_data():
    """The first test images, `(20, 1, 28, 28)`, and their labels."""
    images, labels = read_split("t10k")
    return images[:20].unsqueeze(1).float().div(255), labels[:20]


def torch_outputs(net, image):
    """What comes out of each innermost layer of `net`, as a list of flat arrays; the picture first."""
    outputs, X = [image.flatten().numpy()], image[None]
    with torch.inference_mode():
        for layer in [m for m in net.modules() if not any(m.children())]:
            X = layer(X)
            outputs.append(X.flatten().numpy())
    return outputs


def page_outputs(page):
    """The same from the page, for the picture that it shows."""
    packed = page.evaluate("""() => lenet.outputs.map((output) => {
        const bytes = new Uint8Array(new Float32Array(output).buffer);
        let text = "";
        for (const byte of bytes) text += String.fromCharCode(byte);
        return btoa(text);
    })""")
    return [np.frombuffer(base64.b64decode(text), "<f4") for text in packed]


def assert_same_outputs(page, net, image, rtol=0):
    # PyTorch's 64-bit result: its 32-bit one has rounding errors of its own, other ones in other versions.
    expected, got = torch_outputs(copy.deepcopy(net).double(), image.double()), page_outputs(page)
    assert len(expected) - len(got) in (0, 1)  # 1: a net that begins with Reshape, which is the page's picture
    expected = expected[len(expected) - len(got) :]
    for ours, theirs in zip(got, expected):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-4)


def until(page, condition, seconds=60):
    """Wait for a condition in the page; Playwright's own way evaluates text there, which the page's policy refuses."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.02)


def number(text):
    return float(text.replace("−", "-").strip().removeprefix("= "))
