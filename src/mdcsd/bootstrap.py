"""95 % intervals by resampling, and paired differences: arrays in, plain entries out.

What is drawn anew are whole units, identities where they are known, else videos, because
the frames of a video, and the videos of a person, err together. Every table of one call is
measured on the same draws, so differences between them are paired.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13
(percentile intervals).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdcsd.metrics import AT_THRESHOLD, FIGURES, Ranking, ranked_figures, row_losses, summed_figures
from mdcsd.nouns import FloatArray, IntArray

LEVEL = 0.95
_MIN_SHARE_OF_DRAWS = 0.5

Entry = dict[str, Any]
"""{value, low, high, n_real, n_fake, reason}: undefined is None with its reason."""


@dataclass(frozen=True)
class Table:
    """Rows of one level and group: `label` int (N,) 0 or 1, `score` float (N,), and `unit`
    int (N,), the number of what each row is resampled with.
    """

    label: IntArray
    score: FloatArray
    unit: IntArray


class _Measured:
    """A table made ready to be measured under many weights."""

    def __init__(self, table: Table, n_units: int, threshold: float | None) -> None:
        self.table = table
        self._unit = table.unit
        self._ranking = Ranking(table.label, table.score)
        losses = row_losses(table.label, table.score, threshold)
        self._sums = np.stack(
            [np.bincount(table.unit, column, n_units) for column in losses.T], axis=1
        )  # (units, 21)

    def figures(self, weight: FloatArray) -> FloatArray:
        """`FIGURES` under a weight a unit, float (U,); NaN where undefined."""
        sums = weight @ self._sums
        if sums[0] + sums[1] <= 0:
            return np.full(len(FIGURES), np.nan)
        found = summed_figures(sums)
        curve = self._ranking.curve(weight[self._unit])
        if curve is not None:
            found |= ranked_figures(curve)
        return np.array([found.get(name, np.nan) for name in FIGURES])

    def n_units_of(self, label: int) -> int:
        """How many units hold rows of a class."""
        return len(np.unique(self._unit[self.table.label == label]))


def intervals(
    tables: Mapping[str, Table], n_units: int, draws: int, seed: int, threshold: float | None
) -> dict[str, dict[str, Entry]]:
    """Measure tables, each figure with its 95 % interval.

    Args:
        tables: name -> rows.
        n_units: units are numbered 0..n_units - 1 over all tables.
        draws: times to resample; 0 gives no intervals.
        seed: of the draws.
        threshold: from which a score counts as manipulated, for the figures `AT_THRESHOLD`.

    Returns: name -> figure -> entry.
    """
    measured = {name: _Measured(table, n_units, threshold) for name, table in tables.items()}
    values = {name: each.figures(np.ones(n_units)) for name, each in measured.items()}
    drawn = _draw(measured, n_units, draws, seed)
    return {
        name: _entries(values[name], drawn[name], each, threshold)
        for name, each in measured.items()
    }


def mean_entry(
    hit: FloatArray, label: IntArray, unit: IntArray, n_units: int, draws: int, seed: int
) -> Entry:
    """Mean of a figure a row, with its 95 % interval: accuracy, of hits 0 and 1.

    Args:
        hit: float (N,).
        label: int (N,), 0 real, 1 manipulated, for the entry's counts.
        unit: int (N,), the number of what each row is resampled with, below `n_units`.
    """
    entry: Entry = {"value": None, "low": None, "high": None, "n_real": int((label == 0).sum()),
                    "n_fake": int((label == 1).sum()), "reason": None}  # fmt: skip
    if not len(hit):
        return entry | {"reason": "undefined: no labelled rows"}
    sums, sizes = np.bincount(unit, hit, n_units), np.bincount(unit, minlength=n_units)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        chosen = rng.integers(0, n_units, n_units)
        size = sizes[chosen].sum()
        drawn.append(sums[chosen].sum() / size if size else np.nan)
    few = len(np.unique(unit)) < 2
    return entry | {"value": float(np.mean(hit))} | _interval(np.array(drawn), few)


class Pair(NamedTuple):
    """Two runs' tables of the same rows, and the threshold of each."""

    here: Mapping[str, Table]
    there: Mapping[str, Table]
    thresholds: tuple[float | None, float | None] = (None, None)


def paired_differences(
    pairs: Sequence[Pair], n_units: int, draws: int, seed: int
) -> dict[str, dict[str, Entry]]:
    """Figures of `here` minus those of `there`, on the same draws of the same units.

    Of several pairs, runs of several seeds of training, the mean of their differences. Counts in
    the entries are those of the first pair's `here`.
    """
    once = np.ones(n_units)
    values: dict[str, FloatArray] = {}
    drawn: dict[str, FloatArray] = {}
    counted: dict[str, _Measured] = {}
    for pair in pairs:
        here, there = (
            {name: _Measured(table, n_units, threshold) for name, table in tables.items()}
            for tables, threshold in zip((pair.here, pair.there), pair.thresholds, strict=True)
        )
        first, second = (_draw(each, n_units, draws, seed) for each in (here, there))
        for name, each in here.items():
            difference = each.figures(once) - there[name].figures(once)
            counted.setdefault(name, each)
            values[name] = values.get(name, 0.0) + difference / len(pairs)
            drawn[name] = drawn.get(name, 0.0) + (first[name] - second[name]) / len(pairs)
    threshold = None if any(None in pair.thresholds for pair in pairs) else pairs[0].thresholds[0]
    return {
        name: _entries(values[name], drawn[name], each, threshold) for name, each in counted.items()
    }


def _draw(
    measured: Mapping[str, _Measured], n_units: int, draws: int, seed: int
) -> dict[str, FloatArray]:
    """Figures of every table under each draw: name -> float (draws, figures)."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[FloatArray]] = {name: [] for name in measured}
    for _ in range(draws):
        weight = np.bincount(rng.integers(0, n_units, n_units), minlength=n_units).astype(float)
        for name, each in measured.items():
            drawn[name].append(each.figures(weight))
    return {name: np.array(rows).reshape(draws, len(FIGURES)) for name, rows in drawn.items()}


def _entries(
    values: FloatArray, drawn: FloatArray, measured: _Measured, threshold: float | None
) -> dict[str, Entry]:
    label = measured.table.label
    counts = {"n_real": int((label == 0).sum()), "n_fake": int((label == 1).sum())}
    few = min((n for n in map(measured.n_units_of, (0, 1)) if n), default=0) < 2
    entries = {}
    for column, name in enumerate(FIGURES):
        entry: Entry = {"value": None, "low": None, "high": None, **counts, "reason": None}
        if name in AT_THRESHOLD and threshold is None:
            entry["reason"] = "undefined: no threshold"
        elif not np.isfinite(values[column]):
            entry["reason"] = f"undefined: {_why(counts)}"
        else:
            entry["value"] = float(values[column])
            entry |= _interval(drawn[:, column], few)
        entries[name] = entry
    return entries


def _interval(drawn: FloatArray, few: bool) -> Entry:
    """Lower and upper bound; no interval out of a single unit, nor of too few defined draws."""
    if not len(drawn):
        return {}
    defined = drawn[np.isfinite(drawn)]
    if few or len(defined) < _MIN_SHARE_OF_DRAWS * len(drawn):
        return {"reason": "no interval: too few videos"}
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": float(low), "high": float(high)}


def _why(counts: dict[str, int]) -> str:
    return "no labelled rows" if not any(counts.values()) else "one class only"
