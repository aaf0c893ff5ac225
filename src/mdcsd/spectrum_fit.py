"""Numbers taken off the training images before the first step, and kept in the checkpoint."""

from __future__ import annotations

import torch

from mdcsd.config import TrainConfig
from mdcsd.distributed import Rank
from mdcsd.frequency import log_dct_bands
from mdcsd.inference import to_device
from mdcsd.loader import FaceDataset, cut_batches, epoch_order, iter_batches
from mdcsd.network import Network
from mdcsd.preprocess import PreprocessSpec

_FIT_SAMPLES = 4096  # images the normalisation of the transform is fitted on, at most
_FIT_DRAW = 2**31  # stands where an epoch's number would, so that no epoch repeats this draw
_REAL_SAMPLES = 1000  # real faces the mean spectrum is taken of, at most


def fit_standardise(network: Network, data: FaceDataset, config: TrainConfig, rank: Rank) -> int:
    """Fit mean and variance of each channel of the transform on training images.

    Returns: how many images were used, 0 if this network standardises nothing.
    """
    if network.standardise is None:
        return 0
    order = epoch_order(len(data), config.seed, _FIT_DRAW)[:_FIT_SAMPLES].tolist()
    total = squares = torch.zeros(1, dtype=torch.float64)
    n_values = 0
    batches = cut_batches(order, config.batch_size, 1)
    for batch in iter_batches(data, batches, 0, config.workers, rank.on_gpu):
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
    order = epoch_order(len(data), config.seed, _FIT_DRAW)
    real = order[data.labels()[order] == 0][:_REAL_SAMPLES].tolist()
    total = torch.zeros(1, dtype=torch.float64)
    for batch in iter_batches(data, cut_batches(real, config.batch_size, 1), 0, config.workers):
        total = total + log_dct_bands(batch.image, spec.representation).double().sum(0)
    return (total / len(real)).float()
