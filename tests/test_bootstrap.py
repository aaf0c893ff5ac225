"""Intervals: they cover, they follow units rather than rows, pairs share their draws."""

from __future__ import annotations

import numpy as np
import pytest

from mdcsd.bootstrap import Pair, Table, intervals, paired_differences
from mdcsd.metrics import FIGURES


def table(label, score, unit=None):
    label, score = np.array(label), np.array(score, float)
    return Table(label, score, np.arange(len(label)) if unit is None else np.array(unit))


def draw_table(rng, n_units, shift):
    label = np.arange(n_units) % 2
    score = 1 / (1 + np.exp(-(rng.normal(size=n_units) + shift * label)))
    return table(label, score)


def test_intervals_cover_the_truth():
    """Two normals a distance d apart have an AUC of Phi(d / sqrt 2); 95 % should hold it."""
    from scipy.stats import norm

    truth = norm.cdf(1.0 / np.sqrt(2))
    held = 0
    for seed in range(100):
        rows = draw_table(np.random.default_rng(seed), 120, 1.0)
        entry = intervals({"": rows}, 120, 200, seed, 0.5)[""]["auc"]
        assert entry["low"] < entry["value"] < entry["high"]
        held += entry["low"] <= truth <= entry["high"]
    assert 88 <= held <= 100


def test_copies_of_a_unit_do_not_narrow_the_interval():
    """Ten equal frames a video say no more than one: naive resampling of rows would."""
    rows = draw_table(np.random.default_rng(0), 60, 1.0)
    ten = table(np.repeat(rows.label, 10), np.repeat(rows.score, 10), np.repeat(rows.unit, 10))
    one = intervals({"": rows}, 60, 300, 1, 0.5)[""]["auc"]
    many = intervals({"": ten}, 60, 300, 1, 0.5)[""]["auc"]
    for name in ("value", "low", "high"):
        assert many[name] == pytest.approx(one[name])


def test_a_run_does_not_differ_from_itself():
    rows = draw_table(np.random.default_rng(3), 40, 0.5)
    same = Pair({"": rows}, {"": rows}, (0.5, 0.5))
    for entry in paired_differences([same], 40, 50, 0)[""].values():
        assert (entry["value"], entry["low"], entry["high"]) == (0.0, 0.0, 0.0)


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(4)
    rows = draw_table(rng, 200, 1.0)
    near = Table(rows.label, np.clip(rows.score + rng.normal(0, 0.01, 200), 0, 1), rows.unit)
    entry = paired_differences([Pair({"": near}, {"": rows}, (0.5, 0.5))], 200, 300, 0)[""]["auc"]
    alone = intervals({"": rows}, 200, 300, 0, 0.5)[""]["auc"]
    assert entry["high"] - entry["low"] < (alone["high"] - alone["low"]) / 3


def test_several_pairs_differ_by_the_mean_of_their_differences():
    rng = np.random.default_rng(5)
    rows = [draw_table(rng, 80, shift) for shift in (0.2, 0.8, 1.4)]
    near, far = Pair({"": rows[0]}, {"": rows[2]}), Pair({"": rows[1]}, {"": rows[2]})
    both = paired_differences([near, far], 80, 200, 0)[""]["auc"]
    each = [paired_differences([pair], 80, 200, 0)[""]["auc"] for pair in (near, far)]
    assert each[0]["value"] < each[1]["value"] < 0
    assert both["value"] == pytest.approx(sum(entry["value"] for entry in each) / 2)
    twice = paired_differences([near, near], 80, 200, 0)[""]["auc"]
    for name in ("value", "low", "high"):  # on other draws the interval would be narrower
        assert twice[name] == pytest.approx(each[0][name])


def test_the_undefined_has_a_reason():
    found = intervals({"": table([0, 0, 0], [0.1, 0.2, 0.3])}, 3, 20, 0, 0.5)[""]
    assert found["auc"]["value"] is None and found["auc"]["reason"] == "undefined: one class only"
    assert found["false_alarm_rate"]["value"] == 0.0
    low = intervals({"": table([0, 0, 0], [0.1, 0.2, 0.3])}, 3, 20, 0, 0.2)[""]
    assert low["false_alarm_rate"]["value"] == pytest.approx(2 / 3)
    assert found["brier"]["value"] == pytest.approx((0.01 + 0.04 + 0.09) / 3)
    nothing = intervals({"": table([], [])}, 0, 20, 0, 0.5)[""]
    assert all(entry["reason"] == "undefined: no labelled rows" for entry in nothing.values())


def test_one_video_of_a_class_has_a_value_and_no_interval():
    entry = intervals({"": table([0, 0, 1], [0.1, 0.2, 0.9])}, 3, 20, 0, 0.5)[""]["auc"]
    assert entry["value"] == 1.0 and entry["low"] is None
    assert entry["reason"] == "no interval: too few videos"


def test_without_a_threshold_balanced_accuracy_says_so():
    found = intervals({"": table([0, 1, 0, 1], [0.1, 0.8, 0.3, 0.9])}, 4, 0, 0, None)[""]
    assert found["balanced_accuracy"]["reason"] == "undefined: no threshold"
    assert set(found) == set(FIGURES)
    assert found["auc"]["low"] is None and found["auc"]["reason"] is None
