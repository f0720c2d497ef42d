"""The comparison with other frameworks: its medians and its table. The frameworks are measured, not tested."""

import pathlib

import pytest

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def frameworks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import frameworks

    return frameworks


def run(name, i, seconds):
    measured = {"examples_per_sec": 60_000, "own_examples_per_sec": 70_000, "start_up_seconds": 1.25, "peak_mb": 1234}
    return {"framework": name, "round": i, "seconds": seconds, **measured, "test_acc": 0.8}


RESULTS = {
    "machine": {"cores": 2, "cpu": "Abacus", "python": "3.11", "torch": "2.15", "date": "2026-11-23"},
    "versions": {"d2l": "1.0.3"},
    "epochs": 10,
    "left_out": ["tinygrad"],
    "runs": [run(name, i, s) for i, s in enumerate([3.0, 90.0, 5.0], start=1) for name in ("this course", "d2l")],
}


def test_the_medians_are_a_frameworks_own(frameworks):
    runs = [*RESULTS["runs"], run("Lightning", 1, 7.0)]
    assert {name: row["seconds"] for name, row in frameworks.medians(runs).items()} == {
        "this course": 5.0, "d2l": 5.0, "Lightning": 7.0,
    }  # fmt: skip


def test_the_table_has_a_row_for_each_and_names_what_is_left_out(frameworks):
    lines = frameworks.table(RESULTS).splitlines()
    assert lines[2] == "| this course | 5.0 | 60,000 | 70,000 | 1.2 | 1,234 | 0.800 |"
    assert lines[3].startswith("| d2l | 5.0 |") and len(lines) == 6
    assert "Medians of 3 rounds of 10 epochs" in lines[-1]
    assert lines[-1].endswith("Left out, since not installed: tinygrad.")


def test_every_row_has_its_file_and_only_installed_ones_run(frameworks, monkeypatch):
    assert all((BENCHMARKS / "frameworks" / f"{file}.py").is_file() for file, _ in frameworks.ROWS.values())
    monkeypatch.setattr(frameworks, "ROWS", {"here": ("a", ["json"]), "half": ("b", ["json", "no_such_package"])})
    assert frameworks.installed() == ["here"]
