"""The job crops -> records: layouts on disk, resuming, refusals."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import fft

from conftest import save_noise
from mdcsd import split_writer as room
from mdcsd.catalogue import write_catalogue
from mdcsd.config import PrepareDatasetConfig, ProcessFramesConfig
from mdcsd.encoding import write_video
from mdcsd.errors import DataError, InputError, SettingError
from mdcsd.nouns import VideoEntry, VideoKey
from mdcsd.pictures import read_image
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.process_frames import FACES_CSV_COLUMNS, process_frames
from mdcsd.records import decode_record
from mdcsd.shard_set import keep_manipulations, open_shards
from mdcsd.tfrecord import ShardReader


def run(folder: Path, **settings):
    return prepare_dataset(PrepareDatasetConfig(directory=str(folder), **settings))


def records_of(folder: Path):
    shards = open_shards(folder)
    for path in shards.shards:
        reader = ShardReader(path)
        for number in range(len(reader)):
            yield decode_record(reader.read(number), number, shards.facts)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"raw": True, "color": True}, "faces_color_raw_{}_tf"),
        ({"raw": True}, "faces_raw_{}_tf"),
        ({}, "faces_dct_{}_tf"),
        ({"log": True}, "faces_dct_log_scaled_{}_tf"),
        ({"log": True, "color": True}, "faces_color_dct_log_scaled_{}_tf"),
    ],
)
def test_folder_names_and_contents(noise_classes, flags, name):
    prepared = run(noise_classes, **flags)
    assert [split.folder.name for split in prepared.splits] == [
        name.format(split) for split in ("train", "val", "test")
    ]
    assert prepared.labels == {"original": 0, "Deepfakes": 1}
    records = [record for split in prepared.splits for record in records_of(split.folder)]
    assert len(records) == 20
    for record in records:
        rgb = read_image(noise_classes / record.class_name / f"{record.key.video_id}_0000.png")
        grey = np.asarray(Image.fromarray(rgb).convert("L"))[..., None]
        pixels = rgb if flags.get("color") else grey
        if flags.get("raw"):
            assert np.abs(record.image.astype(int) - pixels).max() <= (
                0 if flags.get("color") else 1
            )
            continue
        expected = fft.dctn(pixels.astype(float), axes=(0, 1), norm="ortho")
        if flags.get("log"):
            assert record.image[0, 0] == pytest.approx(np.log(np.abs(expected[0, 0])), abs=0.05)
        else:
            tolerance = 1e-3 if flags.get("color") else 70  # luma rounds differently by a level
            np.testing.assert_allclose(record.image, expected, atol=tolerance)


def test_index_says_what_is_there(noise_classes):
    (train, _, _) = run(noise_classes, raw=True, color=True).splits
    index = json.loads((train.folder / "index.json").read_text())
    assert index["class_names"] == ["original", "Deepfakes"]
    assert index["representation"] == "raw" and index["channels"] == 3
    assert index["crop_scale"] == 1.3 and index["shape"] == [64, 64, 3]
    assert index["format_version"] == 1 and index["seed"] == 0
    (shard,) = index["shards"]
    digest = hashlib.sha256((train.folder / shard["name"]).read_bytes()).hexdigest()
    assert shard["sha256"] == digest
    assert sum(index["counts"].values()) == sum(1 for _ in records_of(train.folder))


def test_what_a_record_carries(demo, train_set):
    record = next(r for r in records_of(train_set) if r.class_name == "Deepfakes")
    a, b = record.key.video_id.split("_")
    assert record.source_ids == (a, b)
    assert record.key.dataset == "crops" and record.key.manipulation == "Deepfakes"
    assert record.label == 1 and record.crop_scale == 1.3
    assert record.box_xyxy_px is not None and record.confidence > 0.5
    crop = demo[1] / "crops" / "Deepfakes" / f"{a}_{b}_{record.key.frame_index:04d}.png"
    np.testing.assert_array_equal(record.image, read_image(crop))


def test_no_source_is_in_two_splits(train_set, val_set, test_set):
    sources = [
        {s for r in records_of(f) for s in r.source_ids} for f in (train_set, val_set, test_set)
    ]
    assert all(sources)
    assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])


def test_split_folders_are_kept(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("real", "fake"):
            save_noise(tmp_path / "set" / split / name / f"{split}{name}_0000.png", 1)
    prepared = run(tmp_path / "set", raw=True, color=True)
    for split in prepared.splits:
        assert {r.key.video_id for r in records_of(split.folder)} == {
            f"{split.split}real", f"{split.split}fake",
        }  # fmt: skip


def test_images_alone_are_one_unlabelled_test_set(tmp_path):
    for number in range(3):
        save_noise(tmp_path / "some" / f"face{number}.png", number)
    (split,) = run(tmp_path / "some", raw=True, color=True).splits
    assert split.folder.name == "some_color_raw_test_tf"
    assert split.counts == {"unlabelled": 3}


def test_large_sets_are_cut_into_shards_and_a_run_goes_on_behind_the_last(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "set" / "train" / ("real", "fake")[number % 2] / f"v{number}_0000.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)).save(path)
    settings = {"raw": True, "color": True, "shard_mb": 2, "workers": 1}
    (whole,) = run(tmp_path / "set", output=str(tmp_path / "whole"), **settings).splits
    assert whole.n_shards == 3
    assert sorted(p.name for p in whole.folder.glob("*.tfrecords")) == [
        f"data-{i:05d}-of-00003.tfrecords" for i in range(3)
    ]

    original, calls = room.encode_record, []

    def interrupted(record):
        calls.append(record)
        if len(calls) == 17:
            raise KeyboardInterrupt
        return original(record)

    monkeypatch.setattr(room, "encode_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "set", output=str(tmp_path / "resumed"), **settings)
    folder = tmp_path / "resumed" / whole.folder.name
    assert not (folder / "index.json").exists()  # unfinished, and open_shards says so
    with pytest.raises(DataError, match="unfinished"):
        open_shards(folder)
    n_before = len(calls)
    run(tmp_path / "set", output=str(tmp_path / "resumed"), **settings)
    assert len(calls) - n_before < 30  # the finished shard was not written again
    assert contents(folder) == contents(whole.folder)
    assert not (folder / ".partial").exists()


def test_a_second_run_writes_nothing_and_changed_input_is_noticed(noise_classes):
    first = run(noise_classes, raw=True)
    stamp = (first.splits[0].folder / "data.tfrecords").stat().st_mtime_ns
    again = run(noise_classes, raw=True)
    assert all(split.resumed for split in again.splits)
    assert (first.splits[0].folder / "data.tfrecords").stat().st_mtime_ns == stamp
    save_noise(noise_classes / "original" / "v0_0001.png", 999)
    changed = run(noise_classes, raw=True)
    assert sum(sum(split.counts.values()) for split in changed.splits) == 21


def test_the_same_bytes_whatever_the_number_of_threads(noise_classes, tmp_path):
    one = run(noise_classes, log=True, workers=1, output=str(tmp_path / "one"))
    four = run(noise_classes, log=True, workers=4, output=str(tmp_path / "four"))
    for a, b in zip(one.splits, four.splits, strict=True):
        assert (a.folder / "data.tfrecords").read_bytes() == (
            b.folder / "data.tfrecords"
        ).read_bytes()


def test_float_list_is_the_original_layout(noise_classes):
    (train, *_) = run(noise_classes, log=True, float_list=True).splits
    shards = open_shards(train.folder)
    assert shards.representation == "dct_log_scaled"
    record = next(records_of(train.folder))
    assert record.image.shape == (64, 64, 1) and record.image.dtype == np.float32


def test_unreadable_images_are_left_out_and_named(noise_classes):
    (noise_classes / "original" / "bad_0000.png").write_bytes(b"")
    prepared = run(noise_classes, raw=True)
    failed = [reason for split in prepared.splits for reason in split.failed]
    assert len(failed) == 1 and "bad_0000.png" in failed[0]
    assert sum(sum(split.counts.values()) for split in prepared.splits) == 20


def test_nothing_readable_leaves_nothing(tmp_path):
    for name in ("original", "fake"):
        (tmp_path / "set" / "test" / name).mkdir(parents=True)
        (tmp_path / "set" / "test" / name / "a_0000.png").write_bytes(b"")
    with pytest.raises(DataError, match="no image can be read"):
        run(tmp_path / "set", raw=True)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_dct_of_unlike_sizes_is_refused(noise_classes):
    save_noise(noise_classes / "original" / "big_0000.png", 3, side=80)
    with pytest.raises(DataError, match="square crops of one size"):
        run(noise_classes)
    run(noise_classes, raw=True)  # pixels come in any size


def test_raw_and_log_together_are_refused():
    with pytest.raises(SettingError, match="--raw --log"):
        PrepareDatasetConfig(directory="x", raw=True, log=True)


def test_a_full_disk_leaves_nothing_half_written(noise_classes, tmp_path):
    """A limit on file size is the disk that fills up in the middle of a shard."""
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from mdcsd.cli import main\n"
        "main(['prepare-dataset', '--raw', '--color', sys.argv[1], '--output', sys.argv[2]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(noise_classes), str(tmp_path / "out")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_that_cannot_be_written_is_named(noise_classes, tmp_path):
    target = tmp_path / "file"
    target.write_text("a file where a folder is wanted")
    with pytest.raises(InputError, match="cannot be written"):
        run(noise_classes, raw=True, output=str(target))


def test_a_failing_rerun_leaves_the_finished_set_alone(noise_classes):
    (train, *_) = run(noise_classes).splits
    before = contents(train.folder)
    for number in range(20):
        save_noise(noise_classes / "original" / f"big{number}_0000.png", number, side=80)
    with pytest.raises(DataError, match="square crops of one size"):
        run(noise_classes)
    assert contents(train.folder) == before and open_shards(train.folder).shape == (64, 64, 1)
    assert not (train.folder / ".partial").exists()


def test_unreadable_images_behind_a_full_shard_make_no_empty_shard(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(8):
        path = tmp_path / "set" / "train" / ("real", "fake")[number % 2] / f"v{number}_0000.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (640, 640, 3), dtype=np.uint8)).save(path)
    for number in range(40):
        (tmp_path / "set" / "train" / "real" / f"bad{number}_0000.png").write_bytes(b"")
    (split,) = run(tmp_path / "set", raw=True, color=True, shard_mb=1, workers=1).splits
    assert split.n_shards == 8 and len(split.failed) == 40
    assert len(list(records_of(split.folder))) == 8


def test_a_video_whose_crops_are_all_damaged_is_unjudged(tmp_path):
    """Trap: it vanishes, and nobody counts what was not judged."""
    for number in range(3):
        for name in ("original", "Deepfakes"):
            save_noise(tmp_path / "set/test" / name / f"v{number}_0000.png", number)
    (tmp_path / "set/test/Deepfakes/v1_0000.png").write_bytes(b"no picture")
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "set"), raw=True, color=True)
    (split,) = prepare_dataset(prepare).splits
    (video,) = open_shards(split.folder).unjudged
    assert (video.key, video.label) == (("set", "Deepfakes", "v1"), 1)
    (tmp_path / "set/test/Deepfakes/v0_0000.png").unlink()
    (tmp_path / "set/test/Deepfakes/v2_0000.png").unlink()
    save_noise(tmp_path / "set/test/FaceSwap/v1_0000.png", 9)
    (split,) = prepare_dataset(prepare).splits
    shards = open_shards(split.folder)
    assert shards.manipulations == {"Deepfakes", "FaceSwap"}
    assert keep_manipulations(shards, ("FaceSwap",)).unjudged == ()
    assert len(keep_manipulations(shards, ("Deepfakes",)).unjudged) == 1


def test_videos_without_a_face_or_a_frame_are_counted_in_a_plain_folder(tmp_path):
    """A figure over the others alone would flatter."""
    clips = tmp_path / "clips"
    for name in ("original", "Deepfakes"):
        (clips / name).mkdir(parents=True)
        write_video(clips / name / "blank.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, 25)
        (clips / name / "broken.mp4").write_bytes(b"no video")
    crops = tmp_path / "crops"
    config = ProcessFramesConfig(video_path=str(clips), output_path=str(crops), workers=1)
    assert len(process_frames(config).failed) == 2
    columns = ",".join(FACES_CSV_COLUMNS)
    rows = [columns]
    for name in ("original", "Deepfakes"):
        for video in range(10):
            crop = f"{name}/v{video}_0000.png"
            save_noise(crops / crop, video)
            rows.append(f"{crop},{name}/v{video}.mp4,0,0.0,0,0,64,64,0.9,0,1.3,,3")
    (crops / "faces.csv").write_text("\n".join(rows) + "\n")
    prepared = run(crops, raw=True, color=True)
    unjudged = [video for each in prepared.splits for video in open_shards(each.folder).unjudged]
    assert sorted((*video.key[1:], video.label) for video in unjudged) == [
        ("Deepfakes", "blank", 1), ("Deepfakes", "broken", 1),
        ("original", "blank", 0), ("original", "broken", 0),
    ]  # fmt: skip


def test_crops_of_an_interrupted_cut_are_refused(tmp_path):
    """Trap: what was not cut yet would count as videos without a face."""
    clips = tmp_path / "clips"
    clips.mkdir()
    entries = []
    for number, split in enumerate(("train", "val", "test")):
        path = clips / f"{number}.mp4"
        write_video(path, [np.zeros((64, 64, 3), np.uint8)] * 3, 25)
        key = VideoKey("mine", "original", str(number))
        entries.append(VideoEntry(path, key, 0, split, (str(number),)))
    write_catalogue(tmp_path / "mine.csv", entries)
    config = ProcessFramesConfig(
        video_path=str(tmp_path / "mine.csv"), output_path=str(tmp_path / "crops"), workers=1
    )
    process_frames(config)
    (journal,) = (tmp_path / "crops" / ".process_frames").rglob("1.mp4.json")
    journal.unlink()
    with pytest.raises(DataError, match=r"1 of 3 videos are not cut yet \(mine/original/1\.mp4\)"):
        run(tmp_path / "crops", raw=True, color=True)


def test_an_unlabelled_picture_that_cannot_be_read_is_no_fake(tmp_path):
    save_noise(tmp_path / "some" / "a.png", 0)
    (tmp_path / "some" / "b.png").write_bytes(b"no picture")
    (split,) = run(tmp_path / "some", raw=True, color=True).splits
    (video,) = open_shards(split.folder).unjudged
    assert (video.key.video_id, video.label) == ("b", -1)
