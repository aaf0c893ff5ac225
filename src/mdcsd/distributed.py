"""One process or many: rank from the environment that torchrun sets.

The only file that imports torch.distributed. Nobody else asks who started the process:
`fit` receives a `Rank`, and with one process every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Rank:
    """This process's number, how many there are, and its device."""

    index: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.index == 0

    @property
    def on_gpu(self) -> bool:
        """Whether this process computes on a GPU."""
        return self.device.type == "cuda"


@contextmanager
def process_group(device: str) -> Iterator[Rank]:
    """Join the processes that torchrun started, and leave them at the end.

    Args:
        device: "cpu" or "cuda"; each process takes the CUDA device of its local rank.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    index = int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device(device, local) if device == "cuda" else torch.device(device)
    if count == 1:
        yield Rank(0, 1, place)
        return
    if device == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Rank(index, count, place)
    finally:
        dist.destroy_process_group()


def parallel(network: nn.Module, rank: Rank) -> nn.Module:
    """Wrap a network so that gradients are averaged; weights and buffers start from rank 0."""
    if rank.count == 1:
        return network
    ids = [rank.device.index] if rank.device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids)


def gather(items: list[_Item], rank: Rank) -> list[_Item]:
    """Collect every process's items, in the order of ranks, on every process."""
    if rank.count == 1:
        return items
    parts: list[Any] = [None] * rank.count
    dist.all_gather_object(parts, items)
    return [item for part in cast(list[list[_Item]], parts) for item in part]


def share_buffers(network: nn.Module, rank: Rank) -> None:
    """Give every process rank 0's batch-norm statistics, which drift apart within an epoch."""
    if rank.count > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def wait_for_all(rank: Rank) -> None:
    """Hold until every process is here."""
    if rank.count > 1:
        dist.barrier()
