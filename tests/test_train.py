"""Training: d2l's numbers bit for bit, and d2l's defects gone."""

import copy
import gc
import math
import os
import re
import signal
import threading
import time
import types
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lenet_utils import (
    Accumulator,
    Diverged,
    History,
    Timer,
    accuracy,
    evaluate_accuracy_gpu,
    lenet,
    train,
    train_ch6,
    try_gpu,
)
from lenet_utils.data import Batches
from lenet_utils.parallel.resume import Requests
from lenet_utils.support import checks
from lenet_utils.support.stop import StopBetweenBatches

CPU = torch.device("cpu")


def make_batches(*sizes, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.rand(n, 1, 28, 28, generator=generator), torch.randint(0, 10, (n,), generator=generator)) for n in sizes
    ]


def small_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def weights(net):
    return [p.detach().clone() for p in net.parameters()]


def same(a, b):
    return len(a) == len(b) and all(map(torch.equal, a, b))


def fit(net=None, train_iter=None, num_epochs=1, lr=0.1, **more):
    """`train_ch6` on small batches without drawing."""
    train_iter = make_batches(4, 4, 2) if train_iter is None else train_iter
    net = small_net() if net is None else net
    return train_ch6(net, train_iter, make_batches(5, 3, seed=2), num_epochs, lr, CPU, animator=False, **more)


class Recorder:
    """Stands in for an Animator and notes what it is given."""

    def __init__(self, *_, **__):
        self.points, self.flushed = [], 0

    def add(self, x, y):
        self.points.append((x, y))

    def flush(self):
        self.flushed += 1


# Timer


def test_timer_keeps_seconds(monkeypatch):
    clock = iter([10.0, 12.5, 20.0, 20.25])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    timer = Timer()
    assert timer.stop() == 2.5
    timer.start()
    assert timer.stop() == 0.25
    assert timer.times == [2.5, 0.25]


def test_timer_sums_like_d2ls(book):
    ours, theirs = Timer(), book.Timer()
    ours.times = theirs.times = [0.5, 0.1, 3.0]
    assert (ours.sum(), ours.avg(), ours.cumsum()) == (theirs.sum(), theirs.avg(), theirs.cumsum())
    assert set(dir(ours)) >= {name for name in dir(theirs) if not name.startswith("_")}


# Accumulator


def test_accumulator_like_d2ls(book):
    ours, theirs = Accumulator(3), book.Accumulator(3)
    for _ in range(50):
        values = torch.rand(()) * 100, float(torch.rand(())), int(torch.randint(0, 256, ()))
        ours.add(*values)
        theirs.add(*values)
    assert list(ours) == theirs.data
    ours.reset()
    assert list(ours) == [0.0] * 3 and len(ours) == 3


def test_accumulator_takes_any_single_number():
    sums = Accumulator(5)
    sums.add(torch.tensor([[2.0]]), True, torch.tensor(3, dtype=torch.uint8), 4, torch.tensor(True))
    assert list(sums) == [2.0, 1.0, 3.0, 4.0, 1.0]
    assert all(type(value) is float for value in sums)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_accumulator_refuses_another_count(count):
    sums = Accumulator(2)
    with pytest.raises(ValueError, match=f"expected 2 values, one for each sum, got {count}"):
        sums.add(*range(count))
    assert list(sums) == [0.0, 0.0]


def test_accumulator_refuses_a_vector():
    with pytest.raises(ValueError, match=r"single number .*\(3,\)"):
        Accumulator(1).add(torch.ones(3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.float16, torch.bfloat16])
def test_sums_of_small_types_do_not_overflow(dtype):
    sums = Accumulator(1)
    for _ in range(1000):
        sums.add(torch.tensor(100, dtype=dtype))
    assert sums[0] == 100_000


def test_sums_keep_64_bits():
    sums = Accumulator(1)
    sums.add(torch.tensor(2.0**25))
    for _ in range(10):
        sums.add(torch.tensor(1.0))  # a 32-bit sum stays at 2 ** 25
    assert sums[0] == 2**25 + 10


def test_accumulator_keeps_no_graph():
    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor

    saved = []

    def pack(tensor):
        holder = Saved(tensor.detach())
        saved.append(weakref.ref(holder))
        return holder

    sums, x = Accumulator(1), torch.ones(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda holder: holder.tensor):
        sums.add(x.exp().sum())
    gc.collect()
    assert saved and all(ref() is None for ref in saved)
    assert sums[0] == pytest.approx(3 * math.e)


def test_adding_does_not_change_what_was_added():
    value, sums = torch.tensor(1.0, dtype=torch.float64), Accumulator(1)
    sums.add(value)
    sums.add(value)
    assert value == 1.0 and sums[0] == 2.0


# accuracy


@pytest.mark.parametrize(("y_hat", "y"), [
    (torch.randn(20, 10), torch.randint(0, 10, (20,))),
    (torch.randn(20, 2), torch.randint(0, 2, (20,))),
    (torch.randint(0, 3, (20,)), torch.randint(0, 3, (20,))),
    (torch.randint(0, 3, (20,)).float(), torch.randint(0, 3, (20,))),
    (torch.randn(20, 10), torch.randint(0, 10, (20,), dtype=torch.uint8)),
    (torch.randn(20, 10), torch.randint(0, 10, (20,)).to(torch.uint16)),
    (torch.zeros(0, 10), torch.zeros(0, dtype=torch.int64)),
])  # fmt: skip
def test_accuracy_like_d2ls(book, y_hat, y):
    assert accuracy(y_hat, y) == book.accuracy(y_hat, y)
    assert type(accuracy(y_hat, y)) is float


@pytest.mark.parametrize(("labels", "got"), [([1, 2], "list"), (torch.tensor([1, 2]).numpy(), "ndarray")])
def test_accuracy_wants_labels_as_a_tensor(labels, got):
    with pytest.raises(ValueError, match=rf"labels y as a tensor \(N,\), got {got}"):
        accuracy(torch.rand(2, 10), labels)


def test_accuracy_by_hand():
    y_hat = torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])
    assert accuracy(y_hat, torch.tensor([1, 0, 2, 2])) == 3.0


@pytest.mark.parametrize(("answer", "label"), [(261, torch.tensor([5], dtype=torch.uint8)), (5, torch.tensor([True]))])
def test_a_class_beyond_the_type_of_the_labels_is_not_right(book, answer, label):
    y_hat = torch.eye(300)[[answer]]
    assert book.accuracy(y_hat, label) == 1.0  # d2l's defect: 261 as a byte is 5, and any class but 0 is true
    assert accuracy(y_hat, label) == 0.0
    assert evaluate_accuracy_gpu(lambda X: X, [(y_hat, label)]) == 0.0


def test_no_label_is_too_high_for_many_classes():
    y_hat, y = torch.eye(300)[[100]], torch.tensor([100], dtype=torch.uint8)  # as a byte, 300 is 44
    assert evaluate_accuracy_gpu(lambda X: X, [(y_hat, y)]) == 1.0


def test_one_column_is_not_compared_with_every_label(book):
    y_hat, y = torch.tensor([[0.0], [1.0], [1.0]]), torch.tensor([0, 1, 1])
    assert book.accuracy(y_hat, y) == 5.0  # d2l's defect: 5 right of 3
    with pytest.raises(ValueError, match=r"one prediction for each label, got \(3, 1\) for \(3,\)"):
        accuracy(y_hat, y)


@pytest.mark.parametrize(("y_hat", "y"), [
    (torch.rand(4, 10), torch.zeros(3)), (torch.rand(4, 10), torch.zeros(4, 1)), (torch.rand(1), torch.zeros(4)),
])  # fmt: skip
def test_accuracy_refuses_other_shapes(y_hat, y):
    with pytest.raises(ValueError, match="one prediction for each label"):
        accuracy(y_hat, y)


# try_gpu


@pytest.fixture
def machine(monkeypatch):
    """A function that pretends to a number of GPUs, and to an Apple GPU or none."""

    def pretend(gpus=0, apple=False):
        monkeypatch.delenv("LENET_DEVICE", raising=False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)

    return pretend


@pytest.mark.parametrize(("gpus", "apple", "i", "expected"), [
    (0, False, 0, "cpu"), (1, False, 0, "cuda:0"), (1, False, 1, "cpu"), (4, False, 3, "cuda:3"),
    (0, True, 0, "mps"), (1, True, 0, "cuda:0"),
])  # fmt: skip
def test_try_gpu(machine, gpus, apple, i, expected):
    machine(gpus, apple)
    assert try_gpu(i) == torch.device(expected)


def test_try_gpu_takes_the_first_by_itself(machine):
    machine(gpus=2)
    assert try_gpu() == torch.device("cuda:0")


def test_a_gpu_whose_driver_is_too_old_is_none(machine, monkeypatch):
    machine(gpus=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # while it is counted nevertheless
    assert try_gpu() == CPU


@pytest.mark.parametrize("i", [-1, -2, 0.5, "0", None, True])
def test_try_gpu_refuses(machine, i):
    machine(gpus=2)
    with pytest.raises(ValueError, match="number of the GPU"):
        try_gpu(i)


def test_lenet_device_overrules(machine, monkeypatch):
    machine(gpus=2)
    monkeypatch.setenv("LENET_DEVICE", "cpu")
    assert try_gpu() == CPU
    monkeypatch.setenv("LENET_DEVICE", "")
    assert try_gpu() == torch.device("cuda:0")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "-1", "hpu"])
def test_lenet_device_that_is_not_here(machine, monkeypatch, name):
    machine()
    monkeypatch.setenv("LENET_DEVICE", name)
    with pytest.raises(ValueError, match=f"a device that this machine has, got '{name}': take .* LENET_DEVICE away"):
        try_gpu()


# evaluate_accuracy_gpu


def test_evaluation_over_all_batches():
    net, batches = lenet(), make_batches(64, 64, 64, 5)
    nn.init.normal_(net[-1].bias)
    right = sum(int(net(x[None]).argmax()) == int(label) for X, y in batches for x, label in zip(X, y))
    assert evaluate_accuracy_gpu(net, batches) == right / 197
    assert evaluate_accuracy_gpu(net, iter(batches), "cpu") == right / 197


def test_evaluation_like_d2ls(book):
    net, batches = lenet(), make_batches(30, 30, 7)
    assert evaluate_accuracy_gpu(net, batches) == book.evaluate_accuracy_gpu(net, batches)


def test_the_first_batch_does_not_decide():
    images = torch.zeros(4, 10)
    images[:, 3] = 1
    first, second = (images, torch.tensor([3, 3, 3, 3])), (images[:1], torch.tensor([7]))
    assert evaluate_accuracy_gpu(nn.Identity(), [first, second]) == 4 / 5
    assert evaluate_accuracy_gpu(nn.Identity(), [second, first]) == 4 / 5


def test_evaluation_of_a_plain_function_and_of_a_list_of_inputs():
    X, y = torch.eye(10), torch.arange(10)
    assert evaluate_accuracy_gpu(lambda X: X, [(X, y)]) == 1.0
    assert evaluate_accuracy_gpu(lambda pair: pair[0] * 0 + pair[1], [([X, X.flip(0)], y)]) == 0.0


class Watcher(nn.Module):
    """Notes in which mode it is called; fails when it is told to."""

    def __init__(self, fails=False):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.fails, self.calls = fails, []

    def forward(self, X):
        if self.fails:
            raise ZeroDivisionError
        self.calls.append((self.training, torch.is_grad_enabled()))
        return X.flatten(1)[:, :10] + self.weight


def mixed_net(fails=False):
    """A net in training mode with a frozen BatchNorm in it, as in fine-tuning."""
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Sequential(nn.Dropout(0.5), Watcher(fails)))
    net[0].eval()
    return net


def modes(net):
    return [module.training for module in net.modules()]


@pytest.mark.parametrize("whole", [None, True, False])
def test_evaluation_gives_each_module_its_own_mode_back(whole):
    net = mixed_net() if whole is None else mixed_net().train(whole)
    before = modes(net)
    evaluate_accuracy_gpu(net, make_batches(4, 2))
    assert modes(net) == before
    assert net[1][1].calls == [(False, False)] * 2


def test_what_an_iterator_makes_during_the_test_can_be_trained_on():
    class MadeOnce:
        def __len__(self):
            return 2

        def __iter__(self):
            self.batches = getattr(self, "batches", None) or [(X + 0, y + 0) for X, y in make_batches(4, 4)]
            return iter(self.batches)

    net, batches = lenet(), MadeOnce()
    evaluate_accuracy_gpu(net, batches)  # tensors made in PyTorch's inference mode could not go backward ever after
    assert len(train_ch6(net, batches, batches, 1, 0.1, CPU, animator=False)) == 1


def test_evaluation_gives_the_modes_back_after_an_exception():
    net = mixed_net(fails=True)
    before = modes(net)
    with pytest.raises(ZeroDivisionError):
        evaluate_accuracy_gpu(net, make_batches(4))
    assert modes(net) == before
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_evaluation_changes_no_running_average():
    net = mixed_net().train()
    before = [buffer.clone() for buffer in net.buffers()]
    evaluate_accuracy_gpu(net, make_batches(4))
    assert same(before, list(net.buffers()))


@pytest.mark.parametrize("nothing", [[], iter([]), [(torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64))]])
def test_evaluation_of_nothing(nothing):
    with pytest.raises(ValueError, match="at least one batch"):
        evaluate_accuracy_gpu(small_net(), nothing)


@pytest.mark.parametrize("label", [-1, -100, 10, 255])
def test_evaluation_refuses_impossible_labels(label):
    batches = make_batches(4, 4)
    batches[1][1][2] = label
    with pytest.raises(ValueError, match=r"labels from 0 to 9.* got 1 of 8 outside that range"):
        evaluate_accuracy_gpu(small_net(), batches)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = small_net()

    def forward(self, X):
        return self.net(X), X


@pytest.mark.parametrize("work", [lambda *them: evaluate_accuracy_gpu(*them), lambda *them: fit(*them, 1)])
def test_a_net_that_gives_more_than_logits_is_refused(work):
    with pytest.raises(ValueError, match=r"expected the net to give one tensor, .* got tuple: let its forward"):
        work(TwoHeads(), make_batches(4))


def test_evaluation_of_two_classes_and_of_class_numbers():
    scores, y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1, 0])
    assert evaluate_accuracy_gpu(nn.Identity(), [(scores, y)]) == 2 / 3
    assert evaluate_accuracy_gpu(nn.Identity(), [(scores.argmax(1), y)]) == 2 / 3
    with pytest.raises(ValueError, match=r"labels from 0 to 1.* got 1 of 3"):
        evaluate_accuracy_gpu(nn.Identity(), [(scores, y + torch.tensor([0, 0, 2]))])


def test_evaluation_of_one_output():
    one_output = nn.Sequential(nn.Flatten(), nn.Linear(784, 1))
    with pytest.raises(ValueError, match=r"got \(4, 1\) for \(4,\): a net with one output .* give its last layer two"):
        evaluate_accuracy_gpu(one_output, make_batches(4))


@pytest.mark.parametrize(("net", "batches", "device", "message"), [
    (small_net(), make_batches(4), "gpu", "a device that this machine has, got 'gpu'"),
    (make_batches(4), small_net(), None, "net to be a network, .* got list: first comes the net"),
    (small_net(), None, None, "data_iter to be batches to iterate over, .* got None"),
    (small_net(), make_batches(4)[0], None, r"data_iter to give batches, pairs .* got Tensor: .* \[\(X, y\)\]"),
])  # fmt: skip
def test_evaluation_of_what_cannot_be_tested(net, batches, device, message):
    with pytest.raises(ValueError, match=message):
        evaluate_accuracy_gpu(net, batches, device)


# SGD


def test_sgd_is_torchs_to_the_bit():
    net = lenet()
    net[1].bias.requires_grad_(False)
    twin = copy.deepcopy(net)
    ours, theirs = train.SGD(net.parameters(), 0.9), torch.optim.SGD(twin.parameters(), lr=0.9)
    for X, y in make_batches(*[8] * 20):
        for model, optimizer in ((net, ours), (twin, theirs)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(X), y).backward()
            optimizer.step()
        assert same(weights(net), weights(twin))


def test_sgd_leaves_weights_without_a_gradient_alone():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = train.SGD([used, unused], 0.5)
    used.sum().backward()
    optimizer.step()
    assert used.tolist() == [0.5, 0.5] and unused.tolist() == [1.0, 1.0]
    optimizer.zero_grad()
    optimizer.step()
    assert used.tolist() == [0.5, 0.5]


# Parity with d2l


class BatchNormByHand(nn.Module):
    """As the book writes it: running averages that are no buffers, and gradients that tell training from testing."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.mean = torch.zeros(1, channels, 1, 1)

    def forward(self, X):
        if torch.is_grad_enabled():
            self.mean = 0.9 * self.mean + 0.1 * X.mean(dim=(0, 2, 3), keepdim=True).detach()
        return self.gamma * (X - self.mean)


class Block(nn.Module):
    """Paths side by side, as in GoogLeNet, to which the input is added in place, as in ResNet."""

    def __init__(self, channels):
        super().__init__()
        self.left = nn.Conv2d(channels, channels // 2, kernel_size=3, padding=1)
        self.right = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(channels, channels // 2, 1))

    def forward(self, X):
        Y = torch.cat([self.left(X), self.right(X)], dim=1)
        Y += X
        return Y.relu()


def modern_net():
    """The kinds of layers in the book's chapters on modern networks."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, kernel_size=7, padding=3), BatchNormByHand(8), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)),
        *(Block(8), nn.BatchNorm2d(8), nn.AvgPool2d(2, 2), nn.Dropout(0.5)),  # (N, 8, 7, 7)
        *(nn.Conv2d(8, 10, kernel_size=1, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


@pytest.mark.parametrize("sizes", [[16] * 5, [16] * 9 + [7]], ids=["five batches", "ten, uneven"])
@pytest.mark.parametrize("make_net", [lenet, mixed_net, modern_net], ids=["LeNet", "frozen parts", "modern"])
def test_two_epochs_equal_d2ls_to_the_bit(book, monkeypatch, capsys, sizes, make_net):
    drawn = Recorder()
    monkeypatch.setattr(book, "Animator", lambda *_, **__: drawn)
    train_iter, test_iter = make_batches(*sizes), make_batches(16, 9, seed=2)

    torch.manual_seed(3)
    theirs = make_net()
    book.train_ch6(theirs, train_iter, test_iter, 2, 0.9, CPU)
    their_text = capsys.readouterr().out

    torch.manual_seed(3)
    ours, ours_drawn = make_net(), Recorder()
    history = train_ch6(ours, train_iter, test_iter, 2, 0.9, CPU, animator=ours_drawn)
    our_text = capsys.readouterr().out

    assert same(weights(ours), weights(theirs))
    assert ours_drawn.points == drawn.points
    assert history.test_acc == [y[2] for _, y in drawn.points if y[2] is not None]
    last = [y for _, y in drawn.points if y[2] is None][-1]
    assert (history.train_loss[-1], history.train_acc[-1]) == last[:2]
    assert our_text.splitlines()[:2] == their_text.splitlines()[:2]


def test_the_training_changes_something():
    net = lenet()
    before = weights(net)
    train_ch6(net, make_batches(8, 8), make_batches(8), 1, 0.9, CPU, init_weights=None, animator=False)
    assert not any(map(torch.equal, before, weights(net)))


# Numbers of epochs and batches


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9, 11, 23])
def test_any_number_of_batches(count):
    drawn = Recorder()
    sizes = [3] * (count - 1) + [1]
    history = train_ch6(small_net(), make_batches(*sizes), make_batches(5), 2, 0.1, CPU, animator=drawn)
    assert history.images == [3 * count - 2] * 2
    points = [x for x, y in drawn.points if y[2] is None]
    assert points[-1] == 2.0 and 1.0 in points
    assert 2 * min(count, 3) <= len(points) <= 2 * 6
    assert points == [point[0] for point in history.points]
    assert drawn.flushed >= 1


def test_no_epochs(capsys):
    net = small_net()
    drawn = Recorder()
    history = train_ch6(net, make_batches(4), make_batches(4), 0, 0.1, CPU, animator=drawn)
    assert len(history) == 0 and history and history.rows() == [] and history.points == drawn.points == []
    assert capsys.readouterr().out == "training on cpu\nno epoch finished on cpu\n"


def test_the_default_animator_takes_no_epochs(capsys):
    assert len(train_ch6(small_net(), make_batches(4), make_batches(4), 0, 0.1, CPU)) == 0


@pytest.mark.parametrize(("epochs", "right_end"), [(0, 1), (1, 1), (3, 3)])
def test_the_default_animator_shows_every_epoch(monkeypatch, epochs, right_end):
    class Noted(Recorder):
        def __init__(self, **settings):
            super().__init__()
            made.append(settings)

    made = []
    monkeypatch.setattr("lenet_utils.plot.Animator", Noted)
    train_ch6(small_net(), make_batches(4), make_batches(4), epochs, 0.1, CPU)
    (settings,) = made
    assert settings["xlim"] == [0, right_end]
    assert settings["legend"] == ["train loss", "train acc", "test acc"]


def test_the_last_uneven_batch_counts_by_its_images():
    net = small_net()
    train_iter = make_batches(7, 2)
    history = fit(net, train_iter, lr=0.0, init_weights=None)
    X, y = (torch.cat(parts) for parts in zip(*train_iter))
    assert history.train_loss[0] == pytest.approx(nn.functional.cross_entropy(net(X), y).item(), rel=1e-6)
    assert history.train_acc[0] == accuracy(net(X), y) / 9


def test_a_generator_of_batches_with_a_length():
    class Sized:
        def __len__(self):
            return 3

        def __iter__(self):
            yield from make_batches(2, 2, 2)

    assert fit(train_iter=Sized(), num_epochs=2).images == [6, 6]


def test_test_batches_need_no_length():
    test_iter = make_batches(4, 4)
    history = train_ch6(small_net(), make_batches(4), iter(test_iter), 1, 0.1, CPU, animator=False)
    assert len(history.test_acc) == 1


def test_a_net_of_doubles_takes_doubles():
    batches = [(X.double(), y) for X, y in make_batches(4, 4)]
    history = train_ch6(small_net().double(), batches, batches, 1, 0.1, CPU, animator=False)
    assert len(history) == 1


def test_init_weights_none_goes_on_from_the_nets_weights():
    net = small_net()
    before = weights(net)
    fit(net, lr=0.0, init_weights=None)
    assert same(before, weights(net))
    fit(net, lr=0.0)
    assert not torch.equal(before[0], weights(net)[0])


def test_two_runs_of_one_epoch_equal_one_run_of_two():
    torch.manual_seed(5)
    net = small_net()
    twin = copy.deepcopy(net)
    for _ in range(2):
        fit(net, init_weights=None)
    fit(twin, num_epochs=2, init_weights=None)
    assert same(weights(net), weights(twin))


def test_init_weights_reaches_every_layer():
    net, seen = lenet(), []
    fit(net, init_weights=seen.append)
    assert seen == [*net.children(), net]


def test_xavier_bounds():
    net = lenet()
    fit(net, lr=0.0)
    for layer in net:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            fan_in, fan_out = layer.weight[0].numel(), layer.weight[:, 0].numel()
            bound = math.sqrt(6 / (fan_in + fan_out))
            assert 0.8 * bound < layer.weight.abs().max() <= bound


# Modes


def test_every_epoch_trains_in_training_mode_and_tests_in_evaluation_mode():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), Watcher())
    net.eval()
    fit(net, num_epochs=2)
    one_epoch = [(True, True)] * 3 + [(False, False)] * 2
    assert net[2].calls == one_epoch * 2


@pytest.mark.parametrize("keep", [False, True], ids=["as usual", "with a checkpoint"])
@pytest.mark.parametrize("num_epochs", [0, 1])
def test_the_net_comes_back_ready_to_predict(tmp_path, num_epochs, keep):
    net, (X, _) = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(784, 10)), make_batches(4)[0]
    fit(net, num_epochs=num_epochs, checkpoint=tmp_path if keep else None)
    assert not any(modes(net)) and torch.equal(net(X), net(X))


# Waiting for the device

READERS = ("item", "tolist", "numpy", "cpu", "__float__", "__bool__", "__int__", "__index__", "__array__")
READING_OPS = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "is_nonzero", "_unique2", "unique_dim")


class CountReads(TorchDispatchMode):
    """Counts what would wait for a GPU: operations that read a value, and the methods of a tensor that do."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.ops, self.methods = 0, 0
        for name in READERS:
            monkeypatch.setattr(torch.Tensor, name, self.counted(getattr(torch.Tensor, name)))

    def counted(self, method):
        def call(*arguments, **named):
            self.methods += 1
            return method(*arguments, **named)

        return call

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.ops += function.overloadpacket.__name__ in READING_OPS
        return function(*arguments, **(named or {}))


def count_reads(monkeypatch, num_batches, work):
    batches = make_batches(*[2] * num_batches)
    with monkeypatch.context() as context, CountReads(context) as reads:
        work(batches)
    return reads.ops, reads.methods


def test_reads_are_counted(monkeypatch):
    def work(batches):
        value = torch.ones(1)
        for read in (float, int, bool, torch.Tensor.item, torch.Tensor.tolist):
            read(value)

    ops, methods = count_reads(monkeypatch, 1, work)
    assert ops >= 4 and methods >= 5


@pytest.mark.parametrize("epochs", [1, 3])
def test_reads_of_training_do_not_grow_with_the_batches(monkeypatch, epochs):
    def work(batches):
        train_ch6(small_net(), batches, batches, epochs, 0.1, CPU, animator=False)

    few, many = count_reads(monkeypatch, 10, work), count_reads(monkeypatch, 100, work)
    assert few == many
    assert 0 < max(few) <= 40 * epochs


def test_reads_of_evaluation_do_not_grow_with_the_batches(monkeypatch):
    net = small_net()
    few = count_reads(monkeypatch, 10, lambda batches: evaluate_accuracy_gpu(net, batches))
    many = count_reads(monkeypatch, 100, lambda batches: evaluate_accuracy_gpu(net, batches))
    assert few == many


def test_d2l_reads_on_every_batch(book, monkeypatch):
    net = small_net()
    few, many = (count_reads(monkeypatch, n, lambda b: book.evaluate_accuracy_gpu(net, b)) for n in (10, 100))
    assert sum(many) >= sum(few) + 90


# Another device: "meta" has shapes and no values, so all work on it goes well until somebody reads a number


def watch_devices(net):
    """The types of the devices of what `net` is given, batch by batch."""
    seen = []
    net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].device.type))
    return seen


NO_VALUE = "meta tensors"


@pytest.mark.parametrize(("net", "device"), [(small_net().to("meta"), None), (nn.Flatten(), "meta")])
def test_evaluation_moves_every_batch_to_the_device(net, device):
    seen = watch_devices(net)
    with pytest.raises(RuntimeError, match=NO_VALUE):
        evaluate_accuracy_gpu(net, make_batches(4, 4), device)
    assert seen == ["meta"] * 2


def test_evaluation_moves_lists_of_tensors():
    X, y = torch.eye(10), torch.arange(10)
    seen = []
    with pytest.raises(RuntimeError, match=NO_VALUE):
        evaluate_accuracy_gpu(lambda pair: seen.append(pair[1].device.type) or pair[1], [([X, X], y)], "meta")
    assert seen == ["meta"]


@pytest.mark.parametrize(("patience", "batches"), [(math.inf, 10), (0.0, 2)])
def test_training_reads_nothing_before_the_epoch_is_over(monkeypatch, patience, batches):
    """Unless it takes long: then as soon as there is a point to draw, which of ten batches the second brings."""
    monkeypatch.setattr(train, "PATIENCE", patience)
    net = small_net()
    seen = watch_devices(net)
    with pytest.raises(RuntimeError, match=NO_VALUE):
        train_ch6(net, make_batches(*[2] * 10), make_batches(2), 1, 0.1, "meta", animator=False)
    assert seen == ["meta"] * batches
    assert {p.device.type for p in net.parameters()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_nobody_waits_within_an_epoch(monkeypatch):
    class Watched(list):
        def __iter__(self):
            for batch in super().__iter__():
                torch.cuda.set_sync_debug_mode("error")
                yield batch
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(train, "PATIENCE", math.inf)
    net, device = lenet().to("cuda"), torch.device("cuda")
    there = Watched((X.to(device), y.to(device)) for X, y in make_batches(*[2] * 11))
    try:
        with StopBetweenBatches() as stop:
            train.train_epoch(net, there, train.SGD(net.parameters(), 0.1), device, History("here"), None, stop)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_points_that_are_read_late_are_the_same(monkeypatch):
    """Told that the CPU is somewhere else, the loop reads its sums when the epoch is over, or where it takes long."""
    elsewhere, move = types.SimpleNamespace(type="elsewhere"), torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda X, *to: X if to == (elsewhere,) else move(X, *to))

    def points(device, patience):
        monkeypatch.setattr(train, "PATIENCE", patience)
        torch.manual_seed(0)
        net, drawn, history = small_net(), Recorder(), History("here")
        optimizer = train.SGD(net.parameters(), 0.1)
        for _ in range(2):
            with StopBetweenBatches() as stop:
                trained = train.train_epoch(net, make_batches(*[2] * 11), optimizer, device, history, drawn, stop)
            history.add(*trained, 0.5)
        return history.points, drawn.points, history.train_loss

    at_once = points(CPU, 1.0)
    assert len(at_once[0]) == len(at_once[1]) == 2 * 4
    assert at_once == points(elsewhere, math.inf) == points(elsewhere, 0.0)


def test_training_moves_the_whole_data_set_at_once():
    class Watched(Batches):
        def to(self, device):
            moved.append(str(device))
            return super().to(device)

    moved, images = [], torch.zeros(8, 28, 28, dtype=torch.uint8)
    batches = Watched(images, torch.arange(8), 2)
    with pytest.raises(RuntimeError, match=NO_VALUE):
        train_ch6(small_net(), batches, batches, 1, 0.1, "meta", animator=False)
    assert moved == ["meta", "meta"]


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [100] * 30), ("meta", [2048, 952])])
def test_a_gpu_is_tested_by_few_calls(monkeypatch, device, sizes):
    monkeypatch.setattr(train, "train_epoch", lambda *_: (1.0, 0.5, 2, 0.1))
    monkeypatch.setattr(train, "evaluate_accuracy_gpu", lambda net, it, _: seen.extend(len(y) for _, y in it) or 0.5)
    seen, batches = [], Batches(torch.zeros(3000, 28, 28, dtype=torch.uint8), torch.zeros(3000, dtype=torch.int64), 100)
    train_ch6(small_net(), batches, batches, 1, 0.1, device, animator=False)
    assert seen == sizes


@pytest.mark.parametrize("label", [-1, -100, 10])
def test_labels_are_looked_at_before_they_go_to_another_device(label):
    batches = make_batches(4)
    batches[0][1][2] = label
    with pytest.raises(ValueError, match="labels from 0 to 9"):
        train_ch6(small_net(), batches, batches, 1, 0.1, "meta", animator=False)


@pytest.mark.parametrize("label", [-1, -100, 10])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_all_labels_of_the_courses_batches_are_looked_at_first(label, checkpoint, tmp_path):
    """On a GPU they are there already, and a wrong one in a later batch would end every later call, too."""
    net, labels = small_net(), torch.arange(8)
    labels[6] = label
    batches = Batches(torch.ones(8, 28, 28, dtype=torch.uint8), labels, 2)
    before = [p.clone() for p in net.parameters()]
    more = {"init_weights": None, "animator": False, "checkpoint": tmp_path / "run" if checkpoint else None}
    with pytest.raises(ValueError, match="labels from 0 to 9"):
        train_ch6(net, batches, batches, 1, 0.1, CPU, **more)
    assert all(map(torch.equal, net.parameters(), before))


# Divergence


class Poisoned:
    """Batches of which one, in one epoch, holds a number that is none."""

    def __init__(self, epoch, batch, value):
        self.where, self.value, self.epoch = (epoch, batch), value, 0

    def __len__(self):
        return 7

    def __iter__(self):
        self.epoch += 1
        for i, (X, y) in enumerate(make_batches(*[4] * 7), start=1):
            yield (torch.full_like(X, self.value) if (self.epoch, i) == self.where else X), y


@pytest.mark.parametrize(("epoch", "batch"), [(1, 1), (1, 7), (2, 3), (3, 2)])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(epoch, batch, value):
    with pytest.raises(Diverged, match=rf"in epoch {epoch}, batch {batch} of 7.*learning rate") as caught:
        fit(train_iter=Poisoned(epoch, batch, value), num_epochs=5)
    assert isinstance(caught.value.history, History)
    assert len(caught.value.history) == epoch - 1
    assert all(map(math.isfinite, caught.value.history.train_loss))


class Announced(list):
    """Batches that announce more than they are."""

    def __len__(self):
        return 100


@pytest.mark.parametrize("keep", [False, True])
def test_a_loss_that_is_no_number_after_the_last_point(tmp_path, keep):
    (X, y), *others = make_batches(4, 4, 4)
    batches = Announced([*others, (X * math.nan, y)])
    with pytest.raises(Diverged, match="in epoch 1, batch 3 of 100"):
        train_ch6(lenet(), batches, others, 1, 0.1, CPU, animator=False, checkpoint=tmp_path if keep else None)


def test_a_run_without_an_epoch_has_no_speed():
    assert math.isnan(History("cpu").examples_per_sec)


def test_a_learning_rate_too_large():
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) in epoch \d, batch \d+ of 20"):
        fit(train_iter=make_batches(*[4] * 20), num_epochs=5, lr=1e38)


def test_what_was_drawn_before_a_divergence_is_shown():
    drawn = Recorder()
    with pytest.raises(Diverged):
        train_ch6(small_net(), Poisoned(2, 3, math.nan), make_batches(4), 5, 0.1, CPU, animator=drawn)
    assert drawn.flushed == 1 and len(drawn.points) >= 3


# Interruption


class Interrupting:
    """Batches; Stop is pressed while the given batch of the given epoch is being fetched."""

    def __init__(self, epoch, batch, times=1):
        self.where, self.times, self.batches = (epoch, batch), times, make_batches(4, 4, 4, 4)
        self.epoch, self.log = 0, []

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.epoch += 1
        for i, batch in enumerate(self.batches, start=1):
            if (self.epoch, i) == self.where:
                for press in range(self.times):
                    signal.raise_signal(signal.SIGINT)
                    self.log.append(press)
            yield batch


@pytest.fixture
def stop_handler():
    """This process's handler of Ctrl-C, put back whatever a test does."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def run_of_exactly(num_batches, net):
    """Train `net` on that many batches of what `Interrupting` gives, and return its weights."""
    epochs, rest = divmod(num_batches, 4)
    batches = make_batches(4, 4, 4, 4)
    if epochs:
        fit(net, batches, epochs, init_weights=None)
    if rest:
        fit(net, batches[:rest], init_weights=None)
    return weights(net)


@pytest.mark.parametrize(("epoch", "batch"), [(1, 1), (1, 3), (2, 1), (2, 2), (3, 4)])
def test_stop_ends_the_run_between_two_batches(stop_handler, capsys, epoch, batch):
    net = small_net()
    twin = copy.deepcopy(net)
    history = fit(net, Interrupting(epoch, batch), 5, init_weights=None)
    printed = capsys.readouterr().out
    assert same(weights(net), run_of_exactly((epoch - 1) * 4 + batch - 1, twin))
    assert len(history) == epoch - 1
    assert history.stopped == f"in epoch {epoch} of 5"
    assert f"stopped in epoch {epoch} of 5" in printed and printed.endswith(history.summary() + "\n")
    assert signal.getsignal(signal.SIGINT) is stop_handler


def test_after_a_stop_the_net_is_good_for_more(stop_handler):
    net = small_net()
    fit(net, Interrupting(1, 3), 5)
    assert all(p.isfinite().all() for p in net.parameters()) and not any(modes(net))
    assert 0 <= evaluate_accuracy_gpu(net, make_batches(4)) <= 1
    history = fit(net, num_epochs=2, init_weights=None)
    assert len(history) == 2 and history.stopped == ""


def test_what_was_drawn_before_a_stop_is_shown(stop_handler):
    drawn = Recorder()
    train_ch6(small_net(), Interrupting(1, 3), make_batches(4), 5, 0.1, CPU, animator=drawn)
    assert drawn.flushed == 1 and len(drawn.points) == 2


def test_a_second_stop_interrupts_at_once(stop_handler):
    batches = Interrupting(1, 3, times=2)
    history = fit(train_iter=batches, num_epochs=5)
    assert batches.log == [0]  # the second press did not come back
    assert len(history) == 0 and history.stopped
    assert signal.getsignal(signal.SIGINT) is stop_handler


def test_stop_during_the_test_lets_the_test_finish(stop_handler):
    net, test_iter = mixed_net(), Interrupting(2, 2)
    history = train_ch6(net, make_batches(4, 4), test_iter, 5, 0.1, CPU, animator=False)
    assert len(history) == 2 == len(history.test_acc) == len(history.train_loss)
    assert history.stopped == "in epoch 3 of 5"
    assert not any(modes(net))
    assert signal.getsignal(signal.SIGINT) is stop_handler


def test_a_second_stop_during_the_test(stop_handler):
    net = mixed_net()
    history = train_ch6(net, make_batches(4, 4), Interrupting(2, 2, times=2), 5, 0.1, CPU, animator=False)
    assert len(history) == 1 == len(history.train_loss) == len(history.rows())
    assert not any(modes(net)) and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("more", [{}, {"checkpoint": "run"}], ids=["as usual", "with a checkpoint"])
def test_a_stop_during_the_last_test_is_not_forgotten(stop_handler, capsys, tmp_path, monkeypatch, more):
    """A loop over many runs has to hear of it."""
    monkeypatch.chdir(tmp_path)
    net, test_iter = small_net(), Interrupting(2, 2)
    history = train_ch6(net, make_batches(4, 4), test_iter, 2, 0.1, CPU, animator=False, **more)
    assert len(history) == 2 and history.stopped == "after epoch 2, the last"
    assert "stopped after epoch 2, the last; the network keeps what it has learned" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is stop_handler


def test_the_handler_comes_back_after_an_exception(stop_handler):
    with pytest.raises(Diverged):
        fit(train_iter=Poisoned(1, 1, math.nan))
    assert signal.getsignal(signal.SIGINT) is stop_handler


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_process_can_be_terminated(stop_handler):
    """`Process.terminate` sends SIGTERM: whoever only notes that is waited for in vain."""
    reading, writing = os.pipe()
    with Requests() as asked:
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, b"here")
                time.sleep(10)
            finally:
                os._exit(0)
        os.read(reading, 4)  # earlier signals Python forgets
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    os.close(reading), os.close(writing)
    assert os.WTERMSIG(status) == signal.SIGTERM and not asked.requested


def test_the_handler_that_comes_back_is_the_one_before(stop_handler):
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    with StopBetweenBatches() as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
    assert pressed == []
    signal.raise_signal(signal.SIGINT)
    assert pressed == [1]


@pytest.mark.parametrize("more", [{}, {"checkpoint": "run"}], ids=["as usual", "with a checkpoint"])
def test_a_job_in_the_background_stays_deaf_to_ctrl_c(stop_handler, tmp_path, monkeypatch, more):
    """A shell starts `python train.py &` so that the Ctrl-C of what runs in the foreground is not its own."""
    monkeypatch.chdir(tmp_path)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    history = fit(train_iter=Interrupting(1, 2), num_epochs=2, **more)
    assert len(history) == 2 and not history.stopped
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("more", [{}, {"checkpoint": "run"}], ids=["as usual", "with a checkpoint"])
def test_a_handler_that_is_not_pythons_stays(stop_handler, tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("it was taken away"))
    assert len(fit(num_epochs=1, **more)) == 1
    monkeypatch.undo()


def test_training_outside_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(num_epochs=2)))
    thread.start()
    thread.join(60)
    assert len(results[0]) == 2


# What cannot work

LOADER = torch.utils.data.DataLoader(make_batches(4, 4), batch_size=None)
BAD_ARGUMENTS = {
    "no module": ({"net": lambda X: X}, r"torch.nn.Module, got function"),
    "no parameters": ({"net": nn.Flatten()}, r"parameters to train, got Flatten"),
    "frozen": ({"net": small_net().requires_grad_(False)}, r"parameters to train, got Sequential"),
    "no training batches": ({"train_iter": []}, r"train_iter to give at least one batch"),
    "no test batches": ({"test_iter": []}, r"test_iter to give at least one batch"),
    "no number of batches": ({"train_iter": iter(make_batches(4))}, r"train_iter to have a length.* got list_iterator"),
    "negative epochs": ({"num_epochs": -1}, r"num_epochs .*at least 0, got -1"),
    "true as lr": ({"lr": True}, r"learning rate.* got True"),
    "fused as a text": ({"fused": "no"}, r"fused to be True or False, got 'no'"),
    "half an epoch": ({"num_epochs": 1.5}, r"num_epochs .*got 1.5"),
    "epochs as a text": ({"num_epochs": "10"}, r"num_epochs .*got '10'"),
    "negative lr": ({"lr": -0.1}, r"learning rate.* got -0.1"),
    "nan lr": ({"lr": math.nan}, r"learning rate.* got nan"),
    "infinite lr": ({"lr": math.inf}, r"learning rate.* got inf"),
    "lr as a text": ({"lr": "0.9"}, r"learning rate.* got '0.9'"),
    "no lr": ({"lr": None}, r"learning rate.* got None"),
    "no such device": ({"device": "gpu"}, r"a device that this machine has, got 'gpu'"),
    "not here": ({"device": "cuda:99"}, r"a device that this machine has, got 'cuda:99'"),
    "no device": ({"device": None}, r"a device that this machine has, got 'None'"),
    "weights by no function": ({"init_weights": True}, r"init_weights to be a function of a layer, or None, got True"),
    "no animator": ({"animator": "curves"}, r"animator to be None for a new one, .* or an Animator, got str"),
    "an animator's class": ({"animator": Recorder}, r"got the class Recorder: did you forget the brackets"),
    "no flush": ({"animator": types.SimpleNamespace(add=print)}, r"got SimpleNamespace without flush, which"),
    "nothing to test on": ({"test_iter": None}, r"test_iter to be batches to iterate over, .* got None"),
    "tests only once": ({"test_iter": iter([1, 2]), "num_epochs": 2}, r"test_iter .* list_iterator, which gives"),
    "a generator": ({"test_iter": (b for b in make_batches(4)), "num_epochs": 2}, r"test_iter .* only once: hand over"),
    "a DataLoader's iterator": ({"train_iter": iter(LOADER), "num_epochs": 2}, r"train_iter .* gives them only once"),
    "both iterators": ({"train_iter": (LOADER, LOADER)}, r"train_iter to give .* got DataLoader: hand over one of"),
    "both to test on": ({"test_iter": (LOADER, LOADER)}, r"test_iter to give .* got DataLoader: hand over one of"),
    "one batch": ({"train_iter": make_batches(4)[0]}, r"train_iter to give .* got Tensor: .* batches, \[\(X, y\)\]"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_arguments_that_cannot_work_change_nothing(capsys, bad, message):
    good = {"net": small_net(), "train_iter": make_batches(4), "test_iter": make_batches(4)}
    arguments = good | {"num_epochs": 1, "lr": 0.1, "device": CPU, "animator": False} | bad
    before = weights(arguments["net"]) if isinstance(arguments["net"], nn.Module) else []
    with pytest.raises(ValueError, match=message):
        train_ch6(**arguments)
    assert not before or same(before, weights(arguments["net"]))
    assert capsys.readouterr().out == ""


def test_the_training_makes_its_own_optimizer():
    with pytest.raises(ValueError, match=r"learning rate.* got SGD: the training makes its own SGD$"):
        fit(lr=torch.optim.SGD(small_net().parameters(), lr=0.1))


def test_an_iterator_that_begins_anew_serves_every_epoch():
    class Again:
        def __iter__(self):
            self.left = make_batches(4, 4)
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            return self.left.pop()

    assert len(train_ch6(small_net(), make_batches(4), Again(), 2, 0.1, CPU, animator=False)) == 2


@pytest.mark.parametrize("keep", [False, True], ids=["as usual", "with a checkpoint"])
def test_an_error_has_the_history_of_the_epochs_before_it(tmp_path, keep):
    class Unplugged(Poisoned):
        def __iter__(self):
            if self.epoch == 2:
                raise OSError("the disk is gone")
            return super().__iter__()

    with pytest.raises(OSError, match="the disk is gone") as caught:
        fit(net := small_net(), Unplugged(0, 0, 0.0), num_epochs=5, checkpoint=tmp_path if keep else None)
    assert len(caught.value.history) == 2 == len(caught.value.history.test_acc)
    assert not any(modes(net))  # ready to predict, as after any other end


@pytest.mark.parametrize("keep", [False, True], ids=["as usual", "with a checkpoint"])
def test_an_error_has_it_also_where_the_curve_cannot_be_drawn_to_its_end(tmp_path, keep):
    class Full:
        points = 0

        def add(self, *_):
            self.points += 1
            self.flush()

        def flush(self):
            if self.points > 8:
                raise OSError("no space left")

    with pytest.raises(OSError, match="no space left") as caught:
        batches, checkpoint = make_batches(4, 4, 2), tmp_path if keep else None
        train_ch6(small_net(), batches, batches, 9, 0.1, CPU, animator=Full(), checkpoint=checkpoint)
    assert 0 < len(caught.value.history) < 9


def test_stop_is_heard_while_the_curve_is_drawn_to_its_end():
    class Slow:
        def add(self, *_):
            pass

        def flush(self):
            signal.raise_signal(signal.SIGINT)

    batches = make_batches(4)
    history = train_ch6(small_net(), batches, batches, 1, 0.1, CPU, animator=Slow())
    assert len(history) == 1 and history.stopped


def test_checkpoint_false_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(fit(checkpoint=False)) == 1 and not list(tmp_path.iterdir())


def test_animator_true_is_a_new_one(monkeypatch):
    made = []
    monkeypatch.setattr("lenet_utils.plot.Animator", lambda **given: made.append(Recorder()) or made[-1])
    history = train_ch6(small_net(), make_batches(4), make_batches(4), 1, 0.1, CPU, animator=True)
    assert len(history) == 1 == len(made) and made[0].points


def test_lazy_layers_need_a_batch_first():
    """Nothing could initialise them; after a batch they are like any others."""
    batches, net = make_batches(4), nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    with pytest.raises(ValueError, match=r"sizes of its layers, got lazy ones .* show it one batch first, net\(X\)"):
        fit(net, batches)
    net(batches[0][0])
    fit(net, batches, lr=0.0)
    limit = math.sqrt(6 / (net[1].in_features + 10))  # Xavier's; PyTorch's own is smaller
    assert limit * 0.9 < net[1].weight.abs().max() <= limit


X, Y = torch.rand(4, 1, 28, 28), torch.arange(4)
BAD_BATCHES = {
    "bytes": (X.mul(255).byte(), Y, r"got torch.uint8: divide bytes by 255"),
    "whole numbers": (X.long(), Y, r"got torch.int64: divide bytes by 255"),
    "doubles": (X.double(), Y, r"images X of type torch.float32.* got torch.float64: X.to\(torch.float32\), or net.to"),
    "halves": (X.half(), Y, r"images X of type torch.float32.* got torch.float16"),
    "no tensors": (X.numpy(), Y.numpy(), r"two tensors, got ndarray and ndarray"),
    "labels as a list": (X, [0, 1, 2, 3], r"two tensors, got Tensor and list"),
    "float labels": (X, Y.float(), r"int64 and shape \(N,\), got torch.float32"),
    "short labels": (X, Y.int(), r"int64 and shape \(N,\), got torch.int32"),
    "one-hot": (X, nn.functional.one_hot(Y, 10), r"int64 and shape \(N,\), got torch.int64 and \(4, 10\)"),
    "a column": (X, Y[:, None], r"shape \(N,\), got torch.int64 and \(4, 1\)"),
    "more images": (X, Y[:3], r"as many images as labels.*got 4 images and 3 labels"),
    "none": (X[:0], Y[:0], r"at least one, got 0 images and 0 labels"),
    "label 10": (X, torch.tensor([0, 1, 2, 10]), r"labels from 0 to 9"),
    "label -1": (X, torch.tensor([0, 1, 2, -1]), r"labels from 0 to 9"),
    "label -100": (X, torch.tensor([0, 1, 2, -100]), r"labels from 0 to 9"),
}


@pytest.mark.parametrize(("images", "labels", "message"), BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_batches_that_cannot_work_do_not_reach_the_weights(images, labels, message):
    net = small_net()
    good = make_batches(4)
    twin = copy.deepcopy(net)
    with pytest.raises(ValueError, match=message):
        fit(net, [*good, (images, labels)], init_weights=None)
    fit(twin, good, init_weights=None)
    assert same(weights(net), weights(twin))


def test_a_data_set_is_no_batches():
    with pytest.raises(ValueError, match=r"got Tensor and int: .* hand over a DataLoader"):
        fit(train_iter=[(X[0], 3), (X[1], 4)])


@pytest.mark.parametrize("keep", [False, True], ids=["as usual", "with a checkpoint"])
@pytest.mark.parametrize(("batch", "got"), [([X, Y, Y], "list of 3"), ([X], "list of 1"), ({"X": X, "y": Y}, "dict")])
def test_batches_that_are_no_pairs(tmp_path, batch, got, keep):
    loader = torch.utils.data.DataLoader([batch], batch_size=None)
    with pytest.raises(ValueError, match=f"train_iter to give batches, pairs .* got {got}: hand over"):
        fit(train_iter=loader, checkpoint=tmp_path if keep else None)
    with pytest.raises(ValueError, match=f"data_iter to give batches, pairs .* got {got}: hand over"):
        evaluate_accuracy_gpu(small_net(), loader)


class Scaling(nn.Sequential):
    """Makes numbers from 0 to 1 of whole ones itself."""

    def forward(self, X):
        return super().forward(X / 255)


@pytest.mark.parametrize("keep", [False, True], ids=["as usual", "with a checkpoint"])
@pytest.mark.parametrize("net", [Scaling(*small_net()), nn.Sequential(nn.Embedding(256, 1), *small_net())])
def test_a_net_may_take_images_of_another_type(tmp_path, net, keep):
    batches = [(X.mul(255).long(), y) for X, y in make_batches(4, 4)]
    checkpoint = tmp_path if keep else None
    assert len(train_ch6(net, batches, batches, 1, 0.1, CPU, animator=False, checkpoint=checkpoint)) == 1


@pytest.mark.parametrize("begin", [nn.Identity(), nn.Embedding(256, 1)], ids=["floats", "whole numbers"])
def test_what_else_goes_wrong_in_a_net_is_said_as_it_is(begin):
    batches = [(X if isinstance(begin, nn.Identity) else X.mul(255).long(), y) for X, y in make_batches(4)]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit(nn.Sequential(begin, nn.Flatten(), nn.Linear(783, 10)), batches)


@pytest.mark.parametrize(("batch", "got"), [
    ((X.numpy(), Y), "ndarray and Tensor"),
    ((X, [0, 1, 2, 3]), "Tensor and list"),
    (([X, None], Y), "list and Tensor"),
])  # fmt: skip
def test_what_is_no_tensor_is_not_tested(batch, got):
    with pytest.raises(ValueError, match=f"two tensors, got {got}"):
        evaluate_accuracy_gpu(small_net(), [batch])


@pytest.mark.parametrize(("net", "images", "got"), [
    (small_net(), X.mul(255).byte(), "got torch.uint8: divide bytes by 255"),
    (small_net().double(), X, r"torch.float64, as .* got torch.float32: X.to\(torch.float64\), or net.to"),
])  # fmt: skip
def test_evaluation_says_that_images_are_of_another_type(net, images, got):
    with pytest.raises(ValueError, match=f"expected images X of type .*{got}"):
        evaluate_accuracy_gpu(net, [(images, Y)])


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")  # as PyTorch says there
def test_so_does_that_of_a_compiled_net():
    net = torch.compile(small_net(), backend="eager")
    assert 0 <= evaluate_accuracy_gpu(net, [(X, Y)]) <= 1
    with pytest.raises(ValueError, match=r"got torch.float64: X.to\(torch.float32\)"):
        evaluate_accuracy_gpu(net, [(X.double(), Y)])


@pytest.mark.parametrize("net", [nn.Sequential(nn.Flatten(), nn.Softmax(dim=1)), lambda X: X.flatten(1).softmax(1)])
def test_without_parameters_an_error_is_said_as_it_is(net):
    with pytest.raises(RuntimeError, match="not implemented for 'Byte'"):
        evaluate_accuracy_gpu(net, [(X.mul(255).byte(), Y)])


def test_a_cpu_by_its_number_is_the_cpu():
    batches = Batches(torch.zeros(4, 28, 28, dtype=torch.uint8), torch.arange(4), 2)
    assert batches.to(checks.device("cpu:0")) is batches


@pytest.mark.parametrize(("net", "got"), [
    (nn.Sequential(nn.Linear(28, 10)), r"\(4, 1, 28, 10\)"),
    (nn.Sequential(nn.Flatten(0), nn.Linear(4 * 784, 10)), r"\(10,\)"),
    (nn.Sequential(nn.Flatten(0, 2), nn.Linear(28, 10)), r"\(112, 10\)"),
    (nn.Sequential(nn.Flatten(), nn.Linear(784, 1)), r"\(4, 1\): a net with one output tells no classes apart"),
])  # fmt: skip
def test_nets_whose_output_has_another_shape(net, got):
    before = weights(net)
    with pytest.raises(ValueError, match=f"4 rows of logits.* got {got}"):
        fit(net, make_batches(4), init_weights=None)
    assert same(before, weights(net))


def test_a_training_iterator_that_is_used_up():
    class Once:
        batches = iter(make_batches(4, 4))

        def __len__(self):
            return 2

        def __iter__(self):
            return self.batches

    with pytest.raises(ValueError, match="batches in every epoch, got none in epoch 2"):
        fit(train_iter=Once(), num_epochs=2)


# The history


def test_printed_lines_are_the_historys_numbers(capsys):
    history = fit(num_epochs=3)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "training on cpu"
    assert second == (
        f"loss {history.train_loss[-1]:.3f}, train acc {history.train_acc[-1]:.3f}, test acc {history.test_acc[-1]:.3f}"
    )
    assert third == f"{sum(history.images) / sum(history.seconds):.1f} examples/sec on cpu"
    assert re.fullmatch(r"loss \d\.\d{3}, train acc \d\.\d{3}, test acc \d\.\d{3}", second)


def test_seconds_are_those_of_training_with_loading_and_without_the_test(clock):
    train_iter, test_iter = clock.slow(make_batches(4, 4, 2), 2.0), clock.slow(make_batches(5), 50.0)
    history = train_ch6(small_net(), train_iter, test_iter, 2, 0.1, CPU, animator=False)
    assert history.seconds == [6.0, 6.0] and history.examples_per_sec == 20 / 12


def some_history():
    history = History("cpu", points=[(0.5, 2.0, 0.25), (1.0, 1.5, 0.375)])
    history.add(1.5, 0.375, 800, 2.0, 0.5)
    history.add(0.75, 0.625, 800, 3.0, 0.75)
    return history


def test_history_as_rows():
    rows = some_history().rows()
    assert rows[1] == {
        "epoch": 2, "train_loss": 0.75, "train_acc": 0.625, "test_acc": 0.75, "images": 800, "seconds": 3.0,
    }  # fmt: skip
    assert [row["epoch"] for row in rows] == [1, 2]


def test_history_as_a_pandas_table():
    import pandas

    table = pandas.DataFrame(some_history().rows())
    assert table.test_acc.tolist() == [0.5, 0.75]


def test_history_as_a_text():
    history = some_history()
    lines = [line.split() for line in history.table().splitlines()]
    assert lines[1:] == [["1", "1.500", "0.375", "0.500", "2.00"], ["2", "0.750", "0.625", "0.750", "3.00"]]
    assert len({len(line) for line in history.table().splitlines()}) == 1
    assert history.summary() == "loss 0.750, train acc 0.625, test acc 0.750\n320.0 examples/sec on cpu"
    assert repr(history) == "History of 2 epochs on cpu"
    history.stopped = "in epoch 3 of 10"
    assert repr(history) == "History of 2 epochs on cpu, stopped in epoch 3 of 10"


def test_history_as_a_picture(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    left, right = some_history().plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert left.lines[0].get_xydata().tolist() == [[0.5, 2.0], [1.0, 1.5]]
    assert right.lines[0].get_xydata().tolist() == [[0.5, 0.25], [1.0, 0.375]]
    assert right.lines[1].get_xydata().tolist() == [[1, 0.5], [2, 0.75]]
    History("cpu").plot()
    plt.close("all")


def test_accuracies_are_fractions():
    history = fit(num_epochs=2)
    assert all(0 <= value <= 1 for value in history.train_acc + history.test_acc)
    assert all(seconds > 0 for seconds in history.seconds)


# What is loaded


def test_import_loads_neither_matplotlib_nor_ipython_nor_torchvision(python):
    code = "import sys, lenet_utils; print({name.split('.')[0] for name in sys.modules} & {'%s', '%s', '%s', '%s'})"
    assert python(code % ("matplotlib", "IPython", "torchvision", "PIL")) == "set()"


def test_training_loads_no_compiler(python):
    loaded = python("""
import sys, torch
from lenet_utils import lenet, train_ch6
batches = [(torch.rand(4, 1, 28, 28), torch.arange(4))] * 6
train_ch6(lenet(), batches, batches, 2, 0.9, "cpu", animator=False)
print([name for name in ("torch._dynamo", "torch._inductor", "matplotlib", "torchvision") if name in sys.modules])
""")
    assert loaded.splitlines()[-1] == "[]"


def test_training_in_a_terminal_prints_lines(python):
    printed = python("""
import sys, torch
from lenet_utils import lenet, train_ch6
batches = [(torch.rand(4, 1, 28, 28), torch.arange(4))] * 6
train_ch6(lenet(), batches, batches, 2, 0.9, "cpu")
print("torch._dynamo" in sys.modules, "matplotlib" in sys.modules)
""").splitlines()
    assert printed[0] == "training on cpu"
    assert re.fullmatch(r"epoch 2\.00, train loss \d\.\d{3}, train acc \d\.\d{3}, test acc \d\.\d{3}", printed[-4])
    assert printed[-1] == "False False"


def test_an_iterator_that_ends_before_its_length():
    class Short(list):
        def __len__(self):
            return 10  # so points are drawn after batches 2, 4, ..., and there is no fourth

    batches = make_batches(4, 4, 2)
    short = fit(train_iter=Short(batches), num_epochs=2)
    torch.manual_seed(0)
    whole = fit(train_iter=batches, num_epochs=2)
    assert short.images == whole.images == [10, 10]
    assert short.train_loss == whole.train_loss


def test_numbers_instead_of_scores_may_be_any():
    """A net that gives class numbers, or one score an image, has no last class that a label could be beyond."""
    one_score = nn.Sequential(nn.Flatten(), nn.Linear(784, 1), nn.Flatten(0))
    X, y = torch.rand(4, 1, 28, 28), torch.tensor([0, 3, 9, 9])
    assert 0 <= evaluate_accuracy_gpu(one_score, [(X, y)]) <= 1
    assert train.count_impossible(torch.zeros(4), y) == 0
    assert train.count_impossible(torch.zeros(4, 1), y) == 0
    assert train.count_impossible(torch.zeros(4, 9), y) == 2


def test_frozen_parameters_stay_even_with_a_gradient():
    net = small_net()
    frozen, before = net[1].weight, weights(net)
    fit(net, init_weights=None)
    assert not torch.equal(frozen, before[0])
    frozen.requires_grad_(False)
    frozen.grad = torch.ones_like(frozen)
    before = weights(net)
    train.SGD(net.parameters(), 0.1).step()
    assert torch.equal(frozen, before[0])


class Thawing:
    """An animator that lets `layer` learn, too, from the end of the first epoch on."""

    def __init__(self, layer):
        self.layer = layer

    def add(self, x, y):
        if x >= 1:
            self.layer.requires_grad_(True)

    def flush(self):
        pass


def test_a_layer_that_thaws_on_the_way_learns_as_with_pytorchs_sgd():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.Sigmoid(), nn.Linear(20, 10))
    net[1].requires_grad_(False)
    twin, batches = copy.deepcopy(net), make_batches(4, 4, 2)
    train_ch6(net, batches, batches, 3, 0.1, CPU, init_weights=None, animator=Thawing(net[1]))
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for epoch in range(3):
        twin[1].requires_grad_(epoch > 0)
        for X, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(twin(X), y).backward()
            optimizer.step()
    assert same(weights(net), weights(twin))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_where_no_gradients_are_computed_no_weight_is_touched(mode):
    net = small_net()
    before = weights(net)
    with mode(), pytest.raises(ValueError, match=rf"computed, got torch\.{mode.__name__}\(\).*: train outside"):
        fit(net)
    assert same(weights(net), before)


@pytest.mark.parametrize(("num_epochs", "right_end"), [(3, 3), (0, 1)])
def test_the_animator_that_training_makes(monkeypatch, num_epochs, right_end):
    """d2l's legend, with what its y axis counts; the x axis from 0, as the plateau is in the first epoch."""
    made = []
    monkeypatch.setattr("lenet_utils.plot.Animator", lambda **given: made.append(given) or Recorder())
    train_ch6(small_net(), make_batches(4), make_batches(4), num_epochs, 0.1, CPU)
    labels = {"xlabel": "epoch", "ylabel": "loss in nats, acc as a fraction"}
    assert made == [{**labels, "xlim": [0, right_end], "legend": ["train loss", "train acc", "test acc"]}]
