"""Predictions -> how often each verdict falls, by data set and class: what a user would be told."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, get_args

from scipy.stats import beta

from mdcsd.config import Pool
from mdcsd.evaluation_report import origins_of
from mdcsd.judging_nouns import Calibration, Predictions, VerdictWord
from mdcsd.metrics import pool_predictions
from mdcsd.nouns import ORIGINAL

_TAIL = 0.025  # of a 95 % interval, on either side


def count_verdicts(
    predictions: Predictions, calibration: Calibration, pool: Pool
) -> list[dict[str, Any]]:
    """Count videos by verdict, at a checkpoint's thresholds.

    Returns: a row for the real videos, and for each manipulation, of a data set and compression:
        {dataset, manipulation, compression, label, n, likely_real, uncertain,
        likely_manipulated, cannot_judge, share_manipulated: {value, low, high}}.
        The share of real videos called manipulated is the rate of false alarms. Its 95 %
        interval is for videos that are independent of each other.
    """
    origin_of = origins_of(predictions)
    counts: dict[tuple[str, str, str, int], Counter[str]] = defaultdict(Counter)
    for key, (label, score) in pool_predictions(predictions, pool).items():
        name = ORIGINAL if label == 0 else key.manipulation
        word = "cannot_judge" if score is None else calibration.verdict(score)
        counts[key.dataset, name, origin_of[key].compression, label][word] += 1
    rows = []
    for (dataset, name, compression, label), found in sorted(counts.items()):
        n_videos, n_called = found.total(), found["likely_manipulated"]
        low, high = share_interval(n_called, n_videos)
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


def share_interval(n_called: int, n_all: int) -> tuple[float, float]:
    """95 % interval of a share of independent trials; none of 100 may still be 3.6 %.

    Source: Clopper and Pearson, Biometrika 26, 1934.
    """
    low = beta.ppf(_TAIL, n_called, n_all - n_called + 1) if n_called else 0.0
    high = beta.ppf(1 - _TAIL, n_called + 1, n_all - n_called) if n_called < n_all else 1.0
    return float(low), float(high)
