"""How weights move: parameter groups, and schedules as pure functions of what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from mdcsd.network import CrossStitch

_PLATEAU_FACTOR = 0.2
_PLATEAU_MIN_DELTA = 1e-4
_MIN_LEARNING_RATE = 1e-6


def parameter_groups(
    network: nn.Module, learning_rate: float, stitch_rate: float
) -> list[dict[str, Any]]:
    """Split parameters into the cross-stitch weights, which move `stitch_rate` times faster,
    and the rest. The paper's code means to do this (its 5x reaches no weight); ours does.
    """
    stitches = [
        parameter
        for module in network.modules()
        if isinstance(module, CrossStitch)
        for parameter in module.parameters()
    ]
    chosen = {id(parameter) for parameter in stitches}
    rest = [
        parameter
        for parameter in network.parameters()
        if id(parameter) not in chosen and parameter.requires_grad
    ]
    groups = [{"params": rest, "lr": learning_rate, "rate": 1.0}]
    if stitches:
        lr = learning_rate * stitch_rate
        groups.append({"params": stitches, "lr": lr, "rate": stitch_rate})
    return groups


def plateau_learning_rate(costs: Sequence[float], start: float, patience: int) -> float:
    """Learning rate of the next epoch, as Keras' ReduceLROnPlateau has it.

    It falls to a fifth, not below 1e-6, whenever the cost has not fallen by 1e-4
    for `patience` epochs in a row.

    Args:
        costs: of every epoch so far; validation loss, as a rule.
        start: learning rate of the first epoch.
    """
    rate, best, waited = start, float("inf"), 0
    for cost in costs:
        if cost < best - _PLATEAU_MIN_DELTA:
            best, waited = cost, 0
            continue
        waited += 1
        if waited >= patience:
            rate, waited = max(rate * _PLATEAU_FACTOR, min(_MIN_LEARNING_RATE, start)), 0
    return rate


def cosine_learning_rate(step: int, n_steps: int, start: float, warmup_steps: int) -> float:
    """Learning rate of a step, counted from 0: a straight rise, then half a cosine to 0.

    Source: Loshchilov & Hutter, SGDR, ICLR 2017, without restarts.
    """
    if step < warmup_steps:
        return start * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(n_steps - warmup_steps, 1)
    return start * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def best_epoch(costs: Sequence[float]) -> int:
    """Index of the lowest cost, validation loss as a rule; the first if several are equal."""
    return min(range(len(costs)), key=lambda epoch: (costs[epoch], epoch))


def stops_early(costs: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs brought no lower cost; 0 never stops."""
    return patience > 0 and len(costs) - 1 - best_epoch(costs) >= patience
