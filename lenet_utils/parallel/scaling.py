"""What more machines bring, on paper: the seconds of a training step, as a sum of three costs.

A step computes on each device's share of the batch, and then every device needs the sum of all gradients. That sum
travels round a ring (2 (p - 1) messages, one after the other) or along a tree (2 log2 p); the ring carries
less through each wire, the tree waits less often. All else, such as loading or the slowest of many, is left out.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Machine:
    """A kind of machine by four numbers; how they were come by, measured or assumed, is for you to say."""

    name: str
    fixed: float  # seconds of a step that no share of the batch, however small, saves
    rate: float  # images a second that one device computes, beyond that
    latency: float  # seconds from one device to the next for a message without content
    bandwidth: float  # bytes a second through a wire

    def compute(self, images):
        """Seconds for forward, backward and step on `images`."""
        return self.fixed + images / self.rate

    def ring(self, devices, size):
        """Seconds for the sum of `size` bytes of each of `devices`, round a ring."""
        messages = 2 * (devices - 1)
        return messages * (self.latency + size / devices / self.bandwidth)

    def tree(self, devices, size):
        """The same up and down a tree."""
        messages = 2 * math.ceil(math.log2(devices))
        return messages * (self.latency + size / self.bandwidth)

    def all_reduce(self, devices, size):
        """Seconds for the sum, the faster of the two ways."""
        return min(self.ring(devices, size), self.tree(devices, size))

    def step(self, devices, batch, size):
        """Seconds of a step with a `batch` of so many images in all; each image is with one of `devices`."""
        return self.compute(math.ceil(batch / devices)) + self.all_reduce(devices, size)

    def images_per_second(self, devices, batch, size):
        return batch / self.step(devices, batch, size)


def draw(axes, machine, counts, batch, size):
    """Strong scaling (the same `batch` for all) and weak (a `batch` for each), as images a second over devices."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    from ..plot import STYLES

    one = machine.images_per_second(1, batch, size)
    strong = [machine.images_per_second(p, batch, size) for p in counts]
    weak = [machine.images_per_second(p, p * batch, size) for p in counts]
    axes.plot(counts, [p * one for p in counts], color="gray", linestyle=":", label="so many times one")
    axes.plot(counts, weak, label=f"a batch of {batch} for each", markersize=4, **STYLES[2])
    axes.plot(counts, strong, label=f"a batch of {batch} for all", markersize=4, **STYLES[3])
    axes.set(xscale="log", yscale="log", xlabel="devices", ylabel="images a second")
    axes.set_xticks(counts, [f"{p:,}" for p in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.4)
    axes.legend()
