"""Two runs on the same videos: figures of one minus those of the other, on the same draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdcsd.bootstrap import Entry, Pair, paired_differences
from mdcsd.errors import DataError
from mdcsd.evaluation_report import (
    Level,
    Report,
    Rules,
    Units,
    levels_of,
    number_units,
    origins_of,
)
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.nouns import IntArray, Origin, VideoKey


def compare(
    here: Predictions, there: Predictions, name: str, rules: Rules, threshold: float | None
) -> Report:
    """Figures of one run minus those of another, on what both know.

    Frames are compared where both judged the same face. A video's score is each run's own,
    pooled from all the faces that it judged, and one that a run cannot judge weighs as .5
    there, as in its report: to find no face is a fault too.

    Args:
        here: the run whose figures come first, `there` the one they are compared with.
        name: what to call `there`.
        rules: of `here`; `there` is pooled alike.
        threshold: of `there`; a figure at a threshold needs one of either run.

    Raises: DataError if no video is common, or labels contradict each other.
    """
    pairs = _pair(here, there, name, rules)
    units = _number_units([pairs], [(here, there)])
    tables = _tables(pairs, units, (rules.threshold, threshold))
    found = paired_differences([tables], units.count, rules.draws, rules.seed)
    return {
        "name": name,
        "threshold": threshold,
        "common": {level: len(each.first) for level, each in pairs.items()},
        "only_here": {
            level: len(each.here.label) - len(each.first) for level, each in pairs.items()
        },
        "only_there": {
            level: len(each.there.label) - len(each.second) for level, each in pairs.items()
        },
        "difference": _flat(found),
    }


def compare_means(
    runs: Sequence[tuple[Predictions, Predictions]], name: str, rules: Rules
) -> dict[str, Entry]:
    """Mean over runs of the figures of one minus those of another, as `compare` finds them.

    Args:
        runs: pairs of predictions on the same data, one of each seed of training.
        name: what to call the second ones.
        rules: pooling, draws and their seed; no threshold is used, and no figure at one defined.

    Returns: level_figure -> entry.

    Raises: DataError as `compare`.
    """
    pairs = [_pair(here, there, name, rules) for here, there in runs]
    units = _number_units(pairs, runs)
    tables = [_tables(each, units, (None, None)) for each in pairs]
    return _flat(paired_differences(tables, units.count, rules.draws, rules.seed))


def _pair(here: Predictions, there: Predictions, name: str, rules: Rules) -> dict[str, _Pairs]:
    """Pair the rows of each level."""
    levels, others = levels_of(here, rules.pool), levels_of(there, rules.pool)
    pairs = {level: _Pairs.of(levels[level], others[level]) for level in levels}
    if not len(pairs["video"].first):
        raise DataError(f"{name}: no labelled video in common (dataset, manipulation, video_id)")
    if any(each.contradict() for each in pairs.values()):
        raise DataError(f"{name}: labels contradict those of this run. Compare the same data.")
    return pairs


def _number_units(
    pairs: Sequence[dict[str, _Pairs]], runs: Sequence[tuple[Predictions, Predictions]]
) -> Units:
    """Number what the paired videos are resampled by, known from any of the runs."""
    known: dict[VideoKey, Origin | UnjudgedVideo] = {}
    for run in (each for both in runs for each in both):
        for key, origin in origins_of(run).items():
            if key not in known or not known[key].identity:
                known[key] = origin
    videos = [each["video"] for each in pairs]
    return number_units({each.here.videos[i]: known[each.here.videos[i]]
                         for each in videos for i in each.first})  # fmt: skip


def _tables(
    pairs: dict[str, _Pairs], units: Units, thresholds: tuple[float | None, float | None]
) -> Pair:
    return Pair(
        {level: each.here.table(units, each.first) for level, each in pairs.items()},
        {level: each.there.table(units, each.second) for level, each in pairs.items()},
        thresholds,
    )


def _flat(found: dict[str, dict[str, Entry]]) -> dict[str, Entry]:
    return {
        f"{level}_{figure}": entry
        for level, entries in found.items()
        for figure, entry in entries.items()
    }


@dataclass(frozen=True)
class _Pairs:
    """Rows of one level of two runs; those at `first` and `second` belong together."""

    here: Level
    there: Level
    first: IntArray
    second: IntArray

    @staticmethod
    def of(here: Level, there: Level) -> _Pairs:
        """Pair rows by their key."""
        place = {key: i for i, key in enumerate(there.keys)}
        common = [(i, place[key]) for i, key in enumerate(here.keys) if key in place]
        first, second = np.array(common, np.int64).reshape(-1, 2).T
        return _Pairs(here, there, first, second)

    def contradict(self) -> bool:
        """Whether a row is real in one run and manipulated in the other."""
        return bool((self.here.label[self.first] != self.there.label[self.second]).any())
