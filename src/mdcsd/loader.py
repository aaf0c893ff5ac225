"""Shards -> batches: every sample once an epoch, over any number of processes.

The order of an epoch depends on seed and epoch alone. A batch of `batch_size` samples is
cut into one part a process, so one process and many take the same steps (batch-norm
statistics apart); nothing is padded, so nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset

from mdcsd.errors import DataError, RecordError
from mdcsd.nouns import Batch, FloatImage, IntArray, Origin
from mdcsd.preprocess import PreprocessSpec, middle_square, to_tensor
from mdcsd.records import FaceRecord, PixelArray, decode_record, read_landmarks, read_person
from mdcsd.shard_set import ShardSet
from mdcsd.tfrecord import ShardReader

Sample = tuple[torch.Tensor, int, Origin, torch.Tensor | None]
"""Picture, class, where it comes from, and the picture before it lost quality (`Batch.intact`)."""


@dataclass(frozen=True)
class Classes:
    """The classes a network tells apart, and which of them a record's class is.

    `of_name` maps a data set's class names to the index in `names`; index 0 is real, -1
    unknown (unlabelled).
    """

    names: tuple[str, ...]
    of_name: dict[str, int]


class FaceDataset(Dataset[Sample]):
    """Random access to the samples of a data set, checksums verified on every read."""

    def __init__(self, shards: ShardSet, spec: PreprocessSpec, classes: Classes) -> None:
        """Open every shard; raises RecordError if one is damaged or cut off."""
        self._shards = shards
        self._spec = spec
        self._classes = classes
        self._readers = [ShardReader(path) for path in shards.shards]
        self._ends = np.cumsum([len(reader) for reader in self._readers])
        self._kept = shards.kept(int(self._ends[-1]))
        self._people: list[tuple[str, bool]] | None = None

    def __len__(self) -> int:
        """Count the samples."""
        return len(self._kept)

    def __getitem__(self, index: int) -> Sample:
        """Read, verify, decode and preprocess one sample."""
        record = self.record(index)
        return self.sample(record, record.image, self.class_of(record))

    def class_of(self, record: FaceRecord) -> int:
        """The network's class of a record."""
        return self._classes.of_name[record.class_name]

    def sample(
        self,
        record: FaceRecord,
        image: PixelArray,
        label: int,
        intact: PixelArray | None = None,
    ) -> Sample:
        """Preprocess a picture made of a record, and what it was before it lost quality."""
        try:
            tensor = to_tensor(image, record.crop_scale, self._spec)
            before = None if intact is None else to_tensor(intact, record.crop_scale, self._spec)
        except DataError as error:
            raise DataError(f"{self._shards.path}: {error}") from None
        origin = Origin(
            record.key, record.class_name, record.compression, record.identity,
            record.frames_sampled,
        )  # fmt: skip
        return tensor, label, origin, before

    def record(self, index: int) -> FaceRecord:
        """Read, verify and decode one record; of an oblong picture the square in the middle."""
        number = int(self._kept[index])
        try:
            record = decode_record(self._read(number), number, self._shards.facts)
        except RecordError as error:
            raise RecordError(f"{self._shards.path}: {error}") from None
        left, top, side = middle_square(*record.image.shape[:2])
        return replace(record, image=record.image[top : top + side, left : left + side])

    def labels(self) -> IntArray:
        """Every sample's class index."""
        of_name, kinds = self._classes.of_name, self._shards.kind_of
        return np.array([of_name[kinds[number].class_name] for number in self._kept], np.int64)

    def people(self) -> list[tuple[str, bool]]:
        """Who is in each sample, and whether it has landmarks, without decoding pictures."""
        if self._people is None:  # which reads the whole set once
            self._people = [read_person(self._read(int(number))) for number in self._kept]
        return self._people

    def landmarks(self, index: int) -> FloatImage | None:
        """Read one sample's landmarks, float32 (468, 2), without decoding its picture."""
        return read_landmarks(self._read(int(self._kept[index])))

    def _read(self, number: int) -> bytes:
        shard = int(np.searchsorted(self._ends, number, side="right"))
        return self._readers[shard].read(number - (int(self._ends[shard - 1]) if shard else 0))


def epoch_order(
    n_samples: int,
    seed: int,
    epoch: int,
    labels: IntArray | None = None,
    n_drawn: int = 0,
) -> IntArray:
    """Draw the order of one training epoch.

    Args:
        n_drawn: how many to draw; 0 draws `n_samples`.
        labels: class index of each sample to draw every class equally often (the rarer ones
            repeatedly, the commoner ones in part); None takes every sample once.

    Returns: indices; more than there are repeat.
    """
    rng = np.random.default_rng([seed, epoch])
    n_drawn = n_drawn or n_samples
    if labels is None:
        return np.resize(rng.permutation(n_samples), n_drawn)
    classes = np.unique(labels)
    shares = np.array_split(np.arange(n_drawn), len(classes))
    drawn = [
        np.resize(rng.permutation(np.flatnonzero(labels == each)), len(share))
        for each, share in zip(classes, shares, strict=True)
    ]
    return rng.permutation(np.concatenate(drawn))


def cut_batches(order: Sequence[int], batch_size: int, n_processes: int) -> list[list[list[int]]]:
    """Cut an order into batches, and each batch into one part a process.

    Returns: batches -> parts, one for each process, sizes differing by one -> indices.
    """
    starts = range(0, len(order), batch_size)
    batches = [np.asarray(order[start : start + batch_size], int) for start in starts]
    return [[part.tolist() for part in np.array_split(each, n_processes)] for each in batches]


def cut_training_batches(
    order: Sequence[int], batch_size: int, n_processes: int
) -> list[list[list[int]]]:
    """Cut as `cut_batches`, but let a last batch that would leave a process fewer than two
    samples, which batch normalisation needs, join the one before it.
    """
    n_left = len(order) % batch_size
    batches = cut_batches(order, batch_size, n_processes)
    if len(batches) > 1 and 0 < n_left < 2 * n_processes:
        return batches[:-2] + cut_batches(order[-n_left - batch_size :], len(order), n_processes)
    return batches


def iter_batches(
    dataset: FaceDataset,
    batches: list[list[list[int]]],
    process: int,
    workers: int,
    pinned: bool = False,
) -> Iterator[Batch]:
    """Load one process's part of each batch, in order, `workers` processes ahead.

    Args:
        pinned: into page-locked memory, out of which a GPU copies while it computes.
    """
    batches = [batch for batch in batches if batch[process]]
    sizes = [sum(len(part) for part in batch) for batch in batches]
    mine = [batch[process] for batch in batches]
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=mine,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_take_one_thread,
        pin_memory=pinned,
    )
    for (image, label, origins, intact), global_size in zip(loader, sizes, strict=True):
        yield Batch(image, label, origins, global_size, intact)


def _take_one_thread(_: int) -> None:
    """Keep OpenCV and BLAS from starting as many threads in each process as there are cores."""
    cv2.setNumThreads(1)
    threadpool_limits(1)


@contextmanager
def as_in_loaders() -> Iterator[None]:
    """Let torch compute by one thread, as loader processes do: two round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _collate(samples: list[Sample]) -> tuple[Any, ...]:
    images, labels, origins, intact = zip(*samples, strict=True)
    before = None if intact[0] is None else torch.stack(intact)
    return torch.stack(images), torch.tensor(labels), origins, before
