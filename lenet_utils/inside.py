"""Pictures of what happens inside a network: all its stages on one page, and rows of small pictures to compare."""

import torch

from .support.display import set_alt

GAP = 1  # pixels between two maps that stand side by side
WIDTH, TALLEST, SHORTEST = 6.4, 1.03, 0.4  # inches; the shortest row still has room for its label's three lines
LETTER = 0.6 * 7 / 72  # inches: about the width of a letter of 7 points, in which the names below a strip are written


def show_stages(stages, title="", *, signed=False, names=(), alt=None):
    """Draw what comes out of each stage of a network, a row a stage, from the pixels at the top; returns the axes.

    `stages`: tensors by name, in order, for one image: maps `(C, H, W)`, or `C` numbers `(C,)`, which become a
    strip; a batch axis of 1 in front is left out. Each row has a scale of its own, whose ends stand beside it:
    dark is the lowest number, bright the highest. `signed`: for differences; white is zero, blue above it, red below.
    `names`: for the fields of every strip that has as many numbers, e.g. the ten classes below the ten scores.
    Raises ValueError for a tensor of another shape, a batch of several images, numbers that are not finite, or names
    that fit no strip.
    """
    from matplotlib import pyplot as plt

    if not stages:
        raise ValueError("expected at least one stage to draw, got none")
    rows = {name: side_by_side(name, values) for name, values in stages.items()}
    named = strips_of(len(names), stages)
    heights = [row_height(row) for row in rows.values()]
    below = len(named) * (room_for(names) + 0.08)
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(WIDTH + 1.2, sum(heights) + 0.08 * len(rows) + 0.5 + below), height_ratios=heights,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for panel, (name, row) in zip(axes[:, 0], rows.items()):
        low, high = row[~row.isnan()].aminmax()
        reach = max(-low, high) or 1  # white, too, where all is zero
        limits = {"cmap": "RdBu", "vmin": -reach, "vmax": reach} if signed else {"cmap": "cividis"}
        panel.imshow(row.numpy(), aspect="auto" if len(row) == 1 else "equal", interpolation="nearest", **limits)
        panel.set(xticks=[], yticks=[], anchor="W", facecolor="#bbbbbb" if signed else "white")
        panel.spines[:].set_visible(False)
        label = f"{name}\n{describe(stages[name])}\n{low:.2f} to {high:.2f}"
        panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
        if name in named:
            panel.set_xticks(range(len(names)), names, fontsize=7, rotation=90 * (room_for(names) > LETTER * 2))
            panel.tick_params(length=0)
    figure.suptitle(title)
    set_alt(figure, alt or f"{as_sentence(title)}A row for each stage: {', '.join(stages)}")
    return axes[:, 0]


def strips_of(count, stages):
    """The names of the stages that are `count` numbers; of none if `count` is 0."""
    found = [name for name, values in stages.items() if count and describe(values) == f"{count} numbers"]
    if count and not found:
        raise ValueError(f"expected a name for each number of a strip, got {count} names and no strip of {count}")
    return found


def room_for(names):
    """The inches below a strip that its names need: a line, or their length where that is more than a field's width."""
    longest = max(map(len, names), default=0) * LETTER
    return longest if longest > WIDTH / max(len(names), 1) else LETTER * 2 * bool(names)


def as_sentence(title):
    """The title at the beginning of a description: in one line, and with a full stop where there is a title."""
    return f"{title}. ".replace("\n", " ") if title else ""


def row_height(row):
    """In inches: as the row's own proportions ask for, but neither too tall nor too short for its label."""
    return min(max(WIDTH * row.shape[0] / row.shape[1], SHORTEST), TALLEST) if len(row) > 1 else SHORTEST


def side_by_side(name, values):
    """The maps of one stage beside each other, or its numbers as a strip: `(H, W)`, with NaN in the gaps."""
    values = values.detach().cpu().float()
    values = values[0] if values.ndim in (2, 4) and len(values) == 1 else values
    if values.ndim not in (1, 3) or values.numel() == 0:
        raise ValueError(
            f"expected stage {name!r} to be maps (C, H, W) or numbers (C,) of one image, got {tuple(values.shape)}: "
            "choose one image of the batch, or take a mean over it"
        )
    if not values.isfinite().all():
        raise ValueError(f"expected stage {name!r} to hold finite numbers, got NaN or infinity among them")
    maps = values.reshape(-1, 1, 1) if values.ndim == 1 else values
    gap = maps.new_full((*maps.shape[:2], GAP if values.ndim == 3 else 0), torch.nan)
    row = torch.cat([maps, gap], dim=2)  # a gap behind every map ...
    row = row.permute(1, 0, 2).flatten(1)
    return row[:, : row.shape[1] - gap.shape[2]]  # ... but the last


def describe(values):
    """The shape of a stage in words: "6 of 28x28", or "120 numbers"."""
    shape = tuple(values.shape[1:]) if values.ndim in (2, 4) else tuple(values.shape)
    return f"{shape[0]} of {shape[1]}x{shape[2]}" if len(shape) == 3 else f"{shape[0]} numbers"


def show_rows(rows, title="", *, columns=(), signed=(), scale=1.15, alt=None):
    """Draw small pictures in labelled rows, e.g. filters above the pieces that they like; returns the axes, 2D.

    `rows`: lists of `(H, W)` by name. They are drawn in grey from 0 (black) to 1 (white; 255 if they are bytes), the
    ones named in `signed` on a scale of the row's own: white is zero, blue above it, red below. `columns`: a title for
    each column; `scale`: the side of a picture in inches.
    """
    from matplotlib import pyplot as plt

    if not any(len(pictures) for pictures in rows.values()):
        raise ValueError("expected at least one row of pictures to draw, got none")
    rows = {name: [as_picture(picture) for picture in rows[name]] for name in rows}
    width = max(map(len, rows.values()))
    figure, axes = plt.subplots(
        len(rows), width, figsize=(scale * width + 0.4, scale * len(rows) + 0.6 + 0.4 * bool(columns)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for line, (name, pictures) in zip(axes, rows.items()):
        reach = max((float(picture.abs().max()) for picture in pictures), default=0) or 1 if name in signed else 1
        colours, low = ("RdBu", -reach) if name in signed else ("gray", 0)
        for panel, picture in zip(line, pictures):
            panel.imshow(picture.numpy(), cmap=colours, vmin=low, vmax=reach)
        line[0].set_ylabel(name)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
    for panel, heading in zip(axes[0], columns):
        panel.set_title(heading, fontsize=9)
    figure.suptitle(title)
    set_alt(figure, alt or f"{as_sentence(title)}Small pictures in rows: {', '.join(filter(None, rows))}")
    return axes


def as_picture(values):
    """`values`, a tensor or what can become one, on the CPU; bytes, as the data set keeps its images, as 0 to 1."""
    values = torch.as_tensor(values, device="cpu").detach()
    return values / 255 if values.dtype == torch.uint8 else values
