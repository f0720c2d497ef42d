"""Twenty workers killed in one training, at random batches, and nothing lost."""

import os
import random
import signal
import time

import pytest
import torch

from lenet_utils.parallel.checkpoint import Checkpoint
from lenet_utils.parallel.launch import Torchrun

pytestmark = [
    pytest.mark.doors,
    pytest.mark.skipif(os.name != "posix", reason="Windows knows no SIGKILL"),
]

KILLS = 20
ARGUMENTS = ["--images=6400", "--batch-size=60", "--epochs=30", "--device=cpu", "--threads=1"]  # uneven last batch


def run(folder, kills, chance):
    """Train in `folder`, killing a random worker `kills` times; the lines of the restarts, the last state."""
    seen = []
    with Torchrun(2, *ARGUMENTS, f"--checkpoint={folder}", "--every=3", max_restarts=kills) as lines:
        for line in lines:
            if line.startswith("going on"):
                seen.append(line)
            if line.startswith("training on") and kills:
                goal = batches_kept(folder) + chance.randrange(120)  # in at most 20 x 119 of 3,210 batches
                lines.wait_until(lambda goal=goal: batches_kept(folder) >= goal)
                time.sleep(chance.uniform(0, 0.05))  # a random batch, or the middle of a save, or a test
                workers = lines.workers()
                if workers:
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    kills -= 1
    assert lines.running.returncode == 0
    return kills, seen, Checkpoint(folder).load()


def batches_kept(folder):
    state = Checkpoint(folder).load()[1]
    return 107 * state["epoch"] + state["batch"]  # ceil(6400 / 60) an epoch


def test_twenty_kills_and_nothing_lost(tmp_path):
    seed = random.randrange(10**6)
    print("seed", seed)
    left, restarts, (weights, state) = run(tmp_path / "killed", KILLS, random.Random(seed))
    _, none, (expected, undisturbed) = run(tmp_path / "undisturbed", 0, random.Random(seed))
    print(*restarts, sep="\n")
    assert left == 0 and len(restarts) >= KILLS // 2 and not none  # a kill before the first batch is a start afresh
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    for name in ("train_loss", "train_acc", "images", "test_acc", "points"):
        assert state["history"][name] == undisturbed["history"][name], name
