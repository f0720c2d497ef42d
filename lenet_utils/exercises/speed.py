"""The exercises of notebook 6, As fast as the machine."""

import contextlib
import copy
import itertools
import math
import numbers
import random
import statistics
import time
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from .. import ladder
from ..train import SGD
from .ask import as_number, between, complain_about_rounding
from .engine import Wrong, attempt, exercise


@exercise(
    "6.1",
    hints=(
        "Write down how many seconds the whole epoch takes afterwards.",
        "Old time over new time. In the first case only one of the three parts has become shorter; in the second "
        "one part is gone and the other two are as they were.",
    ),
)
def longest_bar(answer):
    try:
        first, second = [] if isinstance(answer, (set, dict)) else answer  # a set has no order
        if isinstance(first, str) or isinstance(second, str):
            raise TypeError
        first, second = float(first), float(second)
    except (TypeError, ValueError):
        raise Wrong("That should be two numbers in brackets, with a comma between them.") from None
    if math.isnan(first) or math.isnan(second):
        raise Wrong("One of the two is `nan`, which is no number at all.")
    if math.isclose(first, 10):
        raise Wrong("The loading is ten times as fast, but the epoch has two other parts.")
    if first < 1 or second < 1:
        raise Wrong("A number below 1 would mean slower: which of the two times belongs above the line?")
    if math.isclose(first, 2.28):
        raise Wrong("The first number is cut off, and not rounded.")
    if abs(first - 3.5) < ROUNDED:
        raise Wrong("The first number is the seconds that the epoch takes then, and not how many times as fast it is.")
    if abs(first - 8 / 6) < ROUNDED and abs(second - 8 / 3.5) < ROUNDED:
        raise Wrong("Both are needed, but the other way round: the loading comes first.")
    if abs(first - 8 / 3) < ROUNDED:
        raise Wrong("For the first number the loading has vanished; it takes a tenth of its time.")
    if math.isclose(first, 2.3) or math.isclose(second, 1.3):
        raise Wrong("That is rounded too far: two decimal places are asked for.")
    if abs(first - 8 / 3.5) > ROUNDED:
        raise Wrong("The first number is not the old time divided by the new one.")
    if math.isinf(second):
        raise Wrong("The second number is not infinite: the loading is still there.")
    if abs(second - 8 / 6) > ROUNDED:
        raise Wrong("The first number is right; the second one is not the old time divided by what is left.")
    return "So the longest bar comes first."


ROUNDED = 0.0051  # how far two decimal places may be off


@exercise(
    "6.2",
    hints=(
        "Which of the toy's two methods takes time, and which only puts work into the queue?",
        "Look at the clock for the second time while the queue is still full, and let it run empty after that.",
    ),
)
def clock_that_lies(lying_clock):
    for tries_left in (2, 1, 0):  # on a busy machine, even to fill the queue may take long
        try:
            if lies(lying_clock):
                return "Whenever a speed looks too good, ask where the clock was read."
        except Wrong:
            if not tries_left:
                raise
    raise Wrong("That is near the truth. It should measure less than a tenth of it.")


def lies(lying_clock):
    """Whether it measured less than a tenth of the truth. Raises Wrong where it went about it in another way."""
    gpu, looks, clock = ShortJobs(), [], time.perf_counter

    def watched_clock():
        now = clock()
        if not gpu.looking:
            looks.append((now, gpu.jobs))
        return now

    begin = clock()
    with mock.patch.object(time, "perf_counter", watched_clock):
        seconds = attempt(lying_clock, gpu, when="With a fresh toy")
    truth = clock() - begin
    seconds = as_number(seconds, "What it returns, in seconds,")
    if gpu.jobs != 10:
        raise Wrong(f"The number of jobs that the toy got is {gpu.jobs}, not ten.")
    if gpu.longest > 0.0031:
        raise Wrong(f"It gives the toy a job of {gpu.longest:g} s, and that is longer than 3 ms.")
    if gpu.done_at - begin < 0.03:
        raise Wrong("The ten jobs are shorter than 3 ms each.")
    if time.perf_counter() < gpu.done_at:
        raise Wrong("When it returns, the jobs are still in the queue.")
    if seconds <= 0:
        raise Wrong("No clock goes backwards or stands still: measure something, only the wrong thing.")
    if not looks:
        raise Wrong(ANOTHER_CLOCK)
    if not is_the_whole(seconds, looks):
        raise Wrong(
            "That is not the time, in seconds, between two looks at `time.perf_counter()`, the first before the first "
            "job and the second after the last."
        )
    return seconds < truth / 10


def is_the_whole(seconds, looks):
    """Whether all ten jobs were asked for in these seconds: between two looks (time, jobs so far), or in laps."""
    laps = [(end - begin, after - before) for (begin, before), (end, after) in zip(looks[::2], looks[1::2])]
    begins, ends = ([now for now, jobs in looks if jobs == count] for count in (0, 10))
    spans = [end - begin for begin in begins for end in ends]  # who waits by looking has a hundred thousand
    if sum(jobs for _, jobs in laps) == 10:
        spans.append(sum(lap for lap, _ in laps))
    return any(abs(span - seconds) < 1e-9 or is_rounded(span, seconds) for span in spans)


def is_rounded(exact, number):
    """Whether `number` is `exact` in five decimal places or more. As near may be what a job less takes: 3 µs."""
    return any(number == round(exact, places) for places in range(5, 9))


class ShortJobs(ladder.ToyGPU):
    """A toy that remembers its longest job, and keeps nobody waiting where milliseconds were taken for seconds."""

    longest = 0.0
    looking = False  # at the clock, itself

    def run(self, seconds):
        self.longest = max(self.longest, seconds)
        with mock.patch.object(self, "looking", True):
            super().run(min(seconds, 0.01))

    def wait(self):
        with mock.patch.object(self, "looking", True):
            super().wait()


class Reads(TorchDispatchMode):
    """Within it, counts how often the value of a tensor is read: by `item`, `float`, `int`, a comparison, `numpy`..."""

    UNSEEN = ("numpy", "tolist", "cpu", "__repr__")  # which no mode is told of, on a CPU

    def __init__(self):
        super().__init__()
        self.count, self.patches = 0, contextlib.ExitStack()

    def __enter__(self):
        for name in self.UNSEEN:
            self.watch(torch.Tensor, name, lambda *_, **__: 1)
        self.watch(torch.Tensor, "to", brings_a_number)
        self.watch(torch, "tensor", tensors_in)
        return super().__enter__()

    def __exit__(self, *error):
        self.patches.close()
        return super().__exit__(*error)

    def watch(self, owner, name, reads):
        """Also counts what `reads` says of the arguments whenever the function `name` of `owner` is called."""
        function = getattr(owner, name)

        def watched(*arguments, **options):
            self.count += reads(*arguments, **options)
            return function(*arguments, **options)

        self.patches.enter_context(mock.patch.object(owner, name, watched))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def brings_a_number(tensor, device=None, *_, **__):
    """Whether `tensor.to(device)` would wait for a loss on a GPU; batches may well be moved."""
    return tensor.ndim == 0 and str(device) == "cpu"


def tensors_in(data, *_, **__):
    """How many tensors `torch.tensor(data)` reads one by one."""
    return sum(map(torch.is_tensor, data)) if isinstance(data, (list, tuple)) else 0


@exercise(
    "6.3",
    hints=(
        "A sum of tensors is a tensor. When do you need it as a number?",
        "Add up the losses as tensors, each one `detach`ed and times its number of images, and turn the sum into a "
        "number after the loop.",
    ),
)
def one_wait(pass_without_waits):
    for count in (3, 7):
        net, batches, when = small_net(), small_batches(count), f"With {count} batches"
        twin, losses = copy.deepcopy(net), []
        optimizer = SGD(twin.parameters(), 0.1)
        for X, y in batches:
            optimizer.zero_grad()
            losses.append(F.cross_entropy(twin(X), y))
            losses[-1].backward()
            optimizer.step()
        with Reads() as reads:
            got = attempt(pass_without_waits, net, list(batches), SGD(net.parameters(), 0.1), when=when)
        judge_pass(got, net, twin, losses, [len(y) for _, y in batches])
        if reads.count > 2:
            raise Wrong(f"The result is right, but it reads a tensor's value {reads.count} times in {count} batches.")
    return "On a GPU, Python now runs ahead of it for the whole pass."


def judge_pass(got, net, twin, losses, sizes):
    if isinstance(got, torch.Tensor):
        raise Wrong("It returns a tensor, a promise; at the very end the number itself is wanted.")
    if isinstance(got, bool) or not isinstance(got, numbers.Real):
        raise Wrong(f"It should return one number, the mean loss; it returns {type(got).__name__}.")
    if not all(torch.allclose(p, q, atol=1e-5) for p, q in zip(net.parameters(), twin.parameters())):
        raise Wrong("The weights do not end where a step on every batch would lead: is each of the four steps there?")
    values = [loss.item() for loss in losses]
    mean = sum(v * n for v, n in zip(values, sizes)) / sum(sizes)
    if math.isclose(got, mean, rel_tol=1e-4):
        return
    if math.isclose(got, sum(values) / len(values), rel_tol=1e-4):
        raise Wrong("That is the mean over the batches. The last one is smaller, so its images count too much.")
    raise Wrong("The weights are right, but the loss is not the mean over all images.")


def small_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 4))


def small_batches(count):
    sizes = [8] * (count - 1) + [2]
    return [(2 * torch.randn(n, 1, 3, 3), torch.randint(0, 4, (n,))) for n in sizes]


class FakeClock:
    """Time that passes only while one of its functions is called; `calls` says in which order they were."""

    def __init__(self):
        self.now, self.calls, self.looks = 100.0, "", 0

    def perf_counter(self):
        self.looks += 1
        return self.now

    def function(self, letter, durations):
        durations = iter(durations)

        def run():
            self.calls += letter
            self.now += next(durations, 1.0)

        return run


@exercise(
    "6.4",
    hints=(
        "In each round, time one call of `slow` and one of `fast`, and keep their ratio.",
        "The first call of each comes before the loop. After the loop, sort the ratios and take the middle one, or the "
        "mean of the two in the middle.",
    ),
)
def stopwatch(how_much_faster):
    for rounds in (5, 6):
        clock, pace = FakeClock(), [2.0**i for i in range(rounds)]  # the machine gets slower and slower
        ratios = telling_ratios(pace)
        slow = clock.function("s", [500.0, *(ratio * p for ratio, p in zip(ratios, pace))])
        fast = clock.function("f", [900.0, *pace])
        with mock.patch.object(time, "perf_counter", clock.perf_counter), mock.patch.multiple(ladder, **NOT_HERE):
            try:
                got = attempt(how_much_faster, slow, fast, rounds, when=f"With {rounds} rounds")
            except Wrong as wrong:
                if not isinstance(wrong.__cause__, ZeroDivisionError):
                    raise
                if len(clock.calls) <= 2:  # before the rounds
                    raise Wrong(NEVER_CALLED) from None
                if not clock.looks:  # by another one, a real one, the functions take no time at all
                    raise Wrong(ANOTHER_CLOCK) from None
                raise
        judge_stopwatch(got, clock, ratios, pace)
    return "With such a stopwatch you can measure on a busy machine."


NEVER_CALLED = "Your rounds never call `slow` and `fast`: are there brackets behind the names?"
ANOTHER_CLOCK = "It never looks at `time.perf_counter()`, called by its full name."


def telling_ratios(pace):
    """A ratio for each round, a bad moment for `slow` among them, by which typical mistakes are told apart."""
    middle, ratios, found = len(pace) // 2, [], [0.0, 0.0]
    while any(math.isclose(*pair, rel_tol=0.01) for pair in itertools.combinations(found, 2)):
        ratios = [random.uniform(1.5, 4) for _ in pace]
        ratios[random.randrange(2)] = 60.0
        unsorted = (ratios[middle] + ratios[-1 - middle]) / 2
        found = [statistics.median(ratios), min(ratios), unsorted, ratio_of_medians(ratios, pace)]
    return ratios


def ratio_of_medians(ratios, pace):
    return statistics.median(ratio * p for ratio, p in zip(ratios, pace)) / statistics.median(pace)


def not_here(*_, **__):
    raise Wrong("It has `ladder` do the work. Here you write it yourself.")


NOT_HERE = {"race": not_here, "speedup": not_here, "Laps": not_here}


def judge_stopwatch(got, clock, ratios, pace):
    rounds, ordered, calls = len(ratios), sorted(ratios), clock.calls
    for name, letter in ("slow", "s"), ("fast", "f"):
        if calls.count(letter) == rounds:
            raise Wrong(
                f"With {rounds} rounds it calls `{name}` {rounds} times. It should be once more: the call that isn't "
                "counted is missing, or a round."
            )
        if calls.count(letter) != rounds + 1:
            raise Wrong(f"With {rounds} rounds it calls `{name}` {calls.count(letter)} times.")
    if any(set(calls[i : i + 2]) != {"s", "f"} for i in range(0, len(calls), 2)):
        raise Wrong("The two do not take turns: a bad moment would hit only one of them.")
    got = as_number(got, "What it returns")
    if not clock.looks:
        raise Wrong(ANOTHER_CLOCK)
    middle = (ordered[rounds // 2] + ordered[-1 - rounds // 2]) / 2
    if math.isclose(got, middle, rel_tol=1e-6):
        return
    complain_about_rounding(got, middle, within=1e-6 * middle)
    if math.isclose(1 / got if got else 0, middle, rel_tol=0.2):
        raise Wrong("That is how many times as long the fast one takes: turn the ratio round.")
    if rounds % 2 == 0 and any(math.isclose(got, ordered[i], rel_tol=1e-5) for i in (rounds // 2 - 1, rounds // 2)):
        raise Wrong(f"With {rounds} rounds two ratios are in the middle, and it takes one of them only.")
    if math.isclose(got, ratio_of_medians(ratios, pace), rel_tol=1e-5):
        raise Wrong("That is the ratio of two medians, which may come from different rounds; the ratios come first.")
    if math.isclose(got, statistics.median((ratio - 1) * p for ratio, p in zip(ratios, pace)), rel_tol=1e-5):
        raise Wrong("That is a difference, so many seconds. How many *times* as fast is asked for.")
    if got > ordered[-2] + 1e-9:
        raise Wrong("One bad moment in one round has spoilt the result: a median would not notice it.")
    raise Wrong("It is not the median of the ratios, round by round.")


@exercise(
    "6.5",
    hints=(
        "How many numbers come out, and how many multiply-adds does each of them cost?",
        "The rule for the output's height and width is that of notebook 2; one number costs as many multiply-adds as "
        "one filter has weights, through all channels.",
    ),
)
def flop_of_a_convolution(conv_flop):
    for i in range(6):
        conv, height, width = random_convolution(plain=i == 0) if i != 1 else convolution_that_leaves_two()
        case = f"For {conv} and a picture of {height} x {width}"
        got = attempt(conv_flop, copy.deepcopy(conv), height, width, when=case)
        out = conv(torch.zeros(1, conv.in_channels, height, width))
        judge_flop(got, conv, out.numel(), height, width)
    return "Each number that comes out costs one multiply-add for each weight of its filter."


def random_convolution(plain):
    """A convolution, and a height and width for it; `plain`: square, without stride, but not with a size that stays."""
    (kh, kw), (sh, sw) = random.sample(range(2, 6), 2), random.sample(range(1, 4), 2)
    if plain:
        kh, kw, sh, sw = 4, 4, 1, 1
    padding = (0, 0) if plain else (random.randrange(2), random.randrange(2, 4))
    channels = random.sample(range(3, 9), 2)  # with 2, a forgotten factor could be either
    return nn.Conv2d(*channels, (kh, kw), (sh, sw), padding), *random.sample(range(12, 30), 2)


def convolution_that_leaves_two():
    """A convolution whose last steps of 3 would lead two pixels short, both ways: to round, up or down, shows."""
    kernel, padding = random.sample(range(2, 6), 2), (random.randrange(2), random.randrange(2, 4))
    height, width = (k + 3 * between(4, 7) + 2 - 2 * p for k, p in zip(kernel, padding))
    return nn.Conv2d(*random.sample(range(3, 9), 2), kernel, 3, padding), height, width


def judge_flop(got, conv, count, height, width):
    truth = 2 * count * conv.weight[0].numel()
    text = f"For {conv} and a picture of {height} x {width} "
    got = as_number(got, text + "what it returns")
    if got == truth:
        return
    is_plain = conv.kernel_size[0] == conv.kernel_size[1]  # elsewhere a wrong number may be one of these by chance
    if is_plain and got == truth // 2:
        raise Wrong(text + "that is the number of multiply-adds; each of them is two operations.")
    if is_plain and got == truth // conv.in_channels:
        raise Wrong(text + "it looks at one of the channels below only.")
    if is_plain and got == 2 * conv.weight.numel() * height * width:
        raise Wrong(text + "it takes the size of the picture that goes in for the size of what comes out.")
    if got in (truth + count, truth + 2 * count):
        raise Wrong(text + "it counts the bias, which was to be left out.")
    if is_plain:
        raise Wrong(text + f"it says {got}, and that is not right, though this one is square and without padding.")
    raise Wrong(text + f"it says {got}. Square kernels without padding it knows; look at the other arguments.")
