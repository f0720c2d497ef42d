"""Exercises of notebook 4: a look inside a trained network."""

import copy
import functools
import itertools
import math

import torch
from torch.nn import functional as F

from ..data import read_split
from ..trained import trained_lenet
from .ask import as_number, between, choice, complain_about_rounding, expect_number
from .engine import Wrong, attempt, exercise

MAPS = {0: "picture", 2: "first maps", 3: "pooled", 5: "second maps", 6: "pooled again"}


@functools.cache
def test_pictures(n):
    """The first `n` test pictures, float (n, 1, 28, 28), and their labels (n,)."""
    images, labels = read_split("t10k")
    return images[:n].unsqueeze(1) / 255, labels[:n]


@functools.cache
def trained_net():
    return trained_lenet().requires_grad_(False)


@exercise(
    "4.1",
    hints=(
        "Ask stage by stage: does the layer do the same in every place, and does it stop in the same places? A filter "
        "isn't turned along with the picture.",
        "A convolution with a stride of 1 moves along with its input, pixel by pixel. A pooling stops at every second "
        "place only, so it needs an even step, of which half is left; the second pooling halves that again.",
    ),
)
def turned_and_moved(upside_down, moved):
    if not isinstance(moved, dict) or set(moved) != {1, 2, 3, 4}:
        raise Wrong("The second answer should be a dict with a number of stages for each step: {1: ..., 2: ..., ...}.")
    upside_down = as_number(upside_down, "The first answer")
    moved = {step: as_number(moved[step], f"The answer for a step of {step}") for step in moved}
    if upside_down != count_turned():
        raise Wrong({
            0: "Upside down: one stage has no choice, since it is what you turned.",
            2: "Upside down: a filter for upper edges sees lower edges now. Are its maps *exactly* the old ones?",
            5: "Upside down: would the filters have to be turned, too?",
        }.get(upside_down, "Upside down: that's not how many. Compare with `torch.allclose` and `flip`."))  # fmt: skip
    truth = {step: count_moved(step) for step in moved}
    wrong = [step for step in moved if moved[step] != truth[step]]
    if not wrong:
        return "A convolution moves along; every pooling of stride 2 asks for an even step; turning, nobody follows."
    if moved[1] > 2 or moved[3] > 2:
        raise Wrong("A step of 1 or 3: on what pixels does a window of the first pooling begin, before and after?")
    if moved[2] == 5:
        raise Wrong("A step of 2 is a step of 1 behind the first pooling. What does the second pooling make of that?")
    if len(set(moved.values())) == 1:
        raise Wrong(
            "That every step gives the same number would need a net whose layers all do the same in every place, "
            "or none of which does. What about a convolution, and what about a pooling?"
        )
    raise Wrong(
        f"Upside down is right. Moved by {wrong[0]} it is not {moved[wrong[0]]} stages: go through them in turn."
    )


@torch.no_grad()
def stages(X):
    kept, net = {}, trained_net()
    for i, layer in enumerate(net[:7]):
        X = layer(X)
        if i in MAPS:
            kept[MAPS[i]] = X
    return kept


def count_turned():
    """In how many stages a picture upside down is exactly the old one upside down."""
    X = test_pictures(1)[0]
    old, new = stages(X), stages(X.flip(2))
    return sum(torch.allclose(old[name].flip(2), new[name], atol=1e-6) for name in old)


def count_moved(step):
    """In how many stages a picture moved to the right is exactly the old one moved to the right, by whole places."""
    X = torch.zeros(1, 1, 28, 28)
    X[..., 6:18, 6:18] = torch.rand(12, 12)  # far enough from the edge to lose nothing
    old, new, count = stages(X), stages(X.roll(step, 3)), 0
    for name, scale in zip(MAPS.values(), (1, 1, 2, 2, 4)):
        places = step // scale
        kept = old[name].shape[-1] - places
        count += step % scale == 0 and torch.allclose(old[name][..., :kept], new[name][..., places:], atol=1e-6)
    return count


@exercise(
    "4.2",
    hints=(
        "`net[:3](X)` gives the maps behind the first sigmoid, `(N, 6, 28, 28)`, and `net[3:]` goes on from there. "
        "Which axis holds the filters?",
        "Replace `maps[:, k]` by its own mean, one number for all places and pictures, before they go on. For the "
        "second answer call your function for all six and look for the smallest.",
    ),
)
def silence(function, most_missed):
    chosen, without = torch.randperm(1000)[:300], accuracies_without()
    X, y = (part[chosen] for part in test_pictures(1000))
    worst = without.index(min(without))  # without it the accuracy is not that of the whole net
    for k in (worst, choice([k for k in range(6) if k != worst])):
        net, pooled = watched_net()
        got = attempt(function, net, k, X.clone(), y.clone(), when=f"For filter {k}")
        compare_silence(got, sent_on(pooled, len(X)), net, k, X, y)
    if as_number(most_missed, "The function is right. The second answer") not in range(6):
        raise Wrong("The function is right. The second answer is the number of a filter, 0 to 5.")
    if most_missed != worst:
        raise Wrong("The function is right. But without another filter, fewer of the first 1,000 pictures are named "
                    "right than without that one.")  # fmt: skip
    return f"Without it {min(without):.2f} of 1,000 pictures are named right, without another {sorted(without)[1]:.2f}."


def watched_net():
    """A copy of the trained net, and a list that gets the six pooled maps whenever they go on, also in its copies.

    They are the same whether the map falls silent before the pooling or behind it.
    """
    net, pooled = copy.deepcopy(trained_net()), []
    net[4].register_forward_pre_hook(lambda layer, inputs: pooled.append(inputs[0].clone()))  # copied as it is
    return net, pooled


def sent_on(pooled, count):
    """Whatever went on of `count` pictures, together or in batches, at any time: a list of `(count, 6, 14, 14)`."""
    pooled = [maps for maps in pooled if maps.shape[1:] == (6, 14, 14)]
    ends = [0, *itertools.accumulate(map(len, pooled))]
    return [torch.cat(pooled)[end - count : end] for end in ends if end - count in ends]


def same_weights(mine, theirs):
    return mine.keys() == theirs.keys() and all(
        mine[name].dtype == weights.dtype and torch.equal(mine[name], weights) for name, weights in theirs.items()
    )


def compare_silence(got, sent, net, k, X, y):
    """Raises Wrong unless `got` is the accuracy with map `k` silenced; `sent`: what the function sent on."""
    if not same_weights(net.state_dict(), trained_net().state_dict()):
        raise Wrong("Afterwards the network has other weights than before. Change the maps, not the filters.")
    if not torch.allclose(net(X), trained_net()(X), atol=1e-4):
        raise Wrong("Afterwards the network gives other answers than before. Is a hook of yours still in it?")
    if not sent:
        raise Wrong("All pictures should go through the layers of `net` behind the first sigmoid.")
    net, original = trained_net(), trained_net()[:3](X)
    intact = (net(X).argmax(dim=1) == y).float().mean().item()

    def goes_on(way):
        right = net[3](silenced(way, original, k))
        return any(torch.allclose(maps, right, atol=1e-6) for maps in sent)

    if not goes_on(mean_of_map):
        kinds = (message for message, way in SILENCES.items() if goes_on(way))
        raise Wrong(next(kinds, "Something else than map k alone, or another number than its mean, goes on."))
    accuracy = (net[3:](silenced(mean_of_map, original, k)).argmax(dim=1) == y).float().mean().item()
    # Rounded to three places it is right, too: one picture of 300 more would be 0.0033.
    got = as_number(got, "What your function returns")
    if abs(got - intact) < 6e-4 < abs(got - accuracy):
        raise Wrong("The maps are right. What you return is the accuracy of the whole network, with all six of them.")
    complain_about_rounding(got, accuracy, within=6e-4)
    expect_number(got, accuracy - 6e-4, accuracy + 6e-4, {
        accuracy * len(X): "The maps are right. Return the accuracy as a fraction, from 0 to 1.",
        accuracy * 100: "The maps are right. Return the accuracy as a fraction, from 0 to 1.",
    }, "The maps are right. What you return is not the share of right answers.")  # fmt: skip


@functools.cache
def accuracies_without():
    """The trained net's accuracy (0..1) on the first 1,000 test pictures without each of the six filters."""
    X, y = test_pictures(1000)
    net, maps = trained_net(), trained_net()[:3](X)
    answers = (net[3:](silenced(mean_of_map, maps, k)).argmax(dim=1) for k in range(6))
    return [(of_one == y).float().mean().item() for of_one in answers]


def silenced(way, maps, k):
    changed = maps.clone()
    way(changed, k)
    return changed


def mean_of_map(maps, k):
    maps[:, k] = maps[:, k].mean()


def nothing(maps, k):
    pass


def zero(maps, k):
    maps[:, k] = 0


def half(maps, k):
    maps[:, k] = 0.5


def mean_of_all(maps, k):
    maps[:, k] = maps.mean()


def mean_of_picture(maps, k):
    maps[:, k] = maps[:, k].mean(dim=(1, 2), keepdim=True)


def mean_of_place(maps, k):
    maps[:, k] = maps[:, k].mean(dim=0)


def mean_before_sigmoid(maps, k):
    maps[:, k] = maps[:, k].logit(eps=1e-7).mean().sigmoid()


def picture_k(maps, k):
    maps[k] = maps[k].mean()


def others(maps, k):
    for other in set(range(6)) - {k}:
        maps[:, other] = maps[:, other].mean()


SILENCES = {
    "All six maps go on as they came. Which of them should say nothing?": nothing,
    "You write zeros. Behind a sigmoid that isn't silence but a loud no. What does the map say on average?": zero,
    "You write a half: what a sigmoid says for zero. But this map may say something else on average.": half,
    "You write the mean of all six maps. The mean of the one that falls silent is meant.": mean_of_all,
    "You write another mean for every picture, so the map still tells light pictures from dark ones.": mean_of_picture,
    "You write another mean in every place: an average garment, and not one number everywhere.": mean_of_place,
    "You take the mean before the sigmoid; behind it, the mean is another number.": mean_before_sigmoid,
    "You silence picture number k in all its maps, not map number k in all pictures.": picture_k,
    "You silence the five others.": others,
}


@exercise(
    "4.3",
    hints=(
        "The temperature belongs before the softmax. Then, as in the notebook: confidence, ten bins, the gap between "
        "saying and doing in each, and every bin counts for as many pictures as it holds.",
        "`probabilities = (logits / temperature).softmax(dim=1)`; for each bin that isn't empty, the absolute "
        "difference of mean confidence and share right, times its pictures, and at the end divided by all pictures.",
    ),
)
def temperature(function, best, changed):
    for stripes in (10, 10, 20):
        T = choice([0.5, 0.7, 1.6, 2.5])
        compare_errors(function, *random_answers(between(600, 1200), T, stripes), T)
    best = as_number(best, "The function is right. The temperature")
    changed = as_number(changed, "The last answer")
    if not best > 0:
        raise Wrong("The function is right. A temperature is a number above 0.")
    labels = read_split("t10k")[1]
    first, other = ((trained_logits()[half], labels[half]) for half in (slice(5000), slice(5000, None)))
    reached, lowest = (
        calibration_error(*first, best),
        min(calibration_error(*first, 1 + i / 20) for i in range(9)),
    )
    if not reached <= lowest + 0.005:  # NaN, too: with a tiny one the logits become infinite
        sign = "too sure" if best < 1.1 else "too modest"
        raise Wrong(f"The function is right. With that temperature the network is {sign}, on the first half.")
    if changed != 0:
        raise Wrong("Only the last answer is wrong. Divide ten numbers by the same one: which is the largest now?")
    before, after = calibration_error(*other), calibration_error(*other, best)
    return f"On the other half the error falls from {before:.3f} to {after:.3f}."


@functools.cache
@torch.no_grad()
def trained_logits():
    return torch.cat([trained_net()(X.unsqueeze(1) / 255) for X in read_split("t10k")[0].split(1000)])


def random_answers(n, T, stripes):
    """Logits (n, 10) and labels (n,), for which ten bins and any other number of them give different errors.

    At a temperature of `T` most answers in one stripe of confidence are right, in the next one wrong, and so on.
    """
    logits = torch.randn(n, 10) * 1.5
    confidence, answers = (logits / T).softmax(dim=1).max(dim=1)
    right = torch.rand(n) < torch.where((confidence * stripes).long() % 2 == 1, 0.9, 0.1)
    return logits, torch.where(right, answers, (answers + torch.randint(1, 10, (n,))) % 10)


def calibration_error(logits, labels, T=1.0, scale="logits", gap=torch.abs, weighted=True, sure="highest"):
    """The expected calibration error in ten bins; the last four arguments make typical mistakes."""
    right = (logits.argmax(dim=1) == labels).float()  # first, as all logits may become 0
    logits = logits / T if scale == "logits" else logits * T if scale == "times" else logits
    p = logits.softmax(dim=1) / (T if scale == "probabilities" else 1)
    confidence = p.amax(dim=1) if sure == "highest" else p.gather(1, labels[:, None])[:, 0]
    bins = (confidence * 10).long().clamp(0, 9)
    size = bins.bincount(minlength=10)
    says, does = (bins.bincount(of, minlength=10) / size.clamp(min=1) for of in (confidence, right))
    weight = size / size.sum() if weighted else (size > 0) / (size > 0).sum()
    return (weight * gap(says - does)).sum().item()


MISTAKES = {
    "You multiply by the temperature. To make the network less sure, divide by one above 1.": {"scale": "times"},
    "The temperature makes no difference to yours.": {"scale": "none"},
    "You divide the probabilities: then they add up to 1 no more. Divide before the softmax.":
        {"scale": "probabilities"},
    "In yours, a bin that is too sure and one that is too modest make up for each other.": {"gap": torch.Tensor.clone},
    "In yours, a bin of three pictures counts for as much as one of three hundred.": {"weighted": False},
    "Confidence is the highest of the ten probabilities; yours is the one of the label, which it can't know.":
        {"sure": "label"},
}  # fmt: skip


def compare_errors(function, logits, labels, T):
    given = logits.clone(), labels.clone()
    got = attempt(function, *given, T, when=f"At a temperature of {T:.1f}")
    for name, mine, theirs in zip(("logits", "labels"), (logits, labels), given):
        if not torch.equal(mine, theirs):
            raise Wrong(f"It changes the {name} that it was given, so the next call starts from other ones.")
    got, truth = as_number(got, "What your function returns"), calibration_error(logits, labels, T)
    if abs(got - truth) < 1e-6:  # first: by chance, a mistake may make hardly any difference
        return
    if got != got:
        raise Wrong("It returns NaN. Does it divide by the size of an empty bin?")
    for message, mistake in MISTAKES.items():
        if abs(got - calibration_error(logits, labels, T, **mistake)) < 2e-6:
            raise Wrong(message)
    if abs(got - 100 * truth) < 1e-3:
        raise Wrong("That's in per cent; a fraction is asked for.")
    complain_about_rounding(got, truth, within=1e-4)
    if abs(got - truth) > 1e-4:
        raise Wrong("On random answers the error is another number. Compare with the notebook's at a temperature of 1.")


@exercise(
    "4.4",
    hints=(
        "Each of the two sees a row of pixels, from a first to a last. Write these down for both, as the section on "
        "what one unit sees does; then see what they share, and what of that is inside the picture.",
        "Unit `i` sees the pixels `start + i * step` to `start + i * step + side - 1`. Both see from the larger of the "
        "two firsts to the smaller of the two lasts, but not below 0 or beyond `size - 1`; and never fewer than none.",
    ),
)
def seen_by_both(function):
    for make, message in OVERLAPS:
        for _ in range(4):
            windows, i, j, size = make()
            got, truth = (
                attempt(function, list(windows), i, j, size, when=f"For {windows}"),
                count_both(windows, i, j, size),
            )
            if as_number(got, "What your function returns") != truth:
                message = "A negative number of pixels? These two have none in common." if got < 0 else message
                raise Wrong(f"{message} For {windows}, units {i} and {j} of {size} pixels, yours says {got}.")
    return (
        "Neighbours in the last maps share 12 of their 16 columns: what one unit knows, the next one mostly knows, too."
    )


def count_both(windows, i, j, size):
    """How many of `size` pixels in a row can change both units; a chain of convolutions tells, through its gradient."""
    x = torch.rand(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = x
    for kernel, stride, padding in windows:
        y = F.conv1d(y, torch.rand(1, 1, kernel, dtype=torch.float64) + 0.1, stride=stride, padding=padding)
    sees = [torch.autograd.grad(y[0, 0, unit], x, retain_graph=True)[0][0, 0] != 0 for unit in (i, j)]
    return int((sees[0] & sees[1]).sum())


def in_the_middle(windows, size, apart):
    """Units that many places apart, whose fields are inside the picture."""
    places = size
    for kernel, stride, padding in windows:
        places = (places + 2 * padding - kernel) // stride + 1
    i = (places - apart) // 2
    return windows, i, i + apart, size


def twice_the_same():
    return in_the_middle([(between(2, 6), 1, 0)], 40, 0)


def neighbours():
    return in_the_middle([(between(3, 6), 1, 0)], 40, between(1, 2))


def deeper():
    return in_the_middle([(between(2, 5), 1, 0) for _ in range(3)], 40, 1)


def wide_steps():
    return in_the_middle([(between(4, 6), 2, 0), (between(3, 5), 1, 0)], 60, 1)


def far_apart():
    return in_the_middle([(3, 2, 0), (2, 2, 0)], 80, between(4, 9))


def exchanged():
    windows, i, j, size = deeper()
    return windows, j, i, size


def at_the_edge():
    return [(5, 1, 2), (2, 2, 0), (5, 1, between(1, 2))], 0, 1, between(26, 30)


def at_the_other_edge():
    size = between(26, 30)
    return [(7, 1, 3)], size - 2, size - 1, size


OVERLAPS = (
    (twice_the_same, "A unit and itself have all that it sees in common. How wide is one window?"),
    (neighbours, "Neighbouring windows: they begin one pixel apart. Count what they share."),
    (deeper, "Several layers: each window of `k` makes the field `(k - 1) * step` wider."),
    (wide_steps, "With a stride, neighbours are several pixels apart, and the next window spans more of them."),
    (far_apart, "Two that are far apart have nothing in common."),
    (exchanged, "It should not matter which of the two comes first."),
    (at_the_edge, "At the edge a part of the field lies outside, on the padding. There are no pixels."),
    (at_the_other_edge, "At the far edge, too, a part of the field lies outside, where there are no pixels."),
)


@exercise(
    "4.5",
    hints=(
        "The end of the section on pictures of no clothes compares two distances. At which stage were strangers "
        "furthest off, and from what?",
        "For each picture take its distance to the nearest known one, in pixels or in the first maps. "
        "`torch.cdist(a, b)` gives all distances between the rows of `a` and those of `b`.",
    ),
)
def alarm(function):
    net, rng = trained_net(), torch.Generator().manual_seed(0)  # no luck at the bar
    known = read_split("train")[0][:1000].unsqueeze(1) / 255
    clothes = test_pictures(1000)[0][torch.randperm(1000, generator=rng)[:200]]
    of_clothes = scores_of(function, net, known, clothes[:100])
    alone = scores_of(function, net, known, clothes[:1])
    if not torch.allclose(alone, of_clothes[:1], rtol=1e-2, atol=1e-2 * of_clothes.std().item()):
        raise Wrong("A picture's score changes with the pictures that come along with it. Let each stand for itself.")
    found = {name: higher(scores_of(function, net, known, X), of_clothes) for name, X in strangers(clothes[100:], rng)}
    if max(found.values()) < 0.4:
        raise Wrong("It is the wrong way round: clothes get the higher scores.")
    name, least = min(found.items(), key=lambda pair: pair[1])
    if max(found.values()) < 0.85:
        raise Wrong("It is hardly an alarm for any kind of stranger. If it goes by the answers, or by what is near "
                    "them: these were never asked to tell strangers from clothes.")  # fmt: skip
    if least < BAR:
        least = math.floor(100 * least) / 100  # never rounded up to the bar
        raise Wrong(f"It does not tell {name} from clothes well enough: {least:.2f} of the pairs are in order, and "
                    f"{BAR} are asked for.")  # fmt: skip
    return "Pairs in order: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()) + "."


BAR = 0.9  # of all pairs of a stranger and a piece of clothing, how many have to be in order


def strangers(clothes, rng):
    """Kinds of pictures that are no clothes, by name; two of them are made of clothes."""
    n = len(clothes)
    yield "noise", torch.rand(n, 1, 28, 28, generator=rng)
    yield "clouds", F.interpolate(torch.rand(n, 1, 7, 7, generator=rng), 28, mode="bilinear")
    yield "negatives", 1 - clothes
    shuffled = torch.stack([x.flatten()[torch.randperm(784, generator=rng)] for x in clothes])
    yield "shuffled pixels", shuffled.reshape(n, 1, 28, 28)


def scores_of(function, net, known, X):
    torch.manual_seed(0)  # who draws some of the known ones draws the same each time
    case, some = (
        (f"For {len(X)} pictures", "some scores are") if len(X) > 1 else ("For one picture alone", "the score is")
    )
    scores = attempt(function, copy.deepcopy(net), known.clone(), X.clone(), when=case)
    try:
        scores = torch.as_tensor(scores).detach()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"It should return a tensor of scores, and it returns a {type(scores).__name__}.") from None
    if scores.shape != (len(X),):
        raise Wrong(f"{case} it should return {(len(X),)} scores, and it returns {tuple(scores.shape)}.")
    if not scores.isfinite().all():
        raise Wrong(f"{case}, {some} NaN or infinite.")
    return scores.float()


def higher(strange, usual):
    """The share of all pairs in which the stranger has the higher score; a draw counts half."""
    difference = strange[:, None] - usual[None]
    return ((difference > 0).float().mean() + (difference == 0).float().mean() / 2).item()
