"""Train the network that travels with the course, and write its weights: `uv run tools/make_weights.py`.

One run of ten epochs with the first seed, kept as it comes out: not the best of several. One thread, since the
number of threads changes the last digits of every sum, and the CPU, since everybody has one. The record goes into
the file's header and, to be read, into a JSON file beside it. On the same machine the same file comes out again.
"""

import argparse
import hashlib
import json
import pathlib
import platform
import sys

import safetensors.torch
import torch

import lenet_utils as d2l
from lenet_utils import trained

ROOT = pathlib.Path(__file__).parent.parent
RECIPE = {"seed": 0, "num_epochs": 10, "lr": 0.9, "batch_size": 256, "device": "cpu", "threads": 1}
SLACK = 0.05  # beyond the spread of the seeds that were measured


def train(seed, num_epochs, lr, batch_size, device, threads):
    """The trained net and its History."""
    torch.set_num_threads(threads)
    train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size)
    torch.manual_seed(seed)
    net = d2l.lenet()
    return net, d2l.train_ch6(net, train_iter, test_iter, num_epochs, lr, device, animator=False)


def expected_band():
    """Lowest and highest test accuracy that the recipe may give with any seed on any machine."""
    runs = json.loads((ROOT / "benchmarks" / "results" / "seeds.json").read_text())["runs"]
    final = [run["test_acc"][-1] for run in runs if run["variant"] == "lenet"]
    return [round(min(final) - SLACK, 4), round(max(final) + SLACK, 4)]


def describe(history):
    """All that a reader must know about the run."""
    sys.path.append(str(ROOT / "benchmarks"))
    import machine

    return {
        "net": "lenet_utils.lenet()",
        "data": "Fashion-MNIST, 60,000 training images",
        "command": "uv run tools/make_weights.py",
        **RECIPE,
        "train_loss": round(history.train_loss[-1], 4),
        "train_acc": round(history.train_acc[-1], 4),
        "test_acc": history.test_acc[-1],
        "test_acc_band": expected_band(),
        "cpu": machine.cpu_model(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write(net, record, path):
    header = {"record": json.dumps(record)}  # one entry, as safetensors writes several in a new order every time
    packed = safetensors.torch.save(net.state_dict(), metadata=header)
    path.write_bytes(packed)
    record = record | {"sha256": hashlib.sha256(packed).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()  # --help, and nothing else
    net, history = train(**RECIPE)
    write(net, describe(history), trained.WEIGHTS)
    print(trained.WEIGHTS)
