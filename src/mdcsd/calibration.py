"""Temperature and thresholds, fitted on validation and kept in the checkpoint.

Never on what is reported afterwards: a threshold chosen on test videos flatters itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from mdcsd.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mdcsd.errors import DataError, InputError
from mdcsd.inference import Measured, measure_shards, sample_losses
from mdcsd.judging_config import CalibrateConfig
from mdcsd.judging_nouns import Calibration
from mdcsd.metrics import (
    equal_error_threshold,
    even_weights,
    false_alarm_threshold,
    frames_sampled,
    pool_predictions,
    row_losses,
    summed_figures,
)
from mdcsd.nouns import FloatArray, IntArray
from mdcsd.shard_set import ShardSet, open_shards

_LOG_TEMPERATURES = (-3.0, 3.0)


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` did: figures of the validation faces before and after, by name."""

    calibration: Calibration
    before: dict[str, float]
    after: dict[str, float]
    path: Path
    checkpoint_id: str


def calibrate(config: CalibrateConfig) -> Calibrated:
    """Fit temperature and thresholds on validation sets, and store them in the checkpoint.

    Several sets are laid together, so that real faces of other kinds than the training's count
    too: one of them may hold real faces alone.

    With `config.mirror` it is fitted to, and says, that faces are judged with their mirror images.

    Raises: DataError if they lack a class, hold a face twice, were trained on, or do not fit the
        checkpoint.
    """
    if not config.weights or not config.val_datasets:
        raise InputError("expected --weights CHECKPOINT and VAL_DATASET, *_tf folders.")
    path = Path(config.weights)
    checkpoint = load_checkpoint(path)
    if config.mirror:
        checkpoint = replace(checkpoint, network=replace(checkpoint.network, mirror=True))
    known = checkpoint.provenance
    trained_on = [
        name
        for stage in (known, *known.get("stages", ()))
        for name in str(stage.get("train_dataset") or "").split(" + ")
    ]
    shards = [_open_validation(Path(each), trained_on) for each in config.val_datasets]
    names = " + ".join(each.name for each in shards)
    measured = _lay_together(
        [measure_shards(checkpoint, each, config.device, config.batch_size) for each in shards],
        names,
    )
    calibration = fit_calibration(measured, names)
    output = Path(config.output) if config.output else path
    changed: Checkpoint = replace(checkpoint, calibration=calibration)
    save_checkpoint(changed, output)
    return Calibrated(
        calibration=calibration,
        before=_figures(replace(measured, temperature=1.0)),
        after=_figures(replace(measured, temperature=calibration.temperature)),
        path=output,
        checkpoint_id=changed.checkpoint_id,
    )


def _open_validation(path: Path, trained_on: Sequence[str]) -> ShardSet:
    shards = open_shards(path)
    if shards.split == "train" and shards.name in trained_on:
        raise DataError(
            f"{shards.path}: the checkpoint was trained on it, and is surer of these faces than "
            "of others. Give the validation set."
        )
    if shards.split == "test":
        raise DataError(
            f"{shards.path}: a test set; thresholds fitted on it flatter themselves. Give the "
            "validation set."
        )
    return shards


def _lay_together(parts: list[Measured], names: str) -> Measured:
    """Answers to several sets as those to one."""
    measured = replace(
        parts[0],
        origins=[origin for part in parts for origin in part.origins],
        label=torch.cat([part.label for part in parts]),
        logits=torch.cat([part.logits for part in parts]),
    )
    if set(measured.is_fake.tolist()) != {0, 1}:
        raise DataError(
            f"{names}: calibration needs real and manipulated faces, and labels for all. "
            "Give the validation set of the training."
        )
    if len({origin.key for origin in measured.origins}) < len(measured.origins):
        raise DataError(f"{names}: hold the same face twice. Give each set once.")
    return measured


def fit_calibration(measured: Measured, name: str) -> Calibration:
    """Fit on answers to a validation set; `name` says in the checkpoint which.

    Thresholds are fitted on videos, pooled as verdicts are, because a verdict is about a
    video; on faces where pooling leaves a class empty.
    """
    temperature = fit_temperature(measured.logits, measured.label)
    scored = replace(measured, temperature=temperature)
    predictions = scored.predictions()
    videos = pool_predictions(predictions, "track").values()
    n_frames = round(float(np.median(list(frames_sampled(predictions).values()))))
    pooled = [(label, score) for label, score in videos if score is not None]
    label: IntArray = np.array([each for each, _ in pooled], np.int64)
    score: FloatArray = np.array([each for _, each in pooled], np.float64)
    unit = f"videos, {n_frames} frame{'s' * (n_frames != 1)} each"
    if len(np.unique(label)) < 2:
        label, score, unit = scored.is_fake, scored.score, "faces"
    n_fake = int(label.sum())
    return Calibration(
        equal_error=equal_error_threshold(label, score),
        false_alarm_5=false_alarm_threshold(label, score, 0.05),
        false_alarm_1=false_alarm_threshold(label, score, 0.01),
        temperature=temperature,
        fitted_on=f"{name}: {len(label) - n_fake} real, {n_fake} manipulated {unit}",
    )


def fit_temperature(logits: torch.Tensor, label: torch.Tensor) -> float:
    """Find the temperature that makes logits (N, K) the likeliest, between e^-3 and e^3.

    Real and manipulated faces weigh alike in it, however many of each the set has: a score is
    the chance that a face is manipulated if that was as likely as not before it was looked at.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    wide, known = logits.double(), label >= 0
    weight = torch.from_numpy(even_weights(label[known].clamp(max=1).numpy()))

    def loss(log_temperature: float) -> float:
        scaled = wide[known] / np.exp(log_temperature)
        return float((weight * sample_losses(scaled, label[known])).sum())

    best = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(cast(float, best.x)))


def _figures(measured: Measured) -> dict[str, float]:
    """Calibration figures with real and manipulated faces weighing alike."""
    losses = row_losses(measured.is_fake, measured.score, None)
    found = summed_figures(even_weights(measured.is_fake) @ losses)
    return {name: found[name] for name in ("ece", "brier", "log_loss")}
