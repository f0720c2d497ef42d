"""The data: values equal to torchvision's, orders, sizes, and every way in which a file can be missing or damaged."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import os
import pathlib
import shutil
import socket
import tempfile
import threading
import tracemalloc

import numpy as np
import pytest
import torch

from lenet_utils import DataError, data, get_fashion_mnist_labels, load_data_fashion_mnist
from lenet_utils.support import files

NAMES = tuple(files.MD5)
SMALL = "t10k-labels-idx1-ubyte.gz"  # 5 KB: where any of the four files will do


@pytest.fixture(scope="module")
def iters():
    return load_data_fashion_mnist(256)


@pytest.fixture(scope="module")
def torchvision_root(tmp_path_factory):
    """A folder with the four files as torchvision wants them: unpacked."""
    root = tmp_path_factory.mktemp("torchvision")
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in NAMES:
        (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress(files.find(name).read_bytes()))
    yield root
    shutil.rmtree(root)


@pytest.fixture
def slim(tmp_path, monkeypatch):
    """A copy without the data: the package's folder is empty, the cache is `tmp_path / "cache"`; no proxy."""
    monkeypatch.setattr(files, "PACKAGED", tmp_path / "packaged")
    monkeypatch.delenv("LENET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return files.cache_folder()


@pytest.fixture
def empty_cache():
    """No split is in memory, neither before the test nor after it."""
    data.read_split.cache_clear()
    yield
    data.read_split.cache_clear()


def bits(X):
    return X.view(torch.int32)


# The values


def test_test_images_equal_torchvisions_to_the_bit(iters, torchvision_root):
    from torchvision import datasets, transforms

    dataset = datasets.FashionMNIST(torchvision_root, train=False, transform=transforms.ToTensor())
    start = 0
    for X, y in iters[1]:
        images, labels = zip(*(dataset[i] for i in range(start, start + len(y))))
        assert torch.equal(bits(X), bits(torch.stack(images)))
        assert y.tolist() == list(labels)
        start += len(y)
    assert start == len(dataset) == 10_000


def test_training_bytes_equal_torchvisions(iters, torchvision_root):
    from torchvision import datasets

    dataset = datasets.FashionMNIST(torchvision_root, train=True)
    assert torch.equal(iters[0].images, dataset.data)
    assert torch.equal(iters[0].labels, dataset.targets)


def test_every_byte_becomes_to_tensors_float():
    from torchvision.transforms.functional import to_tensor

    images = torch.arange(4 * 784).remainder(256).to(torch.uint8).reshape(4, 28, 28)
    ((X, _),) = data.Batches(images, torch.zeros(4, dtype=torch.int64), 4)
    expected = torch.stack([to_tensor(image.numpy()[:, :, None]) for image in images])
    assert torch.equal(bits(X), bits(expected))
    assert X.min() == 0 and X.max() == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_to_tensors_float_is_pytorchs_default_type(dtype):
    from torchvision.transforms.functional import to_tensor

    images, usual = torch.arange(256, dtype=torch.uint8).repeat(28 * 28).view(256, 28, 28), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        ((X, _),) = data.Batches(images, torch.zeros(256, dtype=torch.int64), 256)
        expected = torch.stack([to_tensor(image.numpy()[:, :, None]) for image in images])
    finally:
        torch.set_default_dtype(usual)
    assert X.dtype == dtype and torch.equal(X, expected)


def test_black_is_0_and_white_is_1():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 28, 28)
    ((X, _),) = data.Batches(images, torch.zeros(3, dtype=torch.int64), 3)
    assert [image.unique().tolist() for image in X] == [[0.0], [torch.tensor(0.2).item()], [1.0]]


def test_types_shapes_and_numbers_of_batches(iters):
    train_iter, test_iter = iters
    assert (len(train_iter), len(test_iter)) == (235, 40)
    for data_iter, last in ((train_iter, 96), (test_iter, 16)):
        sizes = []
        for X, y in data_iter:
            assert X.dtype == torch.float32 and y.dtype == torch.int64
            assert X.shape == (len(y), 1, 28, 28) and y.shape == (len(y),)
            sizes.append(len(y))
        assert sizes == [256] * (len(data_iter) - 1) + [last]


def test_each_class_has_as_many_images(iters):
    for data_iter, count in zip(iters, (6_000, 1_000)):
        labels = torch.cat([y for _, y in data_iter])
        assert labels.bincount().tolist() == [count] * 10


# The order


def test_training_order_changes_on_every_pass(iters):
    passes = [torch.cat([y for _, y in iters[0]]) for _ in range(3)]
    assert not torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[1], passes[2])


def test_each_image_comes_once_a_pass_with_its_own_label(iters):
    train_iter = iters[0]
    numbered = data.Batches(train_iter.images, torch.arange(60_000), 256, shuffle=True)
    for _ in range(2):
        seen = []
        for X, rows in numbered:
            assert torch.equal((X[:, 0] * 255).round().to(torch.uint8), train_iter.images[rows])
            seen.append(rows)
        assert torch.cat(seen).sort().values.equal(torch.arange(60_000))


def test_equal_seeds_give_equal_orders(iters):
    def labels(seed):
        torch.manual_seed(seed)
        return torch.cat([y for _, y in iters[0]])

    assert torch.equal(labels(7), labels(7))
    assert not torch.equal(labels(7), labels(8))


def test_the_order_is_the_same_whatever_the_default_device(iters):
    for batches in iters:
        torch.manual_seed(7)
        expected = batches.order()
        torch.manual_seed(7)
        with torch.device("meta"):  # stands for a GPU
            assert torch.equal(batches.order(), expected)


def test_test_order_never_changes(iters):
    for _ in range(2):
        assert torch.equal(torch.cat([y for _, y in iters[1]]), iters[1].labels)


def test_two_passes_at_once_do_not_disturb_each_other():
    batches = data.Batches(torch.zeros(60, 28, 28, dtype=torch.uint8), torch.arange(60), 8, shuffle=True)
    one, other = (torch.cat(labels) for labels in zip(*((y, z) for (_, y), (_, z) in zip(batches, batches))))
    assert not torch.equal(one, other)
    assert one.sort().values.tolist() == other.sort().values.tolist() == list(range(60))


def test_a_second_call_holds_no_second_copy():
    first, again = load_data_fashion_mnist(256), load_data_fashion_mnist(64)
    assert again[0].images is first[0].images
    assert (len(again[0]), len(again[1])) == (938, 157)


# The size


@pytest.mark.parametrize("resize", [14, 20, 64, 96, 224, (20, 40), [40, 20], (28, 28)])
def test_resize_equals_d2ls_but_for_rounding(iters, resize):
    from PIL import Image
    from torchvision import transforms

    count = 16
    images = iters[1].images[:count]
    theirs = transforms.Compose([transforms.Resize(resize), transforms.ToTensor()])
    expected = torch.stack([theirs(Image.fromarray(image.numpy())) for image in images])
    X, _ = next(iter(data.Batches(images, torch.zeros(count, dtype=torch.int64), count, resize=resize)))
    assert X.dtype == torch.float32 and X.shape == expected.shape
    assert (X - expected).abs().max() <= (2.001 if resize == 20 else 1.001) / 255
    assert (X - expected).abs().mean() <= 0.125 / 255


@pytest.mark.parametrize(("resize", "height", "width"), [(14, 14, 14), ((24, 48), 24, 48), ([32], 32, 32)])
def test_load_data_passes_the_size_on(resize, height, width):
    for data_iter in load_data_fashion_mnist(32, resize=resize):
        X, _ = next(iter(data_iter))
        assert X.shape == (32, 1, height, width)
        assert X.min() >= 0 and X.max() <= 1


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "256", None])
def test_impossible_batch_sizes(batch_size):
    with pytest.raises(ValueError, match=r"batch_size .* at least 1, got"):
        load_data_fashion_mnist(batch_size)


@pytest.mark.parametrize("resize", [0, -3, 2.5, True, "64", (), (28, 0), (1, 2, 3)])
def test_impossible_sizes(resize):
    with pytest.raises(ValueError, match=r"resize .*got"):
        load_data_fashion_mnist(256, resize)


@pytest.mark.parametrize(("resize", "shape"), [(np.int64(14), (14, 14)), ((np.int32(7), np.int64(9)), (7, 9))])
def test_numpys_whole_numbers_are_as_good_as_pythons(resize, shape):
    _, test_iter = load_data_fashion_mnist(np.int64(32), resize)
    assert next(iter(test_iter))[0].shape == (32, 1, *shape)


# Where the images live


def test_images_live_where_they_are_told_to():
    train_iter, test_iter = load_data_fashion_mnist(256, device="meta")
    for data_iter in (train_iter, test_iter):
        X, y = next(iter(data_iter))
        assert X.device.type == y.device.type == "meta"
        assert X.dtype == torch.float32 and X.shape == (256, 1, 28, 28)


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_here(name):
    with pytest.raises(ValueError, match=f"a device that this machine has, got '{name}'"):
        load_data_fashion_mnist(256, device=name)


def test_moving_to_where_they_are_changes_nothing(iters):
    assert iters[0].to("cpu") is iters[0]
    assert repr(iters[0]) == "235 batches of up to 256 of 60,000 images, shuffled"


def test_moving_keeps_batch_size_order_and_size():
    batches = data.Batches(torch.zeros(5, 28, 28, dtype=torch.uint8), torch.arange(5), 2, shuffle=True, resize=14)
    moved = batches.to("meta")
    assert (moved.batch_size, moved.shuffle, moved.resize, len(moved)) == (2, True, 14, 3)


def test_a_batches_class_of_ones_own_stays_that_class():
    class Bright(data.Batches):
        def pick(self, rows):
            X, y = super().pick(rows)
            return X + 1, y

    own = Bright(torch.zeros(5, 28, 28, dtype=torch.uint8), torch.arange(5), 2, shuffle=True)
    assert type(own.to("meta")) is Bright and own.to("meta").shuffle
    X, _ = next(iter(own.in_batches_of(4)))
    assert X.shape == (4, 1, 28, 28) and (X == 1).all()
    assert own.batch_size == 2 and own.images.device.type == "cpu"


def test_labels_that_are_changed_stay_changed_in_their_own_iterators_only():
    first = load_data_fashion_mnist(256)
    for batches in first:
        batches.labels.fill_(7)
    for batches in load_data_fashion_mnist(64):
        assert batches.labels.unique().tolist() == list(range(10))


def test_larger_batches_hold_the_same_images_in_the_same_order(iters):
    larger = iters[1].in_batches_of(4000)
    assert [len(y) for _, y in larger] == [4000, 4000, 2000]
    assert torch.equal(torch.cat([y for _, y in larger]), iters[1].labels)
    assert larger.in_batches_of(3999) is larger


def test_scaled_images_are_not_gathered_into_batches_that_no_memory_holds():
    scaled = data.Batches(torch.zeros(5, 28, 28, dtype=torch.uint8), torch.arange(5), 2, resize=224)
    assert scaled.in_batches_of(2048) is scaled


def test_nothing_is_written_to_disk(python):
    written = python(WATCH_WRITES)
    assert written == "235 []"


WATCH_WRITES = """
import os, signal, sys
from lenet_utils import load_data_fashion_mnist

try:
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # PyTorch's C++ would write past Python's hooks
except ImportError:  # not on Windows
    pass

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "tempfile.mkstemp", "tempfile.mkdtemp")
changes = []

def watch(event, arguments):
    if event == "open" and arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        changes.append(arguments[0])
    elif event in CHANGES:
        changes.append((event, arguments))

sys.addaudithook(watch)
train_iter, test_iter = load_data_fashion_mnist(256)
for data_iter in (train_iter, test_iter):
    for X, y in data_iter:
        pass
print(len(train_iter), changes)
"""


# The files


def test_md5s_are_those_that_torchvision_checks():
    from torchvision.datasets import FashionMNIST

    assert dict(FashionMNIST.resources) == files.MD5


@pytest.mark.parametrize("name", NAMES)
def test_each_file_has_its_md5(name):
    assert hashlib.md5(files.find(name).read_bytes()).hexdigest() == files.MD5[name]


@pytest.mark.parametrize("name", NAMES)
def test_idx_headers(name):
    values = files.read_idx(name)
    number = 60_000 if name.startswith("train") else 10_000
    assert values.dtype == np.uint8
    assert values.shape == ((number, 28, 28) if "images" in name else (number,))


def test_unpacking_holds_the_images_once():
    tracemalloc.start()
    files.read_idx("train-images-idx3-ubyte.gz")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 70e6 < most < 80e6  # bytes: 47 million pixels, 26 million packed ones, and a piece of a million


@pytest.mark.parametrize("split", ["train", "t10k"])
def test_the_first_so_many(split):
    images, labels = data.read_split(split)
    some, their_labels = data.read_split(split, 300)
    assert torch.equal(some, images[:300]) and torch.equal(their_labels, labels[:300])
    assert some.untyped_storage().nbytes() == 300 * 784  # the others are not held
    assert len(data.read_split(split, 10**6)[0]) == len(images)  # there are no more


def flip_a_bit(packed):
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 1]) + packed[middle + 1 :]


NO_BYTES = {
    "from 0 to 1": (torch.rand(4, 28, 28), torch.arange(4), "got torch.float32"),
    "in colour": (torch.zeros(4, 3, 28, 28, dtype=torch.uint8), torch.arange(4), r"\(4, 3, 28, 28\)"),
    "a label too few": (torch.zeros(4, 28, 28, dtype=torch.uint8), torch.arange(3), r"and \(3,\)"),
    "one-hot": (torch.zeros(4, 28, 28, dtype=torch.uint8), torch.zeros(4, 10), r"and \(4, 10\)"),
}


@pytest.mark.parametrize(("images", "labels", "got"), NO_BYTES.values(), ids=NO_BYTES)
def test_batches_are_of_bytes(images, labels, got):
    """Numbers from 0 to 1 would be divided by 255 once more, and the training would see black."""
    with pytest.raises(ValueError, match=f"{got}.*DataLoader"):
        data.Batches(images, labels, 2)


@pytest.mark.parametrize("labels", [None, [0, 1], np.arange(2)])
def test_batches_are_of_tensors(labels):
    with pytest.raises(ValueError, match=f"as two tensors, got Tensor and {type(labels).__name__}: torch.from_numpy"):
        data.Batches(torch.zeros(2, 28, 28, dtype=torch.uint8), labels, 2)


DAMAGES = {
    "one bit flipped": flip_a_bit,
    "cut in half": lambda packed: packed[: len(packed) // 2],
    "last byte lost": lambda packed: packed[:-1],
    "empty": lambda packed: b"",
    "a web page": lambda packed: b"<html>Please log in</html>",
    "another file": lambda packed: files.find("train-labels-idx1-ubyte.gz").read_bytes(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, monkeypatch, damage):
    (tmp_path / SMALL).write_bytes(damage(files.find(SMALL).read_bytes()))
    monkeypatch.setenv("LENET_DATA", str(tmp_path))
    with pytest.raises(DataError, match="is damaged") as caught:
        files.read_idx(SMALL)
    assert str(tmp_path / SMALL) in str(caught.value)
    assert "in its place" in str(caught.value) and "LENET_DATA" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_one_damaged_file_of_four_stops_the_loading(tmp_path, monkeypatch, empty_cache, name):
    (tmp_path / name).write_bytes(files.find(name).read_bytes()[:1000])
    monkeypatch.setenv("LENET_DATA", str(tmp_path))
    with pytest.raises(DataError, match=name):
        load_data_fashion_mnist(256)


def test_after_a_failure_the_next_call_reads_again(tmp_path, monkeypatch, empty_cache):
    (tmp_path / SMALL).write_bytes(b"")
    with monkeypatch.context() as context:
        context.setenv("LENET_DATA", str(tmp_path))
        with pytest.raises(DataError):
            load_data_fashion_mnist(256)
    assert len(load_data_fashion_mnist(256)[1]) == 40


def test_a_file_that_may_not_be_read(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=rf"cannot read .*{SMALL} \(Permission denied\): check the permissions"):
        files.read_idx(SMALL)


@pytest.mark.parametrize("below", [".", "raw", "FashionMNIST/raw"])
def test_lenet_data_names_a_folder_in_three_layouts(tmp_path, monkeypatch, below):
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(files.find(SMALL), folder / SMALL)
    monkeypatch.setenv("LENET_DATA", str(tmp_path))
    assert files.find(SMALL).resolve() == (folder / SMALL).resolve()
    assert files.read_idx(SMALL).shape == (10_000,)


def test_lenet_data_may_begin_with_a_tilde(tmp_path, monkeypatch):
    shutil.copy(files.find(SMALL), tmp_path / SMALL)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("LENET_DATA", "~")
    assert files.find(SMALL) == tmp_path / SMALL


def test_what_lenet_data_lacks_comes_from_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("LENET_DATA", str(tmp_path))
    assert files.find(SMALL) == files.PACKAGED / SMALL


def test_a_user_without_a_home_has_the_data_too(monkeypatch):
    def nobodys():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LENET_DATA", raising=False)
    monkeypatch.setattr(pathlib.Path, "home", nobodys)
    assert tempfile.gettempdir() in map(str, files.cache_folder().parents)
    assert files.find(SMALL) == files.PACKAGED / SMALL


@pytest.mark.parametrize("cache", [None, "", "elsewhere"])
def test_the_cache_is_where_the_user_keeps_caches(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if cache is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", cache and str(tmp_path / cache))
    assert files.cache_folder() == tmp_path / (cache or ".cache") / "lenet_utils" / "FashionMNIST" / "raw"


# The download


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve(folder, handler=Handler):
    """The address of a web server for the files in `folder`, reached from this machine only."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def nobody_answers():
    """An address whose port is taken but not listened to: every connection is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/"


def set_mirrors(monkeypatch, *addresses):
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", list(addresses))


def everything_below(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture
def good_files(tmp_path):
    """A folder with the four files, found before a test hides them."""
    folder = tmp_path / "good"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(files.find(name), folder)
    return folder


def test_a_missing_file_is_downloaded_once(good_files, slim, monkeypatch):
    with serve(good_files) as address:
        set_mirrors(monkeypatch, address)
        assert files.find(SMALL) == slim / SMALL
    assert everything_below(slim) == [SMALL]
    assert files.read_idx(SMALL).shape == (10_000,)  # the server is gone: this is the copy


def test_the_second_mirror_helps_out(good_files, slim, monkeypatch):
    with nobody_answers() as dead, serve(good_files) as address:
        set_mirrors(monkeypatch, dead, address)
        assert files.read_idx(SMALL).shape == (10_000,)


def test_no_network(slim, monkeypatch):
    with nobody_answers() as address:
        set_mirrors(monkeypatch, address)
        with pytest.raises(DataError) as caught:
            files.read_idx(SMALL)
    for part in (SMALL, str(files.PACKAGED), str(slim), "refused", "Connect to the network", "LENET_DATA"):
        assert part in str(caught.value)
    assert everything_below(slim) == []


def test_a_file_that_the_mirror_does_not_have(tmp_path, slim, monkeypatch):
    with serve(tmp_path) as address:
        set_mirrors(monkeypatch, address)
        with pytest.raises(DataError, match="404"):
            files.find(SMALL)
    assert everything_below(slim) == []


class CutShort(Handler):
    """Promises the whole file, sends a part, and hangs up."""

    def copyfile(self, source, outputfile):
        outputfile.write(source.read(1000))


class NoHTTP(Handler):
    """Says something that is no answer, as some gateways do."""

    def do_GET(self):
        self.wfile.write(b"garbage\r\n\r\n")


def test_after_a_mirror_that_talks_nonsense_comes_the_next(good_files, slim, monkeypatch):
    with serve(good_files, NoHTTP) as broken, serve(good_files) as good:
        set_mirrors(monkeypatch, broken, good)
        assert files.find(SMALL).parent == slim
        set_mirrors(monkeypatch, broken)
        (slim / SMALL).unlink()
        with pytest.raises(DataError, match="downloading it failed"):
            files.find(SMALL)


def wrong_content(tmp_path):
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / SMALL).write_bytes(b"<html>Please log in</html>")
    return folder


@pytest.mark.parametrize("case", ["wrong content", "cut short"])
def test_a_bad_download_leaves_no_file(good_files, tmp_path, slim, monkeypatch, case):
    folder, handler = (wrong_content(tmp_path), Handler) if case == "wrong content" else (good_files, CutShort)
    with serve(folder, handler) as address:
        set_mirrors(monkeypatch, address)
        for _ in range(2):
            with pytest.raises(DataError, match="downloading it failed"):
                files.find(SMALL)
            assert everything_below(slim) == []


@pytest.mark.parametrize("blocked", ["cache", "cache/lenet_utils", "cache/lenet_utils/FashionMNIST/raw"])
def test_a_cache_that_cannot_be_written(tmp_path, slim, monkeypatch, blocked):
    file = tmp_path / blocked  # a file where a folder is needed: root cannot write there either
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("in the way")
    with nobody_answers() as address:
        set_mirrors(monkeypatch, address)
        with pytest.raises(DataError, match=rf"cannot write to .*{SMALL}") as caught:
            files.find(SMALL)
    assert str(slim) in str(caught.value)
    assert "XDG_CACHE_HOME" in str(caught.value) and "LENET_DATA" in str(caught.value)


@pytest.mark.parametrize(("module", "name"), [("tempfile", "TemporaryDirectory"), ("os", "replace")])
def test_a_cache_without_write_permission(good_files, slim, monkeypatch, module, name):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with serve(good_files) as address, monkeypatch.context() as context:
        set_mirrors(context, address)
        context.setattr(getattr(files, module), name, refuse)
        with pytest.raises(DataError, match=r"cannot write to .*Permission denied"):
            files.find(SMALL)
    assert everything_below(slim) == []


class AllAtOnce(Handler):
    """Answers for a file only when eight clients are waiting for it, or after some seconds."""

    barriers = {name: threading.Barrier(8) for name in NAMES}  # noqa: RUF012

    def do_GET(self):
        with contextlib.suppress(threading.BrokenBarrierError):
            self.barriers[self.path.lstrip("/")].wait(timeout=20)
        super().do_GET()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, to import torch once and not eight times")
def test_eight_processes_start_cold_at_once(good_files, tmp_path, slim, python):
    with serve(good_files, AllAtOnce) as address:
        answers = python(EIGHT_PROCESSES, PACKAGED=str(files.PACKAGED), MIRROR=address)
    assert answers.split() == ["[235,40]"] * 8
    assert everything_below(slim) == sorted(NAMES)
    for name in NAMES:
        assert hashlib.md5((slim / name).read_bytes()).hexdigest() == files.MD5[name]


EIGHT_PROCESSES = """
import os, pathlib, traceback
from torchvision.datasets import FashionMNIST
from lenet_utils import load_data_fashion_mnist
from lenet_utils.support import files

files.PACKAGED = pathlib.Path(os.environ["PACKAGED"])
FashionMNIST.mirrors = [os.environ["MIRROR"]]

def load():
    train_iter, test_iter = load_data_fashion_mnist(256)
    os.write(1, b"[%d,%d]\\n" % (len(train_iter), len(test_iter)))

children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        try:
            load()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
"""


# The names


def test_label_names():
    names = get_fashion_mnist_labels(range(10))
    assert names == [
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ]  # fmt: skip
    assert get_fashion_mnist_labels(torch.tensor([9, 0])) == ["ankle boot", "t-shirt"]
    assert get_fashion_mnist_labels(np.array([3.0, 8.0])) == ["dress", "bag"]
    assert get_fashion_mnist_labels([]) == []
    assert get_fashion_mnist_labels(torch.tensor(3)) == get_fashion_mnist_labels(3) == ["dress"]


def test_label_names_are_d2ls(book):
    assert get_fashion_mnist_labels(range(10)) == book.FashionMNIST.text_labels(None, range(10))


@pytest.mark.parametrize("label", [-1, 10, 0.25])
def test_numbers_that_are_no_class(label):
    with pytest.raises(ValueError, match=f"from 0 to 9, got {label}"):
        get_fashion_mnist_labels([0, label])


@pytest.mark.parametrize("label", [np.inf, np.nan, "3", "dress", None, torch.eye(10)[3], np.eye(10)[3], [3]])
def test_what_is_no_number_is_no_class(label):
    with pytest.raises(ValueError, match="expected class numbers from 0 to 9, got "):
        get_fashion_mnist_labels([0, label])
