"""A LeNet that has learned already: the weights of one ten-epoch run, which travel with the course.

They are made by `tools/make_weights.py`. `weights/lenet.json` says how, on what, and how well they do.
"""

import hashlib
import json
import pathlib

import torch

from .model import lenet
from .support.files import DataError

WEIGHTS = pathlib.Path(__file__).parent / "weights" / "lenet.safetensors"
REMEDY = "take it from a fresh copy of the course, or make it anew with tools/make_weights.py"


def trained_lenet():
    """`lenet()` after ten epochs on Fashion-MNIST: images in, `(N, 10)` logits out, on the CPU, in evaluation mode.

    It loads in a moment, as float32 wherever PyTorch would put a new net, and leaves the random state as it was;
    `training_record` tells how it was trained.
    Raises DataError where the file with the weights is missing, damaged, or that of another network.
    """
    packed = read(WEIGHTS)
    weights = unpack(packed)
    with torch.device("meta"):  # shapes only: the weights that a new net is born with would be thrown away at once
        net = lenet()
    check_shapes(net.state_dict(), weights)
    if hashlib.sha256(packed).hexdigest() != training_record()["sha256"]:
        raise DataError(f"{WEIGHTS} is not the file that {record_path().name} beside it describes: {REMEDY}.")
    net.load_state_dict(weights, assign=True)
    return net.eval()


def training_record():
    """How the weights of `trained_lenet` came about, as a dict: seed, recipe, machine, accuracy measured (0..1)."""
    try:
        return json.loads(read(record_path()))
    except ValueError as error:
        raise DataError(f"{record_path()} is damaged ({error}): {REMEDY}.") from error


def record_path():
    return WEIGHTS.with_suffix(".json")


def read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): {REMEDY}.") from error


def unpack(packed):
    """The tensors of a safetensors file, by name. Such a file holds numbers only: unlike a pickle, it runs nothing."""
    import safetensors.torch  # only here: nothing else in the course needs it

    try:
        # Copies lie where PyTorch puts tensors; where memory begins can change a sum's last digit, and its speed.
        return {name: tensor.clone() for name, tensor in safetensors.torch.load(packed).items()}
    except safetensors.SafetensorError as error:
        raise DataError(f"{WEIGHTS} is damaged ({error}): {REMEDY}.") from error


def check_shapes(expected, weights):
    """Raises DataError unless `weights` has the same names and shapes as the state dict `expected`."""
    for name in [*expected, *sorted(weights.keys() - expected.keys())]:
        shapes = [tuple(tensors[name].shape) if name in tensors else "nothing" for tensors in (expected, weights)]
        if shapes[0] != shapes[1]:
            raise DataError(
                f"{WEIGHTS} holds the weights of another network: expected {name} to be {shapes[0]}, as in lenet(), "
                f"got {shapes[1]}: {REMEDY}."
            )
