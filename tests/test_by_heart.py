"""What notebook 5 says of learning by heart is what `benchmarks/by_heart.py` measured, with every seed."""

import json
import pathlib
import statistics

import pytest

RESULTS = pathlib.Path(__file__).parent.parent / "benchmarks" / "results"
RUNS = json.loads((RESULTS / "by_heart.json").read_text())["runs"]
SAME, NEW = ([run for run in RUNS if run["new"] == is_new] for is_new in (False, True))


def test_there_are_twelve_seeds_of_both_with_sixty_rounds():
    assert [run["seed"] for run in SAME] == [run["seed"] for run in NEW] == list(range(12))
    assert all(len(run["own"]) == len(run["others"]) == 60 for run in RUNS)


@pytest.mark.parametrize(("same", "new"), list(zip(SAME, NEW)), ids=range(12))
def test_only_what_comes_again_is_learned_by_heart(same, new):
    """With the slack that the notebook's own assertions have, and some more.

    A single round leaves much to luck, so the means of the last five are compared as well.
    """
    turn = same["others"].index(min(same["others"])) + 1
    assert 15 <= turn <= 45 and 0.5 < min(same["others"]) < 0.7  # "about the middle", "about 0.6"
    assert same["own"][-1] < 0.45 and same["others"][-1] > 1.2 * min(same["others"])
    assert new["others"][-1] - new["own"][-1] < 0.1 and new["others"][-1] < same["others"][-1] - 0.15
    assert statistics.mean(new["others"][-5:]) < statistics.mean(same["others"][-5:]) - 0.2


@pytest.mark.parametrize("same", SAME, ids=range(12))
def test_it_is_not_wrong_more_often(same):
    """What grows is the loss, not the share of wrong answers: from where the curve turns to the end."""
    turn = same["others"].index(min(same["others"]))
    then, at_last = same["right"][turn - 2 : turn + 3], same["right"][-5:]
    assert -0.02 < statistics.mean(at_last) - statistics.mean(then) < 0.05
