"""A network's answers: device, precision, and running it over batches.

Training's validation, `test` and `detect` all come through here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.nn import functional

from mdcsd import distributed
from mdcsd.config import Device
from mdcsd.distributed import Rank
from mdcsd.errors import InputError
from mdcsd.network import Network, to_score
from mdcsd.nouns import Batch, FloatArray, FrameKey, IntArray


@dataclass(frozen=True)
class Measured:
    """A network's answers on a data set: logits (N, K) and class indices (N,), on the CPU."""

    keys: list[FrameKey]
    label: torch.Tensor
    logits: torch.Tensor

    @property
    def score(self) -> FloatArray:
        """Scores, float64 (N,)."""
        scores: FloatArray = to_score(self.logits).double().numpy()
        return scores

    @property
    def is_fake(self) -> IntArray:
        """Labels as 0 real, 1 manipulated, int64 (N,)."""
        labels: IntArray = (self.label > 0).long().numpy()
        return labels

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(sample_losses(self.logits, self.label).mean())


@torch.no_grad()
def measure(network: Network, batches: Iterable[Batch], rank: Rank) -> Measured:
    """Run a network over batches and collect its answers from all processes."""
    network.eval()
    answers: list[tuple[FrameKey, int, list[float]]] = []
    for batch in batches:
        image, _ = to_device(batch, rank.device)
        with autocast(rank.device):
            logits = network(image).float().cpu()
        answers += zip(batch.keys, batch.label.tolist(), logits.tolist(), strict=True)
    keys, label, rows = zip(*distributed.gather(answers, rank), strict=True)
    return Measured(list(keys), torch.tensor(label), torch.tensor(rows))


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
