"""Checkpoints: whole or not there, refused in one sentence, and a run that goes on as if nothing had happened."""

import copy
import errno
import itertools
import os
import pathlib
import random
import signal
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from lenet_utils import lenet, train, train_ch6
from lenet_utils.data import Batches
from lenet_utils.parallel import checkpoint as module
from lenet_utils.parallel.checkpoint import Checkpoint, CheckpointError, pack, unpack

CPU = torch.device("cpu")


def data(n=22, batch_size=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 28, 28), generator=generator, dtype=torch.uint8)
    return Batches(images, torch.randint(0, 10, (n,), generator=generator), batch_size, shuffle=True)


def small_net():
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(784, 10))


def fit(net, checkpoint=None, num_epochs=3, train_iter=None, lr=0.1, **more):
    train_iter = train_iter or data()
    return train_ch6(
        net, train_iter, data(9, seed=2), num_epochs, lr, CPU, animator=False, checkpoint=checkpoint, **more
    )


def undisturbed(**more):
    torch.manual_seed(0)
    net = small_net()
    return net, fit(net, **more)


def same(net, other):
    ours, theirs = net.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(map(torch.equal, ours.values(), theirs.values()))


def same_history(history, other):
    names = ("train_loss", "train_acc", "images", "test_acc", "points")
    return all(list(map(list, pairs(history, name))) == list(map(list, pairs(other, name))) for name in names)


def pairs(history, name):
    return [value if isinstance(value, (list, tuple)) else [value] for value in getattr(history, name)]


class Interrupted(Batches):
    """Batches that call `act` before batch number `at`, counted over all epochs."""

    def __init__(self, batches, at, act):
        super().__init__(batches.images, batches.labels, batches.batch_size, batches.shuffle)
        self.at, self.act, self.given = at, act, 0

    def __iter__(self):
        for batch in super().__iter__():
            self.given += 1
            if self.given == self.at:
                self.act()
            yield batch


def die():
    raise MemoryError("as good as a SIGKILL: nothing of the run is told")


def press_stop():
    signal.raise_signal(signal.SIGINT)


# A run that goes on


def test_a_checkpoint_changes_nothing(tmp_path):
    torch.manual_seed(0)
    net = small_net()
    history = fit(net, tmp_path / "run")
    plain_net, plain_history = undisturbed()
    assert same(net, plain_net) and same_history(history, plain_history)


@pytest.mark.parametrize("every", [None, 1, 4])
@pytest.mark.parametrize("at", [1, 3, 6, 7, 12, 18])
def test_killed_at_any_batch_it_ends_as_if_nothing_had_happened(tmp_path, at, every):
    """Six batches an epoch, with dropout: the order of the images and every random number have to be the same."""
    torch.manual_seed(0)
    with pytest.raises(MemoryError):
        fit(small_net(), Checkpoint(tmp_path, every), train_iter=Interrupted(data(), at, die))
    torch.manual_seed(99)  # another process, another random state, another net
    net = small_net()
    history = fit(net, Checkpoint(tmp_path, every))
    plain_net, plain_history = undisturbed()
    assert same(net, plain_net) and same_history(history, plain_history)


def test_the_seconds_before_a_break_count(tmp_path, clock, monkeypatch):
    pick = Batches.pick

    def picked_slowly(self, rows):
        clock.now += 2.0
        return pick(self, rows)

    monkeypatch.setattr(Batches, "pick", picked_slowly)
    with pytest.raises(MemoryError):
        fit(small_net(), Checkpoint(tmp_path, every=1), train_iter=Interrupted(data(), 9, die))
    # Four of the seconds go into the two batches that the second epoch had before it broke off: they are passed over.
    assert fit(small_net(), tmp_path).seconds == [12.0, 16.0, 12.0]


def stop_and_lose_workers():
    """A Stop that the workers of a DataLoader have heard themselves: what PyTorch raises then."""
    press_stop()
    raise RuntimeError("DataLoader worker (pid(s) 17) exited unexpectedly")


@pytest.mark.parametrize(("stop", "batch"), [(press_stop, 3), (stop_and_lose_workers, 2)])
def test_stop_saves_between_two_batches(tmp_path, capsys, stop, batch):
    torch.manual_seed(0)
    net = small_net()
    history = fit(net, tmp_path, train_iter=Interrupted(data(), 9, stop))
    assert history.stopped == "in epoch 2 of 3" and len(history) == 1
    capsys.readouterr()
    net = small_net()
    history = fit(net, tmp_path)
    assert f"going on after epoch 1 and batch {batch} of 6, of 3 epochs, from" in capsys.readouterr().out
    plain_net, plain_history = undisturbed()
    assert same(net, plain_net) and same_history(history, plain_history) and not history.stopped


class Remembering(nn.Linear):
    """A layer that keeps something besides tensors."""

    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        pass


def test_what_a_checkpoint_cannot_hold_is_named_before_training(tmp_path):
    net = nn.Sequential(nn.Flatten(), Remembering(784, 10))
    before = net[1].weight.clone()
    with pytest.raises(CheckpointError, match=r"keeps 1\._extra_state, a dict, and a checkpoint holds tensors only"):
        fit(net, tmp_path, init_weights=None)
    assert torch.equal(net[1].weight, before) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("kept", "message"), [
    (torch.eye(3).to_sparse(), r"keeps extra, a tensor of layout torch\.sparse_coo, and a checkpoint holds dense ones"),
    (torch.zeros(3, dtype=torch.complex128), r"keeps a tensor of type torch\.complex128, and a checkpoint cannot hold"),
])  # fmt: skip
def test_a_kind_of_tensor_that_a_checkpoint_cannot_hold_is_named_before_training(tmp_path, kept, message):
    net = small_net()
    net.register_buffer("extra", kept)
    before = copy.deepcopy(net)
    with pytest.raises(CheckpointError, match=message):
        fit(net, tmp_path, init_weights=None)
    assert torch.equal(net[2].weight, before[2].weight) and not list(tmp_path.iterdir())


class Flipping(TensorDataset):
    """Images that are mirrored at random, by the generator of another library."""

    def __init__(self, toss):
        super().__init__(torch.rand(22, 1, 28, 28), torch.arange(22) % 10)
        self.toss = toss

    def __getitem__(self, i):
        X, y = super().__getitem__(i)
        return (X.flip(2) if self.toss() < 0.5 else X), y


def sampled(dataset):
    """Batches whose order comes from a generator that only the sampler of the batch sampler knows."""
    sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(5))
    return DataLoader(dataset, batch_sampler=BatchSampler(sampler, 4, drop_last=False))


RANDOM = {
    "Python's": random.random,
    "Python's, in pairs": lambda: random.gauss(0.5, 1),  # the second of a pair is kept for the next call
    "NumPy's": np.random.rand,
    "NumPy's, in pairs": lambda: np.random.randn() + 0.5,
    "the batch sampler's": lambda: 1.0,
}


@pytest.fixture
def random_states_kept():
    pythons, numpys = random.getstate(), np.random.get_state()
    yield
    random.setstate(pythons), np.random.set_state(numpys)


@pytest.mark.parametrize("toss", RANDOM.values(), ids=RANDOM)
def test_random_numbers_from_elsewhere_go_on_too(tmp_path, toss, random_states_kept):
    images = Flipping(toss)

    def run(seed, checkpoint=None, die_at=None):
        torch.manual_seed(seed), random.seed(seed), np.random.seed(seed)
        toss()  # an odd number of them, so that the checkpoint lies between the two of a pair
        net, batches, count = small_net(), sampled(images), itertools.count(1)
        collate = batches.collate_fn
        batches.collate_fn = lambda rows: die() if next(count) == die_at else collate(rows)
        fit(net, checkpoint, train_iter=batches)
        return net

    plain = run(seed=0)
    with pytest.raises(MemoryError):
        run(seed=0, checkpoint=Checkpoint(tmp_path, every=4), die_at=9)
    assert same(run(seed=99, checkpoint=Checkpoint(tmp_path)), plain)


def test_a_numpy_with_another_generator_is_no_reason_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(np.random, "get_state", lambda: {"bit_generator": "PCG64"})
    assert len(fit(small_net(), tmp_path)) == 3 and "numpy" not in Checkpoint(tmp_path).load()[1]["random"]


@pytest.mark.parametrize("every", [None, 1])
@pytest.mark.parametrize("spoilt", ["weights", "loss"])
def test_what_has_diverged_is_not_kept(tmp_path, every, spoilt):
    """The last good state stays, so that a smaller learning rate can go on from it, as the message says."""
    torch.manual_seed(0)
    fit(small_net(), tmp_path, num_epochs=1)
    net = small_net()

    def spoil():
        if spoilt == "weights":  # a step too far, which the loss will show one batch later
            net[2].weight.register_hook(lambda grad: grad * float("inf"))
        else:  # an infinite loss, whose gradients are numbers
            net[2].bias.data = torch.tensor([3e38] + [-3e38] * 9)

    with pytest.raises(train.Diverged, match=r"the next run goes on from .*, or with resume=False from the beginning"):
        fit(net, Checkpoint(tmp_path, every), train_iter=Interrupted(data(), 3, spoil))
    for path in (tmp_path / "last.safetensors", tmp_path / "before.safetensors"):
        weights, state = unpack(path.read_bytes(), path)
        assert all(tensor.isfinite().all() for tensor in weights.values()) and np.isfinite(state["sums"]).all()
    assert len(fit(small_net(), tmp_path)) == 3


def test_numpys_learning_rate_and_number_of_batches_can_be_kept(tmp_path):
    fit(small_net(), Checkpoint(tmp_path, every=np.int64(2)), num_epochs=np.int64(1), lr=np.float32(0.5))
    assert Checkpoint(tmp_path).load()[1]["lr"] == 0.5


def test_a_network_with_infinity_in_it_is_kept(tmp_path):
    """A mask, say: what is not trained may be anything."""
    net = small_net()
    net.register_buffer("mask", torch.full((3,), float("-inf")))
    fit(net, tmp_path, num_epochs=1)
    assert Checkpoint(tmp_path).load()[1]["epoch"] == 1


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no SIGUSR1")
@pytest.mark.parametrize("ask", ["signal", "method"])
def test_a_save_on_request(tmp_path, ask):
    checkpoint = Checkpoint(tmp_path)
    request = checkpoint.request if ask == "method" else lambda: signal.raise_signal(signal.SIGUSR1)
    saved = []
    real = checkpoint.save
    checkpoint.save = lambda weights, state: saved.append((state["epoch"], state["batch"])) or real(weights, state)
    before = signal.getsignal(signal.SIGUSR1)
    fit(small_net(), checkpoint, train_iter=Interrupted(data(), 9, request))
    assert saved == [(0, 0), (1, 0), (1, 3), (2, 0), (3, 0)]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_more_epochs_go_on_from_the_last(tmp_path):
    torch.manual_seed(0)
    fit(small_net(), tmp_path, num_epochs=1)
    net = small_net()
    history = fit(net, tmp_path, num_epochs=3)
    plain_net, plain_history = undisturbed()
    assert same(net, plain_net) and same_history(history, plain_history)


def test_a_finished_run_is_not_run_again(tmp_path):
    fit(small_net(), tmp_path)
    history = fit(small_net(), tmp_path, train_iter=Interrupted(data(), 1, die))
    assert len(history) == 3


def test_afresh(tmp_path):
    fit(small_net(), tmp_path)
    history = fit(small_net(), Checkpoint(tmp_path, resume=False), num_epochs=1)
    assert len(history) == 1


def test_afresh_nothing_of_the_other_run_is_left(tmp_path):
    """Or a file that is damaged later would let the new run go on from the old one."""
    fit(small_net(), tmp_path)
    checkpoint = Checkpoint(tmp_path, resume=False)
    fit(small_net(), checkpoint, num_epochs=0)
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]
    fit(small_net(), tmp_path, num_epochs=1)
    states = [unpack(path.read_bytes(), path)[1] for path in (checkpoint.before, checkpoint.last)]
    assert [state["epoch"] for state in states] == [0, 1]


def test_what_was_measured_comes_back_as_it_was(tmp_path):
    history = fit(small_net(), tmp_path, num_epochs=1)
    again = fit(small_net(), tmp_path, num_epochs=1)
    assert again.points == history.points and all(type(point) is tuple for point in again.points)


def test_a_data_loader_with_a_generator_of_its_own(tmp_path):
    def loader():
        X, y = torch.rand(22, 1, 28, 28, generator=torch.Generator().manual_seed(5)), torch.arange(22) % 10
        dataset = torch.utils.data.TensorDataset(X, y)
        generator = torch.Generator().manual_seed(7)
        return torch.utils.data.DataLoader(dataset, 4, shuffle=True, generator=generator)

    def stop_in_second_epoch(layer, inputs, output):
        calls.append(layer.training)
        if sum(calls) == 9:
            die()

    calls = []
    torch.manual_seed(0)
    net = small_net()
    net.register_forward_hook(stop_in_second_epoch)
    with pytest.raises(MemoryError):
        fit(net, Checkpoint(tmp_path, every=2), train_iter=loader())
    net = small_net()
    fit(net, tmp_path, train_iter=loader())
    assert same(net, undisturbed(train_iter=loader())[0])


def test_curves_show_the_whole_run(tmp_path):
    class Recorder:
        points = ()

        def add(self, x, y):
            self.points = (*self.points, (x, y))

        def flush(self):
            pass

    fit(small_net(), tmp_path, num_epochs=1)
    recorder = Recorder()
    history = train_ch6(small_net(), data(), data(9, seed=2), 2, 0.1, CPU, animator=recorder, checkpoint=tmp_path)
    trained = [(x, (loss, acc, None)) for x, loss, acc in history.points]
    tested = [(epoch, (None, None, acc)) for epoch, acc in enumerate(history.test_acc, start=1)]
    assert sorted(recorder.points, key=str) == sorted(trained + tested, key=str)


# Files


def test_what_is_kept(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    net = lenet()
    fit(net, checkpoint, num_epochs=1)
    weights, state = checkpoint.load()
    assert weights.keys() == net.state_dict().keys()
    assert (state["epoch"], state["batch"], state["lr"]) == (1, 0, 0.1)
    assert state["versions"]["torch"] == torch.__version__
    assert ["2", "Sigmoid"] in state["layers"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before.safetensors", "last.safetensors"]


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    import pickle

    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    fit(small_net(), tmp_path, num_epochs=1)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    fit(small_net(), tmp_path, num_epochs=2)


def test_numbers_come_back_bit_for_bit(tmp_path):
    weights = {"w": torch.tensor([float("nan"), -0.0, 1e-45]), "steps": torch.tensor(3), "empty": torch.ones(0, 2)}
    state = {"history": [0.1 + 0.2, float("inf")], "text": "Größe"}
    found, told = unpack(pack(weights, state), tmp_path)
    assert all(torch.equal(found[k].view(torch.uint8), weights[k].view(torch.uint8)) for k in ("w", "empty"))
    assert found["steps"] == 3 and told["history"] == state["history"] and told["text"] == "Größe"


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file_gives_way_to_the_one_before(tmp_path, keep, capsys):
    checkpoint = Checkpoint(tmp_path)
    fit(small_net(), checkpoint, num_epochs=2)
    packed = checkpoint.last.read_bytes()
    checkpoint.last.write_bytes(packed[: int(keep * len(packed)) if isinstance(keep, float) else keep])
    _, state = checkpoint.load()
    assert state["epoch"] == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert "last.safetensors is damaged" in said and "going on from before.safetensors" in said


def test_a_damaged_file_never_takes_the_place_of_a_good_one(tmp_path, monkeypatch):
    """Killed in the middle of the next save, the run must find the state from which it went on."""
    checkpoint = Checkpoint(tmp_path)
    fit(small_net(), checkpoint, num_epochs=2)
    checkpoint.last.write_bytes(b"half a file")
    weights, state = checkpoint.load()

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", killed)
        checkpoint.save(weights, {"epoch": 7})
    assert Checkpoint(tmp_path).load()[1]["epoch"] == state["epoch"] == 1

    checkpoint.save(weights, {"epoch": 2})
    assert unpack(checkpoint.before.read_bytes(), "before")[1]["epoch"] == 1
    checkpoint.save(weights, {"epoch": 3})
    assert unpack(checkpoint.before.read_bytes(), "before")[1]["epoch"] == 2


def test_the_home_folder_may_be_a_tilde():
    assert Checkpoint("~/run").folder == pathlib.Path.home() / "run"


def test_the_folder_stays_the_one_that_was_named(tmp_path, monkeypatch):
    """A learner's os.chdir while a run is kept must not divide it between two folders."""
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint("run")
    monkeypatch.chdir(tmp_path.parent)
    assert checkpoint.folder == tmp_path / "run"


def test_a_flipped_bit_is_noticed(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    fit(small_net(), checkpoint, num_epochs=1)
    packed = bytearray(checkpoint.last.read_bytes())
    packed[-5] ^= 1
    checkpoint.last.write_bytes(packed)
    checkpoint.before.unlink()
    with pytest.raises(CheckpointError, match=r"damaged .what it holds is not what was written.*resume=False"):
        checkpoint.load()


@pytest.mark.parametrize(("before", "after"), [
    (rb'\"epoch\": 1', rb'\"epoch\": 0'),
    (rb'\"lr\": 0.1', rb'\"lr\": 0.9'),
    (b'"F32","shape":[84]', b'"I32","shape":[84]'),
], ids=["the epoch", "the learning rate", "a type"])  # fmt: skip
def test_a_changed_letter_in_the_header_is_noticed(tmp_path, before, after):
    checkpoint = Checkpoint(tmp_path)
    fit(lenet(), checkpoint, num_epochs=1)
    packed = checkpoint.last.read_bytes()
    assert before in packed
    checkpoint.last.write_bytes(packed.replace(before, after, 1))
    with pytest.raises(CheckpointError, match=r"damaged .what it holds is not what was written"):
        unpack(checkpoint.last.read_bytes(), checkpoint.last)


def test_a_header_that_nobody_can_read_gives_way_to_the_state_before(tmp_path):
    """200,000 brackets in one another: Python's JSON gives up with a RecursionError."""
    checkpoint = Checkpoint(tmp_path)
    fit(small_net(), checkpoint, num_epochs=1)
    nested = safetensors.torch.save({"weight": torch.ones(1)}, metadata={module.KEY: "[" * 200_000})
    os.replace(checkpoint.last, checkpoint.before)
    checkpoint.last.write_bytes(nested)
    assert checkpoint.load()[1]["epoch"] == 1


def test_an_impossible_state_of_numpys_random_numbers_is_refused(tmp_path):
    """NumPy would take it, and read where nothing of its own is at the next number."""
    checkpoint = Checkpoint(tmp_path)
    fit(small_net(), checkpoint, num_epochs=1)
    weights, state = checkpoint.load()
    state["random"]["numpy"][2] = 100_000_000
    checkpoint.save(weights, state)
    with pytest.raises(CheckpointError, match=r"place 100000000 of 624.*: name another folder, or begin afresh"):
        fit(small_net(), checkpoint, num_epochs=2)
    assert 0 <= np.random.get_state()[2] <= 624


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.folder.mkdir()
    (checkpoint.folder / "unfinished.safetensors").symlink_to(precious)
    fit(small_net(), checkpoint, num_epochs=1)
    assert precious.read_text() == "kept" and not checkpoint.last.is_symlink() and checkpoint.load()


def test_a_file_of_an_older_format_is_told(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(module, "FORMAT", 2)
        packed = pack({"weight": torch.ones(3)}, {"epoch": 1})
    with pytest.raises(CheckpointError, match=f"old.safetensors has format 2, and this version reads {module.FORMAT}$"):
        unpack(packed, "old.safetensors")


def test_another_network_is_refused_and_keeps_its_weights(tmp_path):
    fit(nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Sigmoid()), tmp_path, num_epochs=1)
    kept = (tmp_path / "last.safetensors").read_bytes()
    for net, words in [
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.ReLU()), "expected layer 2 to be ReLU, got Sigmoid"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(784, 11), nn.Sigmoid()),
            r"expected 1.weight to be \[11, 784\], got \[10, 784\]",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "expected layer 2 to be nothing, got Sigmoid"),
    ]:
        weights = [p.clone() for p in net.parameters()]
        with pytest.raises(CheckpointError, match=f"another network: .*{words}"):
            fit(net, tmp_path)
        assert all(map(torch.equal, weights, net.parameters()))
    assert (tmp_path / "last.safetensors").read_bytes() == kept


def test_other_batches_in_the_middle_of_an_epoch_are_refused(tmp_path):
    fit(small_net(), tmp_path, train_iter=Interrupted(data(), 9, press_stop))
    with pytest.raises(CheckpointError, match="within an epoch of 6 batches, and here it has 11"):
        fit(small_net(), tmp_path, train_iter=data(batch_size=2))


def no_space(path, packed):
    path.write_bytes(packed[:100])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(path, packed):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("trouble, words", [(no_space, "No space left on device"), (read_only, "Read-only")])
def test_a_disk_in_trouble_from_the_start(tmp_path, monkeypatch, trouble, words):
    monkeypatch.setattr(module, "write_to_disk", trouble)
    with pytest.raises(CheckpointError, match=f"cannot write a checkpoint to .*{words}.*make room"):
        fit(small_net(), tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("trouble", [no_space, read_only])
def test_a_disk_in_trouble_later(tmp_path, monkeypatch, capsys, trouble):
    """Training goes on and ends well; the last good state stays, and half a file does not."""
    torch.manual_seed(0)
    spoil = Interrupted(data(), 9, lambda: monkeypatch.setattr(module, "write_to_disk", trouble))
    net = small_net()
    history = fit(net, tmp_path, train_iter=spoil)
    plain_net, plain_history = undisturbed()
    assert same(net, plain_net) and same_history(history, plain_history)
    assert capsys.readouterr().out.count("training goes on without a checkpoint at epoch") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before.safetensors", "last.safetensors"]
    assert Checkpoint(tmp_path).load()[1]["epoch"] == 1


def test_a_file_that_really_cannot_grow(tmp_path, python):
    """The operating system's own limit in the middle of writing a file."""
    pytest.importorskip("resource", reason="Windows has no such limit")
    said = python(
        f"""
import resource
import torch
from lenet_utils.parallel.checkpoint import Checkpoint, CheckpointError
kept = Checkpoint({str(tmp_path / "run")!r})
kept.save({{"w": torch.ones(10)}}, {{"epoch": 1}})
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    kept.save({{"w": torch.ones(10_000)}}, {{"epoch": 2}})
except CheckpointError as error:
    print(error)
print(kept.load()[1]["epoch"], [path.name for path in kept.folder.iterdir()])
"""
    )
    assert "File too large); the last good one stays" in said and said.endswith("1 ['last.safetensors']")


@pytest.mark.parametrize("step", ["write_to_disk", "replace 1", "replace 2"])
def test_killed_while_it_saves(tmp_path, monkeypatch, step):
    """Dead at any step of a save, it leaves one whole state or the other."""
    checkpoint = Checkpoint(tmp_path)
    for epoch in (1, 2):
        checkpoint.save({"w": torch.full((3,), float(epoch))}, {"epoch": epoch})
    calls = []

    def replace(*names):
        calls.append(names)
        if step == f"replace {len(calls)}":
            die()
        real(*names)

    def half(path, packed):
        path.write_bytes(packed[:50])
        die()

    real = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        if step == "write_to_disk":
            patch.setattr(module, "write_to_disk", half)
        with pytest.raises(MemoryError):
            checkpoint.save({"w": torch.full((3,), 3.0)}, {"epoch": 3})
    weights, state = checkpoint.load()
    assert state["epoch"] == 2 and weights["w"].tolist() == [2.0] * 3
    checkpoint.save({"w": torch.full((3,), 4.0)}, {"epoch": 4})
    assert checkpoint.load()[1]["epoch"] == 4


def test_every_is_a_whole_number(tmp_path):
    with pytest.raises(ValueError, match="expected every, the number of batches between two saves, to be a whole"):
        Checkpoint(tmp_path, every=0)


def test_resume_is_true_or_false(tmp_path):
    with pytest.raises(ValueError, match="expected resume to be True or False, got 'no'"):
        Checkpoint(tmp_path, resume="no")


@pytest.mark.parametrize("folder", [True, "", 3, b"run", ["run"]])
def test_what_names_no_folder_is_refused_before_anything_changes(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    net = small_net()
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(ValueError, match=r"the name of a folder, e\.g\. 'my_run', or a path to it, got "):
        fit(net, folder)
    assert all(map(torch.equal, net.parameters(), before)) and not list(tmp_path.iterdir())


def test_saving_is_cheap(tmp_path):
    """Not timed, but counted: one file a save, and no more than the weights and a few kilobytes in it."""
    checkpoint = Checkpoint(tmp_path)
    fit(lenet(), checkpoint, num_epochs=1)
    assert checkpoint.last.stat().st_size < 4 * 61_706 + 40_000
    assert time.time() - checkpoint.last.stat().st_mtime < 3600


def test_fused_and_kept_is_not_fused(tmp_path, capsys):
    history = fit(small_net(), tmp_path, num_epochs=1, fused=True)
    assert len(history) == 1
    assert "not fused, since only batch by batch can a run be kept" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="folders are flushed to the disk under POSIX")
def test_the_file_and_then_its_name_reach_the_disk(tmp_path, monkeypatch):
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino) or sync(handle))
    Checkpoint(tmp_path).save({"w": torch.zeros(1)}, {})
    assert synced == [(tmp_path / "last.safetensors").stat().st_ino, tmp_path.stat().st_ino]
