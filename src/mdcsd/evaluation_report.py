"""Predictions -> report: every figure with its interval, by frame and by video, by group.

The report is plain data, as report.json has it:

    overall         {frame_auc: {value, low, high, n_real, n_fake, reason}, video_auc: ...}
    groups          [{dataset, manipulation, compression, metrics: as overall}]
    curves          {frame: {roc, reliability, histogram}, video: ...}

Undefined is null with its reason, never .5.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdcsd.bootstrap import Entry, Table, intervals, paired_differences
from mdcsd.config import Pool
from mdcsd.errors import DataError
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.metrics import N_BINS, Ranking, describe_pooling, min_track_frames, pool_predictions
from mdcsd.nouns import ORIGINAL, FloatArray, IntArray, Origin, VideoKey

REPORT_SCHEMA = 2
UNJUDGED_SCORE = 0.5  # what a video without a score weighs where a number is needed
_ROC_POINTS = 200
_HISTOGRAM_BINS = 20

Report = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """How a report is made: pooling, threshold of balanced accuracy with its origin, draws."""

    pool: Pool = "track"
    threshold: float | None = None
    threshold_source: str = ""
    draws: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class _Level:
    """All labelled rows of one level, and what they can be grouped by."""

    dataset: list[str]
    manipulation: list[str]
    compression: list[str]
    label: IntArray
    score: FloatArray
    unit: IntArray

    def table(self, chosen: IntArray | None = None) -> Table:
        """All rows, or some by index."""
        if chosen is None:
            return Table(self.label, self.score, self.unit)
        return Table(self.label[chosen], self.score[chosen], self.unit[chosen])


def build_report(predictions: Predictions, rules: Rules) -> Report:
    """Measure predictions: the part of report.json that needs nothing but scores and labels."""
    levels, n_units, by_identity = _levels(predictions, rules.pool)
    groups = _groups(levels)
    tables = {
        (level, i): rows.table(_members(rows, group))
        for level, rows in levels.items()
        for i, group in enumerate([None, *groups])
    }
    named = {f"{level} {i}": table for (level, i), table in tables.items()}
    found = intervals(named, n_units, rules.draws, rules.seed, rules.threshold)

    def metrics(i: int) -> dict[str, Entry]:
        return {
            f"{level}_{name}": entry
            for level in levels
            for name, entry in found[f"{level} {i}"].items()
        }

    pooled = pool_predictions(predictions, rules.pool)
    return {
        "schema": REPORT_SCHEMA,
        "datasets": sorted({key.dataset for key in pooled}),
        "pooling": describe_pooling(rules.pool),
        "n_frames": len(predictions.score),
        "n_videos": len(pooled),
        "n_videos_cannot_judge": sum(score is None for _, score in pooled.values()),
        "n_videos_multi_face": _count_multi_face(predictions),
        "frames_per_video": _frames_per_video(predictions),
        "resampling": {
            "unit": "identities" if by_identity else "videos",
            "n_units": n_units,
            "draws": rules.draws,
            "seed": rules.seed,
        },
        "threshold": None
        if rules.threshold is None
        else {"value": rules.threshold, "source": rules.threshold_source},
        "overall": metrics(0),
        "groups": [{**group, "metrics": metrics(i)} for i, group in enumerate(groups, start=1)],
        "curves": {level: _curves(rows) for level, rows in levels.items()},
    }


def overall_figures(predictions: Predictions, rules: Rules) -> dict[str, Entry]:
    """The report's `overall` alone."""
    levels, n_units, _ = _levels(predictions, rules.pool)
    tables = {level: rows.table() for level, rows in levels.items()}
    found = intervals(tables, n_units, rules.draws, rules.seed, rules.threshold)
    return {
        f"{level}_{name}": entry
        for level, entries in found.items()
        for name, entry in entries.items()
    }


def compare(here: Predictions, there: Predictions, name: str, rules: Rules) -> Report:
    """Figures of one run minus those of another, on what both judged.

    Frames are paired by their key, videos by theirs; draws are of the same units.

    Raises: DataError if nothing is common, or labels contradict each other.
    """
    place = {key: i for i, key in enumerate(there.keys)}
    common = [(i, place[key]) for i, key in enumerate(here.keys) if key in place]
    if not common:
        raise DataError(
            f"{name}: no face in common (dataset, manipulation, video_id, frame, track)"
        )
    first, second = (np.array(side, np.int64) for side in zip(*common, strict=True))
    if (here.label[first] != there.label[second]).any():
        raise DataError(f"{name}: labels contradict those of this run. Compare the same data.")
    ours = here.rows(first)
    theirs = Predictions(ours.origins, ours.label, there.score[second])  # the same units
    levels, n_units, _ = _levels(ours, rules.pool)
    others, _, _ = _levels(theirs, rules.pool)
    return {
        "name": name,
        "n_common_frames": len(common),
        "n_only_here": len(here.score) - len(common),
        "n_only_there": len(there.score) - len(common),
        "difference": {
            f"{level}_{figure}": entry
            for level, entries in paired_differences(
                {level: rows.table() for level, rows in levels.items()},
                {level: rows.table() for level, rows in others.items()},
                n_units, rules.draws, rules.seed, rules.threshold,
            ).items()
            for figure, entry in entries.items()
        },
    }  # fmt: skip


def uncalibrated(predictions: Predictions, temperature: float, rules: Rules) -> Report:
    """Calibration figures as they would be without the temperature, by frame."""
    clipped = np.clip(predictions.score, 1e-12, 1 - 1e-12)
    logit = (np.log(clipped) - np.log1p(-clipped)) * temperature
    before = Predictions(predictions.origins, predictions.label, 1.0 / (1.0 + np.exp(-logit)))
    entries = overall_figures(before, rules)
    figures = {name: entries[name] for name in ("frame_ece", "frame_brier", "frame_log_loss")}
    return {"temperature": temperature, **figures}


def _levels(predictions: Predictions, pool: Pool) -> tuple[dict[str, _Level], int, bool]:
    """Rows by frame and by video, the number of units, and whether units are identities."""
    origin_of: dict[VideoKey, Origin | UnjudgedVideo] = {}
    # A video is of the class of its manipulated people, if some of them are.
    for row in np.argsort(-predictions.label, kind="stable"):
        origin_of.setdefault(predictions.origins[row].key.video, predictions.origins[row])
    for unjudged in predictions.unjudged:
        origin_of.setdefault(unjudged.key, unjudged)
    by_identity = all(known.identity for known in origin_of.values())
    numbers: dict[tuple[str, ...], int] = {}
    unit_of = {}
    for key, known in origin_of.items():
        unit = (key.dataset, known.identity) if by_identity else tuple(key)
        unit_of[key] = numbers.setdefault(unit, len(numbers))
    pooled = pool_predictions(predictions, pool)
    frames = _level(
        ((origin, origin.key.video) for origin in predictions.origins),
        predictions.label, predictions.score, unit_of,
    )  # fmt: skip
    videos = _level(
        ((origin_of[key], key) for key in pooled),
        np.array([label for label, _ in pooled.values()], np.int64),
        np.array([UNJUDGED_SCORE if s is None else s for _, s in pooled.values()], np.float64),
        unit_of,
    )
    return {"frame": frames, "video": videos}, len(numbers), by_identity


def _level(
    origins: Iterable[tuple[Origin | UnjudgedVideo, VideoKey]],
    label: IntArray,
    score: FloatArray,
    unit_of: dict[VideoKey, int],
) -> _Level:
    """Rows with a label; those without one cannot be measured."""
    rows = [row for row, each in zip(origins, label, strict=True) if each >= 0]
    known = label >= 0
    return _Level(
        dataset=[key.dataset for _, key in rows],
        manipulation=[origin.class_name if origin.class_name != "real" else ORIGINAL
                      for origin, _ in rows],
        compression=[origin.compression for origin, _ in rows],
        label=label[known],
        score=score[known],
        unit=np.array([unit_of[key] for _, key in rows], np.int64),
    )  # fmt: skip


def _groups(levels: dict[str, _Level]) -> list[dict[str, str | None]]:
    """Data sets, their compressions, and their manipulations, where there are several.

    A group of a manipulation holds its videos and the real ones of the same data set and
    compression. None stands for all.
    """
    videos = levels["video"]
    seen = sorted(
        set(zip(videos.dataset, videos.compression, videos.manipulation,
                videos.label.tolist(), strict=True))
    )  # fmt: skip
    datasets = sorted({row[0] for row in seen})
    groups: list[dict[str, str | None]] = []
    for dataset in datasets:
        compressions = sorted({row[1] for row in seen if row[0] == dataset})
        if len(datasets) > 1:
            groups.append(_group(dataset, None, None))
        for compression in compressions:
            fakes = sorted({r[2] for r in seen if r[:2] == (dataset, compression) and r[3] == 1})
            if len(compressions) > 1:
                groups.append(_group(dataset, None, compression))
            groups += [_group(dataset, fake, compression) for fake in fakes]
    return groups


def _group(dataset: str, manipulation: str | None, compression: str | None) -> dict[str, Any]:
    return {"dataset": dataset, "manipulation": manipulation, "compression": compression}


def _members(rows: _Level, group: dict[str, str | None] | None) -> IntArray | None:
    """Indices of a group's rows; None for all."""
    if group is None:
        return None
    chosen = np.array(rows.dataset) == group["dataset"]
    if group["compression"] is not None:
        chosen &= np.array(rows.compression) == group["compression"]
    if group["manipulation"] is not None:
        chosen &= (np.array(rows.manipulation) == group["manipulation"]) | (rows.label == 0)
    return np.flatnonzero(chosen)


def _curves(rows: _Level) -> dict[str, Any] | None:
    """Data of the plots; None where a class is missing."""
    curve = Ranking(rows.label, rows.score).curve()
    if curve is None:
        return None
    kept = np.unique(np.linspace(0, len(curve.hits) - 1, _ROC_POINTS).round().astype(int))
    bins = np.minimum((rows.score * N_BINS).astype(int), N_BINS - 1)
    filled = np.unique(bins)
    edges = np.linspace(0.0, 1.0, _HISTOGRAM_BINS + 1)
    names = np.array([f"{d} {m}" for d, m in zip(rows.dataset, rows.manipulation, strict=True)])
    return {
        "roc": {
            "fpr": (curve.false_alarms[kept] / curve.false_alarms[-1]).tolist(),
            "tpr": (curve.hits[kept] / curve.hits[-1]).tolist(),
        },
        "reliability": {
            "mean_score": [float(rows.score[bins == b].mean()) for b in filled],
            "share_manipulated": [float(rows.label[bins == b].mean()) for b in filled],
            "n": [int((bins == b).sum()) for b in filled],
        },
        "histogram": {
            "edges": edges.tolist(),
            "counts": {
                str(name): np.histogram(rows.score[names == name], edges)[0].tolist()
                for name in dict.fromkeys(names.tolist())
            },
        },
    }


def _frames_per_video(predictions: Predictions) -> dict[str, float] | None:
    frames: dict[VideoKey, set[int]] = defaultdict(set)
    for key in predictions.keys:
        frames[key.video].add(key.frame_index)
    if not frames:
        return None
    counts = [len(each) for each in frames.values()]
    return {"min": min(counts), "median": float(np.median(counts)), "max": max(counts)}


def _count_multi_face(predictions: Predictions) -> int:
    """Manipulated videos with several people, each called manipulated: no mask told them apart."""
    tracks: dict[VideoKey, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    frames: dict[VideoKey, set[int]] = defaultdict(set)
    partly_real = set()
    for key, label in zip(predictions.keys, predictions.label.tolist(), strict=True):
        tracks[key.video][key.track_id] += 1
        frames[key.video].add(key.frame_index)
        if label != 1:
            partly_real.add(key.video)
    return sum(
        sum(n >= min_track_frames(len(frames[video])) for n in counts.values()) > 1
        for video, counts in tracks.items()
        if video not in partly_real
    )
