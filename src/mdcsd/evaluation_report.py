"""Predictions -> report: every figure with its interval, by frame and by video, by group.

The report is plain data, as report.json has it:

    overall         {frame_auc: {value, low, high, n_real, n_fake, reason}, video_auc: ...}
    groups          [{dataset, manipulation, compression, metrics: as overall}]
    curves          {frame: {roc, reliability, histogram}, video: ...}

Undefined is null with its reason, never .5.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdcsd.bootstrap import Entry, Table, intervals
from mdcsd.config import Pool
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.metrics import (
    N_BINS,
    Ranking,
    describe_pooling,
    even_weights,
    frames_sampled,
    min_track_frames,
    pool_predictions,
    row_losses,
    summed_figures,
)
from mdcsd.nouns import ORIGINAL, FloatArray, FrameKey, IntArray, Origin, VideoKey

REPORT_SCHEMA = 3
UNJUDGED_SCORE = 0.5  # what a video without a score weighs where a number is needed
_ROC_POINTS = 200
_HISTOGRAM_BINS = 20
_FEW_UNITS = 10

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
class Level:
    """All labelled rows of one level, and what they can be grouped by.

    `keys` identify them, faces in frames or videos; `videos` are the videos they are of, and
    `manipulation` is that of the video, also for its real people; `original` for real videos.
    """

    keys: list[FrameKey] | list[VideoKey]
    videos: list[VideoKey]
    manipulation: list[str]
    compression: list[str]
    label: IntArray
    score: FloatArray

    def table(self, units: Units, chosen: IntArray | None = None) -> Table:
        """All rows, or some by index, each with the number of what it is resampled with."""
        rows = np.arange(len(self.label)) if chosen is None else chosen
        unit = np.array([units.number[self.videos[row]] for row in rows], np.int64)
        return Table(self.label[rows], self.score[rows], unit)


@dataclass(frozen=True)
class Units:
    """What is resampled: the number of each video's unit, identities or the videos themselves."""

    number: dict[VideoKey, int]
    count: int
    are_identities: bool


def build_report(predictions: Predictions, rules: Rules) -> Report:
    """Measure predictions: the part of report.json that needs nothing but scores and labels."""
    levels, units = levels_of(predictions, rules.pool), number_units(origins_of(predictions))
    groups = _groups(levels)
    tables = {
        f"{level} {i}": rows.table(units, _members(rows, group))
        for level, rows in levels.items()
        for i, group in enumerate([None, *groups])
    }
    found = intervals(tables, units.count, rules.draws, rules.seed, rules.threshold)

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
            "unit": "identities" if units.are_identities else "videos",
            "n_units": units.count,
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
    units = number_units(origins_of(predictions))
    tables = {
        level: rows.table(units) for level, rows in levels_of(predictions, rules.pool).items()
    }
    found = intervals(tables, units.count, rules.draws, rules.seed, rules.threshold)
    return {
        f"{level}_{name}": entry
        for level, entries in found.items()
        for name, entry in entries.items()
    }


def uncalibrated(predictions: Predictions, temperature: float, rules: Rules) -> Report:
    """Calibration figures as they would be without the temperature, by frame.

    Beside them ECE with and without it where real and manipulated faces weigh alike, which is
    what the temperature was fitted for.
    """
    clipped = np.clip(predictions.score, 1e-12, 1 - 1e-12)
    logit = (np.log(clipped) - np.log1p(-clipped)) * temperature
    before = Predictions(predictions.origins, predictions.label, 1.0 / (1.0 + np.exp(-logit)))
    entries = overall_figures(before, rules)
    figures = {name: entries[name] for name in ("frame_ece", "frame_brier", "frame_log_loss")}
    even = {"without": _ece_at_even_odds(before), "with": _ece_at_even_odds(predictions)}
    return {"temperature": temperature, **figures, "frame_ece_at_even_odds": even}


def _ece_at_even_odds(predictions: Predictions) -> float | None:
    """ECE by frame with real and manipulated faces weighing alike, None where one is missing."""
    known = predictions.label >= 0
    label, score = predictions.label[known], predictions.score[known]
    if len(np.unique(label)) < 2:
        return None
    return summed_figures(even_weights(label) @ row_losses(label, score, None))["ece"]


def origins_of(predictions: Predictions) -> dict[VideoKey, Origin | UnjudgedVideo]:
    """What each video is: of the class of its manipulated people, if some of them are."""
    origin_of: dict[VideoKey, Origin | UnjudgedVideo] = {}
    for row in np.argsort(-predictions.label, kind="stable"):
        origin_of.setdefault(predictions.origins[row].key.video, predictions.origins[row])
    for unjudged in predictions.unjudged:
        origin_of.setdefault(unjudged.key, unjudged)
    return origin_of


def few_units(drawn: Report) -> str:
    """What to say behind intervals that so few people, or videos, cannot carry."""
    few = drawn["n_units"] < _FEW_UNITS
    return f"; so few {drawn['unit']} tell little, whatever the intervals say" if few else ""


def number_units(origin_of: Mapping[VideoKey, Origin | UnjudgedVideo]) -> Units:
    """Number what is resampled: identities where every video's is known, else videos."""
    by_identity = all(known.identity for known in origin_of.values())
    numbers: dict[tuple[str, ...], int] = {}
    number_of = {}
    for key, known in origin_of.items():
        unit = (key.dataset, known.identity) if by_identity else tuple(key)
        number_of[key] = numbers.setdefault(unit, len(numbers))
    return Units(number_of, len(numbers), by_identity)


def levels_of(predictions: Predictions, pool: Pool) -> dict[str, Level]:
    """Labelled rows by frame and by video; a video without a score weighs as .5."""
    origin_of, pooled = origins_of(predictions), pool_predictions(predictions, pool)
    real = {key for key, (label, _) in pooled.items() if label == 0}
    frames = _level(
        predictions.keys, [key.video for key in predictions.keys], predictions.origins, real,
        predictions.label, predictions.score,
    )  # fmt: skip
    videos = _level(
        list(pooled), list(pooled), [origin_of[key] for key in pooled], real,
        np.array([label for label, _ in pooled.values()], np.int64),
        np.array([UNJUDGED_SCORE if s is None else s for _, s in pooled.values()], np.float64),
    )  # fmt: skip
    return {"frame": frames, "video": videos}


def _level(
    keys: Sequence[Any],
    videos: Sequence[VideoKey],
    origins: Sequence[Origin | UnjudgedVideo],
    real: set[VideoKey],
    label: IntArray,
    score: FloatArray,
) -> Level:
    """Rows with a label; those without one cannot be measured."""
    known = np.flatnonzero(label >= 0).tolist()
    kept = [videos[i] for i in known]
    return Level(
        keys=[keys[i] for i in known],
        videos=kept,
        manipulation=[ORIGINAL if video in real else video.manipulation for video in kept],
        compression=[origins[i].compression for i in known],
        label=label[known],
        score=score[known],
    )


def _groups(levels: dict[str, Level]) -> list[dict[str, str | None]]:
    """Data sets, their compressions, and their manipulations, where there are several.

    A group of a manipulation holds its videos, with all people in them, and the real ones of the
    same data set and compression. None stands for all.
    """
    videos = levels["video"]
    seen = sorted(
        set(zip([key.dataset for key in videos.videos], videos.compression, videos.manipulation,
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


def _members(rows: Level, group: dict[str, str | None] | None) -> IntArray | None:
    """Indices of a group's rows; None for all."""
    if group is None:
        return None
    chosen = np.array([key.dataset == group["dataset"] for key in rows.videos], bool)
    if group["compression"] is not None:
        chosen &= np.array(rows.compression) == group["compression"]
    if group["manipulation"] is not None:
        chosen &= np.isin(rows.manipulation, [group["manipulation"], ORIGINAL])
    return np.flatnonzero(chosen)


def _curves(rows: Level) -> dict[str, Any] | None:
    """Data of the plots; None where a class is missing."""
    curve = Ranking(rows.label, rows.score).curve()
    if curve is None:
        return None
    kept = np.unique(np.linspace(0, len(curve.hits) - 1, _ROC_POINTS).round().astype(int))
    bins = np.minimum((rows.score * N_BINS).astype(int), N_BINS - 1)
    filled = np.unique(bins)
    edges = np.linspace(0.0, 1.0, _HISTOGRAM_BINS + 1)
    what = np.where(rows.label == 0, ORIGINAL, rows.manipulation)
    names = np.array([f"{k.dataset} {name}" for k, name in zip(rows.videos, what, strict=True)])
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
    sampled = frames_sampled(predictions)
    partly_real = set()
    for key, label in zip(predictions.keys, predictions.label.tolist(), strict=True):
        tracks[key.video][key.track_id] += 1
        if label != 1:
            partly_real.add(key.video)
    return sum(
        sum(n >= min_track_frames(sampled[video]) for n in counts.values()) > 1
        for video, counts in tracks.items()
        if video not in partly_real
    )
