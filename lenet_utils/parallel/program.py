"""LeNet on Fashion-MNIST by several processes: `torchrun --standalone --nproc-per-node 2 -m lenet_utils.parallel`.

PyTorch's own launcher `torchrun` starts the processes, on one machine or on many, and starts them again when one of
them dies; with `--checkpoint` they then go on where they were. Without torchrun it is the same training by one process.
In a notebook, `launch.Torchrun` starts it.
"""

import argparse
import os
import signal
import sys
import threading

import torch
from torch.distributed import DistError

from ..data import Batches, read_split
from ..model import lenet
from ..support import checks
from ..support.files import DataError
from ..support.threads import share_of_cores
from ..train import init_xavier
from .checkpoint import Checkpoint, CheckpointError
from .resume import train
from .team import join, leave


def options(arguments=None):
    """What the command line says."""
    about = "LeNet on Fashion-MNIST by several processes at once, which torchrun starts, or by one."
    parser = argparse.ArgumentParser(prog="lenet_utils.parallel", description=about)
    parser.add_argument("--epochs", type=int, default=10, help="passes over the images (10)")
    parser.add_argument("--batch-size", type=int, default=256, help="images a step, all processes together (256)")
    parser.add_argument("--lr", type=float, default=0.9, help="learning rate (0.9)")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and of the order of the images (0)")
    parser.add_argument("--images", type=int, help="train on the first so many images only, test on a sixth as many")
    parser.add_argument("--checkpoint", metavar="FOLDER", help="keep the run there, and go on from what is there")
    parser.add_argument("--every", type=int, metavar="N", help="save every N batches too, not only after an epoch")
    parser.add_argument("--afresh", action="store_true", help="do not go on from what is in the folder")
    parser.add_argument("--device", help="e.g. cpu; by default each process takes a GPU of its own, if there is one")
    parser.add_argument("--ddp", action="store_true", help="let DistributedDataParallel add up the gradients")
    parser.add_argument("--threads", type=int, help="of each process; by default its share of the cores")
    parser.add_argument("--tied", action="store_true", help="end when standard input closes")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Train as the command line says, in this process and those that `torchrun` started beside it."""
    asked = options(arguments)
    if asked.tied:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    team = None
    try:
        check(asked)
        torch.set_num_threads(asked.threads or share_of_cores(int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
        team = join(asked.device, asked.ddp)
        torch.manual_seed(asked.seed)
        train_iter, test_iter = data(asked.batch_size, asked.images)
        checkpoint = None
        if asked.checkpoint:
            # A worker that was started again goes on, also if the run was to begin afresh.
            again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
            checkpoint = Checkpoint(asked.checkpoint, asked.every, resume=again or not asked.afresh)
        options_of_train = {"init_weights": init_xavier, "team": team}
        history = train(
            lenet(), train_iter, test_iter, asked.epochs, asked.lr, team.device, checkpoint, **options_of_train
        )
        # By the 0 of one that was told to end torchrun would take the training to be over, on all machines.
        leave(128 + signal.SIGTERM if history.stopped else 0)
    except (ValueError, CheckpointError, DataError, ArithmeticError) as error:
        give_up(str(error))
    except RuntimeError as error:
        if team is None or team.size == 1:
            raise
        lost = isinstance(error, DistError) or "gloo" in str(error)  # gloo's own are plain RuntimeErrors
        said = next(iter(str(error).splitlines()), type(error).__name__)
        give_up(f"process {team.rank} cannot go on" + (" without one that died" if lost else f": {said}"))


def check(asked):
    """Raises ValueError where the numbers of the command line make no sense."""
    checks.whole_number("--epochs", asked.epochs, least=0)
    checks.learning_rate(asked.lr)
    checks.whole_number("--batch-size", asked.batch_size)
    for name in ("images", "threads"):
        if getattr(asked, name) is not None:
            checks.whole_number(f"--{name}", getattr(asked, name))
    if asked.afresh and int(os.environ.get("GROUP_WORLD_SIZE", 1)) > 1:
        raise ValueError(
            "expected --afresh on one machine only, as several do not know which start is the first: "
            "name another folder, or empty this one"
        )


def give_up(reason):
    """End with one sentence. At once: closing connections to a process that is dead can take minutes."""
    print(reason, file=sys.stderr, flush=True)
    os._exit(1)


def end_with_stdin():
    while os.read(0, 1):  # nothing comes, until nobody can write to it any more: then it returns
        pass
    os._exit(1)


def data(batch_size, images=None):
    """The training and the test batches; with `images`, of the first so many, and a sixth as many to test on."""
    tests = None if images is None else max(1, images // 6)
    # Only these are unpacked: each process has its own copy, and notebook 7 starts several beside its own.
    train_iter = Batches(*read_split("train", images), batch_size, shuffle=True)
    return train_iter, Batches(*read_split("t10k", tests), batch_size)
