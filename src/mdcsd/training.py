"""Training: setup -> fit -> train_one_epoch -> validate.

One process:            mdcsd train mdcsd TRAIN_DATASET VAL_DATASET
Two on one machine:     torchrun --nproc-per-node 2 -m mdcsd train mdcsd TRAIN VAL
Going on:               mdcsd train --resume runs/mdcsd-20261123-120000

`batch_size` counts samples over all processes, so the number of processes changes speed,
not the steps (batch-norm statistics apart). Each epoch draws its random numbers from (seed,
epoch, process) alone, so a resumed run has the numbers of an uninterrupted one.

Source: Adam, ReduceLROnPlateau and early stopping as in the code of Agarwal et al., FG 2021.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mdcsd import distributed
from mdcsd.calibration import fit_calibration
from mdcsd.checkpoint import Checkpoint, load_state, save_checkpoint
from mdcsd.config import TrainConfig
from mdcsd.distributed import Rank
from mdcsd.errors import DataError, SettingError
from mdcsd.frequency import log_dct_bands
from mdcsd.inference import Measured, autocast, choose_device, measure, sample_losses, to_device
from mdcsd.loader import FaceDataset, cut_batches, cut_training_batches, epoch_order, iter_batches
from mdcsd.metrics import accuracy, auc, equal_error_rate
from mdcsd.network import Cnn, Network, build_network, load_imagenet
from mdcsd.optim import best_epoch, parameter_groups, plateau_learning_rate, stops_early
from mdcsd.preprocess import PreprocessSpec
from mdcsd.runs import EpochRow, RunFolder, TrainingState, environment, new_run_path
from mdcsd.settings import Settings
from mdcsd.training_setup import TrainJob, setup

_FIT_SAMPLES = 4096  # images the normalisation of the transform is fitted on, at most
_FIT_DRAW = 2**31  # stands where an epoch's number would, so that no epoch repeats this draw
_REAL_SAMPLES = 1000  # real faces the mean spectrum is taken of, at most


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


@dataclass(frozen=True)
class Learner:
    """What learning changes: the network, its wrapper over processes, Adam, the history."""

    network: Network
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    rows: list[EpochRow]


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
    data = FaceDataset(job.train_set, job.spec, job.classes)
    val_data = FaceDataset(job.val_set, job.spec, job.classes)
    labels = data.labels() if config.balance == "sampling" else None
    _check_processes(config, len(data), rank)
    learner = _start(job, rank, data, _resumed_state(job, folder) if config.resume else None)
    if rank.is_main:
        if not config.resume:
            folder.begin(job.settings)
        hooks.on_begin(folder, job)
    rows = learner.rows
    real_mean = fit_real_log_dct_mean(data, config, job.spec) if rank.is_main else None
    while len(rows) < config.epochs and not _stops(rows, config):
        began = time.monotonic()
        epoch = len(rows)
        _seed_epoch(config.seed, epoch, rank)
        rate = _set_learning_rate(learner.optimizer, rows, config)
        order = epoch_order(len(data), config.seed, epoch, labels).tolist()
        batches = cut_training_batches(order, config.batch_size, rank.count)
        loss = train_one_epoch(job, rank, learner, data, batches, hooks)
        distributed.share_buffers(learner.network, rank)
        measured = validate(learner.network, val_data, config, rank)
        rows.append(_row(epoch + 1, rate, loss, measured, time.monotonic() - began, len(data)))
        is_best = best_epoch([row.val_loss for row in rows]) == epoch
        if rank.is_main:
            _keep(job, folder, learner, measured, real_mean, is_best)
            hooks.on_epoch(rows[-1], is_best)
    folder.close()
    distributed.wait_for_all(rank)
    return TrainResult(folder.best, tuple(rows), len(rows) < config.epochs)


def train_one_epoch(
    job: TrainJob,
    rank: Rank,
    learner: Learner,
    data: FaceDataset,
    batches: list[list[list[int]]],
    hooks: Hooks,
) -> float:
    """Take one step a batch; return the mean cross-entropy over all samples and processes."""
    network, optimizer = learner.parallel, learner.optimizer
    network.train()
    weights = _class_weights(job).to(rank.device)
    losses: list[tuple[float, int]] = []
    for step, batch in enumerate(iter_batches(data, batches, rank.index, job.config.workers), 1):
        image, label = to_device(batch, rank.device)
        optimizer.zero_grad(set_to_none=True)
        with autocast(rank.device):
            logits = network(image)
        each = sample_losses(logits, label)
        # Gradients are averaged over processes: dividing by the samples of all of them and
        # multiplying by their number gives the mean over the whole batch.
        loss = (each * weights[label]).sum() / batch.global_size * rank.count
        (loss + regularisation(learner.network, job)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append((float(each.detach().sum()), len(label)))
        if not math.isfinite(losses[-1][0]):
            raise DataError(
                f"training diverged: the loss is {losses[-1][0]} at epoch {len(learner.rows) + 1}, "
                f"step {step}. Lower train.learning_rate (now {job.config.learning_rate:g})."
            )
        if rank.is_main:
            hooks.on_step(len(learner.rows) + 1, step, len(batches))
    everyone = distributed.gather(losses, rank)
    return sum(loss for loss, _ in everyone) / sum(size for _, size in everyone)


def validate(network: Network, data: FaceDataset, config: TrainConfig, rank: Rank) -> Measured:
    """Measure a network on a data set: every sample once, over all processes."""
    batches = cut_batches(range(len(data)), config.batch_size, rank.count)
    return measure(network, iter_batches(data, batches, rank.index, config.workers), rank)


def fit_standardise(network: Network, data: FaceDataset, config: TrainConfig, rank: Rank) -> int:
    """Fit mean and variance of each channel of the transform on training images.

    Returns: how many images were used, 0 if this network standardises nothing.
    """
    if network.standardise is None:
        return 0
    order = epoch_order(len(data), config.seed, _FIT_DRAW)[:_FIT_SAMPLES].tolist()
    total = squares = torch.zeros(1, dtype=torch.float64)
    n_values = 0
    for batch in iter_batches(data, cut_batches(order, config.batch_size, 1), 0, config.workers):
        with torch.no_grad():
            values = network.unscaled(to_device(batch, rank.device)[0]).double().cpu()
        total = total + values.sum((0, 2, 3))
        squares = squares + values.square().sum((0, 2, 3))
        n_values += values.shape[0] * values.shape[2] * values.shape[3]
    mean = total / n_values
    network.standardise.set(mean, squares / n_values - mean.square())
    return len(order)


def fit_real_log_dct_mean(
    data: FaceDataset, config: TrainConfig, spec: PreprocessSpec
) -> torch.Tensor:
    """Average the log-scaled DCT of real training faces, what a suspect's is compared with.

    Of at most 1000 faces, chosen by the seed alone: a resumed run finds the same ones.

    Returns: float32 (C, 64, 64), see `frequency.log_dct_bands`.
    """
    order = epoch_order(len(data), config.seed, _FIT_DRAW).tolist()
    total, n_left = torch.zeros(1, dtype=torch.float64), _REAL_SAMPLES
    for batch in iter_batches(data, cut_batches(order, config.batch_size, 1), 0, config.workers):
        real = batch.image[batch.label == 0][:n_left]
        total = total + log_dct_bands(real, spec.representation).double().sum(0)
        n_left -= len(real)
        if not n_left:
            break
    return (total / (_REAL_SAMPLES - n_left)).float()


def regularisation(network: Network, job: TrainJob) -> torch.Tensor:
    """l1 x mean |w| + l2 x mean w^2, summed over kernels: all of cnn's, others' head's."""
    modules = [network] if isinstance(network, Cnn) else network.head_modules()
    kernels = [weight for each in modules for weight in each.parameters() if weight.ndim > 1]
    total = torch.zeros((), device=kernels[0].device)
    for kernel in kernels:
        total = total + job.l1 * kernel.abs().mean() + job.l2 * kernel.square().mean()
    return total


def _check_processes(config: TrainConfig, n_samples: int, rank: Rank) -> None:
    """Each process needs two samples of every batch: batch normalisation, and equal steps."""
    smallest = min(config.batch_size, n_samples)
    if smallest < 2 * rank.count:
        raise DataError(
            f"batches of {smallest} samples for {rank.count} process(es): each needs two at least. "
            f"Give --batch_size {2 * rank.count} or more, or fewer processes."
        )


def _resumed_state(job: TrainJob, folder: RunFolder) -> TrainingState | None:
    """What an interrupted run left, if the data are still the same."""
    state = folder.load_state()
    if state and state.data != job.data:
        raise SettingError(
            f"{folder.path}: was trained on other data than {job.train_set.path} and "
            f"{job.val_set.path} hold now. Start a new run."
        )
    return state


def _start(job: TrainJob, rank: Rank, data: FaceDataset, state: TrainingState | None) -> Learner:
    """Build network and optimizer, anew or as an interrupted run left them."""
    torch.manual_seed(job.config.seed)
    network = build_network(job.network, job.spec, len(job.classes.names))
    if state is None:
        load_imagenet(network, job.network)
    network.to(rank.device)
    network.to(memory_format=torch.channels_last)
    if state:
        load_state(network, state.network)
    elif rank.is_main:
        fit_standardise(network, data, job.config, rank)
    parallel = distributed.parallel(network, rank)
    groups = parameter_groups(network, job.config.learning_rate, job.config.stitch_rate)
    optimizer = torch.optim.Adam(groups)
    if state:
        saved = {"state": state.optimizer, "param_groups": optimizer.state_dict()["param_groups"]}
        optimizer.load_state_dict(saved)
    return Learner(network, parallel, optimizer, list(state.rows) if state else [])


def _seed_epoch(seed: int, epoch: int, rank: Rank) -> None:
    sequence = np.random.SeedSequence([seed, epoch, rank.index])
    torch.manual_seed(int(sequence.generate_state(1)[0]))


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, rows: list[EpochRow], config: TrainConfig
) -> float:
    losses = [row.val_loss for row in rows]
    rate = plateau_learning_rate(losses, config.learning_rate, config.plateau_patience)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]
    return rate


def _stops(rows: list[EpochRow], config: TrainConfig) -> bool:
    return bool(rows) and stops_early([row.val_loss for row in rows], config.early_stopping)


def _class_weights(job: TrainJob) -> torch.Tensor:
    counts = torch.tensor(job.class_counts, dtype=torch.float32)
    if job.config.balance != "loss":
        return torch.ones_like(counts)
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)


def _row(
    epoch: int, rate: float, loss: float, measured: Measured, seconds: float, n_images: int
) -> EpochRow:
    label, score = measured.is_fake, measured.score
    return EpochRow(
        epoch=epoch,
        learning_rate=rate,
        train_loss=loss,
        val_loss=measured.loss,
        val_accuracy=accuracy(label, score) or 0.0,
        val_auc=auc(label, score) or 0.0,
        val_eer=equal_error_rate(label, score) or 0.0,
        seconds=round(seconds, 3),
        images_per_s=round(n_images / seconds, 2),
    )


def _keep(
    job: TrainJob,
    folder: RunFolder,
    learner: Learner,
    measured: Measured,
    real_mean: torch.Tensor | None,
    is_best: bool,
) -> None:
    """Write the epoch: best first, the state last, so that a cut anywhere loses no epoch."""
    rows = tuple(learner.rows)
    checkpoint = _checkpoint(job, learner.network, rows[-1], measured)
    checkpoint = replace(checkpoint, real_log_dct_mean=real_mean)
    if is_best:
        save_checkpoint(checkpoint, folder.best)
    save_checkpoint(checkpoint, folder.last)
    folder.write_log(rows)
    adam = {i: dict(parts) for i, parts in learner.optimizer.state_dict()["state"].items()}
    folder.save_state(TrainingState(rows, job.data, checkpoint.state_dict, adam))


def _checkpoint(job: TrainJob, network: Network, row: EpochRow, measured: Measured) -> Checkpoint:
    return Checkpoint(
        network=job.network,
        preprocess=job.spec,
        class_names=job.classes.names,
        calibration=fit_calibration(measured, job.val_set.name),
        state_dict={
            name: tensor.detach().cpu().contiguous()
            for name, tensor in network.state_dict().items()
        },
        provenance={
            **environment(),
            "train_dataset": job.train_set.name,
            "val_dataset": job.val_set.name,
            "train_counts": dict(zip(job.classes.names, job.class_counts, strict=True)),
            "seed": job.config.seed,
            "epoch": asdict(row),
            "pretrained_sha256": job.pretrained_sha256,
        },
    )
