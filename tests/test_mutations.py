"""The tests are tested: each planted fault in a copy of lenet_utils must turn the tests of its module red."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys

import pytest

import lenet_utils

PACKAGE = pathlib.Path(lenet_utils.__file__).parent
TESTS = pathlib.Path(__file__).parent

# fault: (module, its text, the text instead, file of tests, which of them: as pytest's -k has it)
MUTATIONS = {
    "a sum that keeps only its last value": (
        "train.py",
        "[total + as_double(value)",
        "[as_double(value)",
        "test_train.py",
        "sums_keep_64_bits",
    ),
    "a sum that keeps the graph": (
        "train.py",
        "value.detach().reshape(())",
        "value.reshape(())",
        "test_train.py",
        "keeps_no_graph",
    ),
    "accuracy along the wrong axis": (
        "train.py",
        "y_hat.argmax(dim=1)",
        "y_hat.argmax(dim=0)",
        "test_train.py",
        "accuracy_by_hand or evaluation_over_all",
    ),
    "evaluation of the first batch only": (
        "train.py",
        "sums.add(count_correct(y_hat, y), y.numel(), count_impossible(y_hat, y))",
        "sums.add(count_correct(y_hat, y), y.numel(), count_impossible(y_hat, y))\n            break",
        "test_train.py",
        "first_batch_does_not_decide",
    ),
    "a mean loss that counts each batch alike": (
        "train.py",
        "sums.add(loss * y.numel(),",
        "sums.add(loss,",
        "test_train.py",
        "uneven_batch_counts",
    ),
    "a wait for the device on every batch": (
        "train.py",
        "sums.add(loss * y.numel(),",
        "sums.add(loss.item() * y.numel(),",
        "test_train.py",
        "reads_of_training",
    ),
    "a wait for the device within an epoch": (
        "train.py",
        'if device.type == "cpu" or',
        "if True or",
        "test_train.py",
        "reads_nothing_before",
    ),
    "points of the curve that all have the last sums": (
        "train.py",
        "marks.append((i, copy.copy(sums)))",
        "marks.append((i, sums))",
        "test_train.py",
        "read_late",
    ),
    "pictures whose rows are as long as their columns": (
        "quick/convolution.py",
        "(height * width, 1, width, 1)",
        "(height * width, 1, height, 1)",
        "test_convolution.py",
        "gradients_are_right",
    ),
    "a quick way whose rounding is not looked at": (
        "quick/convolution.py",
        "return all(map(torch.equal, *ways))",
        "return True",
        "test_convolution.py",
        "bits_would_differ",
    ),
    "a loss that may be NaN": (
        "train.py",
        "if not math.isfinite(loss_sum):",
        "if False:",
        "test_train.py",
        "is_no_number_stops",
    ),
    "gradients that add up": (
        "train.py",
        "            p.grad = None",
        "            pass",
        "test_train.py",
        "without_a_gradient",
    ),
    "recorded steps that do not move on": (
        "recorded/__init__.py",
        "self.first += size",
        "pass",
        "test_recorded.py",
        "equal_eager_ones",
    ),
    "a recording that leaves its trials in the weights": (
        "recorded/__init__.py",
        "                tensor.copy_(value)",
        "                pass",
        "test_recorded.py",
        "trains_on_as_it_was",
    ),
    "recorded sums that are read part by part": (
        "recorded/__init__.py",
        "marks.append((done, player.steps.sums.clone()))",
        "marks.append((done, torch.tensor(player.steps.sums.tolist())))",
        "test_recorded.py",
        "read_once",
    ),
    "weights that do not start afresh": (
        "train.py",
        "net.apply(init_weights)",
        "pass",
        "test_train.py",
        "xavier or init_weights",
    ),
    "a Stop that nobody looks at": (
        "train.py",
        "        stop.check()\n",
        "",
        "test_train.py",
        "stop_ends_the_run",
    ),
    "a sigmoid lost": (
        "model.py",
        "nn.Linear(120, 84), nn.Sigmoid(),",
        "nn.Linear(120, 84),",
        "test_model.py",
        "lenet_has or thirteen",
    ),
    "modes that are not given back": (
        "model.py",
        "            module.training = mode",
        "            pass",
        "test_model.py",
        "own_mode or looking_changes",
    ),
    "receptive fields that forget the stride": (
        "model.py",
        "dilation * (kernel - 1) * step, step * stride",
        "dilation * (kernel - 1) * step, step",
        "test_model.py",
        "receptive",
    ),
    "images whose white is not 1": (
        "data.py",
        ".div(255)",
        ".div(256)",
        "test_data.py",
        "white_is_1",
    ),
    "the labels of training images for the test": (
        "data.py",
        'files.read_idx(f"{split}-labels-idx1-ubyte.gz", first)',
        'files.read_idx("train-labels-idx1-ubyte.gz", len(images))',
        "test_data.py",
        "types_shapes or as_many_images",
    ),
    "training images always in the same order": (
        "data.py",
        "batch_size, shuffle=True, resize=resize)",
        "batch_size, shuffle=False, resize=resize)",
        "test_data.py",
        "order_changes",
    ),
    "damaged files taken as good": (
        "support/files.py",
        "if hashlib.md5(packed, usedforsecurity=False).hexdigest() != MD5[name]:",
        "if False:",
        "test_data.py",
        "a_damaged_file",
    ),
    "a trained network without its weights": (
        "trained.py",
        "    net.load_state_dict(weights, assign=True)\n",
        "",
        "test_trained.py",
        "accuracy_is_the_recorded",
    ),
    "damaged weights taken as good": (
        "trained.py",
        "if hashlib.sha256(packed).hexdigest() !=",
        "if False and hashlib.sha256(packed).hexdigest() !=",
        "test_trained.py",
        "a_changed_number",
    ),
    "maps in the wrong order": (
        "inside.py",
        "row.permute(1, 0, 2).flatten(1)",
        "row.flip(0).permute(1, 0, 2).flatten(1)",
        "test_inside.py",
        "side_by_side_in_order",
    ),
    "drawing without end": (
        "plot.py",
        "if self.spent + self.last <= self.SHARE * (self.clock() - self.started):",
        "if True:",
        "test_plot.py",
        "at_most_a_twentieth",
    ),
}


def copy_package(folder, module=None, before="", after=""):
    """lenet_utils in `folder`, with one piece of text in one module replaced; all else is linked, the data too."""
    link_all(PACKAGE, folder / "lenet_utils", but=module)
    if module:
        text = (PACKAGE / module).read_text(encoding="utf-8")
        assert text.count(before) == 1, f"expected {before!r} once in {module}: does this fault need a new text?"
        (folder / "lenet_utils" / module).write_text(text.replace(before, after), encoding="utf-8")


def link_all(source, copy, but):
    """Links in a new folder `copy` to all that is in `source`, except to the file `but`, which may lie deeper."""
    copy.mkdir()
    inner, _, rest = (but or "").partition("/")
    for path in source.iterdir():
        if path.name == inner and rest:
            link_all(path, copy / inner, rest)
        elif path.name not in (inner, "__pycache__"):
            os.symlink(path.resolve(), copy / path.name)


def run_tests(folder, selected, *test_files):
    """pytest's exit code and output, for the tests against the copy in `folder`."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    environment["PYTEST_ADDOPTS"] = "--color=no"  # its lines are read below, whatever the caller likes to see
    settings = folder / "pytest.ini"  # not the project's: these runs need no notebooks
    settings.write_text("[pytest]\naddopts = -x --import-mode=importlib -p no:cacheprovider -p no:nbval --tb=line\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", settings, "-k", selected, *(TESTS / name for name in test_files)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def run_mutation(folder, fault):
    module, before, after, test_file, selected = MUTATIONS[fault]
    copy_package(folder, module, before, after)
    return run_tests(folder, selected, test_file)


def run_without_a_fault(folder):
    copy_package(folder)
    _, _, _, test_files, selections = zip(*MUTATIONS.values())
    return run_tests(folder, " or ".join(selections), *sorted(set(test_files)))


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """For each chosen test its run as a future of exit code and output, and its folder; two at a time, as they wait."""
    chosen = [item.callspec.params["fault"] for item in request.session.items if is_here(item, request.module)]
    pool = concurrent.futures.ThreadPoolExecutor(2)
    folders = {fault: tmp_path_factory.mktemp("copy") for fault in chosen}
    yield {
        fault: (pool.submit(run_mutation, folder, fault) if fault else pool.submit(run_without_a_fault, folder), folder)
        for fault, folder in folders.items()
    }
    pool.shutdown(cancel_futures=True)


def is_here(item, module):
    return getattr(item, "module", None) is module


@pytest.mark.parametrize("fault", [None, *MUTATIONS])
def test_a_planted_fault_is_found_and_its_absence_too(runs, fault):
    run, folder = runs[fault]
    code, output = run.result()
    assert f"lenet_utils under test: {folder / 'lenet_utils' / '__init__.py'}" in output.splitlines(), output
    if fault:
        assert code == 1 and "= 1 failed" in output, output
    else:
        assert code == 0, output
