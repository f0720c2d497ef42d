"""The fused step: float64's gradients, eager training's weights, and one sentence wherever it cannot serve."""

import copy
import ctypes
import math
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from lenet_utils import Diverged, fused, lenet, train, train_ch6
from lenet_utils.data import Batches
from lenet_utils.fused import build
from lenet_utils.plateau import note_lenet

CPU = torch.device("cpu")
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)

pytestmark = pytest.mark.skipif(
    COMPILER is None or os.name != "posix", reason="there is no C compiler (cc, gcc or clang) on this machine's PATH"
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder for these tests alone; the library is built once for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CC", raising=False)
        build.load.cache_clear()
        yield
    build.load.cache_clear()


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A library that is not loaded yet, and the empty cache folder where it will lie; quick to compile, slow to run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-O1"])
    build.load.cache_clear()
    yield tmp_path / "lenet_utils" / "kernels"
    build.load.cache_clear()


@pytest.fixture
def threads():
    """A function that sets PyTorch's number of threads, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def twins(make_net=lenet):
    """Two equal networks: `train_ch6` draws new weights, but leaves the biases."""
    net = make_net()
    return net, copy.deepcopy(net)


def xavier(net):
    return net.apply(train.init_xavier)


def random_images(n):
    return torch.rand(n, 1, 28, 28), torch.randint(0, 10, (n,))


def kernel_for(net, lr=0.0):
    return fused.Kernel(build.load(), net, lr)


def byte_batches(n, batch_size, shuffle=True):
    images = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8)
    return Batches(images, torch.randint(0, 10, (n,)), batch_size, shuffle)


def fit(net, train_iter, test_iter=None, num_epochs=1, lr=0.5, seed=3, **more):
    torch.manual_seed(seed)
    test_iter = train_iter if test_iter is None else test_iter
    return train_ch6(net, train_iter, test_iter, num_epochs, lr, CPU, animator=False, **more)


def distance(a, b):
    """Of two tensors: the norm of the difference, relative to the second one's."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm())


# Arithmetic


def test_sigmoid_within_a_millionth():
    x = torch.cat([torch.linspace(-80, 80, 200_001), torch.linspace(-1e-3, 1e-3, 1001), torch.tensor([-0.0, 1e-30])])
    y = torch.empty_like(x)
    call_sigmoid(x, y)
    exact = torch.sigmoid(x.double())
    assert float(((y - exact).abs() / exact).max()) < 1e-6


def test_sigmoid_of_the_ends_and_of_nan():
    x = torch.tensor([-math.inf, -1000.0, 1000.0, math.inf, math.nan])
    y = torch.empty_like(x)
    call_sigmoid(x, y)
    assert 0 <= y[0] < 1e-37 and 0 <= y[1] < 1e-37
    assert y[2] == y[3] == 1.0 and y[4].isnan()


@pytest.mark.parametrize("bits", [0x7FFFFFFF, -1, 0x7F800001, -0x400000, 0x7FC00000])
def test_sigmoid_of_every_kind_of_nan(bits):
    """A GPU's has all its bits set, and adding to them would make a number of it."""
    x = torch.full((16,), bits, dtype=torch.int32).view(torch.float32)
    y = torch.empty_like(x)
    call_sigmoid(x, y)
    assert x.isnan().all() and y.isnan().all()


def call_sigmoid(x, y):
    build.load().lenet_sigmoid(*map(ctypes.c_void_p, (x.data_ptr(), y.data_ptr())), ctypes.c_int64(len(x)))


@pytest.mark.parametrize("make_net", [lenet, note_lenet])
@pytest.mark.parametrize("count", [1, 7, 16, 17, 64, 65, 96, 256, 300])
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_gradients_of_every_parameter(make_net, count, num_threads, threads):
    threads(num_threads)
    net, (X, y) = xavier(make_net()), random_images(count)
    assert_gradients(kernel_for(net), net, X, y)


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="AVX is of x86 processors")
@pytest.mark.parametrize(("flag", "most_lanes"), [("-mno-avx512f", 8), ("-mno-avx", 4)])
def test_gradients_with_narrower_registers(flag, most_lanes, fresh, monkeypatch):
    """As on a processor without AVX-512, or without AVX."""
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, flag])
    net, (X, y) = xavier(lenet()), random_images(39)
    assert build.load().lenet_lanes() <= most_lanes
    assert_gradients(kernel_for(net), net, X, y)


def assert_gradients(kernel, net, X, y):
    """Within 1e-5 of float64's, in norm: |g - g64| / |g64|, for each parameter apart."""
    exact = copy.deepcopy(net).double()
    exact_loss = F.cross_entropy(exact(X.double()), y)
    exact_loss.backward()
    loss, correct = kernel.step(X, y)
    assert loss == pytest.approx(float(exact_loss.detach()), rel=1e-6)
    assert correct == int((exact(X.double()).argmax(1) == y).sum())
    for gradient, p in zip(kernel.gradients(), exact.parameters()):
        assert distance(gradient, p.grad) < 1e-5


def test_a_step_goes_down_the_gradient():
    net, (X, y) = xavier(lenet()), random_images(50)
    before, kernel = copy.deepcopy(net), kernel_for(net, lr=0.25)
    kernel.step(X, y)
    for p, old, gradient in zip(net.parameters(), before.parameters(), kernel.gradients()):
        assert torch.allclose(p, old - 0.25 * gradient, rtol=0, atol=1e-7) and not torch.equal(p, old)


@pytest.mark.parametrize("count", [1, 5, 64, 100])
def test_logits(count):
    net, (X, _) = xavier(lenet()), random_images(count)
    assert torch.allclose(kernel_for(net).predict(X), net(X), atol=1e-6)


def test_bytes_are_the_floats_of_the_batches():
    net, images = xavier(lenet()), torch.arange(256, dtype=torch.uint8).repeat(49)[: 784 * 16].view(16, 28, 28)
    kernel, X = kernel_for(net), images.unsqueeze(1).to(torch.float32).div(255)
    assert torch.equal(kernel.predict(fused.Pixels(images, torch.arange(16))), kernel.predict(X))
    some = torch.tensor([3, 15, 0, 3])
    assert torch.equal(kernel.predict(fused.Pixels(images, some)), kernel.predict(X[some]))


@pytest.mark.parametrize("shape", [(3, 784), (3, 28, 28)])
def test_images_as_reshape_takes_them(shape):
    net, X = xavier(lenet()), torch.rand(shape)
    kernel = kernel_for(net)
    assert torch.equal(kernel.predict(X), kernel.predict(X.view(3, 1, 28, 28)))
    turned = X.view(3, 784).t().contiguous().t()  # the same numbers in another order in memory
    assert torch.equal(kernel.predict(turned), kernel.predict(X))


# Training


@pytest.mark.parametrize("make_net", [lenet, note_lenet])
def test_training_ends_like_eager_training(make_net):
    """Same start, same order of images, an uneven last batch: same weights, to what float32 can tell."""
    ours, theirs = twins(make_net)
    train_iter, test_iter = byte_batches(608, 256), byte_batches(300, 256, shuffle=False)
    got = fit(ours, train_iter, test_iter, num_epochs=3, fused=True)
    expected = fit(theirs, train_iter, test_iter, num_epochs=3)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        assert distance(p, q) < 1e-4
    assert got.images == expected.images == [608] * 3
    assert got.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
    assert [x for x, _, _ in got.points] == [x for x, _, _ in expected.points]
    # a picture on the edge between two classes may fall to either side
    assert got.train_acc == pytest.approx(expected.train_acc, abs=3 / 608)
    assert got.test_acc == pytest.approx(expected.test_acc, abs=3 / 300)


def test_any_iterator_of_batches():
    ours, theirs = twins()
    batches = [random_images(n) for n in (20, 1, 9)]
    fit(ours, batches, fused=True)
    fit(theirs, batches)
    assert all(distance(p, q) < 1e-5 for p, q in zip(ours.parameters(), theirs.parameters()))


def test_weights_in_another_memory_format():
    ours, theirs = twins()
    ours.to(memory_format=torch.channels_last)
    batches = [random_images(20)] * 2
    fit(ours, batches, init_weights=None, fused=True)
    fit(theirs, batches, init_weights=None)
    assert ours[4].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(distance(p, q) < 1e-5 for p, q in zip(ours.parameters(), theirs.parameters()))


def test_another_default_type_or_device():
    """C writes floats into the CPU's memory, whatever the learner has made usual."""
    ours, theirs = twins()
    batches = [random_images(20)] * 2
    expected = fit(theirs, batches, fused=True)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            got = fit(ours, batches, fused=True)
    finally:
        torch.set_default_dtype(usual)
    assert got.test_acc == expected.test_acc and all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_it_is_the_kernel_that_trains(monkeypatch):
    monkeypatch.setattr(train, "cross_entropy", None)
    fit(lenet(), [random_images(4)], fused=True)


def test_the_random_state_is_left_alone():
    train_iter, states = byte_batches(8, 4), []
    for choice in (False, True):
        fit(lenet(), train_iter, fused=choice)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_a_changed_weight_is_noticed_by_autograd():
    net = xavier(lenet())
    loss = net(torch.rand(2, 1, 28, 28)).sum()
    kernel_for(net, lr=0.1).step(*random_images(2))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("where", ["image", "weight"])
def test_a_loss_that_is_no_number_stops(where):
    batches, told = [random_images(4) for _ in range(3)], []
    if where == "image":
        batches[1][0][2, 0, 14, 14] = math.nan
    for choice in (False, True):
        net = xavier(lenet())
        if where == "weight":
            with torch.no_grad():
                net[4].weight[3, 2, 1, 1] = math.nan
        with pytest.raises(Diverged) as caught:
            fit(net, batches, init_weights=None, fused=choice)
        told.append(str(caught.value))
    assert told[0] == told[1] and "the loss became nan in epoch 1" in told[0]


def test_a_loss_that_is_no_number_stops_where_fewer_batches_come_than_announced():
    class Announced(list):
        def __len__(self):
            return 10

    batches, told = Announced(random_images(4) for _ in range(3)), []
    batches[2][0].fill_(math.nan)
    for choice in (False, True):
        with pytest.raises(Diverged) as caught:
            fit(lenet(), batches, fused=choice)
        told.append(str(caught.value))
    assert told[0] == told[1] and "in epoch 1, batch 3 of 10" in told[0]


def test_a_nan_in_every_lane_is_noticed():
    net = xavier(lenet())
    for i in range(33):
        X, y = random_images(33)
        X[i, 0, 27, 27] = math.nan
        loss, _ = kernel_for(net).step(X, y)
        assert math.isnan(loss)


def test_images_that_want_gradients_are_refused():
    X, y = random_images(4)
    with pytest.raises(ValueError, match="train with fused=False"):
        fit(lenet(), [(X.requires_grad_(), y)], fused=True)


def test_a_test_with_images_of_another_type_is_told():
    X, y = random_images(4)
    with pytest.raises(ValueError, match=r"images X of type torch.float32.* got torch.uint8: divide bytes by 255"):
        train_ch6(lenet(), [(X, y)], [(X.mul(255).byte(), y)], 1, 0.1, CPU, animator=False, fused=True)


@pytest.mark.parametrize("label", [-100, -1, 10, torch.iinfo(torch.int64).min])
def test_impossible_labels(label):
    net, (X, y) = xavier(lenet()), random_images(5)
    before, y[3] = copy.deepcopy(net), label
    with pytest.raises(ValueError, match="expected labels from 0 to 9"):
        fit(net, [(X, y)], init_weights=None, fused=True)
    assert all(map(torch.equal, net.parameters(), before.parameters()))


@pytest.mark.parametrize(("batch", "match"), [
    ((torch.rand(4, 1, 28, 28, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)), "images X of type"),
    ((torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)), "images X of type"),
    ((torch.rand(4, 1, 32, 32), torch.zeros(4, dtype=torch.int64)), "images of shape"),
    ((torch.rand(28, 28), torch.zeros(28, dtype=torch.int64)), "28 rows of logits"),
    ((torch.rand(4, 1, 28, 28), torch.zeros(4)), "labels y of type"),
])  # fmt: skip
def test_batches_that_cannot_work(batch, match):
    with pytest.raises(ValueError, match=match):
        fit(lenet(), [batch], fused=True)


class Interrupting(list):
    """Presses Stop when the batch `at` is handed out."""

    def __init__(self, batches, at):
        super().__init__(batches)
        self.at = at

    def __iter__(self):
        for i, batch in enumerate(super().__iter__()):
            if i == self.at:
                signal.raise_signal(signal.SIGINT)
            yield batch


def test_stop_between_two_batches(capsys):
    batches, (ours, theirs) = [random_images(20) for _ in range(4)], twins()
    history = fit(ours, Interrupting(batches, at=2), test_iter=batches, fused=True)
    fit(theirs, batches[:2])
    assert history.stopped == "in epoch 1 of 1" and len(history) == 0
    assert all(distance(p, q) < 1e-5 for p, q in zip(ours.parameters(), theirs.parameters()))
    assert "stopped in epoch 1 of 1" in capsys.readouterr().out


# Threads


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="only Linux lists a process's threads in /proc")
def test_no_thread_is_left_behind(threads):
    threads(4)
    kernel, batch = kernel_for(xavier(lenet())), random_images(256)
    before = set(os.listdir("/proc/self/task"))
    for _ in range(3):
        kernel.step(*batch)
        kernel.predict(batch[0])
    end = time.monotonic() + 10
    while not set(os.listdir("/proc/self/task")) <= before:  # a thread that was joined is listed a moment longer
        assert time.monotonic() < end, "a thread outlived its call"
        time.sleep(0.01)


def test_an_idle_kernel_takes_no_time(threads):
    """A thread that spins would take as long as the wall clock shows."""
    threads(4)
    kernel_for(xavier(lenet())).step(*random_images(256))
    begin = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - begin < 0.15


def test_as_many_threads_as_pytorch_may_use(threads):
    kernel, batch, losses = kernel_for(xavier(lenet())), random_images(100), []
    for number in (1, 5, 2, 1000):
        threads(number)
        losses.append(kernel.step(*batch)[0])
        assert kernel.threads == min(number, 64)
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-6)


# The C itself


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_compilers_have_nothing_to_complain_about(name):
    compiler = shutil.which(name)
    if compiler is None:
        pytest.skip(f"there is no {name} on this machine's PATH")
    wanted = ["-Wall", "-Wextra", "-fsyntax-only"]
    done = subprocess.run([compiler, *build.FLAGS, *wanted, build.SOURCE], capture_output=True, text=True)
    assert done.returncode == 0 and "lenet.c:" not in done.stderr, done.stderr


# Where it cannot serve

OTHERS = {
    "another pooling": (lambda net: net.__setitem__(3, nn.MaxPool2d(2, 2)), "layer 3 of the network is MaxPool2d"),
    "another activation": (lambda net: net.__setitem__(2, nn.ReLU()), "layer 2 of the network is ReLU"),
    "another width": (lambda net: net.__setitem__(8, nn.Linear(400, 84)), "layer 8 of the network is Linear"),
    "no bias": (lambda net: net.__setitem__(1, nn.Conv2d(1, 6, 5, padding=2, bias=False)), "bias=False"),
    "another padding": (lambda net: setattr(net[1], "padding_mode", "circular"), "layer 1 of the network"),
    "a pruned layer": (
        lambda net: prune.random_unstructured(net[4], "weight", 0.5),
        r"layer 4 of the network is Conv2d\(.*\) with bias, weight_orig and the kernel is for Conv2d\(.*\) there$",
    ),
    "a parametrized layer": (
        lambda net: nn.utils.parametrizations.weight_norm(net[8]),
        r"layer 8 of the network is ParametrizedLinear\( in_features=400, .* there$",
    ),
    "a layer more": (lambda net: net.append(nn.Identity()), "the network has 14 layers"),
    "a layer less": (lambda net: net.__delitem__(-1), "the network is Sigmoid|layers"),
    "float64": (lambda net: net.double(), "parameter 1.weight is of type torch.float64"),
    "a frozen layer": (lambda net: net[4].requires_grad_(False), "parameter 4.weight is frozen"),
    "a hook": (lambda net: net[2].register_forward_hook(print), "layer 2 has hooks"),
    "a hook on a weight": (lambda net: net[1].weight.register_hook(print), "parameter 1.weight is hooked"),
    "a forward of its own": (lambda net: setattr(net[2], "forward", torch.tanh), "layer 2 has a forward of its own"),
    "another forward": (lambda net: setattr(net, "forward", torch.tanh), "the network has a forward of its own"),
    "a sigmoid once more": (lambda net: net.__setitem__(12, net[11]), "layer 12 of the network is Sigmoid"),
    "a hook behind a gradient": (
        lambda net: net[1].weight.register_post_accumulate_grad_hook(print),
        "parameter 1.weight is hooked",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), OTHERS.values(), ids=OTHERS)
def test_other_networks_are_declined(change, sentence):
    net = lenet()
    change(net)
    with pytest.raises(build.Declined, match=sentence):
        fused.check(net, CPU)


class Freezing:
    """An animator that freezes the weights of `layer` at the end of the first epoch, and keeps them."""

    def __init__(self, layer):
        self.layer, self.kept = layer, None

    def add(self, x, y):
        if x >= 1 and self.kept is None:
            self.layer.requires_grad_(False)
            self.kept = self.layer.weight.clone()

    def flush(self):
        pass


def test_a_layer_that_is_frozen_on_the_way_stays():
    net, batches = lenet(), [random_images(4)] * 3
    freezing = Freezing(net[1])
    train_ch6(net, batches, batches, 3, 0.5, CPU, animator=freezing, fused=True)
    assert torch.equal(net[1].weight, freezing.kept)


def test_labels_in_a_column_are_not_for_the_kernel():
    images, labels = torch.zeros(6, 28, 28, dtype=torch.uint8), torch.zeros(6, dtype=torch.int64)
    for shape, taken in ((6,), True), ((6, 1), False):
        train_iter = Batches(images, labels, 3).but(labels=labels.reshape(shape))
        assert (fused.as_pixels(train_iter) is not train_iter) == taken


def test_one_sigmoid_in_four_places_is_four_sigmoids():
    net = lenet()
    net[5] = net[9] = net[11] = net[2]
    fused.check(net, CPU)


def test_another_device_and_another_class_are_declined():
    with pytest.raises(build.Declined, match="the network is on meta"):
        fused.check(lenet(), torch.device("meta"))
    with pytest.raises(build.Declined, match="the network is a Linear"):
        fused.check(nn.Linear(2, 2), CPU)


def test_a_declined_network_trains_without(capsys):
    def net():
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    (ours, theirs), batches = twins(net), [random_images(4)] * 2
    fit(ours, batches, fused=True)
    printed = capsys.readouterr().out
    fit(theirs, batches)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert printed.count("not fused, since layer 0 of the network is Flatten") == 1
    assert "not fused" not in capsys.readouterr().out


def trains_without(capsys, reason):
    (ours, theirs), batches = twins(), [random_images(4)] * 2
    fit(ours, batches, fused=True)
    fit(theirs, batches)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    told = [line for line in capsys.readouterr().out.splitlines() if "not fused" in line]
    assert len(told) == 1 and reason in told[0]


def test_no_compiler(fresh, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    trains_without(capsys, "there is no C compiler (cc, gcc or clang)")


def test_apples_stand_in_for_a_compiler_is_not_called(monkeypatch, tmp_path):
    """It would open a window that offers to install the real one."""
    monkeypatch.setattr(build.sys, "platform", "darwin")
    monkeypatch.setattr(build.shutil, "which", lambda name: "/usr/bin/cc")
    monkeypatch.setenv("PATH", str(tmp_path))
    script(tmp_path / "xcode-select", "exit 2")
    with pytest.raises(build.Declined, match="Apple's command line tools are missing"):
        build.find_compiler()
    script(tmp_path / "xcode-select", "exit 0")
    assert build.find_compiler() == "/usr/bin/cc"


def test_a_compiler_that_fails(fresh, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", script(tmp_path / "failing", "echo 'no licence today' >&2; exit 1"))
    trains_without(capsys, "no licence today")


def test_a_compiler_whose_work_cannot_be_loaded(fresh, capsys, monkeypatch, tmp_path):
    writes_rubbish = 'while [ "$1" != -o ] && [ -n "$1" ]; do shift; done; [ -z "$2" ] || echo rubbish > "$2"'
    monkeypatch.setenv("CC", script(tmp_path / "odd", writes_rubbish))
    trains_without(capsys, "the kernel cannot be built or loaded here")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_cache_folder_that_cannot_be_written_to(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    kernel_for(xavier(lenet())).step(*random_images(4))
    assert (tmp_path / "file").read_text() == ""


def test_a_cache_folder_that_others_may_write_to_is_not_trusted(fresh, monkeypatch):
    """What lies there is run. By its name a library can be told to be whole, but not who has built it."""
    build.load()
    (kept,) = fresh.glob("*.so")
    fresh.chmod(0o777)
    build.load.cache_clear()
    loaded = []
    monkeypatch.setattr(build.ctypes, "CDLL", lambda path, load=build.ctypes.CDLL: loaded.append(path) or load(path))
    assert build.load().lenet_lanes() and kept not in loaded
    build.load.cache_clear()
    fresh.chmod(0o700)
    assert build.load().lenet_lanes() and loaded[-1] == kept


def test_others_may_not_write_to_the_cache_folder_that_it_makes(fresh):
    before = os.umask(0o002)  # as on systems where each user has a group
    try:
        build.load()
    finally:
        os.umask(before)
    assert fresh.stat().st_mode & 0o777 == 0o700


def test_a_user_without_a_home(fresh, monkeypatch):
    def nobodys():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(pathlib.Path, "home", nobodys)
    kernel_for(xavier(lenet())).step(*random_images(4))


def test_a_damaged_library_is_built_again(fresh):
    build.cached(COMPILER)
    (library,) = fresh.glob("*.so")
    whole = library.read_bytes()
    library.write_bytes(whole[: len(whole) // 2])
    kernel_for(xavier(lenet())).step(*random_images(4))
    assert library.read_bytes() == whole


def test_the_library_is_kept_by_content(fresh, monkeypatch, tmp_path):
    key, other = build.content_key(COMPILER), tmp_path / "other.c"
    assert key == build.content_key(COMPILER)
    other.write_bytes(build.SOURCE.read_bytes() + b"\n")
    changes = {
        "FLAGS": [*build.FLAGS, "-DMORE"],
        "SOURCE": other,
        "run": lambda *command: "#define __AVX512F__ 1",  # what another compiler says, or this one on another CPU
    }
    for name, value in changes.items():
        with monkeypatch.context() as patch:
            patch.setattr(build, name, value)
            assert key != build.content_key(COMPILER), name


def test_many_first_uses_at_once(tmp_path):
    """Four processes: one compiles, nobody meets half a library, nothing else is left in the folder."""
    counting = script(
        tmp_path / "counting", f'case "$*" in *" -o "*) echo built >> {tmp_path}/log;; esac; exec {COMPILER} "$@"'
    )
    # in packages that are only folders: the course's own would load PyTorch four times
    code = f"""
import pathlib, sys, types
folder = pathlib.Path({build.__file__!r}).parent
for name, place in (("lenet_utils", folder.parent), ("lenet_utils.fused", folder)):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(place)]
from lenet_utils.fused import build
print(build.load().lenet_lanes())
"""
    environment = os.environ | {"CC": counting, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=100) for process in started]
    assert [error for _, error in answers] == [b""] * 4
    assert len({printed for printed, _ in answers}) == 1
    assert (tmp_path / "log").read_text() == "built\n"
    assert len(list((tmp_path / "cache" / "lenet_utils" / "kernels").glob("*"))) == 2  # the library and the lock


def test_a_build_that_was_killed_does_no_harm(fresh):
    """What it leaves is a folder of its own; the lock opens by itself."""
    (fresh / "build-killed").mkdir(parents=True)
    (fresh / "build-killed" / "lenet.so").write_bytes(b"half")
    (fresh / f"{build.content_key(COMPILER)}.lock").write_text("")
    kernel_for(xavier(lenet())).step(*random_images(4))


def test_batches_of_one_stay_batches_of_one():
    batches = Batches(torch.zeros(4, 28, 28, dtype=torch.uint8), torch.arange(4), batch_size=1)
    assert [len(labels) for _, labels in fused.as_pixels(batches)] == [1] * 4
