"""A team of processes ends with what one process ends with; killed, it goes on; none of it stays behind."""

import json
import math
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import types
import warnings

import nbformat
import numpy as np
import psutil
import pytest
import torch
from torch import distributed, nn

from lenet_utils import lenet, train
from lenet_utils.data import Batches
from lenet_utils.parallel import launch, program, resume, team
from lenet_utils.parallel.checkpoint import Checkpoint
from lenet_utils.parallel.launch import Torchrun
from lenet_utils.parallel.team import Team
from lenet_utils.support import files
from lenet_utils.support.threads import share_of_cores

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the teams of these tests are forked")
COURSE = pathlib.Path(__file__).parent.parent
CPU = torch.device("cpu")


def data(n, batch_size, seed=1, shuffle=True):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 28, 28), generator=generator, dtype=torch.uint8)
    return Batches(images, torch.randint(0, 10, (n,), generator=generator), batch_size, shuffle)


def in_a_team(size, folder, function):
    """`function(team)` in `size` processes; what each returned, by rank. JSON has to be able to hold it."""
    if torch.cuda.is_available():
        pytest.skip("PyTorch has threads for the GPU, and cannot train in a fork: set CUDA_VISIBLE_DEVICES= for these")
    folder.mkdir(exist_ok=True)
    children = []
    for rank in range(size):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python's about forks beside threads
            child = os.fork()
        if child == 0:
            run_one(rank, size, folder, function)
        children.append(child)
    ended = [os.waitpid(child, 0)[1] for child in children]
    assert ended == [0] * size, [path.read_text() for path in folder.glob("*.error")]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def run_one(rank, size, folder, function):
    signal.alarm(300)  # rather a failure than a test that hangs
    code = 1
    try:
        os.environ |= {"LOCAL_WORLD_SIZE": str(size), "WORLD_SIZE": str(size)}
        team.stay_on_this_machine()
        store = distributed.FileStore(str(folder / "store"), size)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
        result = function(Team(rank, size))
        (folder / f"{rank}.json").write_text(json.dumps(result))
        code = 0
    except BaseException:
        (folder / f"{rank}.error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def fit(of, n=52, batch_size=10, tests=23, num_epochs=2, lr=0.9, net=None, **more):
    """Train as one of a team; returns weights and history as plain lists."""
    torch.manual_seed(0)
    net = net() if net else lenet()
    history = resume.train(
        net, data(n, batch_size), data(tests, 8, seed=2, shuffle=False), num_epochs, lr, CPU,
        init_weights=train.init_xavier, animator=False, team=of, **more,
    )  # fmt: skip
    return {"weights": [p.tolist() for p in net.parameters()], "history": history.rows(), "points": history.points}


def close(ours, theirs):
    return all(
        torch.allclose(torch.tensor(a), torch.tensor(b), rtol=1e-5, atol=1e-6)
        for a, b in zip(ours["weights"], theirs["weights"])
    )


def refusal(of, **more):
    try:
        fit(of, **more)
    except ValueError as error:
        return str(error)


def test_a_team_that_was_told_different_things_does_not_wait_for_each_other(tmp_path):
    kept = tmp_path / "kept"
    different = {
        "same epochs in every process, got 1, 2": lambda of: {"num_epochs": 1 + of.rank},
        "same batches in every process, got 6, 4": lambda of: {"n": 31 if of.rank else 52},
        "same images in every process, got 52, 51": lambda of: {"n": 52 - of.rank},
        "same images for the test in every process, got 23, 22": lambda of: {"tests": 23 - of.rank},
        "same rate in every process, got 0.9, 0.8": lambda of: {"lr": 0.9 - of.rank / 10},
        "same checkpoints in every process, got 1, 0": lambda of: {"checkpoint": None if of.rank else kept},
        "same every in every process, got 0, 3": lambda of: {"checkpoint": Checkpoint(kept, of.rank * 3 or None)},
    }
    for number, (expected, more) in enumerate(different.items()):
        said = in_a_team(2, tmp_path / str(number), lambda of, more=more: refusal(of, **more(of)))
        assert all(f"expected the {expected}: hand" in sentence for sentence in said)


def loader(of, sampler=None, generator=None):
    images, labels = data(52, 10).images[:, None] / 255, data(52, 10).labels
    pairs = torch.utils.data.TensorDataset(images, labels)
    return torch.utils.data.DataLoader(pairs, 10, sampler=sampler and sampler(pairs), generator=generator)


@pytest.mark.parametrize("which", [0, 1], ids=["training", "test"])
def test_a_distributed_sampler_would_leave_out_images(tmp_path, which):
    def train_with_sampler(of):
        batches = [loader(of), loader(of)]
        batches[which] = loader(of, torch.utils.data.DistributedSampler)
        try:
            resume.train(lenet(), *batches, 1, 0.9, CPU, animator=False, team=of)
        except ValueError as error:
            return str(error)

    assert all("leave the sampler out" in sentence for sentence in in_a_team(2, tmp_path, train_with_sampler))


def test_all_processes_draw_the_same_order_whatever_they_draw_it_from(tmp_path):
    def order(of):
        torch.manual_seed(of.rank), random.seed(of.rank), np.random.seed(of.rank)
        generator = torch.Generator().manual_seed(of.rank)
        run = resume.Run(lenet(), loader(of, torch.utils.data.RandomSampler, generator), 0.9, None, team=of)
        run.team_random_state()
        drawn = torch.randperm(9).tolist(), torch.randperm(9, generator=generator).tolist()
        return *drawn, random.sample(range(9), 9), np.random.permutation(9).tolist()

    one, other = in_a_team(2, tmp_path, order)
    assert one == other


# The same weights


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "n, batch_size, tests",
    [(52, 10, 23), (48, 16, 9), (11, 10, 1)],
    ids=["uneven last batch", "even", "a batch smaller than the team"],
)
def test_a_team_ends_where_one_process_ends(tmp_path, size, n, batch_size, tests):
    alone = fit(Team(), n, batch_size, tests)
    all_of_them = in_a_team(size, tmp_path / "team", lambda of: fit(of, n, batch_size, tests))
    for one in all_of_them:
        assert one["weights"] == all_of_them[0]["weights"]  # the same everywhere, bit for bit
        assert close(one, alone)
        for ours, theirs in zip(one["history"], alone["history"]):
            assert (ours["images"], ours["test_acc"]) == (theirs["images"], theirs["test_acc"])
            assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-6)
            assert ours["train_acc"] == pytest.approx(theirs["train_acc"], abs=2 / n)
        assert len(one["points"]) == len(alone["points"])


def test_a_plain_mean_of_uneven_shares_would_not(tmp_path, monkeypatch):
    """That the sizes of the shares matter: with the mean that forgets them, the weights differ."""
    alone = fit(Team(), n=21, batch_size=7)
    monkeypatch.setattr(Team, "weight", lambda self, images, all_images: 1 / self.size)
    wrong = in_a_team(2, tmp_path / "team", lambda of: fit(of, n=21, batch_size=7))[0]
    assert not close(wrong, alone)


def test_a_team_of_one_is_train_ch6_bit_for_bit():
    torch.manual_seed(0)
    net = lenet()
    history = train.train_ch6(net, data(52, 10), data(23, 8, 2, False), 2, 0.9, CPU, animator=False)
    alone = fit(Team())
    assert alone["weights"] == [p.tolist() for p in net.parameters()]
    assert [row["train_loss"] for row in alone["history"]] == history.train_loss
    assert alone["points"] == history.points


def test_processes_that_begin_differently_end_the_same(tmp_path):
    def differently(of):
        torch.manual_seed(of.rank)
        net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(784, 10))
        resume.train(net, data(21, 4), data(5, 8, 2), 2, 0.1, CPU, animator=False, team=of)
        return [p.tolist() for p in net.parameters()]

    first, second = in_a_team(2, tmp_path / "team", differently)
    assert first == second


def test_all_processes_test_with_the_same_running_averages(tmp_path):
    """Each batch normalisation has seen its own shares; what is kept, and what is tested, is process 0's."""

    def normalised(of):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
        evaluate, tested = resume.evaluate_accuracy_gpu, []
        resume.evaluate_accuracy_gpu = lambda *given: tested.append(averages(net)) or evaluate(*given)
        resume.train(net, data(20, 4), data(5, 8, 2), 1, 0.1, CPU, str(tmp_path / "kept"), animator=False, team=of)
        assert tested == [averages(net)]
        return averages(net)

    def averages(net):
        return [buffer.tolist() for buffer in net.buffers()]

    first, second = in_a_team(2, tmp_path / "team", normalised)
    weights, _ = Checkpoint(tmp_path / "kept").load()
    kept = [weights[name].tolist() for name in weights if "running" in name or "num_batches" in name]
    assert first == second and sorted(map(str, kept)) == sorted(map(str, first)) and any(first[0])


def test_only_the_first_process_speaks_and_saves(tmp_path, capfd):
    saved = tmp_path / "run"
    in_a_team(3, tmp_path / "team", lambda of: fit(of, checkpoint=Checkpoint(saved, every=2)))
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["training", "loss"] and len(lines) == 3
    assert re.fullmatch(r"[\d.]+ examples/sec on cpu", lines[2])
    assert lines[0] == "training on cpu with 3 processes"
    assert sorted(path.name for path in saved.iterdir()) == ["before.safetensors", "last.safetensors"]


@pytest.mark.parametrize("size", [2, 3])
def test_a_team_goes_on_bit_for_bit(tmp_path, size):
    """Stopped in the middle of the second epoch; and what the history says of that epoch is the same, too."""
    saved = tmp_path / "run"

    def stopped(of):
        asked = {"n": 0}
        real = train.Accumulator.add

        def add(self, *values):
            asked["n"] += 1
            if asked["n"] == 9:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)  # once more: a team stays patient
            real(self, *values)

        if of.rank == size - 1:  # one that does not save itself
            resume.Accumulator.add = add
        return fit(of, checkpoint=saved)

    plain = in_a_team(size, tmp_path / "plain", fit)[0]
    half = in_a_team(size, tmp_path / "half", stopped)[0]
    assert len(half["history"]) == 1
    again = in_a_team(size, tmp_path / "again", lambda of: fit(of, checkpoint=saved))[0]
    for rows in (plain["history"], again["history"]):
        for row in rows:
            del row["seconds"]
    assert again == plain


def test_stop_is_heard_where_a_save_is_due_and_all_wait_for_it(tmp_path):
    """Else a team would hear it at the next fifth of an epoch, and a launcher might end them while process 0 writes."""
    saved = tmp_path / "run"

    def stopped(of):
        count, save = resume.count_correct, Checkpoint.save

        def counting(*batch):
            signal.raise_signal(signal.SIGTERM)
            return count(*batch)

        def slow(*state):
            time.sleep(1)
            save(*state)

        resume.count_correct, Checkpoint.save = counting, slow
        fit(of, n=520, checkpoint=Checkpoint(saved, every=3))
        return Checkpoint(saved).load()[1]["batch"]

    assert in_a_team(2, tmp_path / "team", stopped) == [3, 3]


def test_another_number_of_processes_goes_on(tmp_path):
    saved = tmp_path / "run"
    in_a_team(3, tmp_path / "three", lambda of: fit(of, num_epochs=1, checkpoint=saved))
    two = in_a_team(2, tmp_path / "two", lambda of: fit(of, checkpoint=saved))[0]
    assert close(two, fit(Team())) and len(two["history"]) == 2
    assert close(fit(Team(), checkpoint=saved), two)


def test_a_loss_that_is_no_number_stops_all_of_them(tmp_path):
    """Only one of the two shares has it; the other process has to be told."""

    def spoilt(of):
        images = torch.stack([torch.zeros(1, 28, 28), torch.full((1, 28, 28), math.nan)])
        X = [(images, torch.tensor([1, 2]))]
        net = lenet()
        try:
            resume.train(net, X, X, 1, 0.9, CPU, animator=False, team=of)
        except train.Diverged as error:
            return str(error)

    assert all("the loss became nan in epoch 1, batch 1 of 1" in text for text in in_a_team(2, tmp_path, spoilt))


def test_messages_between_processes(tmp_path):
    def talk(of):
        told = of.tell(b"from the first" if of.rank == 0 else None)
        nothing = of.tell(None)
        return told.decode(), nothing.decode(), of.total([of.rank, 0.1]), of.agree(of.rank == 2, False)

    answers = in_a_team(3, tmp_path, talk)
    assert answers == [["from the first", "", [3.0, pytest.approx(0.3)], [True, False]]] * 3


@pytest.mark.doors  # DDP loads the compiler, which takes longer than all other tests here
def test_ddp_ends_at_the_same_place(tmp_path):
    alone = fit(Team(), n=21, batch_size=7, num_epochs=1)

    def with_ddp(of):
        of.ddp = True
        return fit(of, n=21, batch_size=7, num_epochs=1)

    assert all(close(one, alone) for one in in_a_team(2, tmp_path, with_ddp))


def test_shares_are_of_nearly_one_size():
    for n, size in [(256, 2), (96, 3), (97, 3), (2, 3), (256, 7)]:
        shares = [Team(rank, size).share(torch.arange(n)) for rank in range(size)]
        assert torch.equal(torch.cat(shares), torch.arange(n))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


# The command


def test_without_torchrun_it_is_one_process(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    threads = torch.get_num_threads()
    try:
        program.main(["--images=60", "--epochs=1", "--device=cpu", f"--checkpoint={tmp_path}", "--threads=1"])
        assert "training on cpu\n" in capsys.readouterr().out
        program.main(["--images=60", "--epochs=2", "--device=cpu", f"--checkpoint={tmp_path}"])
        assert "going on after epoch 1, of 2 epochs" in capsys.readouterr().out
        assert torch.get_num_threads() == share_of_cores(1)
        program.main(["--images=60", "--epochs=2", "--device=cpu", f"--checkpoint={tmp_path}", "--afresh"])
        assert "going on" not in capsys.readouterr().out
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")  # of a process that was killed, and begins again
        program.main(["--images=60", "--epochs=3", "--device=cpu", f"--checkpoint={tmp_path}", "--afresh"])
        assert "going on after epoch 2, of 3 epochs" in capsys.readouterr().out
    finally:
        torch.set_num_threads(threads)


def test_the_seed_is_the_one_that_is_asked_for(tmp_path):
    threads, kept = torch.get_num_threads(), {}
    try:
        for run, seed in {"0": 0, "1": 1, "1 again": 1}.items():
            asked = ["--images=60", "--epochs=1", "--device=cpu", f"--seed={seed}", f"--checkpoint={tmp_path / run}"]
            program.main(asked)
            kept[run] = Checkpoint(tmp_path / run).load()[0]["1.weight"]
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(kept["1"], kept["1 again"]) and not torch.equal(kept["0"], kept["1"])


def test_it_needs_no_docstrings():
    command = [sys.executable, "-OO", "-m", "lenet_utils.parallel", "--help"]
    assert "--checkpoint" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs=-1"], "expected --epochs to be a whole number of at least 0, got -1"),
        (["--images=-5"], "expected --images to be a whole number of at least 1, got -5"),
        (["--images=0"], "expected --images to be a whole number of at least 1, got 0"),
        (["--threads=-1"], "expected --threads to be a whole number of at least 1, got -1"),
        (["--lr=-1"], "expected lr, the learning rate, to be a number from 0 up"),
        (["--lr=nan"], "expected lr, the learning rate, to be a number from 0 up"),
        (["--batch-size=0"], "expected --batch-size to be a whole number of at least 1, got 0"),
        (["--device=banana"], "expected a device that this machine has, got 'banana'"),
        (["--device=cuda:99"], "expected a device that this machine has, got 'cuda:99'"),
    ],
)
@pytest.mark.parametrize("under_torchrun", [False, True])
def test_a_line_that_makes_no_sense_gets_one_sentence(monkeypatch, arguments, message, under_torchrun):
    told = refused(monkeypatch, arguments, {"RANK": "0", "LOCAL_RANK": "0"} if under_torchrun else None)
    assert message in told and "\n" not in told


def test_several_machines_cannot_tell_which_start_is_the_first(monkeypatch):
    """Each torchrun counts for itself how often it has started its processes, and none counts who joins."""
    places = {"RANK": "0", "LOCAL_RANK": "0", "GROUP_WORLD_SIZE": "2"}
    told = refused(monkeypatch, ["--afresh", "--checkpoint=run", "--device=cpu"], places)
    assert told.startswith("expected --afresh on one machine only") and "\n" not in told


@pytest.mark.parametrize(("stopped", "status"), [("", 0), ("stopped in epoch 1 of 10", 143)])
def test_who_was_told_to_end_has_not_finished(monkeypatch, stopped, status):
    """torchrun takes the training of all to be over where its own processes end with 0."""
    left = []
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(program, "train", lambda *_, **__: types.SimpleNamespace(stopped=stopped))
    monkeypatch.setattr(program, "leave", left.append)
    program.main(["--images=60", "--device=cpu", f"--threads={torch.get_num_threads()}"])
    assert left == [status]


def test_missing_data_gets_one_sentence(monkeypatch):
    def nothing_there(*_):
        raise files.DataError("the data is not here")

    monkeypatch.setattr(program, "read_split", nothing_there)
    assert refused(monkeypatch, ["--epochs=1", "--device=cpu"]) == "the data is not here"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("[x/gloo/transport/tcp/pair.cc:545] Read error"), "process 1 cannot go on without one that died"),
        (distributed.DistBackendError("NCCL error"), "process 1 cannot go on without one that died"),
        (RuntimeError("CUDA out of memory.\nTried"), "process 1 cannot go on: CUDA out of memory."),
        (RuntimeError(), "process 1 cannot go on: RuntimeError"),
    ],
)
def test_the_death_of_another_is_told_from_trouble_of_ones_own(monkeypatch, error, said):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(program, "join", lambda *_: Team(1, 2))
    monkeypatch.setattr(program, "train", fails)
    assert refused(monkeypatch, ["--images=60", "--device=cpu"]) == said


def refused(monkeypatch, arguments, places=None):
    """What the command says when it gives up."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if places:
        for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", **places}.items():
            monkeypatch.setenv(name, value)

    class Ended(BaseException):
        pass

    def give_up(reason):
        raise Ended(reason)

    monkeypatch.setattr(program, "give_up", give_up)
    monkeypatch.setattr(team.distributed, "init_process_group", lambda *_, **__: pytest.fail("it went on"))
    threads = torch.get_num_threads()
    try:
        with pytest.raises(Ended) as caught:
            program.main(arguments)
    finally:
        torch.set_num_threads(threads)
    return str(caught.value)


def test_all_begin_with_the_weights_of_process_0(tmp_path):
    def wrapped(of):
        net = nn.Linear(2, 1)
        nn.init.constant_(net.weight, of.rank)
        return of.wrap(net).weight.tolist()

    assert in_a_team(2, tmp_path / "team", wrapped) == [[[0.0, 0.0]]] * 2


def test_who_leaves_has_succeeded(python):  # which wants the exit status 0
    code = (
        "from lenet_utils.parallel import team; team.distributed.is_initialized = lambda: True; "
        "print('said'); team.leave(); print('here')"
    )
    assert python(code) == "said"


def test_tied_to_its_standard_input_it_still_ends_by_itself():
    command = [sys.executable, "-m", "lenet_utils.parallel", "--tied", "--images=60", "--epochs=0", "--device=cpu"]
    environment = {k: v for k, v in os.environ.items() if k != "WORLD_SIZE"}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as running:
        try:
            assert running.wait(60) == 0  # while nobody closes its standard input
        finally:
            running.kill()


SLOW_TO_SAVE = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(1)
    pathlib.Path(sys.argv[-1], "saved").touch()
    sys.exit()
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(600)
"""


def test_who_is_told_to_end_has_time_to_save(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_TO_SAVE)
    with Torchrun(1, tmp_path, module="slow", PYTHONPATH=str(tmp_path)) as lines:
        assert next(iter(lines)) == "up"
    assert (tmp_path / "saved").exists() and lines.running.stdin.closed


@pytest.fixture
def place(monkeypatch):
    """The device of process `rank` of `processes` on a machine that pretends to a number of GPUs."""

    def find(rank, processes, gpus, wanted=None):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(team.checks, "device", torch.device)
        return str(team.place_in_team(wanted))

    return find


@pytest.mark.parametrize(("gpus", "expected"), [(0, ["cpu", "cpu"]), (1, ["cpu", "cpu"]), (2, ["cuda:0", "cuda:1"])])
def test_all_processes_of_a_machine_compute_on_the_same_kind_of_device(place, gpus, expected):
    """With one GPU for two of them, one would wait for messages over gloo and the other over nccl."""
    assert [place(rank, 2, gpus) for rank in range(2)] == expected


def test_gpus_that_nobody_uses_are_told_once(place, capsys):
    assert [place(rank, 3, 2) for rank in range(3)] == ["cpu"] * 3
    assert capsys.readouterr().out == "3 processes and a GPU for 2 of them: all of them compute on the CPU\n"


def test_cuda_means_a_gpu_of_its_own(place):
    assert [place(rank, 2, 2, "cuda") for rank in range(2)] == ["cuda:0", "cuda:1"]
    assert place(0, 1, 2, "cuda:1") == "cuda:1"
    assert place(1, 2, 2, "cpu") == "cpu"


@pytest.mark.parametrize("wanted", ["cuda:0", "mps"])
def test_a_device_that_not_all_can_have_is_refused(place, wanted):
    with pytest.raises(ValueError, match=f"a device for each of 2 processes, got {wanted} for number 1"):
        place(1, 2, 2, wanted)


def test_the_processes_are_found_with_and_without_proc(monkeypatch):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        pairs = {(child.pid, os.getpid())}
        assert pairs <= set(launch.processes_and_parents())
        if shutil.which("ps"):
            monkeypatch.setattr(launch.os.path, "exists", lambda path: False)
            assert pairs <= set(launch.processes_and_parents())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux cuts names there")
def test_a_stranger_s_name_may_be_cut_in_the_middle_of_a_letter():
    code = "import ctypes; ctypes.CDLL(None).prctl(15, ('x)' + 8 * chr(252)).encode()); print(); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()  # it has the name now
        with pytest.raises(UnicodeDecodeError):
            pathlib.Path(f"/proc/{child.pid}/stat").read_text("utf-8")
        assert (child.pid, os.getpid()) in launch.processes_and_parents()


def test_each_process_gets_its_share_of_the_cores():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert share_of_cores(1) <= cores and share_of_cores(2 * cores) == 1


def test_windows_is_told_in_one_sentence(monkeypatch):
    two = Torchrun(2)
    monkeypatch.setattr(launch.os, "name", "nt")
    with pytest.raises(NotImplementedError, match="cannot share work between processes on Windows"), two:
        pass


def test_waiting_ends_with_the_training():
    lines, looks = Torchrun(1), iter([False, True])
    lines.running = types.SimpleNamespace(poll=lambda: None)
    lines.wait_until(lambda: next(looks))
    lines.running = types.SimpleNamespace(poll=lambda: 0)
    with pytest.raises(RuntimeError, match="over too early: begin again in a fresh folder"):
        lines.wait_until(lambda: False)


def living(marker):
    """The process ids of programs with `marker` on their command line."""
    command = ["ps", "-ww", "-eo", "pid=,stat=,args="]  # ww: whole lines, also where COLUMNS is set
    listed = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    rows = (line.split(None, 2) for line in listed)
    return [int(pid) for pid, state, command in rows if marker in command and not state.startswith("Z")]


@pytest.mark.doors  # notebook 7 does the same in the default run
def test_torchrun_killed_and_back_again(tmp_path):
    """The whole path once, with a real SIGKILL from outside: the line, the death, the way back, the same end."""
    folder = tmp_path / "run"
    arguments = ["--images=1280", "--epochs=3", "--batch-size=64", "--device=cpu", f"--checkpoint={folder}"]
    killed = []
    with Torchrun(2, *arguments, "--every=3", max_restarts=1) as lines:
        killer = threading.Thread(target=kill_in_the_middle, args=(lines, folder, killed))
        killer.start()
        printed = list(lines)
        killer.join()
    assert lines.running.returncode == 0, printed
    assert not living(str(folder))
    assert len(killed) == 2, "nobody was killed, so nothing has been tested"
    assert any(line.startswith("going on after epoch") for line in printed)
    alone = tmp_path / "alone"
    alone_arguments = [argument for argument in arguments if "checkpoint" not in argument]
    parallel_team = in_a_team(2, tmp_path / "team", lambda of: by_hand(of, alone, alone_arguments))
    assert parallel_team == [None, None]
    (ours, told), (theirs, expected) = Checkpoint(folder).load(), Checkpoint(alone).load()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert told["history"]["points"] == expected["history"]["points"]
    assert told["history"]["test_acc"] == expected["history"]["test_acc"]


def kill_in_the_middle(lines, folder, killed):
    """Once an epoch is kept in its middle, end the last of the workers; `killed`: all that were there."""
    while not killed and lines.running.poll() is None:
        found = Checkpoint(folder).load()
        if found and found[1]["batch"]:
            killed += lines.workers()
            os.kill(killed[-1], signal.SIGKILL)
        time.sleep(0.01)


def by_hand(of, folder, arguments):
    asked = program.options(arguments)
    torch.set_num_threads(share_of_cores(2))
    torch.manual_seed(asked.seed)
    train_iter, test_iter = program.data(asked.batch_size, asked.images)
    more = {"init_weights": train.init_xavier, "animator": False, "team": of}
    resume.train(lenet(), train_iter, test_iter, asked.epochs, asked.lr, CPU, folder, **more)


def test_stop_leaves_no_process_behind(tmp_path):
    """Stop in the middle of a cell, as Jupyter does it: an exception inside the `with`."""
    folder = tmp_path / "run"
    started = time.monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        Torchrun(2, "--images=1280", "--epochs=100000", "--device=cpu", f"--checkpoint={folder}") as lines,
    ):
        for line in lines:
            if line.startswith(("epoch", "training")) or time.monotonic() > started + 90:
                raise KeyboardInterrupt
    end = time.monotonic() + 10
    while living(str(folder)):  # nobody waits for a worker that was killed last
        assert time.monotonic() < end, "a process outlived the `with` that started it"
        time.sleep(0.1)
    assert Checkpoint(folder).load() is not None


KERNEL = """
import sys
from lenet_utils.parallel.launch import Torchrun

with Torchrun(2, sys.argv[1], module="silent", max_restarts=1, PYTHONPATH=sys.argv[2]) as lines:
    for line in lines:
        print(line, flush=True)
"""
SILENT = r"""
import sys, time
from lenet_utils.parallel import program

def train(*arguments, **options):  # who never prints never learns that nobody listens any more
    sys.stdout.write("training\n")
    time.sleep(600)

program.train = train
program.main(["--images=1280", "--device=cpu", *sys.argv[1:]])
"""


@pytest.mark.doors
def test_a_kernel_that_is_killed_leaves_no_process_behind(tmp_path):
    """As when it needs too much memory, or does not come to its end before Jupyter starts another in its place."""
    (tmp_path / "silent.py").write_text(SILENT)
    folders = os.pathsep.join([str(tmp_path), str(COURSE)])
    command = [sys.executable, "-c", KERNEL, f"--checkpoint={tmp_path / 'run'}", folders]
    with subprocess.Popen(command, cwd=COURSE, stdout=subprocess.PIPE, text=True) as kernel:
        assert [next(kernel.stdout) for _ in range(2)] == 2 * ["training\n"]
        assert len(living(str(tmp_path / "run"))) == 4  # it, torchrun and two workers
        kernel.kill()
    end = time.monotonic() + 60  # the workers end at once, are started again, and end once more
    while left := living(str(tmp_path / "run")):
        if time.monotonic() > end:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail("a process outlived the kernel that started it")
        time.sleep(0.1)


def test_nobody_else_can_put_a_program_where_torchrun_meets(tmp_path):
    """It unpickles what lies there, so that must not be in a store that whoever reaches this machine can write to."""
    with Torchrun(1, "--images=1280", "--epochs=100000", "--device=cpu", f"--checkpoint={tmp_path}") as lines:
        for line in lines:
            if line.startswith("epoch"):
                break
        torchrun = psutil.Process(lines.running.pid)
        connections = getattr(torchrun, "net_connections", None) or torchrun.connections  # psutil before 6.0
        ports = {of.laddr.port for of in connections() if of.status == "LISTEN"}  # none with PyTorch 2.4
        stores = [distributed.TCPStore("127.0.0.1", port, is_master=False) for port in ports]
        meeting, key = pathlib.Path(lines.folder.name), "torch.rendezvous.none"
        assert key.encode() in (meeting / "meeting").read_bytes()  # so this is what to look for
        assert not any(store.check([key]) for store in stores)
        assert meeting.stat().st_mode & 0o077 == 0
    assert not meeting.exists()


def command_of_notebook_7(changes):
    """For each of several machines, with `changes`: variables of the environment, and the words behind `torchrun`."""
    notebook = nbformat.read(COURSE / "notebooks" / "7_many_machines.ipynb", as_version=4)
    (text,) = [found for cell in notebook.cells for found in re.findall(r"```bash\n(export .*?)```", cell.source, re.S)]
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    *exports, command = text.replace("\\\n", "").splitlines()
    assert command.startswith("torchrun ")
    return dict(line.removeprefix("export ").split("=") for line in exports), shlex.split(command)[1:]


class Machine:
    """What notebook 7 has run on each of several machines; here they are all one. Prints into `lines`."""

    def __init__(self, port, folder, lines, module="lenet_utils.parallel"):
        variables, arguments = command_of_notebook_7({  # as many machines as there are, and more to do for them
            "--nnodes 2": "--nnodes 1:3",
            "--nproc-per-node 8": "--nproc-per-node 1",
            "--max-restarts 3": "--max-restarts 9",
            "first.machine:29400": f"127.0.0.1:{port} --local-addr=127.0.0.1 --rdzv-conf=last_call_timeout=2",
            "-m lenet_utils.parallel": f"-m {module}",
            "--epochs 10 --device cuda": "--epochs 100000 --images 1280 --device cpu --tied",
            "/shared/lenet-$USER": f"'{folder}'",
        })  # fmt: skip
        command = ["-m", "torch.distributed.run", *arguments]
        path = os.pathsep.join([str(COURSE), str(folder.parent)])
        environment = os.environ | variables | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        self.frozen = []
        self.running = subprocess.Popen(
            [sys.executable, *command], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=lambda: lines.extend(self.running.stdout))
        self.reader.start()

    def freeze(self):
        """As if unplugged: nobody is told, not even by a connection that closes."""
        of_torchrun = [pid for pid, parent in launch.processes_and_parents() if parent == self.running.pid]
        self.frozen = [self.running.pid, *of_torchrun]
        for pid in self.frozen:
            os.kill(pid, signal.SIGSTOP)

    def die(self):
        """As if killed: the others are told by their connections, which close."""
        self.running.stdin.close()  # to its worker the sign to end at once
        self.running.kill()
        for pid in self.frozen[1:]:
            os.kill(pid, signal.SIGCONT)
        self.frozen = []
        self.running.wait()
        self.reader.join()
        self.running.stdout.close()


def wait_for(pattern, lines):
    """Until one of the `lines` matches; it and those before it are taken away."""
    end = time.monotonic() + 120
    while True:
        for i, line in enumerate(lines):
            if re.match(pattern, line):
                del lines[: i + 1]
                return
        assert time.monotonic() < end, f"no line {pattern!r} in {lines}"
        time.sleep(0.1)


@pytest.fixture
def another_machine(tmp_path):
    """A function that starts one more machine, and the lines that all of them print."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder, lines, machines = tmp_path / "run", [], []

    def start(**more):
        machines.append(Machine(port, folder, lines, **more))
        return machines[-1]

    yield start, lines
    for machine in machines:
        machine.die()
    for _ in range(100):
        if not living(str(folder)):
            return
        time.sleep(0.1)
    pytest.fail("a process outlived its machine")


@pytest.mark.doors
def test_machines_come_and_go(another_machine):
    """As notebook 7 says of `--nnodes 1:4`: each time they start again from the checkpoint, as many as there are."""
    start, lines = another_machine

    def goes_on_with(processes):
        wait_for("training on cpu" + (f" with {processes} processes" if processes > 1 else "") + "$", lines)
        wait_for("going on after epoch", lines)
        wait_for("epoch", lines)

    start()
    wait_for("epoch", lines)
    second = start()
    goes_on_with(2)
    third = start()  # the processes of both that are there are told to end, and neither takes that for the end
    goes_on_with(3)
    third.die()
    goes_on_with(2)
    second.running.terminate()  # told to end: its process asks that of the other one, which then goes on
    wait_for("stopped in epoch", lines)
    goes_on_with(1)
    assert second.running.wait(60) != 0
    start()
    goes_on_with(2)


@pytest.mark.doors
def test_a_machine_without_power_is_given_up(another_machine, tmp_path):
    (tmp_path / "impatient.py").write_text(
        "import datetime\nfrom lenet_utils.parallel import program, team\n"
        "team.PATIENCE = datetime.timedelta(seconds=5)\nprogram.main()\n"
    )
    start, lines = another_machine
    start(module="impatient")
    wait_for("epoch", lines)
    second = start(module="impatient")
    wait_for("training on cpu with 2 processes", lines)
    wait_for("epoch", lines)
    second.freeze()
    wait_for("process 0 cannot go on without one that died", lines)
    wait_for("training on cpu$", lines)
    wait_for("going on after epoch", lines)


@pytest.mark.doors
def test_a_worker_that_hangs_is_ended(tmp_path):
    lines = ["import signal, time", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "print('up')", "time.sleep(600)"]
    (tmp_path / "hung.py").write_text("\n".join(lines))
    with Torchrun(1, tmp_path, module="hung", PYTHONPATH=str(tmp_path)) as printed:
        assert next(iter(printed)) == "up" and living(str(tmp_path))
    for _ in range(50):
        if not living(str(tmp_path)):
            return
        time.sleep(0.1)
    pytest.fail("a worker outlived the `with` that started it")
