"""The benchmarks run and count; no time is asserted, machines are noisy."""

from __future__ import annotations

import pytest

from conftest import save_noise
from mdcsd.augment_config import AUTOENCODER, KINDS, OTHER_PERSON, AutoencoderConfig
from mdcsd.autoencoder import fit_autoencoder
from mdcsd.bench import (
    as_rows,
    bench_blend,
    bench_faces,
    bench_start,
)
from mdcsd.bench_network import bench_detect, bench_loader
from mdcsd.config import PrepareDatasetConfig
from mdcsd.errors import DataError
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.recipe import load_settings
from mdcsd.split_writer import dataset_folder


def test_start_is_timed_against_nothing():
    seconds = bench_start(n_runs=1)
    assert list(seconds) == ["python -c pass", "import mdcsd", "mdcsd --help"]
    assert all(value > 0 for value in seconds.values())


def test_faces_are_counted_on_both_sides(clip):
    pytest.importorskip("dlib")
    figures = bench_faces(clip, n_frames=3, loop_s=1.0)
    assert figures.n_frames == figures.ours_faces == 3
    assert 0 <= figures.dlib_faces <= 3
    assert figures.ours_crops_per_s > 0 and figures.peak_mb > 50
    assert "1920x1080" in dict(map(tuple, as_rows(figures)))["clip"]


def test_blends_of_every_kind_are_timed(clip):
    figures = bench_blend(clip, count=2)
    kinds = ("all kinds", *KINDS, OTHER_PERSON)
    assert set(figures) == {"degrade: ms a face", *(f"{kind}: blends/s" for kind in kinds)}
    assert all(value > 0 for value in figures.values())


def test_blends_of_an_autoencoder_are_timed_if_there_is_one(clip, with_landmarks, tmp_path):
    path = str(tmp_path / "faces.safetensors")
    fit_autoencoder(AutoencoderConfig((str(with_landmarks[0]),), path, steps=1, batch_size=2))
    assert bench_blend(clip, 2, path)[f"{AUTOENCODER}: blends/s"] > 0


def test_the_loader_is_timed_by_kind_of_sample(train_set):
    given = {"train": {"train_dataset": str(train_set), "image_size": (64, 64, 3)}}
    plain = bench_loader(load_settings(None, [], given), 64)
    assert list(plain) == ["records as they are: images/s"] and min(plain.values()) > 0
    with pytest.raises(DataError, match="--landmarks"):  # noise has no face to blend
        bench_loader(load_settings(None, ["blend.share=0.5"], given), 64)


def test_the_loader_is_timed_where_real_faces_come_by_themselves(with_landmarks, tmp_path):
    for number in range(2):
        save_noise(tmp_path / "alone" / "train" / "original" / f"n{number}_0000.png", number)
    config = PrepareDatasetConfig(
        directory=str(tmp_path / "alone"), raw=True, color=True, output=str(tmp_path)
    )
    prepare_dataset(config)
    given = {"train": {"train_dataset": str(with_landmarks[0]), "image_size": (64, 64, 3)}}
    given["train"]["also"] = (str(dataset_folder(config, "train")),)
    shares = ["train.balance=couples", "train.unpaired_real=.1", "blend.share=.3"]
    figures = bench_loader(load_settings(None, shares, given), 64)
    assert len(figures) == 3 and min(figures.values()) > 0


def test_judging_is_timed_against_decoding(clip):
    figures = bench_detect(clip, None, seconds=1.0, n_runs=1, n_faces=2)
    assert figures.n_frames == 25 and figures.judge_s > 0 and figures.decode_all_s > 0
    assert figures.judge_over_decode_all == figures.judge_s / figures.decode_all_s
    assert figures.times_faster == figures.xceptions_face_ms / figures.face_ms
