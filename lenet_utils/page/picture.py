"""What stands in for the live page where no scripts run: the same network on one image, as a picture."""

import math
import warnings

import numpy as np
import torch

from .document import words

BELOW, MIDDLE, ABOVE = "#c25400", "#f4f2ee", "#1b58b0"  # orange to blue, as in page.css

LETTERS, BARS = 20, 15  # of a name, and of classes, for which there is room

WIDTH, GAP, LINE = 8.5, 0.14, 0.155  # inches: of all, between panels, of a line; a page shows it hardly smaller
MAPS, HIGH, SHARES = 1.09, 1.65, 2.6  # inches: a panel of maps is as wide, none is higher, the bars are no narrower
SMALL = 8.5  # points, of all letters but the headline's


def draw_still(net, image, packed):
    """A matplotlib figure of all layers for `image` `(1, 1, 28, 28)`, and its description in words.

    Both are in English: matplotlib's own font has no Chinese letters. Names that it cannot write are numbers there.
    """
    from matplotlib.figure import Figure

    layers, outputs = packed["layers"], all_outputs(net, image, packed["layers"])
    names = packed["names"] or words()["en"]["classes"].split("|")
    shares = torch.softmax(torch.from_numpy(outputs[-1]), 0).numpy()
    label = packed["labels"][0]
    description = describe(headline(names, shares, label), layers)
    if not all(map(can_be_drawn, names)):
        names = [f"class {i}" for i in range(len(names))]
    names = [name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…" for name in names]
    places, height = arrange(layers, outputs)
    figure = Figure(figsize=(WIDTH, height))
    figure.text(0, 1, headline(names, shares, label), fontsize=11, va="top", parse_math=False)
    figure.text(0, 1 - 1.5 * LINE / height, words()["en"]["network.colours"], fontsize=SMALL, va="top")
    for i, (x, y, wide, high) in places.items():
        axes = figure.add_axes((x / WIDTH, 1 - (y + high) / height, wide / WIDTH, high / height))
        note = f"; {words()['en']['bars.softmax']}" if i == len(layers) - 1 else ""
        axes.set_title("\n".join(name_and_shape(layers[i])) + note, fontsize=SMALL, loc="left", pad=4)
        if not note:
            draw_layer(axes, layers, i, outputs[i])
    draw_bars(axes, names, shares)
    return figure, description


def shown(layers):
    """The numbers of the layers that are drawn: those that do more than let pass, and the last one, as bars."""
    last = len(layers) - 1
    return [i for i in range(last) if layers[i]["kind"] not in ("identity", "flatten")] + [last]


def arrange(layers, outputs):
    """Where each layer is drawn, `{i: (x, y, width, height)}` in inches from the top left, and the height of it all.

    Behind maps, what has none begins a new row, unless a single one has room for everything.
    """
    sizes = {i: panel_size(layers[i], outputs[i]) for i in shown(layers)[:-1]}
    sizes[len(layers) - 1] = SHARES, max(3, min(BARS, len(outputs[-1]))) * LINE
    maps = [i for i in sizes if len(layers[i]["shape"]) == 3]
    fits = len(maps) == 1 or sum(wide + GAP for wide, _ in sizes.values()) <= WIDTH + GAP
    new_row = None if fits else next(i for i in sizes if i > maps[-1])
    rows, x = [[]], 0
    for i, (wide, _) in sizes.items():
        if i == new_row or x + wide > WIDTH:
            rows, x = [*rows, []], 0
        rows[-1].append((i, x))
        x += wide + GAP
    places, y = {}, 5.2 * LINE
    for row in rows:
        places |= {i: (x, y, *sizes[i]) for i, x in row}
        y += max(sizes[i][1] for i, _ in row) + 3.3 * LINE
    left, top, _, high = places[len(layers) - 1]  # the bars take what is left of their row
    places[len(layers) - 1] = left, top, min(WIDTH - left, 2 * SHARES), high
    return places, max(y - 3.3 * LINE, top + high + 3 * LINE)  # below them stands their axis


def panel_size(layer, values):
    rows, columns = mosaic(values).shape
    if len(layer["shape"]) == 3:
        return MAPS, min(HIGH, MAPS * rows / columns)
    return min(HIGH, max(0.8, HIGH * columns / rows)), HIGH


def name_and_shape(layer):
    name = layer["name"] if layer["kind"] == "identity" else words()["en"][f"kind.{layer['kind']}"]
    return name, " x ".join(map(str, layer["shape"]))


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
    listed = [" ".join(name_and_shape(layers[i])).lower() for i in shown(layers)]
    bars = "a bar for each class" if layers[-1]["shape"][0] <= BARS else f"bars for the {BARS} likeliest classes"
    return f"{title}. The values of all layers for it, row by row, blue high, orange low: {', '.join(listed)}; {bars}."


def draw_layer(axes, layers, i, values):
    axes.axis("off")
    axes.set_anchor("NW")
    if layers[i]["kind"] == "input":
        axes.imshow(values[0], cmap="gray", vmin=0, vmax=1)
        return
    axes.imshow(mosaic(strengths(values, 0.5 if follows_sigmoid(layers, i) else 0)), cmap=colours(), vmin=-1, vmax=1)


def strengths(values, centre):
    """Colours from -1 to 1, as the page's `scaleOf` has them: around 0 they grow with a number's root."""
    away = (values - centre) / (np.abs(values - centre).max() or 1)
    return away if centre else np.sign(away) * np.sqrt(np.abs(away))


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
        return folded(values.flatten())
    maps, rows, columns = values.shape
    across = math.ceil(maps**0.5)
    whole = np.full((math.ceil(maps / across) * (rows + 1) - 1, across * (columns + 1) - 1), np.nan)
    for i, one in enumerate(values):
        top, left = i // across * (rows + 1), i % across * (columns + 1)
        whole[top : top + rows, left : left + columns] = one
    return whole


def folded(values):
    """A row of units as a block about as wide as high, as the page has it: of full rows where a divisor allows it."""
    root = math.isqrt(len(values))
    width = next((w for w in range(root, root // 2, -1) if len(values) % w == 0), math.ceil(len(values) ** 0.5))
    return np.pad(values, (0, -len(values) % width), constant_values=np.nan).reshape(-1, width)


def draw_bars(axes, names, shares):
    """A bar for each class, or for the likeliest ones, in their order. Their names take their room from the axes."""
    kept = np.sort(np.argsort(-shares, kind="stable")[:BARS])
    axes.barh(range(len(kept)), shares[kept], color=[ABOVE if i == shares.argmax() else "#9aa0a6" for i in kept])
    axes.set_yticks(range(len(kept)), [names[i] for i in kept], parse_math=False)
    axes.set(xlim=(0, 1), xticks=(0, 0.5, 1), ylim=(len(kept) - 0.5, -0.5))
    axes.set_xlabel("probability" if len(kept) == len(names) else f"probability, the {BARS} likeliest", fontsize=SMALL)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    place = axes.get_position()
    room = place.x0 - axes.figure.transFigure.inverted().transform(axes.yaxis.get_tightbbox())[0, 0]
    axes.set_position((place.x0 + room, place.y0, place.width - room, place.height))
