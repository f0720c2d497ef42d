"""MNIST without a network: torchvision's class stands aside for one that knows what it was asked."""

import pathlib

import pytest
import torch
import torchvision

from lenet_utils.mnist import load_data_mnist
from lenet_utils.support.files import DataError


class Digits:
    def __init__(self, root, train, download):
        assert download and root == pathlib.Path.home() / "digits"
        count = 70 if train else 10
        self.data = torch.full((count, 28, 28), 255, dtype=torch.uint8)
        self.targets = torch.arange(count) % 10


class Unplugged:
    def __init__(self, root, train, download):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")


def test_batches_as_those_of_fashion_mnist(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "MNIST", Digits)
    train_iter, test_iter = load_data_mnist(32, "~/digits")
    assert (len(train_iter), len(test_iter)) == (3, 1)
    X, y = next(iter(train_iter))
    assert X.shape == (32, 1, 28, 28) and X.dtype == torch.float32 and X.max() == 1 and y.dtype == torch.int64
    assert y.tolist() != [i % 10 for i in range(32)]  # shuffled
    assert next(iter(test_iter))[1].tolist() == list(range(10))  # not shuffled


@pytest.mark.parametrize("cache", [None, "elsewhere"])
def test_the_digits_are_kept_where_the_user_keeps_caches(monkeypatch, tmp_path, cache):
    asked = []
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda root, **options: asked.append(root) or 1 / 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if cache:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
    with pytest.raises(ZeroDivisionError):
        load_data_mnist(32)
    assert asked == [tmp_path / (cache or ".cache") / "lenet-course"]


@pytest.mark.parametrize("folder", [None, "~/digits"])
def test_a_user_without_a_home_is_asked_for_a_folder(monkeypatch, folder):
    def nobodys(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(torchvision.datasets, "MNIST", Unplugged)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pathlib.Path, "home", nobodys)
    monkeypatch.setattr(pathlib.Path, "expanduser", nobodys)
    with pytest.raises(DataError, match=f"a folder to keep MNIST's digits in, got {folder} .*home.*: name one"):
        load_data_mnist(32, folder)


def test_without_a_network_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision.datasets, "MNIST", Unplugged)
    with pytest.raises(DataError, match=r"digits are not in .* could not be fetched .*Error downloading.*: go online"):
        load_data_mnist(32, tmp_path)


@pytest.mark.parametrize("problem", [
    RuntimeError("shape '[60000, 28, 28]' is invalid for input of size 20000000"),
    ValueError("the base is invalid for int(): b''"),  # of an empty file
], ids=["cut short", "empty"])  # fmt: skip
def test_a_damaged_copy_is_not_put_down_to_the_network(monkeypatch, tmp_path, problem):
    """torchvision looks whether its files are there, and takes them again every time."""

    class Short:
        def __init__(self, root, train, download):
            raise problem

    monkeypatch.setattr(torchvision.datasets, "MNIST", Short)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match=r"digits in .* cannot be read .*is invalid.*: delete that folder"):
        load_data_mnist(32, tmp_path)


def test_an_impossible_size_is_refused_before_anything_is_fetched(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "MNIST", Unplugged)
    with pytest.raises(ValueError, match="batch_size"):
        load_data_mnist(0)
