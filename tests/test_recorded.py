"""Recorded steps: what eager training does, without its calls. All but the recording itself is tested without a GPU."""

import copy
import random
import re
from contextlib import nullcontext

import numpy
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lenet_utils import Diverged, History, fused, lenet, recorded, train
from lenet_utils.data import Batches
from lenet_utils.fused.build import Declined
from lenet_utils.support.stop import StopBetweenBatches

CPU = torch.device("cpu")
CUDA = torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU on this machine")


def batches(n=50, batch_size=8, device="cpu", **more):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator)
    return Batches(images, torch.randint(0, 10, (n,), generator=generator), batch_size, shuffle=True, **more).to(device)


def small_net():
    """Everything that a recording could spoil: running averages, random numbers, a layer that learns nothing."""
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 12), nn.BatchNorm1d(12), nn.Dropout(0.2), nn.ReLU(), nn.Linear(12, 10)
    )
    net.spare = nn.Linear(1, 1)
    return net


class Wide(nn.Sequential):
    """A `Sequential` that does not call its spare layer."""

    def forward(self, X):
        for layer in list(self)[:-1]:
            X = layer(X)
        return X


def twins(make_net=lambda: Wide(*small_net())):
    net = make_net().apply(train.init_xavier)
    return net, copy.deepcopy(net)


class Noted:
    """An animator that notes what it is given."""

    def __init__(self):
        self.points = []

    def add(self, x, y):
        self.points.append((x, y))


def run(run_epoch, net, train_iter, epochs=2, lr=0.1, stop=None, animator=None):
    device, history = train_iter.labels.device, History("here")
    torch.manual_seed(0)
    for _ in range(epochs):
        with StopBetweenBatches() as asked:
            optimizer = train.SGD(net.parameters(), lr)
            trained = run_epoch(net, train_iter, optimizer, device, history, animator, stop or asked)
        history.add(*trained, 0.0)
    return history


def run_recorded(net, train_iter, epochs=2, lr=0.1, **more):
    run_epoch, _ = recorded.record(net, lr, train_iter.labels.device)
    return run(run_epoch, net, train_iter, epochs, lr, **more)


def state(net):
    return [tensor.detach().clone() for tensor in (*net.parameters(), *net.buffers())]


def same(a, b):
    return all(map(torch.equal, state(a), state(b)))


# What is played


@pytest.mark.parametrize(
    ("num_images", "batch_size"),
    [(1, 8), (8, 8), (9, 8), (50, 8), (56, 8), (16, 1), (1000, 3), (60_000, 256), (60_000, 16)],
)
def test_a_pass_is_played_whole_with_its_points_where_eager_training_has_them(num_images, batch_size):
    parts = recorded.plan(num_images, batch_size)
    assert sum(size * count for size, count, _ in parts) == num_images
    assert all(size == batch_size for size, _, _ in parts[:-1]) and max(count for _, count, _ in parts) <= 64
    num_batches = -(-num_images // batch_size)
    every, done, points = -(-num_batches // 5), 0, []
    for _, count, draws in parts:
        done += count
        points += [done] * draws
    assert done == num_batches
    assert points == [i for i in range(1, num_batches + 1) if i % every == 0 or i == num_batches]


def test_few_recordings_serve_a_whole_pass():
    assert len({part[:2] for part in recorded.plan(60_000, 256)}) == 3
    assert len({part[:2] for part in recorded.plan(60_000, 16)}) <= 4


# The same as eager training


@pytest.mark.parametrize("make_net", [lambda: Wide(*small_net()), lenet], ids=["small", "lenet"])
@pytest.mark.parametrize(("n", "batch_size"), [(50, 8), (48, 8), (50, 64)])
def test_recorded_steps_equal_eager_ones_to_the_bit(make_net, n, batch_size):
    eager, played = twins(make_net)
    train_iter, notes = batches(n, batch_size), (Noted(), Noted())
    expected = run(train.train_epoch, eager, train_iter, animator=notes[0])
    found = run_recorded(played, train_iter, animator=notes[1])
    assert same(eager, played)
    for name in ("train_loss", "train_acc", "images", "points"):
        assert getattr(found, name) == getattr(expected, name)
    assert notes[0].points == notes[1].points and notes[0].points


def test_the_images_come_in_the_order_of_the_batches():
    train_iter = batches(20, 6)
    torch.manual_seed(3)
    order = train_iter.order()
    torch.manual_seed(3)
    eager = list(train_iter)
    assert sorted(order.tolist()) == list(range(20))
    assert torch.equal(torch.cat([y for _, y in eager]), train_iter.labels[order])
    X, y = train_iter.pick(order[6:12])
    assert torch.equal(X, eager[1][0]) and torch.equal(y, eager[1][1])


def test_frozen_weights_stay():
    net = lenet()
    net[1].weight.requires_grad_(False)
    before = state(net)
    run_recorded(net, batches())
    assert torch.equal(net[1].weight, before[0]) and not torch.equal(net[1].bias, before[1])


class Switching:
    """An animator that makes `p` learn, or not, from the end of the first epoch on."""

    def __init__(self, p, learns):
        self.p, self.learns = p, learns

    def add(self, x, y):
        if x >= 1:
            self.p.requires_grad_(self.learns)


@pytest.mark.parametrize("learns", [True, False], ids=["thaws", "freezes"])
def test_a_weight_that_thaws_or_freezes_on_the_way_does_so_as_in_eager_training(learns):
    eager, played = twins(lenet)
    for net, run_it in (eager, lambda *given, **more: run(train.train_epoch, *given, **more)), (played, run_recorded):
        weight = net[1].weight.requires_grad_(not learns)
        run_it(net, batches(), animator=Switching(weight, learns))
    assert same(eager, played)


# Nobody waits


class Reads(TorchDispatchMode):
    """Counts the values that Python reads from tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket.__name__ == "_local_scalar_dense"
        return function(*args, **kwargs or {})


def test_steps_wait_for_nobody():
    """On the device "meta", whose tensors have no values, all goes well until somebody reads one."""
    net = lenet().to("meta")
    steps = recorded.Steps(net, 0.1, batches(device="meta"))
    steps.begin(torch.arange(50, device="meta"))
    for size in (8, 8, 2):
        steps.take(size)
    with pytest.raises(RuntimeError, match="meta"):
        steps.sums.tolist()


class Travels(TorchDispatchMode):
    """Notes the operations whose tensors do not all lie on the GPU: a recording can hold none of them."""

    def __init__(self):
        super().__init__()
        self.seen, self.count = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs, out)) if torch.is_tensor(x)]
        self.count += 1
        if {x.device.type for x in tensors} - {"cuda"}:
            self.seen.append(function)
        return out


def test_a_step_moves_nothing_to_or_from_the_gpu(monkeypatch):
    """On a pretended GPU, whose tensors have a place and no values. Its backward pass alone needs a real one."""

    def backward(loss):
        for p in net.parameters():
            p.grad = torch.zeros_like(p)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    with FakeTensorMode(), torch.device("cuda"):
        try:
            net = lenet()
        except RuntimeError as problem:
            pytest.skip(f"this PyTorch cannot pretend to have a GPU: {str(problem).splitlines()[0]}")
        images, labels = torch.zeros(50, 28, 28, dtype=torch.uint8), torch.zeros(50, dtype=torch.int64)
        steps = recorded.Steps(net, 0.1, Batches(images, labels, 8))
        with Travels() as travels:
            steps.take(8)
            steps.take(2)
        assert not travels.seen and travels.count > 60
        with Travels() as travels:
            steps.sums.cpu()
        assert travels.seen


def test_the_sums_are_read_once_an_epoch(monkeypatch):
    reads = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: reads.append(self.shape) or tolist(self))
    with Reads() as values:
        run_recorded(lenet(), batches(80, 8), epochs=3)
    assert reads == [(5, 4)] * 3 and values.count == 0


# What does not go well


def test_another_kind_of_batches_is_declined_once(capsys):
    eager, played = twins()
    images, labels = batches(24).images[:, None] / 255, batches(24).labels
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), 8)
    run_epoch, _ = recorded.record(played, 0.1, CPU)
    for net, epoch in ((eager, train.train_epoch), (played, run_epoch)):
        torch.manual_seed(0)
        for _ in range(2):
            with StopBetweenBatches() as stop:
                epoch(net, loader, train.SGD(net.parameters(), 0.1), CPU, History("here"), None, stop)
    assert same(eager, played)
    printed = capsys.readouterr().out
    assert printed.count("not fused, since") == 1 and "DataLoader" in printed


def test_hooks_are_not_frozen(capsys):
    net = lenet()
    net[3].register_forward_hook(lambda *_: None)
    run_recorded(net, batches(), 1)
    assert "not fused, since layer 3 has hooks" in capsys.readouterr().out
    net = lenet()
    net[1].bias.register_hook(lambda grad: grad)
    run_recorded(net, batches(), 1)
    assert "not fused, since the parameter 1.bias has hooks" in capsys.readouterr().out


class Skips(nn.Module):
    """Stochastic depth: at random a layer is left out, as `draw` says."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, X):
        return X if self.draw() < 0.5 else X + 1


DRAWS = {"Python's": random.random, "PyTorch's": lambda: torch.rand(()), "NumPy's": lambda: numpy.random.random()}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_random_choices_of_the_cpu_are_not_frozen(draw):
    net = nn.Sequential(nn.Flatten(), Skips(draw), nn.Linear(784, 10))
    for layer, refused in ((net, True), (lenet(), False)):
        steps = recorded.Steps(layer, 0.1, batches())
        steps.begin(torch.arange(50))
        expected = pytest.raises(Declined, match="draws random numbers on the CPU") if refused else nullcontext()
        with expected, recorded.drawing_nothing_on_the_cpu():
            steps.take(8)


def test_steps_that_find_no_memory_are_no_reason_to_stop(capsys):
    def make_steps(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.5 GiB\nmore lines")

    net = lenet()
    run_epoch, _ = recorded.record(net, 0.1, CPU, make_steps)
    assert len(run(run_epoch, net, batches(), 1)) == 1
    assert (
        "not fused, since PyTorch cannot record the steps of this network (CUDA out of memory"
        in capsys.readouterr().out
    )


class Stubborn(nn.Linear):
    """Learns a little, and then cannot be recorded."""

    def forward(self, X):
        out = super().forward(X.flatten(1))
        if self.training and self.refuses:
            with torch.no_grad():
                self.weight += 1
            raise RuntimeError("operation not permitted when stream is capturing\nmore lines")
        return out


def test_a_network_that_cannot_be_recorded_trains_on_as_it_was(monkeypatch, capsys):
    net = Stubborn(784, 10)
    net.refuses = True
    before, drawn = state(net), recorded.states_on_the_cpu()

    def record_parts(self, steps, parts):
        torch.rand(3), random.random(), numpy.random.random()
        steps.take(parts[0][0])

    monkeypatch.setattr(recorded.Player, "record_parts", record_parts)
    player = recorded.Player(net, lambda train_iter: recorded.Steps(net, 0.1, train_iter), CPU)
    assert not player.ready_for(batches())
    assert all(map(torch.equal, state(net), before)) and recorded.states_on_the_cpu() == drawn
    assert net.weight.grad is None
    printed = capsys.readouterr().out
    assert printed == (
        "not fused, since PyTorch cannot record the steps of this network (operation not permitted when stream is "
        "capturing); the training goes on without\n"
    )
    assert not player.ready_for(batches()) and not capsys.readouterr().out


def test_a_batch_that_cannot_work_is_refused_before_anything_is_recorded():
    net = lenet().double()
    before = state(net)
    with pytest.raises(ValueError, match=re.escape("expected images X of type torch.float64")):
        run_recorded(net, batches())
    assert all(map(torch.equal, state(net), before))


def test_a_net_of_doubles_may_make_doubles_of_its_images_itself():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double()
    flatten = net[0].forward
    net[0].forward = lambda X: flatten(X).double()
    assert len(run_recorded(net, batches(), 1)) == 1


def test_a_loss_that_is_no_number_names_its_epoch_and_batch():
    eager, played = twins(lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    messages = []
    for net, go in ((eager, lambda *args: run(train.train_epoch, *args)), (played, run_recorded)):
        with pytest.raises(Diverged) as error:
            go(net, batches(80, 8), 3, 1e38)
        messages.append(str(error.value))
    assert messages[0] == messages[1] and re.search(r"in epoch 1, batch \d+ of 10", messages[0])


class StopAfter:
    def __init__(self, checks):
        self.left = checks

    def check(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_stop_ends_between_two_parts():
    eager, played = twins(lenet)
    train_iter = batches(80, 8)
    with pytest.raises(KeyboardInterrupt):
        run_recorded(played, train_iter, stop=StopAfter(2))
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        run(train.train_epoch, eager, train_iter, stop=StopAfter(4))  # two parts are four batches
    assert same(eager, played)


def test_fused_on_a_gpu_means_recorded():
    run_epoch, evaluate = fused.fuse(lenet(), 0.1, CUDA)
    assert run_epoch.func is recorded.train_epoch and evaluate is train.evaluate_accuracy_gpu


# On a GPU


@needs_gpu
def test_waiting_is_an_error_for_as_long_as_it_is_asked():
    with pytest.raises(RuntimeError, match="synchronizing"), recorded.waiting_is("error"):
        torch.ones((), device=CUDA).item()
    assert torch.cuda.get_sync_debug_mode() == 0


class ReadsInTheMiddle(nn.Linear):
    def forward(self, X):
        return super().forward(X) * (1 + 0 * X.sum().item())


@needs_gpu
def test_on_a_gpu_a_network_that_reads_is_declined_and_dropout_works_afterwards(capsys):
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), ReadsInTheMiddle(784, 10)).to(CUDA)
    for _ in range(2):
        run_recorded(net, batches(40, 8, CUDA))
        assert "not fused, since PyTorch cannot record" in capsys.readouterr().out


def without_dropout():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10))


@needs_gpu
@pytest.mark.parametrize("make_net", [without_dropout, lenet])
def test_on_a_gpu_recorded_steps_equal_eager_ones(make_net, capsys):
    eager, played = (net.to(CUDA) for net in twins(make_net))
    train_iter = batches(1000, 64, CUDA)
    expected, found = run(train.train_epoch, eager, train_iter), run_recorded(played, train_iter)
    assert "not fused" not in capsys.readouterr().out
    for a, b in zip(state(eager), state(played)):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert found.train_loss == pytest.approx(expected.train_loss, rel=1e-4)


@needs_gpu
def test_on_a_gpu_a_loss_of_the_same_network_may_still_be_held(capsys):
    net, train_iter = lenet().to(CUDA), batches(1000, 64, CUDA)
    held = net(next(iter(train_iter))[0]).sum()
    run_recorded(net, train_iter)
    assert "not fused" not in capsys.readouterr().out
    assert held.isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_recording_gathers_gradients_apart_from_a_loss_that_is_still_held(dtype):
    layer, X = nn.Linear(3, 2).to(dtype), torch.rand(4, 3, dtype=dtype)
    held, values, place = layer(X).sum(), state(layer), layer.weight.data_ptr()
    nodes = [gathers_at(p) for p in layer.parameters()]
    for p in layer.parameters():
        recorded.gather_anew(p)
    assert not any(new is old for new, old in zip(map(gathers_at, layer.parameters()), nodes))
    assert all(map(torch.equal, state(layer), values)) and layer.weight.data_ptr() == place
    held.backward()  # it leads to the same parameters as before
    once = layer.weight.grad.clone()
    layer(X).sum().backward()
    assert torch.equal(layer.weight.grad, 2 * once)


def gathers_at(p):
    return p.view_as(p).grad_fn.next_functions[0][0]


@needs_gpu
def test_on_a_gpu_nobody_waits_while_steps_are_played():
    train_iter = batches(1000, 64, CUDA)
    net = lenet().to(CUDA).train()
    player = recorded.Player(net, lambda batches: recorded.Steps(net, 0.1, batches), CUDA)
    assert player.ready_for(train_iter)
    player.steps.begin(train_iter.order())
    try:
        torch.cuda.set_sync_debug_mode("error")
        for size, count, _ in recorded.plan(1000, 64):
            player.play(size, count)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert player.steps.sums.tolist()[2:] == [1000, 16]


@needs_gpu
def test_on_a_gpu_recording_changes_nothing():
    net = small_net()[:6].to(CUDA).train()
    before, random = state(net), torch.cuda.get_rng_state()
    player = recorded.Player(net, lambda batches: recorded.Steps(net, 0.1, batches), CUDA)
    assert player.ready_for(batches(100, 32, CUDA))
    assert all(map(torch.equal, state(net), before)) and torch.equal(torch.cuda.get_rng_state(), random)


@needs_gpu
def test_on_a_gpu_dropout_draws_anew_in_every_step(capsys):
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10)).to(CUDA)
    same_image = Batches(torch.full((8, 28, 28), 200, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64), 4).to(CUDA)
    history = run_recorded(net, same_image, epochs=1, lr=0.0)
    assert "not fused" not in capsys.readouterr().out
    (_, first, _), (_, mean_of_both, _) = history.points  # two plays of one recording
    assert first != mean_of_both
