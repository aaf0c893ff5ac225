"""One step of training: a batch -> gradients -> moved weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mdcsd.distributed import Rank
from mdcsd.inference import to_device, training_autocast
from mdcsd.learner import Learner
from mdcsd.nouns import Batch
from mdcsd.training_loss import Mixed, Teacher, distilled_losses, mix, regularisation
from mdcsd.training_setup import TrainJob


def take_step(
    job: TrainJob,
    rank: Rank,
    learning: Learner,
    batch: Batch,
    of_class: torch.Tensor,
    teacher: Teacher | None,
) -> torch.Tensor:
    """Move the weights by one batch.

    Args:
        of_class: what each class weighs, float32 (K,), on the device.

    Returns: the loss of each sample before the step, float32 (B,), on the device.
    """
    config = job.config
    image, label, intact = to_device(batch, rank.device)
    mixed = mix(image, label, config.mixup)
    taught = None
    if teacher:
        taught = teacher.score(mixed.image if intact is None else mixed.alike(intact))
    learning.optimizer.zero_grad(set_to_none=True)
    losses = _lay_gradients(job, rank, learning, mixed, taught, of_class, batch.global_size)
    if config.sam_radius:
        with up_the_slope(learning.network, config.sam_radius):
            learning.optimizer.zero_grad(set_to_none=True)
            _lay_gradients(job, rank, learning, mixed, taught, of_class, batch.global_size)
    learning.optimizer.step()
    return losses.detach()


def _lay_gradients(
    job: TrainJob,
    rank: Rank,
    learning: Learner,
    mixed: Mixed,
    taught: torch.Tensor | None,
    of_class: torch.Tensor,
    n_in_step: int,
) -> torch.Tensor:
    """Lay a batch's gradients on the weights; returns the loss of each sample, (B,)."""
    config = job.config
    with training_autocast(rank.device, config.precision):
        logits = learning.parallel(mixed.image)
    losses = mixed.losses(logits, config.label_smoothing)
    weighted = mixed.losses(logits, config.label_smoothing, of_class)
    if taught is not None:
        of_labels = mixed.weights(of_class)
        losses = distilled_losses(losses, logits, taught, config.teacher_share)
        weighted = distilled_losses(weighted, logits, taught, config.teacher_share, of_labels)
    # Gradients are averaged over processes: dividing by the samples of all of them and
    # multiplying by their number gives the mean over the whole batch.
    loss = weighted.sum() / n_in_step * rank.count
    (loss + regularisation(learning.network, job)).backward()  # type: ignore[no-untyped-call]
    return losses


@contextmanager
def up_the_slope(network: nn.Module, radius: float) -> Iterator[None]:
    """Move the weights up their gradients, and back at the end.

    Gradients taken there lead to weights around which the loss is low too, and not into a pit that
    only the training set has. Batch normalisation gathers no statistics meanwhile; dropout draws
    anew.

    Source: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization,
    ICLR 2021, equation 2; Shiohara & Yamasaki train on self-blended images by it (CVPR 2022).

    Args:
        radius: how far, as the Euclidean length over all weights together. Gradients are scaled
            to it and then of no use.
    """
    weights: list[torch.Tensor] = [
        weight for weight in network.parameters() if weight.grad is not None
    ]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    before = [weight.detach().clone() for weight in weights]
    gathering = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    try:
        with torch.no_grad():
            # All tensors at once, as torch's own optimizers do: one by one, a GPU waits for Python.
            length = torch.nn.utils.get_total_norm(gradients)
            torch._foreach_mul_(gradients, radius / (length + 1e-12))
            torch._foreach_add_(weights, gradients)
        del gradients
        for norm in gathering:
            norm.track_running_stats = False
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(weights, before)
        for norm in gathering:
            norm.track_running_stats = True
