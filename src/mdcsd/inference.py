"""A network's answers: device, precision, and running it over batches.

Training's validation, `test` and `detect` all come through here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from mdcsd import distributed
from mdcsd.config import Device
from mdcsd.distributed import Rank
from mdcsd.errors import DataError, InputError
from mdcsd.network import Network, to_score
from mdcsd.nouns import Batch, FloatArray, FrameKey, IntArray, Predictions


@dataclass(frozen=True)
class Measured:
    """A network's answers on a data set: logits (N, K) and class indices (N,), on the CPU.

    `class_names` are the data's own; `label` is -1 where they are unknown.
    """

    keys: list[FrameKey]
    class_names: list[str]
    label: torch.Tensor
    logits: torch.Tensor

    @property
    def score(self) -> FloatArray:
        """Scores, float64 (N,)."""
        scores: FloatArray = to_score(self.logits).double().numpy()
        return scores

    @property
    def is_fake(self) -> IntArray:
        """Labels as 0 real, 1 manipulated, -1 unknown, int64 (N,)."""
        labels: IntArray = self.label.clamp(max=1).numpy()
        return labels

    def probabilities(self) -> FloatArray:
        """Probability of each of the network's classes, float64 (N, K)."""
        if self.logits.shape[1] == 1:
            return np.stack([1.0 - self.score, self.score], axis=1)
        softmax: FloatArray = self.logits.double().softmax(1).numpy()
        return softmax

    def predictions(self) -> Predictions:
        """The same as rows of a table."""
        return Predictions(tuple(self.keys), self.is_fake, tuple(self.class_names), self.score)

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(sample_losses(self.logits, self.label).mean())


@torch.no_grad()
def measure(network: Network, batches: Iterable[Batch], rank: Rank) -> Measured:
    """Run a network over batches and collect its answers from all processes.

    Raises: DataError if an answer is not a number.
    """
    network.eval()
    answers: list[tuple[FrameKey, str, int, list[float]]] = []
    for batch in batches:
        image, _ = to_device(batch, rank.device)
        with autocast(rank.device):
            logits = network(image).float().cpu()
        if not bool(logits.isfinite().all()):
            raise DataError(
                "the network answers NaN or infinity: training diverged, or the weights are "
                "damaged. Train again with a lower train.learning_rate."
            )
        labels = batch.label.tolist()
        answers += zip(batch.keys, batch.class_names, labels, logits.tolist(), strict=True)
    keys, names, label, rows = zip(*distributed.gather(answers, rank), strict=True)
    return Measured(list(keys), list(names), torch.tensor(label), torch.tensor(rows))


def sample_losses(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each sample in nats, (B,), in float32."""
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(
            logits[:, 0].float(), label.float(), reduction="none"
        )
    return functional.cross_entropy(logits.float(), label, reduction="none")


def choose_device(device: Device) -> str:
    """Resolve `auto`; refuse CUDA where there is none."""
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise InputError("--device cuda: no CUDA device here. Give --device cpu.")
    return "cuda" if has_cuda and device != "cpu" else "cpu"


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where it is fast (CUDA), float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def to_device(batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Move images (channels last, as convolutions like them) and labels."""
    image = batch.image.to(device, non_blocking=True, memory_format=torch.channels_last)
    return image, batch.label.to(device, non_blocking=True)
