"""The digits that LeNet-5 was made for. They do not travel with the course: torchvision fetches them, once.

They are not under its licence either; as a rule they are given under CC BY-SA 3.0.
"""

import http.client
import pathlib

from .data import Batches
from .support import checks
from .support.files import DataError, user_cache


def load_data_mnist(batch_size, folder=None):
    """The training and the test batches of MNIST, of the shapes and types of `load_data_fashion_mnist`'s.

    The first call fetches 12 MB into `folder`, by default `lenet-course` in the user's cache; later ones need no
    network. Raises ValueError for an impossible size, DataError where the digits are not there and cannot be fetched.
    """
    from torchvision.datasets import MNIST  # slow to import, and seldom needed

    batch_size = checks.whole_number("batch_size", batch_size)
    try:
        folder = user_cache() / "lenet-course" if folder is None else pathlib.Path(folder).expanduser()
    except (OSError, RuntimeError) as error:  # a user without a home
        raise DataError(
            f"expected a folder to keep MNIST's digits in, got {folder} ({error}): name one, e.g. './digits'."
        ) from error
    try:
        train, test = (MNIST(folder, train=is_train, download=True) for is_train in (True, False))
    except (RuntimeError, OSError, ValueError, http.client.HTTPException) as error:
        if len(list(folder.glob("MNIST/raw/*-ubyte"))) == 4:  # torchvision would take them again next time
            raise DataError(
                f"MNIST's digits in {folder} cannot be read ({error}): delete that folder and run this again."
            ) from error
        raise DataError(
            f"MNIST's digits are not in {folder} and could not be fetched ({error}): go online and run this again, "
            "or copy that folder from a machine where it is."
        ) from error
    return Batches(train.data, train.targets, batch_size, shuffle=True), Batches(test.data, test.targets, batch_size)
