"""What learning changes: the network, the moving average of its weights, Adam, the history."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mdcsd import distributed
from mdcsd.checkpoint import Tensors, load_checkpoint, load_state
from mdcsd.depthwise import hasten_depthwise
from mdcsd.distributed import Rank
from mdcsd.inference import trains_in_bfloat16
from mdcsd.loader import FaceDataset
from mdcsd.network import Network, build_network, freeze_stages, load_imagenet
from mdcsd.optim import parameter_groups
from mdcsd.runs import EpochPart, EpochRow, TrainingState
from mdcsd.spectrum_fit import fit_standardise
from mdcsd.training_setup import TrainJob


@dataclass(frozen=True)
class Learner:
    """`parallel` is what steps call: the network, over processes and compiled if asked for;
    `average` is None where none is kept.
    """

    network: Network
    parallel: nn.Module
    average: Network | None
    optimizer: torch.optim.Optimizer
    rows: list[EpochRow]

    @property
    def kept(self) -> Network:
        """What validation measures and checkpoints hold: the average, where there is one."""
        return self.average or self.network

    def state(self, job: TrainJob, part: EpochPart) -> TrainingState:
        """All that `start` needs to go on, on the CPU."""
        adam = {i: dict(parts) for i, parts in self.optimizer.state_dict()["state"].items()}
        average = on_cpu(self.average) if self.average else {}
        return TrainingState(
            tuple(self.rows), job.data, on_cpu(self.network), adam, average, part, job.stages
        )

    @torch.no_grad()
    def follow(self, step: int, decay: float) -> None:
        """Move the average towards the weights after a step, counted from 1 over all epochs.

        The first steps, from weights that know nothing, count less: the decay rises to `decay`
        as (1 + step) / (10 + step). Source: Tan & Le, EfficientNet, ICML 2019, and its code.
        """
        if self.average is None:
            return
        share = min(decay, (1 + step) / (10 + step))
        follow = get_ema_multi_avg_fn(share)  # type: ignore[no-untyped-call]
        follow(*self._followed, step)  # all tensors at once: one by one, a GPU waits for Python

    @cached_property
    def _followed(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The average's tensors and the network's; counters, which nothing reads, stay."""
        assert self.average is not None
        pairs = zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        )
        means, ours = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        return list(means), list(ours)


def start(job: TrainJob, rank: Rank, data: FaceDataset, state: TrainingState | None) -> Learner:
    """Build network and optimizer, anew, from a checkpoint, or as an interrupted run left them."""
    config = job.config
    torch.manual_seed(config.seed)
    network = build_network(job.network, job.spec, len(job.classes.names))
    if state:
        load_state(network, state.network)
    elif config.start_from:
        load_state(network, load_checkpoint(Path(config.start_from)).state_dict)
    else:
        load_imagenet(network, job.network)
    network.to(rank.device)
    network.to(memory_format=torch.channels_last)
    if rank.is_main and not state and not config.start_from:
        fit_standardise(network, data, config, rank)
    freeze_stages(network, config.frozen_stages, job.network)
    if rank.device.type == "cpu" and trains_in_bfloat16(rank.device, config.precision):
        hasten_depthwise(network)
    parallel: Any = distributed.parallel(network, rank)
    if config.compile:
        parallel = torch.compile(parallel)
    average = _average_of(network, state) if config.weight_average else None
    groups = parameter_groups(network, config.learning_rate, config.stitch_rate)
    optimizer = torch.optim.Adam(groups, fused=rank.on_gpu)
    if state:
        saved = {"state": state.optimizer, "param_groups": optimizer.state_dict()["param_groups"]}
        optimizer.load_state_dict(saved)
        _lay_out_moments(optimizer)
    return Learner(network, parallel, average, optimizer, list(state.rows) if state else [])


def _lay_out_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give Adam's moments their parameters' memory format, which files do not keep: a fused step
    refuses another, or takes one number for its neighbour.
    """
    for parameter, state in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if name in state:
                state[name] = torch.empty_like(parameter).copy_(state[name])


def on_cpu(network: Network) -> Tensors:
    """Copy a network's tensors to the CPU."""
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }


def _average_of(network: Network, state: TrainingState | None) -> Network:
    average = copy.deepcopy(network).requires_grad_(False)
    if state:
        load_state(average, state.average)
    return average
