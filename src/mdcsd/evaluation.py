"""Judging a checkpoint on a data set: checkpoint x records -> predictions -> report.

Frame level: every face by itself. Video level: faces pooled by `metrics.pool_predictions`,
the rule that detect uses too.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdcsd import storage
from mdcsd.checkpoint import Checkpoint, load_checkpoint
from mdcsd.config import Pool, TestConfig
from mdcsd.distributed import Rank
from mdcsd.errors import DataError, InputError
from mdcsd.inference import Measured, choose_device, measure
from mdcsd.loader import Classes, FaceDataset, cut_batches, iter_batches
from mdcsd.metrics import (
    auc,
    confusion,
    describe_pooling,
    equal_error_rate,
    pool_predictions,
)
from mdcsd.nouns import FloatArray, IntArray, Predictions, VideoKey
from mdcsd.records import ShardSet, open_shards
from mdcsd.sources import UNLABELLED

REPORT_SCHEMA = 1
PREDICTION_COLUMNS = (
    "dataset", "manipulation", "video_id", "frame_index", "track_id", "label", "class_name",
    "score",
)  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """A report (plain data, as report.json has it), its rows, and where both lie."""

    report: dict[str, Any]
    predictions: Predictions
    report_path: Path
    predictions_path: Path


def evaluate(config: TestConfig) -> Evaluation:
    """Measure a checkpoint on a data set; write report.json and predictions.csv.

    Input size, channels and crop scale come from the checkpoint; `image_size` and
    `grayscale` are only checked, and only if given.

    Raises: DataError if checkpoint, data set and flags do not fit together.
    """
    if not config.model or not config.test_dataset:
        raise InputError("expected MODEL (the path train printed last) and TEST_DATASET.")
    checkpoint = load_checkpoint(Path(config.model))
    shards = open_shards(Path(config.test_dataset))
    _check_fits(checkpoint, shards, config)
    measured = _measure(checkpoint, shards, config)
    predictions = measured.predictions()
    report = _report(checkpoint, shards, config, measured)
    output = (
        Path(config.output) if config.output else Path(config.model).parent / f"test_{shards.name}"
    )
    storage.write_text(output / "predictions.csv", to_csv(predictions))
    storage.write_json(output / "report.json", report)
    return Evaluation(report, predictions, output / "report.json", output / "predictions.csv")


def to_csv(predictions: Predictions) -> str:
    """Write predictions as CSV text, one row a face in a frame; an unknown label is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(PREDICTION_COLUMNS)
    for key, label, name, score in zip(
        predictions.keys, predictions.label, predictions.class_names, predictions.score, strict=True
    ):
        table.writerow(
            (key.dataset, key.manipulation, key.video_id, key.frame_index, key.track_id,
             int(label) if label >= 0 else "", name, repr(float(score)))
        )  # fmt: skip
    return text.getvalue()


def _measure(checkpoint: Checkpoint, shards: ShardSet, config: TestConfig) -> Measured:
    rank = Rank(0, 1, torch.device(choose_device(config.device)))
    network = checkpoint.build().to(rank.device)
    network.to(memory_format=torch.channels_last)
    data = FaceDataset(shards, checkpoint.preprocess, match_classes(checkpoint, shards))
    batches = cut_batches(range(len(data)), config.batch_size, 1)
    return measure(network, iter_batches(data, batches, 0, config.workers), rank)


def match_classes(checkpoint: Checkpoint, shards: ShardSet) -> Classes:
    """Map a data set's classes to the checkpoint's, by name.

    A network of two classes takes any manipulation as its manipulated class; unlabelled
    images have none (-1).

    Raises: DataError if a class with samples is unknown to a network of more classes.
    """
    known = {name: i for i, name in enumerate(checkpoint.class_names)}
    of_name = dict(known)
    for i, (name, count) in enumerate(zip(shards.class_names, shards.counts, strict=True)):
        if name in known or not count:
            continue
        if i and len(known) > 2:
            raise DataError(
                f"{shards.path}: class {name} is unknown to this network "
                f"({', '.join(checkpoint.class_names)}). Test it with a network of two classes."
            )
        of_name[name] = -1 if name == UNLABELLED else int(i > 0)
    return Classes(checkpoint.class_names, of_name)


def _check_fits(checkpoint: Checkpoint, shards: ShardSet, config: TestConfig) -> None:
    spec = checkpoint.preprocess
    size = config.image_size
    expected = (spec.image_size_px, spec.image_size_px, spec.channels)
    if size is not None and (size[0] != expected[0] or size[2:] not in ((), expected[2:])):
        raise DataError(
            f"--image_size {','.join(map(str, size))}: the network was trained on "
            f"{','.join(map(str, expected))}. Leave --image_size away; the checkpoint knows it."
        )
    if config.grayscale and spec.channels != 1:
        raise DataError("--grayscale: the network was trained on colour. Leave the flag away.")
    if shards.representation != spec.representation:
        flags = {"raw": "--raw", "dct": "without --raw and --log", "dct_log_scaled": "--log"}
        raise DataError(
            f"{shards.path}: holds {shards.representation}, the network was trained on "
            f"{spec.representation}. Prepare it by prepare_dataset.py {flags[spec.representation]}."
        )


@dataclass(frozen=True)
class _Rows:
    """Faces, or videos: what they are and what the network says of each.

    `target` int64 (N,) index of the network's class, -1 unknown; `probability` (N, K).
    """

    names: list[str]
    target: IntArray
    score: FloatArray
    probability: FloatArray

    @property
    def predicted(self) -> IntArray:
        best: IntArray = self.probability.argmax(axis=1)
        return best

    def of(self, chosen: IntArray) -> _Rows:
        """Some of the rows, by index."""
        names = [self.names[i] for i in chosen]
        return _Rows(names, self.target[chosen], self.score[chosen], self.probability[chosen])

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


def _report(
    checkpoint: Checkpoint, shards: ShardSet, config: TestConfig, measured: Measured
) -> dict[str, Any]:
    frames = _Rows(
        measured.class_names, measured.label.numpy(), measured.score, measured.probabilities()
    )
    videos, n_unjudged = _pool_rows(frames, measured.predictions(), config.pool)
    levels = {"frame": frames, "video": videos}
    return {
        "schema": REPORT_SCHEMA,
        "checkpoint_id": checkpoint.checkpoint_id,
        "dataset": shards.name,
        "n_frames": len(frames.names),
        "n_videos": len(videos.names),
        "n_videos_cannot_judge": n_unjudged,
        "pooling": describe_pooling(config.pool),
        "overall": {
            f"{level}_{name}": entry
            for level, rows in levels.items()
            for name, entry in _overall(rows).items()
        },
        "classes": {level: _per_class(rows) for level, rows in levels.items()},
        "confusion": {
            level: _confusion(rows, checkpoint.class_names) for level, rows in levels.items()
        },
    }


def _pool_rows(frames: _Rows, predictions: Predictions, pool: Pool) -> tuple[_Rows, int]:
    """Rows of videos: pooled scores, mean probabilities; and how many nobody can judge.

    A video nobody can judge weighs as a coin toss; it is never dropped.
    """
    pooled = pool_predictions(predictions, pool)
    members: dict[VideoKey, list[int]] = defaultdict(list)
    for index, key in enumerate(predictions.keys):
        members[key.video].append(index)
    first = np.array([members[video][0] for video in pooled])
    score = np.array([0.5 if s is None else s for _, s in pooled.values()], np.float64)
    if frames.probability.shape[1] == 2:
        probability: FloatArray = np.stack([1.0 - score, score], axis=1)
    else:
        probability = np.stack([frames.probability[members[v]].mean(axis=0) for v in pooled])
    names = [frames.names[i] for i in first]
    n_unjudged = sum(s is None for _, s in pooled.values())
    return _Rows(names, frames.target[first], score, probability), n_unjudged


def _overall(rows: _Rows) -> dict[str, Any]:
    n_real, n_fake = int((rows.target == 0).sum()), int((rows.target > 0).sum())
    why = "no labels" if n_real + n_fake == 0 else "one class only"
    return {
        name: {
            "value": value,
            "n_real": n_real,
            "n_fake": n_fake,
            "reason": f"undefined: {why}" if value is None else None,
        }
        for name, value in rows.figures().items()
    }


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
    counts = confusion(index, rows.predicted, max(len(own), len(class_names)))
    return {
        "rows": own,
        "columns": list(class_names),
        "counts": counts[: len(own), : len(class_names)].tolist(),
    }
