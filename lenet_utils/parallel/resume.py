"""Training that goes on where it was stopped, killed or unplugged, alone or in a team of processes.

The loop is that of `train_ch6`, and so are its numbers, bit for bit. It differs in three things: it can begin in the
middle of an epoch, it saves, and each process of a team computes its share of every batch.
"""

import base64
import dataclasses
import itertools
import json
import math
import platform
import random
import sys

import torch
from torch.utils.data import DistributedSampler

from ..data import Batches
from ..quick import quick_layers
from ..quick.memory import kept_memory
from ..support import checks
from ..support.stop import StopBetweenBatches
from ..train import (
    SGD,
    Accumulator,
    Diverged,
    History,
    Timer,
    batches_between_points,
    count_correct,
    cross_entropy,
    diverged,
    drawn_to_the_end,
    epoch_means,
    evaluate_accuracy_gpu,
)
from .checkpoint import Checkpoint, CheckpointError, pack, unpack
from .team import Team

CPU = torch.device("cpu")


def train(net, train_iter, test_iter, num_epochs, lr, device, checkpoint=None, *,
          init_weights=None, animator=None, team=None):  # fmt: skip
    """`train_ch6` with a `checkpoint` (a `Checkpoint`, or the folder for one), by one process or by a `team` of them.

    Every process of a team is called with the same arguments, and all end with the same weights and history: those of
    one process, up to rounding, unless a layer mixes the images of a batch (batch normalisation sees a share only) or
    draws random numbers for each (dropout).
    Raises `CheckpointError`, before training begins, where the state cannot be kept or is of another run, and
    ValueError where the processes of a team were told different things.
    """
    team = team or Team(device=device)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint(checkpoint)
    keeps = {"checkpoints": checkpoint is not None, "every": getattr(checkpoint, "every", None) or 0}
    check_team(team, train_iter, test_iter, epochs=num_epochs, rate=lr, **keeps)
    found = find(checkpoint, team)
    if found:
        check_network(net, found, checkpoint)
    elif init_weights is not None:
        net.apply(init_weights)
    net.to(device)
    train_iter, test_iter = (it.to(device) if isinstance(it, Batches) else it for it in (train_iter, test_iter))
    run = Run(net, train_iter, lr, History(str(device)), checkpoint, team)
    if found:
        run.restore(*found)
    elif checkpoint is not None:
        run.save(insist=True)  # a run that starts again starts from these weights; and the folder can be written to
    say(team, f"training on {device}" + (f" with {team.size} processes" if team.size > 1 else ""))
    say(team, run.where(num_epochs))
    return run.train_until(num_epochs, test_iter, animator if team.rank == 0 else False)


def check_team(team, train_iter, test_iter, **told):
    """Raises ValueError where the processes of a team would wait for each other for ever, or leave images out.

    `told`: further numbers that each of them has, and that have to be the same.
    """
    if team.size == 1:
        return
    told["batches"], told["generators"] = len(train_iter), len(generators(train_iter))
    told["images"], told["images for the test"] = count_images(train_iter), count_images(test_iter)
    for name, values in zip(told, zip(*team.gather(told.values()))):
        if len(set(values)) > 1:
            got = ", ".join(f"{value:g}" for value in values)
            raise ValueError(
                f"expected the same {name} in every process, got {got}: hand all images to each, since here every "
                "batch is divided"
            )
    if any(isinstance(each, DistributedSampler) for each in (*samplers(train_iter), *samplers(test_iter))):
        raise ValueError(
            "expected all images in every process, got a DistributedSampler's share: leave the sampler out, since here "
            "every batch is divided"
        )


def count_images(data_iter):
    """How many images there are to iterate over; 0 where nobody says so beforehand."""
    all_of_them = getattr(data_iter, "labels", getattr(data_iter, "dataset", ()))
    return len(all_of_them) if hasattr(all_of_them, "__len__") else 0


class Run:
    """A training run: the network, how far it is, and where its state is kept."""

    def __init__(self, net, train_iter, lr, history, checkpoint=None, team=None):
        self.net, self.train_iter, self.lr, self.history = net, train_iter, lr, history
        self.checkpoint, self.team = checkpoint, team or Team()
        self.learner = self.team.wrap(net)  # the network itself, unless PyTorch's DDP is around it
        self.device = next(net.parameters()).device
        self.resumed = False
        self.begin_epoch()

    def begin_epoch(self):
        self.batch = 0  # trained on in this epoch
        self.sums = Accumulator(3)  # loss x images, correct, images: this process's shares of these batches
        self.seconds, self.timer = 0.0, Timer()
        self.random_at_start = None  # of the epoch: the order of its images follows from it

    def train_until(self, num_epochs, test_iter, animator=None):
        """Train on until `num_epochs` are done, test after each, and return the history. Stop ends it in good order."""
        history = self.history
        if animator is None:
            from ..plot import training_animator  # as in train_ch6

            animator = training_animator(num_epochs)
        if animator:
            replay(history, animator)
        try:
            patient = self.team.size > 1
            with (
                drawn_to_the_end(animator),
                Requests(patient) as asked,
                quick_layers(self.net),
                kept_memory(self.train_iter),
            ):
                while len(history) < num_epochs:
                    trained = self.train_epoch(animator, asked)
                    history.add(*trained, self.test(test_iter))
                    self.begin_epoch()
                    self.save()
                    if animator:
                        animator.add(len(history), (None, None, history.test_acc[-1]))
                self.pause(asked, together=True)  # asked for while the last epoch was tested
        except KeyboardInterrupt:
            if asked.lost_workers and self.team.size == 1:  # else `pause` has saved, or the others will not
                self.save()
            say(self.team, history.interrupt(num_epochs))
        except Exception as error:
            error.history = history
            if isinstance(error, Diverged) and self.checkpoint is not None:
                folder = self.checkpoint.folder
                error.args = (f"{error}; the next run goes on from {folder}, or with resume=False from the beginning",)
            raise
        finally:
            self.net.eval()  # as in train_ch6
        say(self.team, history.summary())
        return history

    def train_epoch(self, animator, asked):
        """The rest of an epoch. Returns mean loss, accuracy, images seen, and seconds, of the whole of it."""
        team, history, optimizer = self.team, self.history, SGD(self.net.parameters(), self.lr)
        epoch, num_batches = len(history), len(self.train_iter)
        draw_every = batches_between_points(num_batches)
        finite = torch.tensor(self.batch, device=self.device)  # batches whose loss was a number
        self.net.train()
        self.timer.start()
        for i, (X, labels) in self.rest_of_epoch(asked):
            checks.batch(X, labels)
            X, y = team.share(X).to(self.device), team.share(labels).to(self.device)
            optimizer.zero_grad()
            with checks.types_explained(self.learner, X):
                y_hat = self.learner(X)  # (N, 10) logits, N this process's share
            checks.logits(y_hat, team.share(labels))
            if epoch == 0 and i == 1 and isinstance(self.train_iter, Batches):
                checks.all_labels(self.train_iter.labels, y_hat)
            loss = cross_entropy(y_hat, y) if len(y) else y_hat.sum()  # no images: 0, and gradients of 0
            (loss * team.weight(len(y), len(labels))).backward()
            team.add_up_gradients(self.net)
            optimizer.step()
            self.sums.add(loss * len(y), count_correct(y_hat, y), len(y))
            finite += loss.isfinite()
            self.batch = i
            if i % draw_every == 0 or i == num_batches:
                loss_sum, correct, seen = team.total(self.sums)  # waits for the GPU, and for the others
                self.check_loss(loss_sum, finite)
                history.points.append((epoch + i / num_batches, loss_sum / seen, correct / seen))
                if animator:
                    animator.add(history.points[-1][0], (*history.points[-1][1:], None))
            self.pause(asked, together=i % draw_every == 0)
        loss_sum, correct, seen = team.total(self.sums)
        self.check_loss(loss_sum, finite)  # first, as it asks the whole team which batch it was
        means = epoch_means((loss_sum, correct, seen, finite), num_batches, history)
        return *means, self.seconds + self.timer.stop()

    def check_loss(self, loss_sum, finite):
        """Raises `Diverged` unless the sum is a number; `finite`: the batches of this process whose loss was one."""
        if not math.isfinite(loss_sum):
            batch = 1 + min(count for (count,) in self.team.gather([finite]))
            raise diverged(loss_sum, batch, len(self.train_iter), self.history)

    def rest_of_epoch(self, asked):
        """The batches of this epoch that are still to come, numbered from 1 on, in the order that it began with."""
        if self.batch == 0:
            self.team_random_state()
            self.random_at_start = random_state(self.train_iter, self.device)
            self.pause(asked, together=True)  # asked for while the last epoch was tested
        elif self.resumed:
            now = random_state(self.train_iter, self.device)
            set_random_state(self.random_at_start, self.train_iter, self.device)
        batches = iter(self.train_iter)
        for _ in itertools.islice(batches, self.batch):
            pass
        if self.batch and self.resumed:
            set_random_state(now, self.train_iter, self.device)
        self.resumed = False
        return enumerate(checks.pairs("train_iter", batches), start=self.batch + 1)

    def team_random_state(self):
        """The same random state in every process, so that all draw the same order of the images."""
        if self.team.size > 1:
            state = random_state(self.train_iter, CPU)  # where the order is drawn
            told = self.team.tell(json.dumps(state).encode())
            set_random_state(json.loads(told), self.train_iter, CPU)

    def pause(self, asked, together):
        """Between two batches: save and stop if it is time, or somebody asked for it.

        A team has to decide that together, which takes a message; so it asks only where it meets anyway.
        """
        checkpoint = self.checkpoint
        wishes = asked.requested, asked.save or bool(checkpoint and checkpoint.requested)
        every = checkpoint.every if checkpoint is not None else None
        due = every is not None and self.batch > 0 and self.batch % every == 0
        together = together or due or self.team.size == 1
        stopping, saving = self.team.agree(*wishes) if together else (False, False)
        if stopping or saving or due:
            self.save()
            asked.save = False
            if checkpoint is not None and saving:
                checkpoint.requested = False
        if stopping:
            self.team.agree(False)  # nobody leaves before process 0 has written
            raise KeyboardInterrupt

    def test(self, test_iter):
        """The accuracy (0..1) on all of `test_iter`, each process asking about its shares of the batches."""
        self.team.share_buffers(self.net)
        shares = Shares(test_iter, self.team)
        try:
            correct = evaluate_accuracy_gpu(self.net, shares, self.device) * shares.images
        except ValueError:
            if shares.images or self.team.size == 1:
                raise
            correct = 0  # there are more processes than images
        correct, seen = self.team.total((round(correct), shares.images))
        return correct / seen

    def save(self, insist=False):
        """Keep the state. Where that fails, training goes on without, with a word about it, unless you `insist`."""
        if self.checkpoint is None:
            return
        sums = self.team.gather(self.sums)  # before the ways part: it takes all processes
        if self.team.rank != 0:
            return
        if not insist and not self.all_finite(sums):
            return  # a run that diverges, as its loss will say soon: the last good state is worth more
        try:
            self.checkpoint.save(self.net.state_dict(), self.state(sums))
        except CheckpointError as error:
            if insist:
                raise
            print(f"training goes on without a checkpoint at epoch {len(self.history)}, batch {self.batch}: {error}")

    def all_finite(self, sums):
        """Whether all that is trained, and all that has been added up, are still numbers."""
        trained = [p for p in self.net.parameters() if p.requires_grad]
        return all(map(math.isfinite, itertools.chain(*sums))) and all(bool(p.isfinite().all()) for p in trained)

    def state(self, sums):
        """What has to be known, apart from the weights, to go on as if nothing had happened; JSON can hold it."""
        return {
            "layers": layers(self.net),
            "epoch": len(self.history),  # finished
            "batch": self.batch,  # trained on after that
            "num_batches": len(self.train_iter),
            "lr": self.lr,
            "sums": sums,
            "seconds": self.seconds + (self.timer.stop() if self.batch else 0.0),
            "history": dataclasses.asdict(self.history) | {"stopped": ""},
            "random_at_start": self.random_at_start,
            "random": random_state(self.train_iter, self.device),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
        }

    def restore(self, weights, state):
        """Be where `state` says, with these `weights`."""
        if state["batch"] and state["num_batches"] != len(self.train_iter):
            raise CheckpointError(
                f"{self.checkpoint.folder} was saved within an epoch of {state['num_batches']} batches, "
                f"and here it has {len(self.train_iter)}: use batches of the same size, or another folder."
            )
        self.net.load_state_dict(weights)
        for name, values in state["history"].items():
            setattr(self.history, name, values)
        self.history.points = list(map(tuple, self.history.points))  # of which JSON makes lists
        self.history.device = str(self.device)
        self.batch, self.seconds = state["batch"], state["seconds"]
        sums = state["sums"]
        if len(sums) != self.team.size:  # another number of processes goes on: the first one keeps the books
            sums = [list(map(math.fsum, zip(*sums)))] + [[0.0] * 3] * (self.team.size - 1)
        self.sums.add(*sums[self.team.rank])
        self.random_at_start = state["random_at_start"]
        set_random_state(state["random"], self.train_iter, self.device)
        self.resumed = True

    def where(self, num_epochs):
        """A line about where the run goes on; empty at the beginning of one."""
        if not self.resumed or not (len(self.history) or self.batch):
            return ""
        within = f" and batch {self.batch} of {len(self.train_iter)}" if self.batch else ""
        folder = self.checkpoint.folder
        return f"going on after epoch {len(self.history)}{within}, of {num_epochs} epochs, from {folder}"


class Requests(StopBetweenBatches):
    """What may be asked of a training run from outside: Stop, and, with the signal SIGUSR1, a checkpoint.

    SIGTERM is a Stop as well: it is what a cluster's scheduler sends before it takes the machine away.
    """

    def __init__(self, patient=False):
        super().__init__()
        self.save = False
        self.patient = patient  # a team stops together or not at all, however often somebody presses Stop

    def __enter__(self):
        self._watch("SIGUSR1", self._note_save)
        self._watch("SIGTERM", self._note)
        return super().__enter__()

    def _note(self):
        if self.patient:
            self.requested = True
        else:
            super()._note()

    def _note_save(self):
        self.save = True


class Shares:
    """The parts of the batches of `data_iter` that fall to one process of `team`; empty ones are left out."""

    def __init__(self, data_iter, team):
        self.data_iter, self.team, self.images = data_iter, team, 0

    def __iter__(self):
        self.images = 0
        for X, y in checks.pairs("test_iter", self.data_iter):
            X, y = self.team.share(X), self.team.share(y)
            if len(y):
                self.images += len(y)
                yield X, y


def find(checkpoint, team):
    """The weights and the state to go on from, which process 0 reads for all; None where a run begins."""
    if checkpoint is None:
        return None
    if not checkpoint.resume:
        checkpoint.of_another_run = True
        return None
    found = checkpoint.load() if team.rank == 0 else None
    packed = team.tell(pack(*found) if found else None)
    return found if team.size == 1 else unpack(packed, checkpoint.last) if packed else None


def layers(net):
    """Names and kinds of the innermost layers of `net`: what weights alone don't tell, as they know no sigmoid."""
    return [[name, type(layer).__name__] for name, layer in net.named_modules() if not any(layer.children())]


def check_network(net, found, checkpoint):
    """Raises CheckpointError unless the weights and the state `found` are those of a network like `net`."""
    weights, state = found
    expected = {name: list(tensor.shape) for name, tensor in net.state_dict().items()}
    held = {name: list(tensor.shape) for name, tensor in weights.items()}
    both = [("layer ", dict(layers(net)), dict(state["layers"])), ("", expected, held)]
    for kind, ours, theirs in both:
        for name in [*ours, *(theirs.keys() - ours.keys())]:
            if ours.get(name, "nothing") != theirs.get(name, "nothing"):
                raise CheckpointError(
                    f"{checkpoint.folder} holds a run of another network: expected {kind}{name} to be "
                    f"{ours.get(name, 'nothing')}, got {theirs.get(name, 'nothing')}: name another folder for this one."
                )


def replay(history, animator):
    """Draw what a run has measured before it goes on."""
    for epoch, loss, acc in history.points:
        animator.add(epoch, (loss, acc, None))
    for epoch, acc in enumerate(history.test_acc, start=1):
        animator.add(epoch, (None, None, acc))


def say(team, text):
    """Print `text`, if there is any, in one process of a team."""
    if text and team.rank == 0:
        print(text, flush=True)


def generators(train_iter):
    """The random generators that a DataLoader may have of its own; the course's batches use PyTorch's global one."""
    found = [getattr(holder, "generator", None) for holder in (train_iter, *samplers(train_iter))]
    return [each for each in found if isinstance(each, torch.Generator)]


def samplers(train_iter):
    """What decides on the order of a DataLoader's images."""
    batch_sampler = getattr(train_iter, "batch_sampler", None)
    return getattr(train_iter, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)


def random_state(train_iter, device):
    """The states of all random generators that this training draws from, for JSON.

    Data sets that change their images at random ask PyTorch, Python or NumPy (its global generator, if at all).
    """
    states = [torch.get_rng_state(), *(each.get_state() for each in generators(train_iter))]
    if device.type in ("cuda", "mps"):
        states.append(getattr(torch, device.type).get_rng_state(device))
    kept = {"torch": [base64.b64encode(bytes(state.numpy())).decode() for state in states]}
    kept["python"] = random.getstate()
    if "numpy" in sys.modules:
        state = sys.modules["numpy"].random.get_state()
        if isinstance(state, tuple):  # else somebody has put a generator of another kind in its place
            kept["numpy"] = [state[0], state[1].tolist(), *state[2:]]
    return kept


def set_random_state(kept, train_iter, device):
    """Put back what `random_state` gave; a device that is new to the run keeps its own."""
    version, numbers, gauss = kept["python"]
    random.setstate((version, tuple(numbers), gauss))
    if "numpy" in kept:
        import numpy as np

        kind, numbers, place, *gauss = kept["numpy"]
        if not 0 <= place <= len(numbers):  # NumPy would read there all the same
            raise CheckpointError(
                f"the checkpoint's state of NumPy's random numbers is impossible (place {place} of {len(numbers)}): "
                "name another folder, or begin afresh with resume=False."
            )
        np.random.set_state((kind, numbers, place, *gauss))
    states = [torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8) for text in kept["torch"]]
    torch.set_rng_state(states[0])
    own = generators(train_iter)
    for generator, state in zip(own, states[1:]):
        generator.set_state(state)
    if device.type in ("cuda", "mps") and len(states) > 1 + len(own):
        of_device = getattr(torch, device.type)
        if len(states[-1]) == len(of_device.get_rng_state(device)):  # else it was another kind of device
            of_device.set_rng_state(states[-1], device)
