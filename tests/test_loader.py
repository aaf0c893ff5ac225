"""Batches: every sample once, over any number of processes, in an order of its own each epoch."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from mdcsd.errors import RecordError
from mdcsd.loader import (
    Classes,
    FaceDataset,
    cut_batches,
    cut_training_batches,
    epoch_order,
    iter_batches,
)
from mdcsd.preprocess import PreprocessSpec
from mdcsd.shard_set import open_shards

SPEC = PreprocessSpec(64, 3, "raw", 1.3, 299)
CLASSES = Classes(("original", "Deepfakes"), {"original": 0, "Deepfakes": 1})


@given(st.integers(1, 300), st.integers(2, 64), st.integers(1, 5))
def test_every_sample_once_over_all_processes(n, batch_size, n_processes):
    for cut in (cut_batches, cut_training_batches):
        batches = cut(list(range(n)), batch_size, n_processes)
        assert all(len(batch) == n_processes for batch in batches)
        assert [i for batch in batches for part in batch for i in part] == list(range(n))


@given(st.integers(20, 300), st.integers(10, 64), st.integers(1, 5))
def test_training_never_leaves_a_process_with_one_sample(n, batch_size, n_processes):
    parts = [part for batch in cut_training_batches(list(range(n)), batch_size, n_processes)
             for part in batch]  # fmt: skip
    assert min(len(part) for part in parts) >= 2


def test_each_epoch_has_its_own_order_and_the_seed_repeats_it():
    orders = [epoch_order(50, seed=3, epoch=epoch).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert epoch_order(50, 3, 1).tolist() == orders[1]
    assert epoch_order(50, 4, 1).tolist() != orders[1]


def test_balanced_sampling_draws_classes_equally():
    labels = np.array([0] * 90 + [1] * 9 + [2])
    drawn = labels[epoch_order(100, 0, 0, labels)]
    assert np.bincount(drawn).tolist() == [34, 33, 33]


def test_batches_carry_identity_and_values(train_set):
    data = FaceDataset(open_shards(train_set), SPEC, CLASSES)
    batches = list(iter_batches(data, cut_batches(range(len(data)), 10, 1), 0, workers=0))
    keys = [key for batch in batches for key in (origin.key for origin in batch.origins)]
    assert len(keys) == len(set(keys)) == len(data) == 128
    assert {key.manipulation for key in keys} == {"original", "Deepfakes"}
    first = batches[0]
    assert first.image.shape == (10, 3, 64, 64) and first.image.max() > 100
    for origin, label in zip(first.origins, first.label.tolist(), strict=True):
        assert label == int(origin.key.manipulation == "Deepfakes")
    assert data.labels().tolist() == [int(key.manipulation == "Deepfakes") for key in keys]


class Threads(FaceDataset):
    """Says in place of the class how many threads BLAS and OpenMP would start."""

    def __getitem__(self, index: int):
        image, _, origin, intact = super().__getitem__(index)
        return image, max(pool["num_threads"] for pool in threadpool_info()), origin, intact


def test_a_worker_process_is_one_thread(train_set):
    """Else sixteen of them start 256, and wait for one another."""
    data = Threads(open_shards(train_set), SPEC, CLASSES)
    with threadpool_limits(2):
        here, there = (
            [int(batch.label[0]) for batch in iter_batches(data, [[[0]], [[1]]], 0, workers)]
            for workers in (0, 2)
        )
    assert (here, there) == ([2, 2], [1, 1])


def test_worker_processes_give_the_same_batches(train_set):
    data = FaceDataset(open_shards(train_set), SPEC, CLASSES)
    plan = cut_batches(range(24), 8, 1)
    here = list(iter_batches(data, plan, 0, workers=0))
    there = list(iter_batches(data, plan, 0, workers=2))
    assert [b.origins for b in here] == [b.origins for b in there]
    assert all((a.image == b.image).all() for a, b in zip(here, there, strict=True))


def test_a_flipped_byte_is_refused_with_file_and_record(train_set, tmp_path):
    shutil.copytree(train_set, tmp_path / "damaged")
    path = tmp_path / "damaged" / "data.tfrecords"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    data = FaceDataset(open_shards(tmp_path / "damaged"), SPEC, CLASSES)
    with pytest.raises(RecordError, match=r"data\.tfrecords: record 0 is damaged"):
        list(iter_batches(data, cut_batches(range(len(data)), 8, 1), 0, workers=0))
