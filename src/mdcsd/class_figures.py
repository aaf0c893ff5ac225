"""What a network of several classes says beyond real and manipulated: `test`'s tables.

Loss and accuracy over the network's own classes, figures class by class, and which class is
taken for which, by frame and by video.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdcsd.bootstrap import Entry, mean_entry
from mdcsd.config import Pool
from mdcsd.evaluation_report import Rules, Units, number_units, origins_of
from mdcsd.inference import Measured
from mdcsd.judging_nouns import Predictions
from mdcsd.metrics import (
    auc,
    confusion,
    count_top,
    deciding_track,
    equal_error_rate,
    frames_sampled,
    pool_predictions,
)
from mdcsd.nouns import BoolArray, FloatArray, IntArray, VideoKey


def class_figures(
    measured: Measured, predictions: Predictions, class_names: tuple[str, ...], rules: Rules
) -> dict[str, Any]:
    """Measure answers class by class.

    Returns: plain data: `loss` (None without labels) and `accuracy`, an entry with its
        interval, by level, `classes` and
        `confusion` by level.
    """
    frames = _Rows(
        [origin.class_name for origin in measured.origins],
        measured.label.numpy(), measured.score, measured.probabilities(),
        [key.video for key in predictions.keys], np.full(len(measured.origins), True),
    )  # fmt: skip
    levels = {"frame": frames, "video": _pool_rows(frames, predictions, class_names, rules.pool)}
    units = number_units(origins_of(predictions))
    return {
        "loss": {level: rows.figures()["loss"] for level, rows in levels.items()},
        "accuracy": {level: rows.accuracy(units, rules) for level, rows in levels.items()},
        "classes": {level: _per_class(rows) for level, rows in levels.items()},
        "confusion": {level: _confusion(rows, class_names) for level, rows in levels.items()},
    }


@dataclass(frozen=True)
class _Rows:
    """Faces, or judged videos: what they are and what the network says of each.

    `target` int64 (N,) index of the network's class, -1 unknown; `probability` (N, K);
    `videos` which video each is of; `is_judged` bool (N,): a video that cannot be judged is of no
    class, so never right.
    """

    names: list[str]
    target: IntArray
    score: FloatArray
    probability: FloatArray
    videos: list[VideoKey]
    is_judged: BoolArray

    @property
    def predicted(self) -> IntArray:
        """Index of the likeliest class; K where there is no answer."""
        n_classes = self.probability.shape[1]
        best: IntArray = np.where(self.is_judged, self.probability.argmax(axis=1), n_classes)
        return best

    def of(self, chosen: IntArray) -> _Rows:
        """Some of the rows, by index."""
        names = [self.names[i] for i in chosen]
        videos = [self.videos[i] for i in chosen]
        return _Rows(
            names, self.target[chosen], self.score[chosen], self.probability[chosen], videos,
            self.is_judged[chosen],
        )  # fmt: skip

    def accuracy(self, units: Units, rules: Rules) -> Entry:
        """Share of rows given their own class, with its interval."""
        known = self.of(np.flatnonzero(self.target >= 0))
        hit = (known.predicted == known.target).astype(np.float64)
        unit = np.array([units.number[video] for video in known.videos], np.int64)
        label = np.minimum(known.target, 1)
        return mean_entry(hit, label, unit, units.count, rules.draws, rules.seed)

    def figures(self) -> dict[str, float | None]:
        """Loss (cross-entropy of the network's classes, nats), accuracy, AUC, EER."""
        known = np.flatnonzero(self.target >= 0)
        rows = self if len(known) == len(self.target) else self.of(known)
        if not len(rows.target):
            return dict.fromkeys(("loss", "accuracy", "auc", "eer"))
        right = rows.probability[np.arange(len(rows.target)), rows.target]
        is_fake = (rows.target > 0).astype(np.int64)
        return {
            "loss": float(-np.log(np.clip(right, 1e-7, 1.0)).mean()),
            "accuracy": float((rows.predicted == rows.target).mean()),
            "auc": auc(is_fake, rows.score),
            "eer": equal_error_rate(is_fake, rows.score),
        }


def _pool_rows(
    frames: _Rows, predictions: Predictions, class_names: tuple[str, ...], pool: Pool
) -> _Rows:
    """Rows of videos: pooled scores, and mean probabilities over the faces that make the score.

    A video nobody can judge weighs as a coin toss in the loss, and is of no class; it is never
    dropped. A video is of the class of its manipulated people, if some of them are.
    """
    members: dict[VideoKey, list[int]] = defaultdict(list)
    for index, key in enumerate(predictions.keys):
        members[key.video].append(index)
    sampled = frames_sampled(predictions)
    unjudged = {video.key: video for video in predictions.unjudged}
    tossed = np.full(len(class_names), 0.5 / (len(class_names) - 1))
    tossed[0] = 0.5
    names, targets, scores, probabilities = [], [], [], []
    pooled = pool_predictions(predictions, pool)
    for video, (label, score) in pooled.items():
        rows = members[video]
        if rows:
            first = max(rows, key=lambda row: frames.target[row])
            names.append(frames.names[first])
            targets.append(int(frames.target[first]))
        else:
            name = unjudged[video].class_name
            names.append(name)
            known = name in class_names
            targets.append(class_names.index(name) if known else label if len(tossed) == 2 else -1)
        scores.append(0.5 if score is None else score)
        mean = tossed
        if score is not None:
            faces = _deciding(rows, predictions, sampled[video], pool)
            mean = frames.probability[faces].mean(axis=0)
        two = np.array([1.0 - scores[-1], scores[-1]])
        probabilities.append(two if len(class_names) == 2 else mean)
    is_judged = np.array([score is not None for _, score in pooled.values()])
    return _Rows(
        names, np.array(targets), np.array(scores), np.stack(probabilities), list(pooled), is_judged
    )


def _deciding(rows: list[int], predictions: Predictions, n_sampled: int, pool: Pool) -> list[int]:
    """Those rows of a video that make its score, see `metrics.pool_video`."""
    if pool == "mean":
        return rows
    if pool == "topk":
        return sorted(rows, key=lambda row: -predictions.score[row])[: count_top(len(rows))]
    tracks: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        key = predictions.keys[row]
        tracks[key.track_id].append((key.frame_index, float(predictions.score[row])))
    track = deciding_track(tracks, n_sampled)
    return [row for row in rows if predictions.keys[row].track_id == track]


def _per_class(rows: _Rows) -> list[dict[str, Any]]:
    """Figures of each of the data's own classes; AUC and EER are against the real ones."""
    found = []
    names = np.array(rows.names)
    for name in dict.fromkeys(sorted(rows.names, key=lambda each: (_target_of(rows, each), each))):
        chosen = np.flatnonzero(names == name)
        alone = rows.of(chosen)
        against_real = rows.of(np.flatnonzero((names == name) | (rows.target == 0))).figures()
        is_fake = bool((alone.target > 0).all())
        found.append(
            {
                "class_name": name,
                "n": len(chosen),
                "recall": alone.figures()["accuracy"],
                "loss": alone.figures()["loss"],
                "mean_score": float(alone.score.mean()),
                "auc": against_real["auc"] if is_fake else None,
                "eer": against_real["eer"] if is_fake else None,
            }
        )
    return found


def _target_of(rows: _Rows, name: str) -> int:
    return int(rows.target[rows.names.index(name)])


def _confusion(rows: _Rows, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Counts of the data's own classes (rows) by what the network took them for (columns)."""
    own = [row["class_name"] for row in _per_class(rows)]
    index = np.array([own.index(name) for name in rows.names])
    columns = [*class_names, *([] if rows.is_judged.all() else ["cannot judge"])]
    counts = confusion(index, rows.predicted, max(len(own), len(columns)))
    return {
        "rows": own,
        "columns": columns,
        "counts": counts[: len(own), : len(columns)].tolist(),
    }
