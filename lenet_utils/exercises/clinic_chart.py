"""The curves of the clinic: a patient beside the healthy."""

import torch

from ..plot import STYLES

HEALTHY, PATIENT = STYLES[0] | {"marker": "o"}, STYLES[1] | {"marker": "s"}
FEW = 40  # points, each with its marker; more of them are drawn as a line only


def two_panels():
    """A figure with two axes side by side: the figure, and a pair of axes."""
    from matplotlib import pyplot as plt

    return plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")


def draw_losses(axes, healthy, patient, title, width=20):
    """Training losses by step: `healthy` a list of runs, `patient` one run, each averaged over `width` steps."""
    draw_both(axes, healthy, patient, width)
    finish(axes, xlabel="step", ylabel=f"loss in nats{f', mean of {width} steps' if width > 1 else ''}", title=title)


def draw_accuracies(axes, healthy, patient, title):
    """Test accuracies (0..1) by epoch: `healthy` a list of runs, `patient` one run."""
    draw_both(axes, healthy, patient, width=1)
    finish(axes, xlabel="epoch", ylabel="test accuracy, fraction right", ylim=(0, 1), title=title)


def draw_both(axes, healthy, patient, width):
    draw_curves(axes, healthy, "healthy", HEALTHY, width)
    draw_curves(axes, [patient], "patient", PATIENT, width)


def draw_curves(axes, curves, name, style, width):
    """Draw `curves`, one a seed, as their mean in a band from the lowest to the highest."""
    values = torch.tensor(curves, dtype=torch.float64).unfold(1, width, 1).mean(dim=2)  # (seeds, points)
    x = torch.arange(values.shape[1]) + (width + 1) / 2
    if len(values) > 1:
        axes.fill_between(x, values.amin(dim=0), values.amax(dim=0), color=style["color"], alpha=0.25, linewidth=0)
    marker = style["marker"] if len(x) <= FEW else ""
    axes.plot(x, values.mean(dim=0), label=name, markersize=4, **style | {"marker": marker})


def finish(axes, **labels):
    axes.set(**labels)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    axes.grid(alpha=0.4)
