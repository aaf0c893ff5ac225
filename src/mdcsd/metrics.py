"""Scores and labels in, figures out: numpy arrays and floats, no torch, no files.

Everywhere label 0 is real, 1 manipulated, and a higher score means more likely manipulated.
Where a figure is undefined (one class only) the answer is None, never .5.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from mdcsd.config import Pool
from mdcsd.nouns import FloatArray, IntArray, Predictions, VideoKey

MIN_TRACK_FRAMES = 5
MIN_TRACK_SHARE = 0.2
_FEW_FRAMES = 25
_TOP_SHARE = 0.2


def auc(label: IntArray, score: FloatArray) -> float | None:
    """Area under the ROC curve: the chance that a fake scores above a real one, ties half.

    Args:
        label: int (N,), 0 real, 1 manipulated.
        score: float (N,), higher is more fake; finite.

    Returns: 0..1, or None if one of the classes is missing.
    """
    return float(roc_auc_score(label, score)) if _has_both(label) else None


def equal_error_rate(label: IntArray, score: FloatArray) -> float | None:
    """Error rate where false alarms and misses are equal, on the ROC's straight segments.

    Returns: 0..1, or None if one of the classes is missing.
    """
    if not _has_both(label):
        return None
    false_alarms, hits, _ = roc_curve(label, score, drop_intermediate=False)
    gap = false_alarms - (1.0 - hits)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    if after == 0:
        return float(false_alarms[0])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false_alarms[after - 1] + share * (false_alarms[after] - false_alarms[after - 1]))


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
        enough = min_track_frames(n_sampled)
        means = [float(np.mean(scores)) for scores in tracks.values() if len(scores) >= enough]
        return max(means) if means else None
    everyone = np.sort([score for scores in tracks.values() for score in scores])[::-1]
    n_kept = len(everyone) if pool == "mean" else max(math.ceil(_TOP_SHARE * len(everyone)), 1)
    return float(everyone[:n_kept].mean())


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

    The frames of a video that have a row count as those sampled.

    Returns: (label, score) a video; score None where nobody was seen in enough frames.
    """
    tracks: dict[VideoKey, dict[int, list[tuple[int, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    label_of: dict[VideoKey, int] = {}
    for key, label, score in zip(
        predictions.keys, predictions.label, predictions.score, strict=True
    ):
        tracks[key.video][key.track_id].append((key.frame_index, float(score)))
        label_of[key.video] = int(label)
    pooled = {}
    for video, faces in tracks.items():
        n_sampled = len({index for rows in faces.values() for index, _ in rows})
        pooled[video] = (label_of[video], pool_video(faces, n_sampled, pool))
    return pooled


def _has_both(label: IntArray) -> bool:
    return bool((label == 0).any() and (label == 1).any())
