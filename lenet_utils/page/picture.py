"""What stands in for the live page where no scripts run: the same network on one image, as a picture."""

import math
import warnings

import numpy as np
import torch

from .document import words

BELOW, MIDDLE, ABOVE = "#c25400", "#f4f2ee", "#1b58b0"  # orange to blue, as in page.css

LETTERS, BARS = 20, 15  # of a name, and of classes, for which there is room


def draw_still(net, image, packed):
    """A matplotlib figure of all layers for `image` `(1, 1, 28, 28)`, and its description in words.

    Both are in English: matplotlib's own font has no Chinese letters. Names that it cannot write are numbers there.
    """
    from matplotlib.figure import Figure

    outputs = all_outputs(net, image, packed["layers"])
    names = packed["names"] or words()["en"]["classes"].split("|")
    shares = torch.softmax(torch.from_numpy(outputs[-1]), 0).numpy()
    label = packed["labels"][0]
    description = describe(headline(names, shares, label), packed["layers"])
    if not all(map(can_be_drawn, names)):
        names = [f"class {i}" for i in range(len(names))]
    names = [name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…" for name in names]
    title = headline(names, shares, label)
    figure = Figure(figsize=(13, 3.2), layout="constrained")
    figure.suptitle(title, fontsize=13, parse_math=False)
    shown = [i for i, layer in enumerate(packed["layers"]) if layer["kind"] not in ("identity", "flatten")]
    widths = [1.3 if i == 0 else 1 if len(packed["layers"][i]["shape"]) == 3 else 0.6 for i in shown[:-1]]
    panels = figure.subplots(1, len(shown), width_ratios=[*widths, 1.8])
    for axes, i in zip(panels, shown[:-1]):
        draw_layer(axes, packed["layers"], i, outputs[i])
    draw_bars(panels[-1], names, shares)
    return figure, description


def can_be_drawn(text):
    """Whether matplotlib's font has all letters of `text`; where not, it would draw boxes, and warn of each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    written, renderer = figure.text(0, 0, text, parse_math=False), FigureCanvasAgg(figure).get_renderer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            written.get_window_extent(renderer)
        except UserWarning:
            return False
    return True


def all_outputs(net, image, layers):
    """What comes out of each described layer, as float32 arrays; the first one is the picture."""
    from ..model import evaluation_mode
    from .read_net import leaves

    X = image.to(next(net.parameters(), image).device)
    outputs = [X] if layers[0]["path"] == "" else []
    with evaluation_mode(net), torch.no_grad():
        for _, layer in leaves(net):
            X = layer.forward(X.clone())  # ReLU(inplace=True) would write over what is kept
            outputs.append(X)
    return [X[0].cpu().float().numpy() for X in outputs]


def headline(names, shares, label):
    best = int(shares.argmax())
    verdict = "as its label says" if best == label else f"its label says {names[label]}"
    return f"The network's answer to picture 0: {names[best]}, {shares[best]:.1%}; {verdict}"


def describe(title, layers):
    maps = [f"{words()['en']['kind.' + layer['kind']].lower()} {' x '.join(map(str, layer['shape']))}"
            for layer in layers if layer["kind"] != "identity"]  # fmt: skip
    bars = "a bar for each class" if layers[-1]["shape"][0] <= BARS else f"bars for the {BARS} likeliest classes"
    return f"{title}. The values of all layers for it, from left to right: {', '.join(maps)}; {bars}."


def draw_layer(axes, layers, i, values):
    layer = layers[i]
    axes.set_title(f"{words()['en']['kind.' + layer['kind']]}\n{' x '.join(map(str, layer['shape']))}", fontsize=8)
    axes.axis("off")
    axes.set_anchor("N")
    if layer["kind"] == "input":
        axes.imshow(values[0], cmap="gray", vmin=0, vmax=1)
        return
    centre = 0.5 if follows_sigmoid(layers, i) else 0
    reach = float(np.abs(values - centre).max()) or 1
    axes.imshow(mosaic(values), cmap=colours(), vmin=centre - reach, vmax=centre + reach)


def follows_sigmoid(layers, i):
    while layers[i]["kind"] in ("avgpool", "maxpool", "flatten", "identity"):
        i -= 1
    return layers[i]["kind"] == "sigmoid"


def colours():
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("orange to blue", [BELOW, MIDDLE, ABOVE])
    return scale.with_extremes(bad="white")  # the gaps between maps


def mosaic(values):
    """Maps side by side with a gap of one cell between them; what has no maps of several cells folded into a block."""
    if values.size == len(values):
        width = max(w for w in range(1, math.isqrt(len(values)) + 1) if len(values) % w == 0)
        return values.reshape(-1, width)
    maps, rows, columns = values.shape
    across = 1 if maps <= 3 else 2 if maps <= 8 else math.ceil(maps**0.5)
    whole = np.full((math.ceil(maps / across) * (rows + 1) - 1, across * (columns + 1) - 1), np.nan)
    for i, one in enumerate(values):
        top, left = i // across * (rows + 1), i % across * (columns + 1)
        whole[top : top + rows, left : left + columns] = one
    return whole


def draw_bars(axes, names, shares):
    """A bar for each class, or for the likeliest ones, in their order."""
    shown = np.sort(np.argsort(-shares, kind="stable")[:BARS])
    axes.barh(range(len(shown)), shares[shown], color=[ABOVE if i == shares.argmax() else "#9aa0a6" for i in shown])
    axes.set_yticks(range(len(shown)), [names[i] for i in shown], fontsize=8, parse_math=False)
    axes.set(xlim=(0, 1), xlabel="probability")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
