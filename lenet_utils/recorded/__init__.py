"""Training steps on a GPU, recorded once and played back: what `train_ch6(..., fused=True)` does there.

Calling an operation takes Python longer than doing one of LeNet's takes a GPU, so a loop that calls them one by one
leaves the GPU idle most of the time. A CUDA graph holds all operations of many steps, and one call plays them. Such a
recording does the same with the same memory every time. So whatever changes from step to step lies on the GPU: which
images are next, and the running sums.
"""

import contextlib
import functools
import random
import warnings

import numpy
import torch

from .. import train
from ..data import Batches
from ..fused.build import Declined
from ..fused.networks import hooked
from ..model import evaluation_mode, random_state_kept
from ..support import checks

MOST_STEPS = 64  # in one recording: enough for its call to cost nothing, and few enough to record in a moment


def record(net, lr, device, make_steps=None):
    """`train_epoch` and `evaluate_accuracy_gpu` by recorded steps of SGD at the rate `lr` on the net's own parameters.

    `make_steps`: what a step is, `Steps`, with PyTorch's own operations and not only for LeNet, unless told otherwise.
    """
    player = Player(net, functools.partial(make_steps or Steps, net, lr), device)
    return functools.partial(train_epoch, player), train.evaluate_accuracy_gpu


def train_epoch(player, net, train_iter, optimizer, device, history, animator, stop):
    """As `train.train_epoch`, but the sums are read once, at the end: until then the GPU has work and no questions."""
    net.train()
    if not player.ready_for(train_iter):
        return train.train_epoch(net, train_iter, optimizer, device, history, animator, stop)
    num_batches = len(train_iter)
    timer, done, marks = train.Timer(), 0, []
    player.steps.begin(train_iter.order())
    for size, count, draws in plan(len(train_iter.labels), train_iter.batch_size):
        stop.check()
        player.play(size, count)
        done += count
        if draws:
            marks.append((done, player.steps.sums.clone()))
    places, sums = zip(*marks)
    sums = torch.stack(sums).tolist()  # waits for the GPU
    train.add_points(list(zip(places, sums)), num_batches, history, animator)
    return *train.epoch_means(sums[-1], num_batches, history), timer.stop()


def plan(num_images, batch_size):
    """What a pass plays, part by part: images a step, steps, and whether a point of the curve follows.

    >>> plan(60_000, 256)[-3:]
    [(256, 47, True), (256, 46, False), (96, 1, True)]
    """
    full, rest = divmod(num_images, batch_size)
    draw_every = train.batches_between_points(full + bool(rest))
    parts, done = [], 0
    while done < full:
        count = min(MOST_STEPS, full - done, draw_every - done % draw_every)
        done += count
        parts.append((batch_size, count, done % draw_every == 0 or (done == full and not rest)))
    return parts + [(rest, 1, True)] * bool(rest)


class Steps:
    """Steps of SGD on the images of `batches` in an order that lies on their device, as do the sums over the steps."""

    def __init__(self, net, lr, batches):
        self.net, self.lr, self.batches = net, lr, batches
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        device = batches.labels.device
        self.order = torch.arange(len(batches.labels), device=device)  # the rows of this pass
        self.first = torch.zeros((), dtype=torch.int64, device=device)  # the place in it of the next step's first row
        self.offsets = torch.arange(batches.batch_size, device=device)
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)  # as in train.train_epoch
        self.each_sum = self.sums.unbind()

    def begin(self, order):
        """Begin a pass over the rows `order`, `(n,)`."""
        self.order.copy_(order)
        self.first.zero_()
        self.sums.zero_()

    def take(self, size):
        """One step on the next `size` images. Does not wait for the device, and always uses the same memory."""
        X, y = self.batches.pick(self.order[self.first + self.offsets[:size]])
        checks.batch(X, y)
        for p in self.parameters:
            p.grad = None
        with checks.types_explained(self.net, X):
            y_hat = self.net(X)
        checks.logits(y_hat, y)
        loss = train.cross_entropy(y_hat, y)
        loss.backward()
        with torch.no_grad():
            learning = [p for p in self.parameters if p.grad is not None]
            torch._foreach_add_(learning, [p.grad for p in learning], alpha=-self.lr)  # all of them by one call
            finite = loss - loss == 0  # infinity - infinity is NaN, too; isfinite takes more operations
            for total, new in zip(self.each_sum, (loss * size, train.count_correct(y_hat, y), size, finite)):
                total.add_(new)
            self.first += size
        for p in self.parameters:
            p.grad = None  # a recording's memory is nobody else's


class Player:
    """Recordings of all parts of a pass over some batches: made when these batches first come, played ever after."""

    def __init__(self, net, make_steps, device):
        self.net, self.make_steps, self.device = net, make_steps, device
        self.steps, self.recordings, self.learning, self.declined = None, {}, None, False

    def ready_for(self, train_iter):
        """Whether there are recordings for the batches `train_iter`; makes them the first time, or says why not."""
        if self.steps is None and not self.declined:
            try:
                self.record(train_iter)
            except Declined as reason:
                print(f"not fused, since {reason}; the training goes on without")
                self.declined = True
        recorded = self.steps is not None and self.steps.batches is train_iter
        return recorded and self.learning == learning(self.net)  # what has thawed since does not learn in a recording

    def record(self, train_iter):
        """Raises Declined where that cannot be done."""
        if type(train_iter) is not Batches:
            raise Declined(f"only the course's own batches lie on the GPU, and this is a {type(train_iter).__name__}")
        for name, module in self.net.named_modules():
            if hooked(module):
                place = f"layer {name}" if name else "the network"
                raise Declined(f"{place} has hooks, which a recording would not call")
        for name, p in self.net.named_parameters():
            if p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None):
                raise Declined(f"the parameter {name} has hooks, which a recording would not call")
        parts = {(size, count) for size, count, _ in plan(len(train_iter.labels), train_iter.batch_size)}
        try:
            steps = self.make_steps(train_iter)
            with as_it_was(self.net, self.device):
                self.recordings = self.record_parts(steps, sorted(parts))
        except (Declined, ValueError):
            raise
        except Exception as problem:  # PyTorch's are RuntimeErrors, Triton's are not
            reason = next(iter(str(problem).strip().splitlines()), type(problem).__name__)
            raise Declined(f"PyTorch cannot record the steps of this network ({reason})") from problem
        self.steps, self.learning = steps, learning(self.net)

    def record_parts(self, steps, parts):
        """A function that plays it, for every `(size, count)` of `parts`."""
        works = {part: functools.partial(repeat, steps.take, *part) for part in parts}
        if self.device.type != "cuda":
            return works  # nothing is queued, so there are no calls to save
        self.look_at_labels(steps)
        for p in steps.parameters:
            gather_anew(p)
        recordings = {}
        stream, pool = torch.cuda.Stream(self.device), torch.cuda.graph_pool_handle()
        usual = torch.cuda.current_stream(self.device)
        stream.wait_stream(usual)
        try:
            with torch.cuda.stream(stream):  # which ends here, also where a recording that fails would not end it
                # What libraries do on their first call cannot be recorded, and they do it once for each stream.
                for size in {size for size, _ in parts}:
                    for wait in ("default", "default", "error"):  # a step that waits for the GPU cannot be recorded
                        steps.begin(steps.order)
                        with waiting_is(wait), drawing_nothing_on_the_cpu():
                            steps.take(size)
                for part, work in works.items():
                    graph = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(graph, pool=pool, stream=stream):
                        work()
                    recordings[part] = graph.replay
                steps.begin(steps.order)
        finally:
            usual.wait_stream(stream)  # before anybody puts the weights back
        return recordings

    def look_at_labels(self, steps):
        """Raises ValueError for labels that the network has no output for: a GPU would not say what is wrong."""
        with evaluation_mode(self.net), torch.no_grad():
            X, y = steps.batches.pick(steps.batches.labels.new_zeros(1))
            with checks.types_explained(self.net, X):
                y_hat = self.net(X)
            checks.logits(y_hat, y)
            checks.all_labels(steps.batches.labels, y_hat)

    def play(self, size, count):
        self.recordings[size, count]()


def learning(net):
    return [p.requires_grad for p in net.parameters()]


def gather_anew(p):
    """Gives the parameter `p` a new node to gather its gradient at; its values and its memory stay.

    A node belongs to the stream on which it was made, and lives as long as any loss that leads to it: while a learner
    holds one of this network, from the default stream, no step could be recorded on another. PyTorch takes a new node
    where a parameter has changed its type, even if it changes back.
    """
    data = p.data
    p.data = data.new_empty(0, dtype=torch.float32 if data.dtype == torch.float64 else torch.float64)
    p.data = data


def repeat(take, size, count):
    for _ in range(count):
        take(size)


@contextlib.contextmanager
def waiting_is(mode):
    """Within it, whatever waits for the GPU is an "error"; or, by "default", it is not.

    A recording that such a step breaks off would leave the GPU's random state unusable in PyTorch before 2.12.
    """
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextlib.contextmanager
def drawing_nothing_on_the_cpu():
    """Raises Declined after steps that drew: what they made of these random numbers would be played ever after."""
    before = states_on_the_cpu()
    yield
    if states_on_the_cpu() != before:
        raise Declined("the network draws random numbers on the CPU, and a recording would repeat what it made of them")


def states_on_the_cpu():
    """Of all random generators that a network may ask there: PyTorch's, Python's and NumPy's."""
    _, numbers, *place = numpy.random.get_state()
    return bytes(torch.get_rng_state().numpy()), random.getstate(), numbers.tobytes(), place


@contextlib.contextmanager
def as_it_was(net, device):
    """After it, the weights of `net`, its running averages and the random states are as they were before."""
    tensors = [*net.parameters(), *net.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    pythons, numpys = random.getstate(), numpy.random.get_state()
    try:
        with random_state_kept(device):
            yield
    finally:
        random.setstate(pythons)
        numpy.random.set_state(numpys)
        with torch.no_grad():
            for tensor, value in zip(tensors, kept):
                tensor.copy_(value)
            for p in net.parameters():
                p.grad = None
