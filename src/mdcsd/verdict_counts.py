"""Predictions -> how often each verdict falls, by data set and class: what a user would be told."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, get_args

import numpy as np
from scipy.stats import beta

from mdcsd.bootstrap import mean_entry
from mdcsd.evaluation_report import Rules, number_units, origins_of
from mdcsd.judging_nouns import Calibration, Predictions, VerdictWord
from mdcsd.metrics import pool_predictions
from mdcsd.nouns import ORIGINAL, FloatArray, IntArray

_TAIL = 0.025  # of a 95 % interval, on either side


def count_verdicts(
    predictions: Predictions, calibration: Calibration, rules: Rules
) -> list[dict[str, Any]]:
    """Count videos by verdict, at a checkpoint's thresholds.

    Args:
        rules: pooling, and draws and seed of the intervals.

    Returns: a row for the real videos, and for each manipulation, of a data set and compression:
        {dataset, manipulation, compression, label, n, likely_real, uncertain,
        likely_manipulated, cannot_judge, share_manipulated: {value, low, high}}.
        The share of real videos called manipulated is the rate of false alarms. Its 95 %
        interval is of identities drawn anew, as the report's other ones are; where each has
        one video, or all or none are called so, the exact one, which draws cannot give.
    """
    origin_of = origins_of(predictions)
    units = number_units(origin_of)
    words: dict[tuple[str, str, str, int], list[tuple[str, int]]] = defaultdict(list)
    for key, (label, score) in pool_predictions(predictions, rules.pool).items():
        name = ORIGINAL if label == 0 else key.manipulation
        word = "cannot_judge" if score is None else calibration.verdict(score)
        group = key.dataset, name, origin_of[key].compression, label
        words[group].append((word, units.number[key]))
    rows = []
    for (dataset, name, compression, label), each in sorted(words.items()):
        found = Counter(word for word, _ in each)
        n_videos, n_called = len(each), found["likely_manipulated"]
        called = np.array([word == "likely_manipulated" for word, _ in each], np.float64)
        unit = np.array([number for _, number in each], np.int64)
        low, high = _interval(called, unit, rules)
        rows.append(
            {
                "dataset": dataset,
                "manipulation": name,
                "compression": compression,
                "label": label,
                "n": n_videos,
                **{word: found[word] for word in get_args(VerdictWord)},
                "share_manipulated": {"value": n_called / n_videos, "low": low, "high": high},
            }
        )
    return rows


def _interval(
    called: FloatArray, unit: IntArray, rules: Rules
) -> tuple[float | None, float | None]:
    """95 % interval of the share of videos called manipulated: float (N,) 0 or 1, int (N,)."""
    owner = np.unique(unit, return_inverse=True)[1]
    n_units = int(owner.max()) + 1
    if n_units == len(called) or called.min() == called.max():
        by_unit = np.bincount(owner, called, n_units) > 0
        return share_interval(int(by_unit.sum()), n_units)
    label = np.zeros(len(called), np.int64)
    entry = mean_entry(called, label, owner, n_units, rules.draws, rules.seed)
    return entry["low"], entry["high"]


def share_interval(n_called: int, n_all: int) -> tuple[float, float]:
    """95 % interval of a share of independent trials; none of 100 may still be 3.6 %.

    Source: Clopper and Pearson, Biometrika 26, 1934.
    """
    low = beta.ppf(_TAIL, n_called, n_all - n_called + 1) if n_called else 0.0
    high = beta.ppf(1 - _TAIL, n_called + 1, n_all - n_called) if n_called < n_all else 1.0
    return float(low), float(high)
