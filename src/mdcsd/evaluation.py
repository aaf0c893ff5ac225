"""Judging a checkpoint on a data set: checkpoint x records -> predictions -> report.

Frame level: every face by itself. Video level: faces pooled by `metrics.pool_predictions`,
the rule that detect uses too.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdcsd import storage
from mdcsd.checkpoint import Checkpoint, load_checkpoint
from mdcsd.config import TestConfig
from mdcsd.distributed import Rank
from mdcsd.errors import DataError, InputError
from mdcsd.inference import Measured, choose_device, measure
from mdcsd.loader import Classes, FaceDataset, cut_batches, iter_batches
from mdcsd.metrics import (
    accuracy,
    auc,
    confusion,
    cross_entropy,
    describe_pooling,
    equal_error_rate,
    pool_predictions,
)
from mdcsd.nouns import FloatArray, IntArray, Predictions
from mdcsd.records import ShardSet, open_shards

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
    names = tuple(checkpoint.class_names[int(label)] for label in measured.label)
    predictions = Predictions(tuple(measured.keys), measured.is_fake, names, measured.score)
    report = _report(checkpoint, shards, config, measured, predictions)
    output = (
        Path(config.output) if config.output else Path(config.model).parent / f"test_{shards.name}"
    )
    storage.write_text(output / "predictions.csv", to_csv(predictions))
    storage.write_json(output / "report.json", report)
    return Evaluation(report, predictions, output / "report.json", output / "predictions.csv")


def to_csv(predictions: Predictions) -> str:
    """Write predictions as CSV text, one row a face in a frame."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(PREDICTION_COLUMNS)
    for key, label, name, score in zip(
        predictions.keys, predictions.label, predictions.class_names, predictions.score, strict=True
    ):
        table.writerow(
            (key.dataset, key.manipulation, key.video_id, key.frame_index, key.track_id,
             int(label), name, repr(float(score)))
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

    A network of two classes takes any manipulation as its manipulated class.

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
        of_name[name] = int(i > 0)
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


def _report(
    checkpoint: Checkpoint,
    shards: ShardSet,
    config: TestConfig,
    measured: Measured,
    predictions: Predictions,
) -> dict[str, Any]:
    videos = pool_predictions(predictions, config.pool)
    video_label = np.array([label for label, _ in videos.values()], np.int64)
    # A video nobody can judge weighs as a coin toss; it is never dropped.
    video_score = np.array([0.5 if s is None else s for _, s in videos.values()], np.float64)
    n_classes = len(checkpoint.class_names)
    predicted = _predicted(measured, n_classes)
    overall = {
        "loss": {"value": measured.loss, "unit": "nats"},
        "class_accuracy": {"value": float((predicted == measured.label.numpy()).mean())},
        **_figures("frame", predictions.label, predictions.score),
        **_figures("video", video_label, video_score),
    }
    return {
        "schema": REPORT_SCHEMA,
        "checkpoint_id": checkpoint.checkpoint_id,
        "dataset": shards.name,
        "n_frames": len(predictions.keys),
        "n_videos": len(videos),
        "n_videos_cannot_judge": sum(score is None for _, score in videos.values()),
        "pooling": describe_pooling(config.pool),
        "overall": overall,
        "classes": _per_class(checkpoint, measured, predicted),
        "confusion": confusion(measured.label.numpy(), predicted, n_classes).tolist(),
    }


def _figures(level: str, label: IntArray, score: FloatArray) -> dict[str, Any]:
    counts = {"n_real": int((label == 0).sum()), "n_fake": int((label == 1).sum())}
    values = {
        "auc": auc(label, score),
        "eer": equal_error_rate(label, score),
        "accuracy": accuracy(label, score),
        "log_loss": cross_entropy(label, score),
    }
    reason = None if min(counts.values()) else "undefined: one class only"
    return {
        f"{level}_{name}": {"value": value, **counts, "reason": reason if value is None else None}
        for name, value in values.items()
    }


def _predicted(measured: Measured, n_classes: int) -> IntArray:
    """The most probable class of each row."""
    if n_classes == 2:
        return (measured.score >= 0.5).astype(np.int64)
    best: IntArray = measured.logits.argmax(1).numpy()
    return best


def _per_class(
    checkpoint: Checkpoint, measured: Measured, predicted: IntArray
) -> list[dict[str, Any]]:
    rows = []
    label, score = measured.label.numpy(), measured.score
    for index, name in enumerate(checkpoint.class_names):
        chosen = label == index
        against_real = chosen | (label == 0)
        is_fake = (label[against_real] > 0).astype(np.int64)
        n = int(chosen.sum())
        rows.append(
            {
                "class_name": name,
                "n_frames": n,
                "recall": float((predicted[chosen] == index).mean()) if n else None,
                "mean_score": float(score[chosen].mean()) if n else None,
                "auc_against_real": auc(is_fake, score[against_real]) if index else None,
            }
        )
    return rows
