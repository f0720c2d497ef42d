"""Checkpoints: the whole state of a training run in one file, which is there in full or not at all.

The weights are a safetensors file; everything else (epoch, history, random state, ...) is JSON in its header. Neither
can hold a program, so a checkpoint from anywhere may be opened. `resume` says what is kept, and goes on from it.
"""

import contextlib
import hashlib
import json
import os
import pathlib

from ..support import checks

KEY = "lenet_utils"  # of the JSON text in the file's header
FORMAT = 3


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or not be used: says which file or folder is the trouble, and what to do."""


class Checkpoint:
    """Where and how often a training run is kept: after every epoch, and after every `every` batches if that is given.

    `folder` holds the last state and the one before it. A run that finds a state there goes on from it, with
    `resume=False` it begins afresh. `request()`, or the signal SIGUSR1, asks for a save between the next two batches.
    Kept are the parameters and buffers of the network (not tensors that it holds as plain attributes, or in buffers
    with `persistent=False`), how far the run is, and the state of this process's random numbers (not those of a
    DataLoader's persistent workers: what they draw is other after a break). A state whose weights are no longer numbers
    is not kept. Raises ValueError for what names no folder.

    >>> train_ch6(net, train_iter, test_iter, 10, 0.9, device, checkpoint=Checkpoint("run"))  # doctest: +SKIP
    """

    def __init__(self, folder, every=None, *, resume=True):
        if every is not None:
            every = checks.whole_number("every, the number of batches between two saves,", every)
        checks.folder(folder)
        checks.switch("resume", resume)
        self.folder, self.every, self.resume = pathlib.Path(folder).expanduser().absolute(), every, resume
        self.requested = False
        self.damaged = False  # the last file: nobody can go on from it
        self.of_another_run = False  # what is in the folder: the first save replaces all of it

    @property
    def last(self):
        return self.folder / "last.safetensors"

    @property
    def before(self):
        return self.folder / "before.safetensors"

    def request(self):
        """Ask a running training to save between the next two batches."""
        self.requested = True

    def save(self, weights, state):
        """Keep `weights` (tensors by name) and `state` (what JSON can hold). Raises CheckpointError, and keeps the old.

        Killed at any moment, it leaves a whole file: the new one gets its name only when it is on the disk.
        """
        packed = pack(weights, state)
        unfinished = self.folder / "unfinished.safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_to_disk(unfinished, packed)
            if self.last.exists() and not (self.damaged or self.of_another_run):
                os.replace(self.last, self.before)
            os.replace(unfinished, self.last)
            if self.of_another_run:
                self.before.unlink(missing_ok=True)
            self.damaged = self.of_another_run = False
            write_names_to_disk(self.folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()  # half a file on a full disk is in everybody's way
            kept = "; the last good one stays" if self.last.exists() or self.before.exists() else ""
            raise CheckpointError(
                f"cannot write a checkpoint to {self.folder} ({error.strerror}){kept}: "
                "make room, or name a folder that you can write to."
            ) from error

    def load(self):
        """`(weights, state)` as saved last, the state before it where the last file is damaged; None if there is none.

        Raises CheckpointError where there are files, and all are damaged or cannot be read.
        """
        problems = []
        for path in (self.last, self.before):
            try:
                found = unpack(path.read_bytes(), path)
            except FileNotFoundError:
                continue
            except OSError as error:
                problems.append(f"cannot read {path} ({error.strerror})")
            except CheckpointError as error:
                problems.append(str(error))
            else:
                if problems:
                    self.damaged = True
                    print(f"{problems[0]}: going on from {path.name}, the state before it")
                return found
        if problems:
            raise CheckpointError(f"{'; '.join(problems)}: name another folder, or begin afresh with resume=False.")
        return None


def pack(weights, state):
    """The bytes of a safetensors file with `weights` and, in its header, `state` as JSON.

    Raises CheckpointError for what is no dense tensor, or of a type that the file cannot hold.
    """
    import safetensors.torch  # slow to import, and only needed here
    import torch

    for name, tensor in weights.items():
        if not hasattr(tensor, "detach"):
            raise CheckpointError(
                f"the network keeps {name}, a {type(tensor).__name__}, and a checkpoint holds tensors only: "
                "make it a tensor, with register_buffer, or train without a checkpoint."
            )
        if tensor.layout != torch.strided:
            raise CheckpointError(
                f"the network keeps {name}, a tensor of layout {tensor.layout}, and a checkpoint holds dense ones "
                "only: make it one, with to_dense(), or train without a checkpoint."
            )
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    about = {"format": FORMAT, **state}
    about["sha256"] = fingerprint(weights, about)
    try:
        return safetensors.torch.save(weights, metadata={KEY: json.dumps(about)})
    except KeyError as error:
        raise CheckpointError(
            f"the network keeps a tensor of type {error}, and a checkpoint cannot hold that: give it another type, or "
            "train without a checkpoint."
        ) from error


def unpack(packed, path):
    """What went into `pack`. Raises CheckpointError unless every bit of it is there; `path` is for the message."""
    import safetensors.torch

    try:
        weights = safetensors.torch.load(packed)
        size = int.from_bytes(packed[:8], "little")  # of the header, which begins behind these eight bytes
        state = json.loads(json.loads(packed[8 : 8 + size])["__metadata__"][KEY])
        if state["format"] != FORMAT:
            raise CheckpointError(f"{path} has format {state['format']}, and this version reads {FORMAT}")
        if state.pop("sha256") != fingerprint(weights, state):
            raise CheckpointError(f"{path} is damaged (what it holds is not what was written)")
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged, or no checkpoint ({error})") from error
    return weights, state


def fingerprint(weights, state):
    """A hash of all that is kept: a safetensors file tells when it is too short, but not when a bit flips."""
    import torch

    kinds = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in weights.items()}
    digest = hashlib.sha256(json.dumps([state, kinds], sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(weights[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def write_to_disk(path, packed):
    """Write, and return only when the disk has it, not just the operating system."""
    path.unlink(missing_ok=True)  # half a file of one that was killed; or a link, which is not followed
    with open(path, "xb") as file:
        file.write(packed)
        file.flush()
        os.fsync(file.fileno())


def write_names_to_disk(folder):
    """The same for the names of the files in `folder`, where the system can do that (Windows cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
