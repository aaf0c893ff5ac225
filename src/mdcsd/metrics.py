"""Scores and labels in, figures out: numpy arrays and floats, no torch, no files.

Everywhere label 0 is real, 1 manipulated, and a higher score means more likely manipulated.
Where a figure is undefined (one class only) the answer is None, never .5.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mdcsd.config import Pool
from mdcsd.judging_nouns import Predictions
from mdcsd.nouns import FloatArray, IntArray, VideoKey

FIGURES = (
    "auc", "eer", "ap", "balanced_accuracy", "false_alarm_rate", "tpr_at_fpr_1", "tpr_at_fpr_5",
    "ece", "brier", "log_loss",
)  # fmt: skip
AT_THRESHOLD = frozenset({"balanced_accuracy", "false_alarm_rate"})
N_BINS = 15
MIN_TRACK_FRAMES = 5
MIN_TRACK_SHARE = 0.2
_FEW_FRAMES = 25
_TOP_SHARE = 0.2


@dataclass(frozen=True)
class Curve:
    """The ROC curve as weights, from the strictest threshold to the loosest.

    `false_alarms` and `hits` float64 (T + 1,): weight of the real and of the manipulated rows
    whose score is at or above each of T distinct scores, falling; both start at 0. Rows of
    equal score enter together, so ties count half in the area.
    """

    false_alarms: FloatArray
    hits: FloatArray

    def auc(self) -> float:
        """Area under it: the chance that a fake scores above a real one, ties half."""
        height = self.hits[1:] + self.hits[:-1]
        area = np.dot(height, np.diff(self.false_alarms)) / 2
        return float(area / (self.false_alarms[-1] * self.hits[-1]))

    def equal_error_rate(self) -> float:
        """Error rate where false alarms and misses are equal, on the curve's straight segments."""
        alarm_rate = self.false_alarms / self.false_alarms[-1]
        gap = alarm_rate - (1.0 - self.hits / self.hits[-1])  # rises from -1 to 1
        after = int(np.searchsorted(gap, 0.0))
        share = -gap[after - 1] / (gap[after] - gap[after - 1])
        return float(alarm_rate[after - 1] + share * (alarm_rate[after] - alarm_rate[after - 1]))

    def average_precision(self) -> float:
        """Precision at each threshold, weighted by the recall it adds; no interpolation."""
        called = self.hits[1:] + self.false_alarms[1:]
        precision = np.divide(self.hits[1:], called, out=np.zeros_like(called), where=called > 0)
        return float(np.dot(precision, np.diff(self.hits)) / self.hits[-1])

    def hit_rate_at(self, false_alarm_rate: float) -> float:
        """Highest share of fakes found by a threshold with at most this share of false alarms."""
        allowed = false_alarm_rate * self.false_alarms[-1] * (1 + 1e-12)
        last = int(np.searchsorted(self.false_alarms, allowed, side="right")) - 1
        return float(self.hits[last] / self.hits[-1])


class Ranking:
    """Rows sorted by score once, so that a curve under other weights costs one pass."""

    def __init__(self, label: IntArray, score: FloatArray) -> None:
        """Sort rows; `label` int (N,) 0 real, 1 manipulated, `score` float (N,), finite."""
        self.order = np.argsort(-score, kind="stable")
        self._is_fake = (label[self.order] == 1).astype(np.float64)
        falling = score[self.order]
        is_last = np.append(falling[1:] != falling[:-1], True)[: len(falling)]
        self._last = None if is_last.all() else np.flatnonzero(is_last)

    def curve(self, weight: FloatArray | None = None) -> Curve | None:
        """The curve under a weight a row, float (N,), in the order of the rows given.

        Returns: None if one of the classes has no weight.
        """
        each = np.ones(len(self.order)) if weight is None else weight[self.order]
        hits = np.cumsum(each * self._is_fake)
        false_alarms = np.cumsum(each) - hits
        if not len(each) or hits[-1] <= 0 or false_alarms[-1] <= 0:
            return None
        if self._last is not None:
            hits, false_alarms = hits[self._last], false_alarms[self._last]
        return Curve(np.append(0.0, false_alarms), np.append(0.0, hits))


def auc(label: IntArray, score: FloatArray) -> float | None:
    """Area under the ROC curve: the chance that a fake scores above a real one, ties half.

    Args:
        label: int (N,), 0 real, 1 manipulated.
        score: float (N,), higher is more fake; finite.

    Returns: 0..1, or None if one of the classes is missing.
    """
    curve = Ranking(label, score).curve()
    return curve.auc() if curve else None


def equal_error_rate(label: IntArray, score: FloatArray) -> float | None:
    """Error rate where false alarms and misses are equal, on the ROC's straight segments.

    Returns: 0..1, or None if one of the classes is missing.
    """
    curve = Ranking(label, score).curve()
    return curve.equal_error_rate() if curve else None


def row_losses(label: IntArray, score: FloatArray, threshold: float | None) -> FloatArray:
    """What each row adds to the figures that are sums over rows, float64 (N, 6 + 15).

    Columns: is real; is manipulated; is real and below the threshold; is manipulated and at
    or above it; squared error; cross-entropy in nats, scores clipped to 1e-7 from 0 and 1,
    which is as near as a float32 sigmoid tells apart; and, for each of 15 equal bins of the
    score, label - score if the row is in it.
    """
    is_fake = (label == 1).astype(np.float64)
    called = score >= (0.5 if threshold is None else threshold)
    bins = np.minimum((score * N_BINS).astype(int), N_BINS - 1)
    in_bin = np.zeros((len(score), N_BINS))
    in_bin[np.arange(len(score)), bins] = is_fake - score
    clipped = np.clip(score, 1e-7, 1 - 1e-7)
    entropy = -np.where(is_fake > 0, np.log(clipped), np.log(1 - clipped))
    sums = (
        1 - is_fake, is_fake, (1 - is_fake) * ~called, is_fake * called,
        np.square(score - is_fake), entropy,
    )  # fmt: skip
    return np.column_stack([*sums, in_bin])


def even_weights(label: IntArray) -> FloatArray:
    """Weights (N,) that sum to 1 and are shared by the classes alike, labels int (N,) 0 or 1."""
    sizes = np.bincount(label, minlength=2)
    weights: FloatArray = 1.0 / sizes[label] / np.count_nonzero(sizes)
    return weights


def summed_figures(sums: FloatArray) -> dict[str, float]:
    """Figures out of (weighted) column sums of `row_losses`, float (21,).

    `balanced_accuracy`: mean of the shares of real and of manipulated rows on their side of
    the threshold. `false_alarm_rate`: share of real rows on the wrong side of it. `ece`:
    expected calibration error, the mean distance of score and share of manipulated rows over
    15 equal bins, weighted by their rows (Guo et al., ICML 2017, for the probability of
    "manipulated"). `brier`: mean squared error. `log_loss`: nats.
    """
    n_real, n_fake = sums[0], sums[1]
    n_rows = n_real + n_fake
    figures = {
        "ece": float(np.abs(sums[6:]).sum() / n_rows),
        "brier": float(sums[4] / n_rows),
        "log_loss": float(sums[5] / n_rows),
    }
    if n_real > 0:
        figures["false_alarm_rate"] = float(1 - sums[2] / n_real)
    if n_real > 0 and n_fake > 0:
        figures["balanced_accuracy"] = float((sums[2] / n_real + sums[3] / n_fake) / 2)
    return figures


def ranked_figures(curve: Curve) -> dict[str, float]:
    """Figures that depend on the order of the scores alone."""
    return {
        "auc": curve.auc(),
        "eer": curve.equal_error_rate(),
        "ap": curve.average_precision(),
        "tpr_at_fpr_1": curve.hit_rate_at(0.01),
        "tpr_at_fpr_5": curve.hit_rate_at(0.05),
    }


def equal_error_threshold(label: IntArray, score: FloatArray) -> float:
    """Score from which calling a face manipulated errs equally often on both classes.

    Of the middles between neighbouring scores, the one where false alarms and misses differ
    least; both classes must be there. Scores that can be separated are cut in the middle of
    the gap.
    """
    known = np.unique(score)
    middles = np.concatenate([known[:1], (known[1:] + known[:-1]) / 2])
    real, fake = np.sort(score[label == 0]), np.sort(score[label == 1])
    false_alarms = 1.0 - np.searchsorted(real, middles, side="left") / len(real)
    misses = np.searchsorted(fake, middles, side="left") / len(fake)
    return float(middles[int(np.argmin(np.abs(false_alarms - misses)))])


def false_alarm_threshold(label: IntArray, score: FloatArray, rate: float) -> float:
    """Score from which at most a share `rate` of the real ones is called manipulated.

    It stands in the middle between the highest real score that must not raise an alarm and
    the next score above it of either class (1 if there is none), so that few scores far
    apart do not put it at the edge of what was seen.
    """
    real = np.sort(score[label == 0])[::-1]
    n_allowed = math.floor(rate * len(real) + 1e-9)
    if n_allowed >= len(real):
        return 0.0
    quiet = real[n_allowed]
    above = score[score > quiet]
    middle = (quiet + (above.min() if len(above) else 1.0)) / 2
    return float(min(max(middle, np.nextafter(quiet, np.inf)), 1.0))


def accuracy(label: IntArray, score: FloatArray, threshold: float = 0.5) -> float | None:
    """Share of rows on the right side of a threshold; None without rows."""
    return float(np.mean((score >= threshold) == (label == 1))) if len(label) else None


def confusion(label: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """Count rows by true class (first axis) and predicted class (second), (K, K)."""
    from sklearn.metrics import confusion_matrix  # near a second, and judging needs none

    matrix: IntArray = confusion_matrix(label, predicted, labels=np.arange(n_classes))
    return matrix


def pool_video(
    score_of_frame: Mapping[int, Sequence[tuple[int, float]]], n_sampled: int, pool: Pool
) -> float | None:
    """Turn the scores of a video's faces into its score. The one rule, used everywhere.

    `track`: mean over each person's frames, then the highest of the persons seen in at least
    5 of the sampled frames (a fifth of them if fewer than 25 were sampled), because one
    manipulated face among several makes the video manipulated. `mean`: over all faces.
    `topk`: mean of the highest fifth of all faces.

    Args:
        score_of_frame: track id -> (frame index, score) of each judged frame.
        n_sampled: frames looked at, with and without a face.

    Returns: the score, or None if nobody was seen in enough frames.
    """
    tracks = {track: [score for _, score in rows] for track, rows in score_of_frame.items()}
    if not tracks:
        return None
    if pool == "track":
        track = deciding_track(score_of_frame, n_sampled)
        return None if track is None else float(np.mean(tracks[track]))
    everyone = np.sort([score for scores in tracks.values() for score in scores])[::-1]
    n_kept = len(everyone) if pool == "mean" else count_top(len(everyone))
    return float(everyone[:n_kept].mean())


def count_top(n_faces: int) -> int:
    """How many of a video's faces `topk` pools."""
    return max(math.ceil(_TOP_SHARE * n_faces), 1)


def deciding_track(
    score_of_frame: Mapping[int, Sequence[tuple[int, float]]], n_sampled: int
) -> int | None:
    """The person whose mean score is a video's: the highest of those seen in enough frames."""
    enough = min_track_frames(n_sampled)
    means = {
        track: float(np.mean([score for _, score in rows]))
        for track, rows in score_of_frame.items()
        if len(rows) >= enough
    }
    return max(means, key=lambda track: means[track]) if means else None


def min_track_frames(n_sampled: int) -> float:
    """In how many judged frames a person must be seen for the pooling to count it."""
    return MIN_TRACK_FRAMES if n_sampled >= _FEW_FRAMES else MIN_TRACK_SHARE * n_sampled


def describe_pooling(pool: Pool) -> str:
    """Say the rule in words, for reports."""
    return {
        "track": "mean over a person's frames, then the highest of the persons seen in at least "
        f"{MIN_TRACK_FRAMES} judged frames ({MIN_TRACK_SHARE:.0%} of them if fewer than "
        f"{_FEW_FRAMES} were sampled)",
        "mean": "mean over all judged faces",
        "topk": f"mean of the highest {_TOP_SHARE:.0%} of all judged faces",
    }[pool]


def pool_predictions(
    predictions: Predictions, pool: Pool
) -> dict[VideoKey, tuple[int, float | None]]:
    """Pool rows by video, identified by (dataset, manipulation, video_id) and nothing less.

    A video is manipulated if one of its faces is.

    Returns: (label, score) a video; score None where nobody was seen in enough frames, and
        for the videos without any row.
    """
    sampled = frames_sampled(predictions)
    tracks: dict[VideoKey, dict[int, list[tuple[int, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    label_of = video_labels(predictions)
    for key, score in zip(predictions.keys, predictions.score.tolist(), strict=True):
        tracks[key.video][key.track_id].append((key.frame_index, score))
    pooled: dict[VideoKey, tuple[int, float | None]] = {}
    for video, faces in tracks.items():
        pooled[video] = (label_of[video], pool_video(faces, sampled[video], pool))
    for missed in predictions.unjudged:
        pooled.setdefault(missed.key, (missed.label, None))
    return pooled


def video_labels(predictions: Predictions) -> dict[VideoKey, int]:
    """Label of each video: manipulated if one of its faces is, -1 where nothing says."""
    label_of: dict[VideoKey, int] = {}
    for key, label in zip(predictions.keys, predictions.label.tolist(), strict=True):
        label_of[key.video] = max(label_of.get(key.video, -1), label)
    for video in predictions.unjudged:
        label_of.setdefault(video.key, video.label)
    return label_of


def frames_sampled(predictions: Predictions) -> dict[VideoKey, int]:
    """How many frames of each video were looked at: as its rows say, else those with a row."""
    judged: dict[VideoKey, set[int]] = defaultdict(set)
    said: dict[VideoKey, int] = defaultdict(int)
    for origin in predictions.origins:
        video = origin.key.video
        judged[video].add(origin.key.frame_index)
        said[video] = max(said[video], origin.frames_sampled)
    return {video: max(said[video], len(frames)) for video, frames in judged.items()}


def map_features(features: FloatArray, seed: int) -> FloatArray:
    """Lay features float (N, D) out on a plane by t-SNE, float (N, 2).

    For looking only: distances between far groups mean nothing (van der Maaten, Hinton, 2008).
    """
    from sklearn.manifold import TSNE  # half a second

    perplexity = min(30.0, (len(features) - 1) / 3)
    plane: FloatArray = TSNE(
        perplexity=perplexity, init="pca", random_state=seed, learning_rate="auto"
    ).fit_transform(features)
    return plane
