"""Training: setup -> fit -> train_steps -> take_step, validate.

One process:            mdcsd train mdcsd TRAIN_DATASET VAL_DATASET
Two on one machine:     torchrun --nproc-per-node 2 -m mdcsd train mdcsd TRAIN VAL
Going on:               mdcsd train --resume runs/mdcsd-20261123-120000

`batch_size` counts samples over all processes, so the number of processes changes speed, not
which samples make a step; what each process draws by itself (dropout, mixup) and its batch-norm
statistics are other ones. The steps between two saves draw their random numbers
from (seed, epoch, process, first step) alone, so a run that is resumed where it was saved last
has the numbers of an uninterrupted one.

Source: Adam, ReduceLROnPlateau and early stopping as in the code of Agarwal et al., FG 2021.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mdcsd import distributed, learner
from mdcsd.autoencoder import open_repainter
from mdcsd.calibration import fit_calibration
from mdcsd.checkpoint import Checkpoint, save_checkpoint
from mdcsd.config import TrainConfig
from mdcsd.distributed import Rank
from mdcsd.errors import DataError, SettingError
from mdcsd.inference import Measured, choose_device, measure
from mdcsd.learner import Learner
from mdcsd.loader import FaceDataset, cut_batches, cut_training_batches, iter_batches
from mdcsd.metrics import accuracy, auc, equal_error_rate
from mdcsd.network import Network
from mdcsd.optim import best_epoch, cosine_learning_rate, plateau_learning_rate, stops_early
from mdcsd.runs import (
    EpochPart,
    EpochRow,
    RunFolder,
    TrainingState,
    environment,
    new_run_path,
)
from mdcsd.settings import Settings
from mdcsd.spectrum_fit import fit_real_log_dct_mean
from mdcsd.training_faces import EpochDraw, TrainingFaces
from mdcsd.training_loss import Teacher, class_weights, read_losses
from mdcsd.training_setup import TrainJob, setup
from mdcsd.training_step import take_step

_TOLD = (
    "epochs", "epoch_samples", "batch_size", "learning_rate", "stitch_rate", "schedule",
    "warmup_steps", "balance", "even_people", "unpaired_real", "label_smoothing", "mixup",
    "weight_average", "sam_radius", "choose_by", "frozen_stages", "precision",
)  # fmt: skip
"""Settings of training that the checkpoint repeats; the run's settings.json has them all."""
_LOOK_STEPS = 50
"""Steps between looks at the loss: each look makes a GPU wait until all before it is done."""


@dataclass(frozen=True)
class Hooks:
    """What a caller may watch; all run in the main process only."""

    on_begin: Callable[[RunFolder, TrainJob], None] = lambda *_: None
    on_step: Callable[[int, int, int], None] = lambda *_: None
    """(epoch from 1, steps done, steps of the epoch)"""
    on_epoch: Callable[[EpochRow, bool], None] = lambda *_: None
    """(row, whether it is the best so far)"""


@dataclass(frozen=True)
class TrainResult:
    """Where a training ended: the best checkpoint and every epoch's figures."""

    best: Path
    rows: tuple[EpochRow, ...]
    stopped_early: bool


def train(settings: Settings, hooks: Hooks | None = None) -> TrainResult:
    """Train a network; under torchrun, with all its processes.

    Args:
        settings: sections `network` and `train`; with `train.resume` the run's own settings,
            see `RunFolder.resumed_settings`.

    Raises: DataError or InputError if data sets, network and flags do not fit together.
    """
    job = setup(settings)
    device = choose_device(job.config.device)
    with distributed.process_group(device) as rank:
        output = job.config.resume or job.config.output
        folder = RunFolder(Path(output) if output else new_run_path(job.network.name))
        return fit(job, rank, folder, hooks or Hooks())


def fit(job: TrainJob, rank: Rank, folder: RunFolder, hooks: Hooks) -> TrainResult:
    """Train epoch by epoch until the last, or until validation stops getting better."""
    config = job.config
    trained_on = {path.resolve() for path in job.train_set.shards}
    if trained_on & {path.resolve() for path in job.val_set.shards}:
        raise DataError(
            f"{job.val_set.path}: is trained on, and cannot choose an epoch and thresholds as "
            "well. Give a *_val_tf folder of other people."
        )
    plain = FaceDataset(job.train_set, job.spec, job.classes)
    data, draw = open_training_faces(job)
    val_data = FaceDataset(job.val_set, job.spec, job.classes)
    _check_processes(config, draw.n_drawn, rank)
    state = _resumed_state(job, folder) if config.resume else None
    job = replace(job, stages=state.stages) if state else job
    if not config.resume:
        folder.check_new()
    teacher = Teacher(Path(config.teacher), job, rank) if config.teacher else None
    learning = learner.start(job, rank, plain, state)
    if rank.is_main:
        if not config.resume:
            folder.begin(job.settings)
        hooks.on_begin(folder, job)
    rows, part = learning.rows, state.part if state else EpochPart()
    real_mean = fit_real_log_dct_mean(plain, config, job.spec) if rank.is_main else None
    while len(rows) < config.epochs and not _stops(rows, config):
        epoch = data.epoch = len(rows)
        batches = cut_training_batches(draw(epoch).tolist(), config.batch_size, rank.count)
        while part.n_steps < len(batches):
            part = train_steps(job, rank, learning, data, batches, part, teacher, hooks)
            if rank.is_main and part.n_steps < len(batches):
                folder.save_state(learning.state(job, part))
        began = time.monotonic()
        distributed.share_buffers(learning.kept, rank)
        measured = validate(learning.kept, val_data, config, rank)
        rate = learning.optimizer.param_groups[0]["lr"]
        rows.append(_row(epoch + 1, rate, part, measured, time.monotonic() - began))
        part = EpochPart()
        is_best = best_epoch(_costs(rows, config)) == epoch
        if rank.is_main:
            _keep(job, rank, folder, learning, measured, real_mean, is_best)
            hooks.on_epoch(rows[-1], is_best)
    folder.close()
    distributed.wait_for_all(rank)
    return TrainResult(folder.best, tuple(rows), len(rows) < config.epochs)


def open_training_faces(job: TrainJob) -> tuple[TrainingFaces, EpochDraw]:
    """Open what training sees, and what draws its epochs."""
    blend, augment, seed = job.settings.blend, job.settings.augment, job.config.seed
    repaint = open_repainter(blend) if blend.share else None
    keeps_intact = job.config.teacher_sees == "intact"
    data = TrainingFaces(
        job.train_set, job.spec, job.classes, augment, blend, seed, repaint, keeps_intact
    )
    return data, EpochDraw(data, job.config, blend)


def train_steps(
    job: TrainJob,
    rank: Rank,
    learning: Learner,
    data: TrainingFaces,
    batches: list[list[list[int]]],
    done: EpochPart,
    teacher: Teacher | None,
    hooks: Hooks,
) -> EpochPart:
    """Take one step a batch, from where an epoch stands to its next save or its end.

    Args:
        batches: of the whole epoch.
        done: what is done of it.

    Returns: what is done of it now.
    """
    config, n_done = job.config, len(learning.rows)
    began, first = time.monotonic(), done.n_steps
    some = batches[first : first + config.save_steps] if config.save_steps else batches[first:]
    _seed_steps(config.seed, n_done, first, rank)
    learning.network.train()
    weights = class_weights(job).to(rank.device)
    losses: list[float] = []
    unread: list[torch.Tensor] = []
    n_samples = 0
    loaded = iter_batches(data, some, rank.index, config.workers, rank.on_gpu)
    for step, batch in enumerate(loaded, first + 1):
        _set_learning_rate(learning.optimizer, learning.rows, config, step - 1, len(batches))
        each = take_step(job, rank, learning, batch, weights, teacher)
        learning.follow(n_done * len(batches) + step, config.weight_average)
        unread.append(each.sum())
        n_samples += len(each)
        if len(unread) == _LOOK_STEPS or step == first + len(some):
            losses += read_losses(unread, step, n_done + 1, config)
            unread.clear()
        if rank.is_main:
            hooks.on_step(n_done + 1, step, len(batches))
    everyone = distributed.gather([(sum(losses), n_samples)], rank)
    return EpochPart(
        n_steps=first + len(some),
        loss_sum=done.loss_sum + sum(loss for loss, _ in everyone),
        n_samples=done.n_samples + sum(size for _, size in everyone),
        seconds=done.seconds + time.monotonic() - began,
    )


def validate(network: Network, data: FaceDataset, config: TrainConfig, rank: Rank) -> Measured:
    """Measure a network on a data set: every sample once, over all processes."""
    batches = cut_batches(range(len(data)), config.batch_size, rank.count)
    loaded = iter_batches(data, batches, rank.index, config.workers, rank.on_gpu)
    return measure(network, loaded, rank)


def _check_processes(config: TrainConfig, n_samples: int, rank: Rank) -> None:
    """Each process needs two samples of every batch: batch normalisation, and equal steps."""
    smallest = min(config.batch_size, n_samples)
    if smallest < 2 * rank.count:
        raise DataError(
            f"batches of {smallest} samples for {rank.count} process(es): each needs two at least. "
            f"Give --batch_size {2 * rank.count} or more, or fewer processes."
        )


def _resumed_state(job: TrainJob, folder: RunFolder) -> TrainingState | None:
    """What an interrupted run left, if data and teacher are still the same."""
    state = folder.load_state()
    if state and state.data != job.data:
        raise SettingError(
            f"{folder.path}: was trained on other data than {job.train_set.path} and "
            f"{job.val_set.path} hold now, or with another blend.autoencoder_file or "
            "train.teacher than these files are now. Start a new run."
        )
    return state


def _seed_steps(seed: int, epoch: int, first_step: int, rank: Rank) -> None:
    sequence = np.random.SeedSequence([seed, epoch, first_step, rank.index])
    torch.manual_seed(int(sequence.generate_state(1)[0]))


def _set_learning_rate(
    optimizer: torch.optim.Optimizer,
    rows: list[EpochRow],
    config: TrainConfig,
    step: int,
    n_steps: int,
) -> None:
    """Set what step `step` of an epoch of `n_steps` moves by."""
    if config.schedule == "cosine":
        rate = cosine_learning_rate(
            len(rows) * n_steps + step,
            config.epochs * n_steps,
            config.learning_rate,
            config.warmup_steps,
        )
    else:
        rate = plateau_learning_rate(
            _costs(rows, config), config.learning_rate, config.plateau_patience
        )
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def _stops(rows: list[EpochRow], config: TrainConfig) -> bool:
    return bool(rows) and stops_early(_costs(rows, config), config.early_stopping)


def _costs(rows: list[EpochRow], config: TrainConfig) -> list[float]:
    """What of each epoch validation decides by: the less, the better."""
    return [row.val_loss if config.choose_by == "loss" else -row.val_auc for row in rows]


def _row(
    epoch: int, rate: float, part: EpochPart, measured: Measured, validation_s: float
) -> EpochRow:
    label, odds = measured.is_fake, measured.log_odds
    return EpochRow(
        epoch=epoch,
        learning_rate=rate,
        train_loss=part.loss_sum / part.n_samples,
        val_loss=measured.loss,
        val_accuracy=accuracy(label, measured.score) or 0.0,
        val_auc=auc(label, odds) or 0.0,
        val_eer=equal_error_rate(label, odds) or 0.0,
        seconds=round(part.seconds + validation_s, 3),
        images_per_s=round(part.n_samples / part.seconds, 2),
    )


def _keep(
    job: TrainJob,
    rank: Rank,
    folder: RunFolder,
    learning: Learner,
    measured: Measured,
    real_mean: torch.Tensor | None,
    is_best: bool,
) -> None:
    """Write the epoch: best first, the state last, so that a cut anywhere loses no epoch."""
    checkpoint = _checkpoint(job, rank, learning, measured)
    checkpoint = replace(checkpoint, real_log_dct_mean=real_mean)
    if is_best:
        save_checkpoint(checkpoint, folder.best)
    save_checkpoint(checkpoint, folder.last)
    folder.write_log(tuple(learning.rows))
    folder.save_state(learning.state(job, EpochPart()))


def _checkpoint(job: TrainJob, rank: Rank, learning: Learner, measured: Measured) -> Checkpoint:
    return Checkpoint(
        network=job.network,
        preprocess=job.spec,
        class_names=job.classes.names,
        calibration=fit_calibration(measured, job.val_set.name),
        state_dict=learner.on_cpu(learning.kept),
        provenance={
            **job.made,
            "date": environment()["date"],
            "train_dataset": job.train_set.name,
            "val_dataset": job.val_set.name,
            "split_by": job.train_set.split_rule,
            "train_counts": dict(zip(job.classes.names, job.class_counts, strict=True)),
            "seed": job.config.seed,
            "epoch": asdict(learning.rows[-1]),
            "hours": round(sum(row.seconds for row in learning.rows) / 3600, 3),
            "pretrained_sha256": job.pretrained_sha256,
            "started_from": job.stages[-1]["checkpoint_id"] if job.stages else None,
            "stages": job.stages,
            "teacher": job.teacher,
            "autoencoder": job.autoencoder,
            "device": rank.device.type,
            "processes": rank.count,
            "settings": {
                "augment": asdict(job.settings.augment),
                "blend": asdict(job.settings.blend),
                "train": {
                    name: getattr(job.config, name)
                    for name in (
                        *_TOLD,
                        *(["teacher_share", "teacher_sees"] if job.teacher else []),
                    )
                },
            },
        },
    )
