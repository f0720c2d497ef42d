"""Helpers of the LeNet course: d2l's names and meanings, corrected where d2l misbehaves.

`import lenet_utils as d2l` runs the cells of d2l's LeNet chapter and of its chapters on modern networks.
What the first notebooks need is imported here, in the order in which they meet it; later ones import what they need
from the module that has it.
"""

from .support.importing import no_garbage_collection
from .support.threads import limit_threads, one_thread_in_forks, wait_asleep

wait_asleep()  # before PyTorch is loaded
with no_garbage_collection():  # a twelfth of the time that loading PyTorch takes
    from .model import Reshape, lenet, print_layer_shapes, layer_table
from .data import load_data_fashion_mnist, get_fashion_mnist_labels
from .train import Timer, Accumulator, accuracy, evaluate_accuracy_gpu, try_gpu, train_ch6, History, Diverged
from .trained import trained_lenet, training_record
from .plot import Animator, set_axes, show_images, plot_confusion, use_svg_display
from .support.display import set_alt, show_figures
from .support.source import show_code, show_source
from .page import explore
from .support.files import DataError

__all__ = [
    "Reshape", "lenet", "print_layer_shapes", "layer_table",
    "load_data_fashion_mnist", "get_fashion_mnist_labels",
    "Timer", "Accumulator", "accuracy", "evaluate_accuracy_gpu", "try_gpu", "train_ch6", "History", "Diverged",
    "trained_lenet", "training_record",
    "Animator", "set_axes", "show_images", "plot_confusion", "use_svg_display",
    "set_alt", "show_code", "show_source", "explore", "DataError",
]  # fmt: skip


def __getattr__(name):
    from .support.checks import OTHER_VERSIONS

    raise AttributeError(
        f"lenet_utils has no {name}: it has what d2l's chapters on LeNet and on modern networks need; what "
        "later notebooks need is in its modules, e.g. `from lenet_utils.inside import show_stages`; d2l has the rest. "
        + OTHER_VERSIONS
    )


limit_threads()  # a container's CPU quota counts, not only the number of its cores
one_thread_in_forks()
show_figures()
