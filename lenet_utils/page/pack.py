"""What goes into the page, checked and packed: the net, the images with their labels, names, a title, a language."""

import base64
import collections.abc
import numbers

import torch

from ..data import LABELS
from ..support import checks
from .read_net import read_net

MOST_IMAGES = 100  # each is a button that a keyboard steps over, and a kilobyte of the page
LANGUAGES = ("en", "zh")


def pack(net, images, labels, names, title, language):
    """What the page needs to know, as a dict that JSON can hold. Raises ValueError for what cannot be shown."""
    check_net(net)
    check_images(images, labels)
    if language not in LANGUAGES:
        raise ValueError(f"expected language to be one of {', '.join(LANGUAGES)}, got {language!r}")
    if title is not None and not isinstance(title, str):
        raise ValueError(f"expected title to be a text or None, got {type(title).__name__}")
    images, labels = images.detach().cpu().contiguous(), labels.detach().cpu()
    layers, weights = read_net(net, images)
    check_answers(layers[-1], labels)
    return {
        "layers": layers,
        "weights": base64.b64encode(weights.astype("<f4").tobytes()).decode(),
        "pictures": pack_images(images),
        "labels": labels.tolist(),
        "names": check_names(names, layers[-1]["shape"][0]),
        "parameters": sum(p.numel() for p in net.parameters()),
        "title": title,
        "language": language,
    }


def check_net(net):
    checks.module(net)
    checks.not_lazy(net)
    strange = next((p for p in net.parameters() if p.dtype != torch.float32), None)
    if strange is not None:
        raise ValueError(f"expected weights of type torch.float32, got {strange.dtype}: use net.float()")
    bad = [name for name, tensor in net.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(f"expected weights that are finite numbers, got NaN or infinity in {', '.join(bad)}")


def check_images(images, labels):
    if not (torch.is_tensor(images) and torch.is_tensor(labels)):
        raise ValueError(
            f"expected images and labels as two tensors, got {type(images).__name__} and {type(labels).__name__}"
        )
    if images.dtype != torch.float32 or images.shape[1:] != (1, 28, 28):
        raise ValueError(
            "expected images of type torch.float32 and shape (N, 1, 28, 28), as load_data_fashion_mnist gives them, "
            f"got {images.dtype} and {tuple(images.shape)}"
        )
    if not 1 <= len(images) <= MOST_IMAGES:
        raise ValueError(
            f"expected 1 to {MOST_IMAGES} images, since the page carries them all and each is a button in it, "
            f"got {len(images)}: choose some, e.g. images[:36]"
        )
    if not (images.isfinite().all() and images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"expected images with values from 0 (black) to 1 (white), got {images.min():g} to {images.max():g}"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"expected labels of type torch.int64 and shape ({len(images)},), one class number an image, "
            f"got {labels.dtype} and {tuple(labels.shape)}"
        )


def check_answers(last, labels):
    if len(last["shape"]) != 1 or not 2 <= last["shape"][0] <= 100:
        raise ValueError(
            "expected a net that ends in a row of 2 to 100 scores, one a class, "
            f"got {last['shape']} from its last layer, {last['name']}"
        )
    if labels.min() < 0 or labels.max() >= last["shape"][0]:
        raise ValueError(
            f"expected labels from 0 to {last['shape'][0] - 1}, since the net tells {last['shape'][0]} classes apart, "
            f"got {int(labels.min())} to {int(labels.max())}"
        )


def check_names(names, count):
    """The names of the classes; None where they are Fashion-MNIST's, which the page knows in each of its languages."""
    if names is None:
        return None if count == len(LABELS) else [str(i) for i in range(count)]
    texts = list(names) if hasattr(names, "__iter__") and not isinstance(names, collections.abc.Mapping) else []
    if len(texts) != count or not all(isinstance(text, (str, numbers.Number)) for text in texts):
        raise ValueError(f"expected names to be a list of {count} texts, one a class, got {names!r}")
    return [str(text) for text in texts]


def pack_images(images):
    """Bytes where they lose nothing (Fashion-MNIST's pixels are k/255), else floats: the page shall be exact."""
    as_bytes = (images * 255).round().to(torch.uint8)
    exact = torch.equal(as_bytes.to(torch.float32).div(255), images)
    numbers = as_bytes.numpy() if exact else images.numpy().astype("<f4")
    return {"type": "uint8" if exact else "float32", "data": base64.b64encode(numbers.tobytes()).decode()}
