"""Importing the course: the garbage collector rests while PyTorch is imported, and is then as it was."""

import gc
import re
import weakref

import pytest

import lenet_utils as d2l
from lenet_utils.support.importing import no_garbage_collection

SCRIPT = """
import gc, sys

class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("collecting" if gc.isenabled() else "resting")

sys.meta_path.insert(0, Spy())
{before}
import lenet_utils
print(gc.isenabled())
"""


@pytest.mark.parametrize(("before", "after"), [("", True), ("gc.disable()", False)])
def test_the_collector_rests_while_pytorch_is_imported(python, before, after):
    assert python(SCRIPT.format(before=before)).split() == ["resting", str(after)]


def test_the_collector_works_again_after_an_error():
    with pytest.raises(KeyError), no_garbage_collection():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


class Thing:
    """Keeps itself alive, so that only the collector can end it."""

    def __init__(self):
        self.itself = self


def test_what_came_meanwhile_is_old_but_not_immortal():
    with no_garbage_collection():
        thing = Thing()
    assert any(other is thing for other in gc.get_objects(generation=2))
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None


def test_what_was_frozen_stays_frozen():
    thing = Thing()

    def seen():
        """By the collector, which does not see what is frozen."""
        return any(other is thing for other in gc.get_objects())

    assert seen()
    gc.freeze()
    try:
        with no_garbage_collection():
            pass
        assert not seen()
    finally:
        gc.unfreeze()


# Names that d2l has and the course has not


@pytest.mark.parametrize("name", ["Residual", "train_ch3", "__wrapped__"])
def test_other_names_are_said_to_be_d2ls(name):
    assert not hasattr(d2l, name)
    with pytest.raises(AttributeError, match=rf"lenet_utils has no {name}: .* d2l has the rest\. .* versions"):
        getattr(d2l, name)


def test_a_name_of_a_later_notebook_is_said_to_be_in_its_module():
    with pytest.raises(AttributeError) as caught:
        d2l.show_stages  # noqa: B018
    exec(re.search("`(.*)`", str(caught.value))[1], found := {})
    assert found["show_stages"].__module__ == "lenet_utils.inside"


def test_a_module_is_imported_by_its_name(python):
    code = "from lenet_utils import ladder; import lenet_utils.quick.memory as m; print(ladder.__name__, m.__name__)"
    assert python(code) == "lenet_utils.ladder lenet_utils.quick.memory"


def test_no_file_is_read_in_whatever_encoding_the_country_has(python):
    code = """
import shutil, torch, warnings
warnings.filterwarnings("error", category=EncodingWarning, module="lenet_utils")
import lenet_utils
from lenet_utils.fused import build
from lenet_utils.parallel import launch
print(len(lenet_utils.load_data_fashion_mnist(256)), sum(p.numel() for p in lenet_utils.trained_lenet().parameters()))
list(launch.processes_and_parents())
if shutil.which("cc"):
    build.run("cc", "--version")
lenet_utils.explore(lenet_utils.trained_lenet(), torch.zeros(1, 1, 28, 28), torch.zeros(1).long()).html
"""
    assert python(code, PYTHONWARNDEFAULTENCODING="1") == "2 61706"
