"""The trained network that travels with the course: what it can, how it came about, and what a broken file leads to."""

import importlib.util
import json
import pathlib
import shutil

import pytest
import safetensors.torch
import torch
from torch import nn

import lenet_utils as d2l
from lenet_utils import trained

TOOL = pathlib.Path(__file__).parent.parent / "tools" / "make_weights.py"


@pytest.fixture(scope="module")
def iters():
    return d2l.load_data_fashion_mnist(1000)


@pytest.fixture(scope="module")
def make_weights():
    """The maintainers' tool, as a module."""
    spec = importlib.util.spec_from_file_location("make_weights", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the weights, with its record beside it, which `trained_lenet` reads instead."""
    for path in (trained.WEIGHTS, trained.record_path()):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(trained, "WEIGHTS", tmp_path / trained.WEIGHTS.name)
    return trained.WEIGHTS


def refusal():
    """The one clear sentence with which `trained_lenet` refuses."""
    with pytest.raises(d2l.DataError) as caught:
        d2l.trained_lenet()
    message = str(caught.value)
    assert message.endswith(f": {trained.REMEDY}.") and "\n" not in message
    assert str(trained.WEIGHTS.parent) in message
    return message


# what it is


def test_the_accuracy_is_the_recorded_one(iters):
    measured = d2l.evaluate_accuracy_gpu(d2l.trained_lenet(), iters[1])
    assert measured == pytest.approx(d2l.training_record()["test_acc"], abs=1.5e-4)  # one picture may fall either way


def test_it_is_lenet_ready_to_answer():
    net = d2l.trained_lenet()
    assert str(net) == str(d2l.lenet()).replace("training", "")
    assert not any(module.training for module in net.modules())
    assert all(p.requires_grad and p.dtype == torch.float32 and p.is_cpu for p in net.parameters())
    assert net(torch.zeros(28, 28)).shape == (1, 10)


def test_every_call_gives_a_net_of_its_own():
    first, second = d2l.trained_lenet(), d2l.trained_lenet()
    nn.init.zeros_(first[1].weight)
    assert second[1].weight.abs().sum() > 1


def test_it_leaves_the_random_state_alone():
    expected = torch.random.get_rng_state()
    d2l.trained_lenet()
    assert torch.equal(torch.random.get_rng_state(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_same_where_new_nets_are_born_otherwise(dtype):
    """`meta` stands for a GPU: set_default_device, as the context that it is, and set_default_dtype."""
    expected, usual = d2l.trained_lenet().state_dict(), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            net = d2l.trained_lenet()
    finally:
        torch.set_default_dtype(usual)
    assert all(p.requires_grad and p.dtype == torch.float32 and p.is_cpu for p in net.parameters())
    assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())


def test_its_weights_lie_as_pytorchs_own():
    assert all(p.data_ptr() % 64 == 0 for p in d2l.trained_lenet().parameters())


def test_it_can_be_trained_on(iters):
    history = d2l.train_ch6(d2l.trained_lenet(), list(iters[1])[:2], list(iters[1])[:1], 1, 0.1, "cpu",
                            init_weights=None, animator=False)  # fmt: skip
    assert history.train_acc[0] > 0.7


def test_importing_the_course_does_not_import_safetensors(python):
    assert python("import sys, lenet_utils; print('safetensors' in sys.modules)") == "False"


# how it came about


def test_the_file_is_small():
    assert trained.WEIGHTS.stat().st_size < 300_000


def test_header_and_record_say_the_same():
    with safetensors.safe_open(trained.WEIGHTS, "pt") as file:
        header = json.loads(file.metadata()["record"])
    record = d2l.training_record()
    assert header == {key: value for key, value in record.items() if key != "sha256"}
    assert {"seed", "command", "device", "torch", "test_acc", "test_acc_band"} <= set(record)


def test_the_record_names_the_recipe_of_the_tool(make_weights):
    record = d2l.training_record()
    assert {key: record[key] for key in make_weights.RECIPE} == make_weights.RECIPE
    assert make_weights.expected_band() == record["test_acc_band"]
    assert record["command"].split()[-1] == TOOL.relative_to(TOOL.parent.parent).as_posix()


@pytest.mark.doors
def test_training_anew_comes_into_the_recorded_band(make_weights):
    """Ten epochs on all 60,000 pictures."""
    net, history = make_weights.train(**make_weights.RECIPE)
    lowest, highest = d2l.training_record()["test_acc_band"]
    assert lowest < history.test_acc[-1] < highest
    assert history.train_loss[-1] == pytest.approx(d2l.training_record()["train_loss"], abs=0.05)
    assert {name: value.shape for name, value in net.state_dict().items()} == {
        name: value.shape for name, value in d2l.trained_lenet().state_dict().items()
    }


def test_what_the_tool_writes_can_be_read(make_weights, copy):
    net = d2l.lenet()
    make_weights.write(net, {"seed": 5, "cpu": 'a "quoted" name'}, copy)
    assert d2l.training_record()["cpu"] == 'a "quoted" name'
    for name, value in d2l.trained_lenet().state_dict().items():
        assert torch.equal(value, net.state_dict()[name])


# what can be wrong


def test_a_missing_file(copy):
    copy.unlink()
    assert f"cannot read {copy} (No such file or directory)" in refusal()


def test_a_missing_record(copy):
    copy.with_suffix(".json").unlink()
    assert f"cannot read {copy.with_suffix('.json')}" in refusal()


@pytest.mark.parametrize("length", [0, 7, 100, 3000, 247_000])
def test_a_truncated_file(copy, length):
    copy.write_bytes(copy.read_bytes()[:length])
    assert f"{copy} is damaged" in refusal()


def test_a_changed_number(copy):
    packed = bytearray(copy.read_bytes())
    packed[-1] ^= 1
    copy.write_bytes(packed)
    assert "is not the file that lenet.json beside it describes" in refusal()


@pytest.mark.parametrize("make, found", [
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "1.weight to be (6, 1, 5, 5), as in lenet(), got (10,"),
    (lambda: d2l.lenet()[:-1], "12.weight to be (10, 84), as in lenet(), got nothing"),
    (lambda: d2l.lenet().append(nn.Linear(10, 2)), "13.bias to be nothing, as in lenet(), got (2,)"),
])  # fmt: skip
def test_the_weights_of_another_network(copy, make, found):
    safetensors.torch.save_file(make().state_dict(), copy)
    assert "holds the weights of another network" in refusal() and found in refusal()


def test_a_record_that_is_no_json(copy):
    copy.with_suffix(".json").write_text("{")
    assert "lenet.json is damaged" in refusal()
