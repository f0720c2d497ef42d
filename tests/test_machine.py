"""Kept runs of a benchmark: those of another machine do not mix with this one's."""

import importlib.util
import json
import pathlib

import pytest

PATH = pathlib.Path(__file__).parent.parent / "benchmarks" / "machine.py"
SPEC = importlib.util.spec_from_file_location("machine", PATH)
machine = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(machine)


def kept(tmp_path, **changed):
    machine.save(tmp_path / "runs.json", {"machine": machine.describe() | changed, "runs": [1, 2]})
    return tmp_path / "runs.json"


def test_runs_of_this_machine_are_gone_on_with(tmp_path):
    assert machine.finished_runs(tmp_path / "none.json") == []
    assert machine.finished_runs(kept(tmp_path, date="2020-01-01")) == [1, 2]


def test_a_file_of_before_a_quantity_was_written_down(tmp_path):
    path = kept(tmp_path)
    results = json.loads(path.read_text())
    del results["machine"]["instructions"]
    machine.save(path, results)
    assert machine.finished_runs(path) == [1, 2]


def test_a_file_of_before_the_family_was_written_down(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cpu_model", lambda: "AMD EPYC (family 26)")
    assert machine.finished_runs(kept(tmp_path, cpu="AMD EPYC")) == [1, 2]
    with pytest.raises(SystemExit, match="elsewhere"):
        machine.finished_runs(kept(tmp_path, cpu="AMD EPYC (family 25)"))


@pytest.mark.parametrize("changed", [{"cpu": "another"}, {"torch": "0.1"}, {"threads": 1000}])
def test_runs_of_another_machine_do_not_mix(tmp_path, changed):
    with pytest.raises(SystemExit, match=r"runs\.json was measured elsewhere"):
        machine.finished_runs(kept(tmp_path, **changed))


ARM = "BogoMIPS\t: 108.00\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\n"


@pytest.mark.parametrize(("lines", "expected"), [
    ("model name\t: Some CPU 1234\ncpu family\t: 6\n", "Some CPU 1234"),
    ("cpu family\t: 26\nmodel name\t: AMD EPYC\nflags\t\t: fpu\n\ncpu family\t: 26\n", "AMD EPYC (family 26)"),
    ("processor\t: 0\nBogoMIPS\t: 50.00\n", machine.platform.machine()),
    (ARM, f"{machine.platform.machine()} (implementer 0x41, part 0xd0b)"),
])  # fmt: skip
def test_a_processor_whose_name_has_no_number_is_told_with_its_family(lines, expected, monkeypatch):
    monkeypatch.setattr(machine.pathlib.Path, "read_text", lambda path: lines)
    assert machine.cpu_model() == expected


def test_a_page_gets_its_part_and_keeps_the_rest(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- x -->\nold\n<!-- end of x -->\n\n# B\n")
    machine.write_between(page, "x", "new")
    assert page.read_text() == "# A\n<!-- x -->\nnew\n<!-- end of x -->\n\n# B\n"


def test_a_disk_that_is_full_leaves_the_page_as_it_was(tmp_path, monkeypatch):
    def full(path, text, **_):
        path.write_bytes(text[:5].encode())
        raise OSError(28, "No space left on device")

    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- x -->\nold\n<!-- end of x -->\n")
    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        machine.write_between(page, "x", "new")
    assert page.read_text() == "# A\n<!-- x -->\nold\n<!-- end of x -->\n"


@pytest.mark.parametrize("text", ["# A\n<!-- x -->\nold\n\n# B\n", "# A\nold\n<!-- end of x -->\n", "# A\n"])
def test_a_page_without_its_marks_is_left_alone(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(SystemExit, match="this belongs there:\nnew"):
        machine.write_between(page, "x", "new")
    assert page.read_text() == text
