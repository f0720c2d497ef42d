"""The exercises of notebook 7, Many machines."""

import copy
import re

import torch
from torch.nn import functional as F

from ..model import lenet
from ..parallel import launch
from .ask import as_number, between
from .engine import Wrong, attempt, exercise


@exercise(
    "7.1",
    hints=(
        "Half of the way the parts are added up, half of the way the sums are handed round. What is a part?",
        "The ring cuts the numbers into as many parts as there are processes, and a process sends one part at a time: "
        "one time fewer than there are processes for the sums, and as often again to hand them round.",
    ),
)
def bytes_sent(answer):
    answer, size = as_number(answer, "Your answer"), 4 * sum(p.numel() for p in lenet().parameters())
    if answer == size // 4:
        raise Wrong(
            "That is how many gradients there are, and also how many bytes one message holds here. A gradient has four "
            "bytes, and there are several messages."
        )
    if answer == size:
        raise Wrong("So much the gradients of one process take. But each number is sent more than once, or not at all.")
    if answer == 2 * size:
        raise Wrong("That is twice all gradients. How long is a message, and how many does a process send?")
    if answer == 3 * size // 4:
        raise Wrong("After so much every process has one part of the sum, and not yet the others.")
    if answer == 4 * 2 * 3 * size // 4:
        raise Wrong("That is what all four send together, or what one would send if each message held all gradients.")
    if not -12 <= answer - 2 * 3 * size // 4 <= 12:  # the parts of a process are not quite equal, or padded
        raise Wrong("It is some other number: how many messages does one process send, and how long is each?")
    return "For a thousand processes it is hardly more, less than twice the gradients each. The number of waits grows."


def uneven_shares():
    """Gradients of a few processes with different numbers of images, and the gradient of all images together."""
    counts = torch.randint(1, 9, (between(2, 4),)).tolist()
    counts[0] = counts[-1] + 5  # never all the same
    w = torch.randn(6, requires_grad=True)
    X, y = torch.randn(sum(counts), 6), torch.randn(sum(counts))

    def gradient(X, y):
        return torch.autograd.grad(F.mse_loss(X @ w, y), w)[0]

    grads = [gradient(*share) for share in zip(X.split(counts), y.split(counts))]
    return grads, counts, gradient(X, y)


@exercise(
    "7.2",
    hints=(
        "The two means agree when the shares have one size. What do they do with the images of a small share?",
        "Take a share of very few images, perhaps one, and a large one; the plain mean gives each share the same say.",
    ),
)
def misleading_shares(sizes):
    if hasattr(sizes, "tolist"):  # an array or a tensor of them
        sizes = sizes.tolist()
    if not isinstance(sizes, (list, tuple)) or len(sizes) != 2:
        raise Wrong("Two sizes are asked for, as in `(128, 128)`.")
    sizes = [as_number(n, "Each size") for n in sizes]
    if any(n != n // 1 or n < 1 for n in sizes):
        raise Wrong("Each size has to be a whole number of images, at least one.")
    if sum(sizes) != 256:
        raise Wrong(f"The two have to share all 256 images, and yours have {sum(sizes):.0f}.")
    if sizes[0] == sizes[1]:
        raise Wrong("With equal shares the plain mean is right.")
    # The say of one image in the plain mean: half of it for each share, divided among the images there.
    more = max(sizes) / min(sizes)
    if more < 100:
        raise Wrong(
            f"An image of the small share counts {more:.1f} times as much as one of the large; that can be made worse."
        )
    return f"One image now has the say of {more:.0f}, and nothing complains."


@exercise(
    "7.3",
    hints=(
        "Each gradient is a mean over its images. What would make a sum over images of it?",
        "Multiply each gradient by its count, add them up, and divide once by all images.",
    ),
)
def weighted_mean(average_gradients):
    for _ in range(3):
        grads, counts, whole = uneven_shares()
        kept = [grad.clone() for grad in grads]
        got = attempt(average_gradients, list(grads), list(counts), when=f"With {len(counts)} processes")
        if not torch.is_tensor(got) or got.shape != whole.shape:
            raise Wrong("It should give one tensor of the same shape as each gradient.")
        got = got.to(whole.dtype)  # more digits are welcome
        if not all(map(torch.equal, kept, grads)):
            raise Wrong("It changes the gradients that it was given.")
        if near(got, sum(grads) / len(grads)):
            raise Wrong("That is the plain mean: an image in a small share counts for more than one in a large.")
        if near(got, whole * sum(counts)):
            raise Wrong("That is the sum over all images, and not the mean.")
        if near(got, sum(grads)):
            raise Wrong("That adds the means up, whatever the sizes of the shares.")
        if not torch.allclose(got, whole, rtol=1e-3, atol=1e-5):
            raise Wrong("It is another gradient than that of all images together.")
    counts = [3, 0]  # a process without an image
    grads = [torch.ones(4), torch.zeros(4)]
    got = attempt(average_gradients, list(grads), counts, when="With an empty share")
    if not torch.is_tensor(got) or got.shape != (4,) or not near(got.to(grads[0].dtype), grads[0]):
        raise Wrong("With an empty share, whose gradient is 0, it goes wrong.")
    return "That is all the arithmetic there is to data-parallel training, as long as no layer mixes the pictures."


def near(found, expected):
    """Whether the whole gradient is the same but for rounding, which shows most in its smallest numbers."""
    return (found - expected).norm() < 1e-4 * expected.norm()


@exercise(
    "7.4",
    hints=(
        "Give part number i a round trip: who adds to it first, and who has its sum in the end?",
        "In step s, process r passes part (r - s) mod p on to process (r + 1) mod p, which adds it to its own; after "
        "p - 1 steps process r has the whole of part (r + 1) mod p. Then the same once more, replacing, not adding.",
    ),
)
def ring(ring_all_reduce):
    if not callable(ring_all_reduce):
        raise Wrong(f"A function is asked for, and that is of the type `{type(ring_all_reduce).__name__}`.")
    for processes in (3, 2, between(4, 7)):
        (values, sums), told, case = columns(processes), [], f"With {processes} processes"
        log = Ring(values, told.append)
        attempt(lambda log: (ring_all_reduce(log), True), log, when=case)
        sent, messages = copy.deepcopy(values), [0] * processes
        for r, part, add in told:
            pass_on(sent, r, part, add)
            messages[r] += 1
        if log.lists != sent:
            raise Wrong("It writes into `ring.lists` itself: a process has only what `ring.send` brings it.")
        if sent == values:
            raise Wrong(f"{case}, none has anything else in the end than at the start. Use `ring.send`.")
        have = sum(row[i] == sums[i] for row in sent for i in range(processes))
        if have == processes and all(sums[i] in column for i, column in enumerate(zip(*sent))):
            raise Wrong(f"{case}, every sum is there, but in one process only: now each has to come to all the others.")
        if have < processes * processes:
            raise Wrong(f"{case}, {have} of {processes * processes} places have the right sum in the end.")
        if sum(messages) > 2 * processes * (processes - 1):
            raise Wrong(f"{case}, the sums are right, after {sum(messages)} messages; it can be done with fewer.")
        if len(set(messages)) > 1:
            raise Wrong(
                f"{case}, the sums are right, but the work is not shared: one sent {max(messages)} messages and "
                f"another {min(messages)}."
            )
    return "Each process sent 2 (p - 1) messages of one part, and none of them ever had to wait for a centre."


def columns(processes):
    """As many lists of as many numbers, and their columns' sums: all unlike, so that no part passes for another."""
    sums = []
    while len(set(sums)) < processes:
        values = torch.randint(1, 100, (processes, processes)).tolist()  # no 0: to send one changes nothing
        sums = [sum(column) for column in zip(*values)]
    return values, sums


class Ring:
    """Processes in a ring, each with a list of numbers, which can send one of them to the next.

    `tell`: is called with every message, (r, part, add), which is out of the learner's reach then.
    """

    def __init__(self, lists, tell):
        self.lists, self.size, self.tell = copy.deepcopy(lists), len(lists), tell

    def send(self, r, part, add=True):
        """Process `r` sends its number `part` to the next, which adds it to its own, or else replaces its own."""
        pass_on(self.lists, r, part, add)
        self.tell((r, part, add))


def pass_on(lists, r, part, add):
    mine, theirs = lists[r], lists[(r + 1) % len(lists)]
    theirs[part] = theirs[part] + mine[part] if add else mine[part]


@exercise(
    "7.5",
    hints=(
        "The first cell above that starts two processes shows how; the processes, the images and the epochs are other "
        "numbers here. And `lines` can be made a list.",
        "`launch.Torchrun` takes 3 and the options `--images`, `--epochs` and, as three processes seldom have three "
        "GPUs, `--device=cpu`. Inside the `with`, `list(lines)` keeps what is printed.",
    ),
)
def three_workers(lines):
    if isinstance(lines, str):
        raise Wrong("That is one text. Keep the lines as they come, one by one.")
    if isinstance(lines, launch.Torchrun):
        raise Wrong("That is the launcher and not what it printed, which is gone when its `with` ends.")
    if not hasattr(lines, "__iter__"):
        raise Wrong(f"A list of the printed lines is asked for, and that is of the type `{type(lines).__name__}`.")
    if not hasattr(lines, "__len__"):
        raise Wrong("That gives its lines only once. Keep them as a list.")
    lines = [str(line) for line in lines]
    text = "\n".join(lines)
    if "training on" not in text:
        raise Wrong("It never came so far as to train: what do the lines say?")
    if "with 3 processes" not in text:
        raise Wrong("That was training, but not with three processes.")
    if not any(line.startswith("loss ") for line in lines):
        raise Wrong("It began with three processes, and did not come to its end.")
    if any(float(epoch) > 1 for epoch in re.findall(r"^epoch (\d+\.\d+)", text, re.MULTILINE)):
        raise Wrong("It was to be one epoch, and that was more.")
    return "Three on one machine: good for finding faults, seldom for speed."
