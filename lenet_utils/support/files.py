"""Where the four Fashion-MNIST files are, whether they are whole, and how to fetch them if they are nowhere."""

import contextlib
import gzip
import hashlib
import http.client
import io
import os
import pathlib
import tempfile

import numpy as np

# MD5s as published by Zalando Research; torchvision checks the same ones.
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}

CHUNK = 1 << 20  # bytes unpacked at a time

PACKAGED = pathlib.Path(__file__).parent.parent / "FashionMNIST" / "raw"


class DataError(RuntimeError):
    """The data, or the trained weights, cannot be had: says which file or folder is the trouble, and what to do."""


def user_cache():
    """The folder of the user's caches. Raises OSError for a user without a home, as in some containers."""
    try:
        return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    except RuntimeError as problem:
        raise OSError("this user has no home") from problem


def cache_folder():
    """The folder for downloads: `lenet_utils/FashionMNIST/raw` in the user's cache, or where temporary files are."""
    try:
        base = user_cache()
    except OSError:
        base = pathlib.Path(tempfile.gettempdir())  # shared, but a file counts only if its MD5 is right
    return base / "lenet_utils" / "FashionMNIST" / "raw"


def places():
    """Folders to look in, best first: `LENET_DATA` where it is set, the package, the user's cache."""
    named = os.environ.get("LENET_DATA")
    if named:
        # torchvision keeps the files two folders down, so its `root` may be named as well.
        named = pathlib.Path(named).expanduser()
        yield from (named, named / "raw", named / "FashionMNIST" / "raw")
    yield PACKAGED
    yield cache_folder()


def find(name):
    """The path of the file `name`, downloaded first where no folder has it. Raises DataError."""
    for folder in places():
        if os.path.isfile(folder / name):  # False, not an error, where we may not look
            return folder / name
    download(name, cache_folder())
    return cache_folder() / name


def read_checked(name):
    """The bytes of the gzip file `name`. Raises DataError unless its MD5 is the published one."""
    path = find(name)
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): check the permissions of the file.") from error
    if hashlib.md5(packed, usedforsecurity=False).hexdigest() != MD5[name]:
        raise DataError(
            f"{path} is damaged, or not Fashion-MNIST's: its {len(packed):,} bytes do not have the published MD5 "
            f"{MD5[name]}. Put the published file in its place, or set LENET_DATA to a folder that has it."
        )
    return packed


def read_idx(name, first=None):
    """The array in the IDX file `name`, as uint8: images `(n, 28, 28)`, labels `(n,)`; of the `first` so many only.

    The format (LeCun's, for MNIST): two zero bytes, the type (8 = unsigned byte), the number
    of dimensions, then each dimension as a big-endian 32-bit number, then the values.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(read_checked(name))) as stream:
        num_dims = stream.read(4)[3]
        count, *shape = np.frombuffer(stream.read(4 * num_dims), dtype=">u4")
        values = np.empty((count if first is None else min(count, first), *shape), dtype=np.uint8)
        rest = memoryview(values.reshape(-1))
        while got := stream.readinto(rest[:CHUNK]):  # in one go, gzip would hold all of it a second time
            rest = rest[got:]
    return values


def download(name, folder):
    """Fetch the file `name` into `folder`. Raises DataError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = fetch(name, folder)
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error.strerror}), where {name} should be downloaded to: "
            "set XDG_CACHE_HOME to a folder that you can write to, or LENET_DATA to one that has the four files."
        ) from error
    if problem:
        raise DataError(
            f"{name} is in none of these folders: {', '.join(map(str, places()))}; and downloading it failed "
            f"({problem}). Connect to the network, or copy the four .gz files into a folder and set LENET_DATA to it."
        ) from problem


def fetch(name, folder):
    """Let torchvision put the file `name` into `folder`; returns what the last mirror said where none can give it.

    The file arrives under a temporary name, is checked, and only then renamed: a reader sees the whole
    file or none, and any number of processes may do this at once. Raises OSError where it may not write.
    """
    from torchvision.datasets import FashionMNIST  # slow to import, and hardly ever needed
    from torchvision.datasets.utils import download_url

    with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as temporary:
        for mirror in FashionMNIST.mirrors:
            try:
                with contextlib.redirect_stdout(None):  # older versions print what their progress bar says anyway
                    download_url(mirror + name, temporary, filename=name, md5=MD5[name])
                os.replace(pathlib.Path(temporary, name), folder / name)
                return None
            except PermissionError:
                raise
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                problem = error
    return problem
