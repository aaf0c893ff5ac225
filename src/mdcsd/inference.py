"""A network's answers: device, precision, and running it over batches.

Training's validation, `test` and `detect` all come through here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from mdcsd import distributed
from mdcsd.backbones import fold_batch_norms, fold_padding
from mdcsd.checkpoint import Checkpoint
from mdcsd.config import Device, Precision
from mdcsd.crops import UNLABELLED
from mdcsd.distributed import Rank
from mdcsd.errors import DataError, InputError
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.loader import Classes, FaceDataset, cut_batches, iter_batches
from mdcsd.network import Network, log_odds, to_score
from mdcsd.nouns import Batch, FloatArray, IntArray, Origin, VideoKey
from mdcsd.shard_set import ShardSet


@dataclass(frozen=True)
class Measured:
    """A network's answers on a data set: logits (N, K) and class indices (N,), on the CPU.

    `label` is -1 where it is unknown. `features` float32 (V, D) are what the last layer saw of
    the first face of each of V videos, None unless asked for; `feature_rows` int64 (V,) says
    which faces these are. `temperature` divides the logits before they become scores.
    """

    origins: list[Origin]
    label: torch.Tensor
    logits: torch.Tensor
    features: FloatArray | None = None
    feature_rows: IntArray | None = None
    temperature: float = 1.0

    @property
    def score(self) -> FloatArray:
        """Scores, float64 (N,)."""
        scores: FloatArray = to_score(self.logits, self.temperature).double().numpy()
        return scores

    @property
    def log_odds(self) -> FloatArray:
        """What scores say, without their rounding near 0 and 1: log-odds, float64 (N,)."""
        told: FloatArray = log_odds(self.logits.double()).numpy()
        return told

    @property
    def is_fake(self) -> IntArray:
        """Labels as 0 real, 1 manipulated, -1 unknown, int64 (N,)."""
        labels: IntArray = self.label.clamp(max=1).numpy()
        return labels

    def probabilities(self) -> FloatArray:
        """Probability of each of the network's classes, float64 (N, K)."""
        if self.logits.shape[1] == 1:
            return np.stack([1.0 - self.score, self.score], axis=1)
        softmax: FloatArray = (self.logits.double() / self.temperature).softmax(1).numpy()
        return softmax

    def predictions(self, unjudged: tuple[UnjudgedVideo, ...] = ()) -> Predictions:
        """The same as rows of a table."""
        return Predictions(tuple(self.origins), self.is_fake, self.score, unjudged)

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(sample_losses(self.logits, self.label).mean())


@torch.no_grad()
def measure(
    network: Network, batches: Iterable[Batch], rank: Rank, collect: _Features | None = None
) -> Measured:
    """Run a network over batches and collect its answers from all processes.

    Args:
        collect: keeps features, of this process alone.

    Raises: DataError if an answer is not a number.
    """
    network.eval()
    answers: list[tuple[Origin, int, list[float]]] = []
    for batch in batches:
        image, *_ = to_device(batch, rank.device)
        with autocast(rank.device):
            features, logits = network.judge(image)
        logits = logits.float().cpu()
        check_finite(logits)
        if collect is not None:
            collect.add(batch.origins, features, len(answers))
        answers += zip(batch.origins, batch.label.tolist(), logits.tolist(), strict=True)
    origins, label, rows = zip(*distributed.gather(answers, rank), strict=True)
    return Measured(list(origins), torch.tensor(label), torch.tensor(rows))


class _Features:
    """Keeps the features of the first face of each video: all faces' would fill the memory."""

    def __init__(self) -> None:
        self._first: dict[VideoKey, tuple[int, FloatArray]] = {}

    def add(self, origins: Sequence[Origin], features: torch.Tensor, n_before: int) -> None:
        """Look through a batch (B, D) that comes behind `n_before` faces."""
        for i, origin in enumerate(origins):
            if origin.key.video not in self._first:
                self._first[origin.key.video] = n_before + i, features[i].float().cpu().numpy()

    def lay_into(self, measured: Measured) -> Measured:
        """Add what was kept to the answers."""
        rows, features = zip(*self._first.values(), strict=True)
        return replace(measured, features=np.stack(features), feature_rows=np.array(rows))


def check_finite(logits: torch.Tensor) -> None:
    """Raise DataError if an answer is not a number."""
    if not bool(logits.isfinite().all()):
        raise DataError(
            "the network answers NaN or infinity: training diverged, or the weights are "
            "damaged. Train again with a lower train.learning_rate."
        )


def measure_shards(
    checkpoint: Checkpoint,
    shards: ShardSet,
    device: Device = "auto",
    batch_size: int = 32,
    workers: int = 0,
    with_features: bool = False,
) -> Measured:
    """Run a checkpoint over a data set on disk; scores are at the checkpoint's temperature.

    Raises: DataError if the two do not fit together, or no face is left.
    """
    _check_representation(checkpoint, shards)
    rank = Rank(0, 1, torch.device(choose_device(device)))
    network = ready_network(checkpoint, rank.device)
    data = FaceDataset(shards, checkpoint.preprocess, match_classes(checkpoint, shards))
    if not len(data):
        raise DataError(f"{shards.path}: no face is left of what was asked for. Ask for others.")
    batches = cut_batches(range(len(data)), batch_size, 1)
    collect = _Features() if with_features else None
    measured = measure(network, iter_batches(data, batches, 0, workers, rank.on_gpu), rank, collect)
    measured = replace(measured, temperature=checkpoint.calibration.temperature)
    return collect.lay_into(measured) if collect else measured


def ready_network(checkpoint: Checkpoint, device: torch.device) -> Network:
    """Build a checkpoint's network to judge with: folded, on its device, as fast as it gets."""
    network = fold_batch_norms(checkpoint.build())
    if device.type == "cpu":
        network = fold_padding(network)
    return network.to(device).to(memory_format=torch.channels_last)


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


def _check_representation(checkpoint: Checkpoint, shards: ShardSet) -> None:
    wanted = checkpoint.preprocess.representation
    if shards.representation != wanted:
        flags = {"raw": "--raw", "dct": "without --raw and --log", "dct_log_scaled": "--log"}
        raise DataError(
            f"{shards.path}: holds {shards.representation}, the network was trained on "
            f"{wanted}. Prepare it by prepare_dataset.py {flags[wanted]}."
        )


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


def count_gpus(device: Device) -> int:
    """GPUs that torch sees; 0 where `device` takes none."""
    return torch.cuda.device_count() if choose_device(device) == "cuda" else 0


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on CUDA; float32 elsewhere, so that verdicts do not hang on the processor."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def training_autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """What training's steps run under, see `trains_in_bfloat16`."""
    enabled = trains_in_bfloat16(device, precision)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def trains_in_bfloat16(device: torch.device, precision: Precision) -> bool:
    """Yes on CUDA and on processors that have instructions for it, if not told otherwise."""
    return precision == "auto" and (device.type == "cuda" or has_fast_bfloat16())


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; others only imitate it, slower."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def to_device(
    batch: Batch, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Move images (channels last, as convolutions like them), labels, and intact images."""

    def move(pictures: torch.Tensor) -> torch.Tensor:
        return pictures.to(device, non_blocking=True, memory_format=torch.channels_last)

    intact = None if batch.intact is None else move(batch.intact)
    return move(batch.image), batch.label.to(device, non_blocking=True), intact
