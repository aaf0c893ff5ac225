"""What a step is judged by: labels, a teacher's scores, and the size of kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from mdcsd.checkpoint import load_checkpoint
from mdcsd.config import TrainConfig
from mdcsd.distributed import Rank
from mdcsd.errors import DataError
from mdcsd.inference import autocast, ready_network, sample_losses
from mdcsd.network import Cnn, Network, to_score
from mdcsd.training_setup import TrainJob


class Teacher:
    """A trained network whose scores another learns.

    Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015; for one
    logit: cross-entropy with the teacher's calibrated score in place of the label.
    """

    def __init__(self, path: Path, job: TrainJob, rank: Rank) -> None:
        """Load the checkpoint.

        Raises: DataError if it looks at other or larger crops than the pupil, or has other
            classes.
        """
        checkpoint = load_checkpoint(path)
        spec = checkpoint.preprocess
        alike = (spec.representation, spec.channels, spec.crop_scale, len(checkpoint.class_names))
        n_classes = len(job.classes.names)
        mine = (job.spec.representation, job.spec.channels, job.spec.crop_scale, n_classes)
        if alike != mine or n_classes != 2:
            raise DataError(
                f"{path}: a teacher of {alike} (representation, channels, crop scale, classes) for "
                f"a pupil of {mine}. Train both on the same data set, with two classes (--set "
                "train.binary=true)."
            )
        self._side = spec.image_size_px
        if self._side < job.spec.image_size_px and spec.representation != "raw":
            raise DataError(
                f"{path}: a teacher that looks at {self._side} px; coefficients of "
                f"{job.spec.image_size_px} px cannot be resized for it. Give --image_size "
                f"{self._side}, or prepare the data with --raw."
            )
        if self._side > job.spec.image_size_px:
            raise DataError(
                f"{path}: a teacher that looks at {self._side} px, the pupil's pictures are of "
                f"{job.spec.image_size_px} px and lack what it reads. Give --image_size "
                f"{self._side}."
            )
        self._temperature = checkpoint.calibration.temperature
        self._network = ready_network(checkpoint, rank.device)

    @torch.no_grad()
    def score(self, image: torch.Tensor) -> torch.Tensor:
        """Score the pupil's pictures (B, C, S, S), resized to the teacher's side: (B,)."""
        if image.shape[-1] != self._side:
            size = (self._side, self._side)
            image = functional.interpolate(image, size, mode="bicubic", antialias=True)
            image = image.clamp(0, 255)
        with autocast(image.device):
            logits = self._network.judge(image)[1]
        return to_score(logits, self._temperature)


@dataclass(frozen=True)
class Mixed:
    """Pictures mixed with others of the batch: `share` of the own, the rest of the `other`'s."""

    image: torch.Tensor
    label: torch.Tensor
    other: torch.Tensor
    share: float
    order: torch.Tensor
    """Which picture of the batch was mixed into each, int64 (B,)."""

    def alike(self, image: torch.Tensor) -> torch.Tensor:
        """Mix other pictures of the same faces, (B, C, S, S), by the same shares."""
        return torch.lerp(image[self.order], image, self.share)

    def losses(
        self, logits: torch.Tensor, smoothing: float, of_class: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Losses against both labels by their shares, each times its class's weight, (B,)."""
        own = smoothed_losses(logits, self.label, smoothing)
        others = smoothed_losses(logits, self.other, smoothing)
        if of_class is not None:
            own, others = of_class[self.label] * own, of_class[self.other] * others
        return self.share * own + (1.0 - self.share) * others

    def weights(self, of_class: torch.Tensor) -> torch.Tensor:
        """Weights of both labels' classes by their shares, (B,)."""
        return self.share * of_class[self.label] + (1.0 - self.share) * of_class[self.other]


def mix(image: torch.Tensor, label: torch.Tensor, concentration: float) -> Mixed:
    """Mix each picture with another of the batch, by one share drawn from Beta(c, c).

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.

    Args:
        image: float32 (B, C, S, S).
        label: int64 (B,).
        concentration: c; 0 mixes nothing.
    """
    if not concentration:
        return Mixed(image, label, label, 1.0, torch.arange(len(label), device=label.device))
    share = float(torch.distributions.Beta(concentration, concentration).sample())
    order = torch.randperm(len(label), device=label.device)
    return Mixed(torch.lerp(image[order], image, share), label, label[order], share, order)


def smoothed_losses(logits: torch.Tensor, label: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy in nats against targets that are smoothing / 2 away from 0 and 1, (B,).

    With K classes the target is 1 - smoothing + smoothing / K (Szegedy et al., CVPR 2016).
    """
    if not smoothing:
        return sample_losses(logits, label)
    wide = logits.float()
    if logits.shape[1] == 1:
        target = label.float() * (1.0 - smoothing) + smoothing / 2.0
        return functional.binary_cross_entropy_with_logits(wide[:, 0], target, reduction="none")
    return functional.cross_entropy(wide, label, reduction="none", label_smoothing=smoothing)


def distilled_losses(
    losses: torch.Tensor,
    logits: torch.Tensor,
    taught: torch.Tensor,
    share: float,
    weights: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Mix losses against labels with those, times `weights`, against a teacher's scores (B,)."""
    against = functional.binary_cross_entropy_with_logits(
        logits[:, 0].float(), taught, reduction="none"
    )
    return (1.0 - share) * losses + share * weights * against


def read_losses(
    losses: list[torch.Tensor], last_step: int, epoch: int, config: TrainConfig
) -> list[float]:
    """Read the latest steps' summed losses from the device.

    Raises: DataError if one is no number.
    """
    read: list[float] = torch.stack(losses).tolist()
    for step, loss in enumerate(read, last_step - len(read) + 1):
        if not math.isfinite(loss):
            raise DataError(
                f"training diverged: the loss is {loss} at epoch {epoch}, step {step}. "
                f"Lower train.learning_rate (now {config.learning_rate:g})"
                f"{f' or train.sam_radius ({config.sam_radius:g})' if config.sam_radius else ''}."
            )
    return read


def regularisation(network: Network, job: TrainJob) -> torch.Tensor:
    """l1 x mean |w| + l2 x mean w^2, summed over kernels: all of cnn's, others' head's."""
    if not job.l1 and not job.l2:
        return torch.zeros(())
    modules = [network] if isinstance(network, Cnn) else network.head_modules()
    kernels = [weight for each in modules for weight in each.parameters() if weight.ndim > 1]
    total = torch.zeros((), device=kernels[0].device)
    for kernel in kernels:
        total = total + job.l1 * kernel.abs().mean() + job.l2 * kernel.square().mean()
    return total


def class_weights(job: TrainJob) -> torch.Tensor:
    """Weights that make every class count alike, or ones."""
    counts = torch.tensor(job.class_counts, dtype=torch.float32)
    if job.config.balance != "loss":
        return torch.ones_like(counts)
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)
