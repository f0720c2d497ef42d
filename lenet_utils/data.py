"""Fashion-MNIST as two iterables of batches: 60,000 training and 10,000 test images of ten kinds of clothes."""

import copy
import functools

import torch

from .support import checks, files

LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def load_data_fashion_mnist(batch_size, resize=None, *, device=None):
    """The training batches and the test batches of Fashion-MNIST, as `(train_iter, test_iter)`.

    Each yields `(X, y)`: `X` float32 `(N, 1, 28, 28)`, 0 (black) to 1 (white), and `y` int64 `(N,)`,
    0 to 9. `resize` (a side, or height and width, in pixels) scales the images as d2l does, but for rounding: in some
    sizes a few pixels differ, by 2/255 at most. After `torch.set_default_dtype` the images are of that type.
    The training batches are drawn in a new random order on every pass, the test batches never.
    `device`: where the images live, the CPU unless told otherwise. Nothing is written to disk.
    The labels are yours to change; the images on the CPU are shared by all calls, so clone them before you do.
    Raises ValueError for an impossible size or device, `files.DataError` where the data cannot be had.

    >>> train_iter, test_iter = load_data_fashion_mnist(batch_size=256)
    >>> len(train_iter), len(test_iter)
    (235, 40)
    """
    batch_size, resize = checks.whole_number("batch_size", batch_size), checks.image_size(resize)
    device = None if device is None else checks.device(device)
    (images, labels), (test_images, test_labels) = read_split("train"), read_split("t10k")
    train_iter = Batches(images, labels.clone(), batch_size, shuffle=True, resize=resize)
    test_iter = Batches(test_images, test_labels.clone(), batch_size, resize=resize)
    return (train_iter, test_iter) if device is None else (train_iter.to(device), test_iter.to(device))


@functools.cache  # a second call, with another batch size say, costs no time and no memory
def read_split(split, first=None):
    """Images uint8 `(n, 28, 28)`, labels int64 `(n,)` of "train" (60,000) or "t10k" (10,000), or of their `first` n."""
    images = torch.from_numpy(files.read_idx(f"{split}-images-idx3-ubyte.gz", first))
    labels = torch.from_numpy(files.read_idx(f"{split}-labels-idx1-ubyte.gz", first))
    return images, labels.long()


class Batches:
    """Images and labels, batch by batch, as often as you iterate over it.

    A DataLoader calls a function for every image and collates; here a whole batch is one indexing
    operation, in this process. The images stay bytes until then: 47 MB, where floats take 188.
    The order comes from PyTorch's global random state: `torch.manual_seed` repeats it, on any device.
    Raises ValueError for images that are no bytes, or in colour, and for another number of labels.
    """

    def __init__(self, images, labels, batch_size, shuffle=False, resize=None):
        checks.images_in_bytes(images, labels)
        self.images, self.labels = images, labels  # uint8 (n, 28, 28), int64 (n,)
        self.batch_size, self.shuffle, self.resize = batch_size, shuffle, resize

    def __len__(self):
        return -(-len(self.labels) // self.batch_size)  # rounded up: the last batch may be smaller

    def __iter__(self):
        for rows in self.order().split(self.batch_size):
            yield self.pick(rows)

    def order(self):
        """The rows `(n,)` of the next pass, in their order."""
        n = len(self.labels)
        # On the CPU, also after torch.set_default_device: a GPU would draw another order.
        rows = torch.randperm(n, device="cpu") if self.shuffle else torch.arange(n, device="cpu")
        return rows.to(self.labels.device)

    def pick(self, rows):
        """The images and labels `(X, y)` of these rows, as one batch."""
        # index_select(0, rows) is [rows], by whole images and not number by number: several times as fast on a CPU.
        return self._to_floats(self.images.index_select(0, rows)), self.labels[rows]

    def _to_floats(self, images):
        X = images.unsqueeze(1)  # (N, 28, 28) -> (N, 1, 28, 28)
        if self.resize is not None:
            from torchvision.transforms.v2.functional import resize  # slow to import, seldom needed

            place = "cpu" if X.device.type == "mps" else X.device  # PyTorch before 2.8 can't do it on Apple's GPUs
            X = resize(X.to(place), self.resize, antialias=True).to(X.device)
        return X.to(torch.get_default_dtype()).div(255)  # float32, unless you have set another

    def to(self, device):
        """The same batches with the images on `device`; itself where they are there already."""
        images, labels = self.images.to(device), self.labels.to(device)
        if images is self.images:
            return self
        return self.but(images=images, labels=labels)

    def in_batches_of(self, batch_size):
        """The same, in batches of at least `batch_size` images; itself where they are scaled, and so may be huge."""
        if self.batch_size >= batch_size or self.resize is not None:
            return self
        return self.but(batch_size=batch_size)

    def but(self, **changes):
        """A copy, of the same class, with other attributes."""
        other = copy.copy(self)
        vars(other).update(changes)
        return other

    def __repr__(self):
        order = "shuffled" if self.shuffle else "in order"
        return f"{len(self)} batches of up to {self.batch_size} of {len(self.labels):,} images, {order}"


def get_fashion_mnist_labels(labels):
    """The names of the class numbers `labels`, 0 to 9. Raises ValueError for anything else.

    >>> get_fashion_mnist_labels(torch.tensor([9, 0]))
    ['ankle boot', 't-shirt']
    """
    return [LABELS[i] for i in checks.class_numbers(labels, len(LABELS))]
