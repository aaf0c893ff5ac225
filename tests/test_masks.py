"""Which of two people was manipulated: tracks under the mask, and them alone."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mdcsd.catalogue import read_catalogue, video_name, write_catalogue
from mdcsd.checkpoint import load_checkpoint
from mdcsd.config import FrameSelection, PrepareDatasetConfig, ProcessFramesConfig
from mdcsd.crops import read_catalogued_crops
from mdcsd.detector import Detector
from mdcsd.encoding import write_video
from mdcsd.errors import DataError
from mdcsd.inference import measure_shards
from mdcsd.loader import FaceDataset
from mdcsd.masks import MaskReader, tracks_under_mask
from mdcsd.metrics import pool_predictions
from mdcsd.nouns import VideoEntry, VideoKey
from mdcsd.predictions import read_csv, to_csv
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.preprocess import PreprocessSpec
from mdcsd.process_frames import process_frames
from mdcsd.shard_set import keep_manipulations, open_shards
from mdcsd.split_writer import dataset_folder
from mdcsd.storage import read_json
from mdcsd.training_setup import choose_classes
from mdcsd.video import iter_frames
from mdcsd.video_scores import score_videos

N_FRAMES = 8


@pytest.fixture(scope="module")
def duo(portrait, tmp_path_factory):
    """Two people side by side, the right one masked; and a clip of the same without a mask."""
    folder = tmp_path_factory.mktemp("duo")
    person = np.ascontiguousarray(portrait[:, : portrait.shape[1] // 2 * 2])
    height, width = person.shape[0] // 2 * 2, person.shape[1]
    person = person[:height]
    picture = np.concatenate([person, person[:, ::-1]], axis=1)
    mask = np.zeros_like(picture)
    mask[:, width:] = 255
    write_video(folder / "duo.mp4", [picture] * N_FRAMES, 25)
    write_video(folder / "mask.mp4", [mask] * N_FRAMES, 25)
    write_video(folder / "nobody.mp4", [np.zeros_like(picture)] * N_FRAMES, 25)
    return folder


def entry(duo, name, mask=None, label=1, video="duo.mp4"):
    manipulation = "DeepFakeDetection" if label else "original"
    key = VideoKey("dfd", manipulation, name)
    return VideoEntry(
        duo / video, key, label, "test", ("01", "02"), "c23", duo / mask if mask else None
    )


def test_share_of_a_box(duo):
    from mdcsd.video import probe

    width, height = probe(duo / "mask.mp4").width_px, probe(duo / "mask.mp4").height_px
    mask = MaskReader(duo / "mask.mp4")
    assert mask.share(0, (0.0, 0.0, width / 2 - 8, height)) == 0.0
    assert mask.share(0, (width / 2 + 8, 0.0, width, height)) == pytest.approx(1.0)
    assert mask.share(3, (0.0, 0.0, width, height)) == pytest.approx(0.5, abs=0.02)
    assert mask.share(99, (0.0, 0.0, 10.0, 10.0)) is None


def test_tracks_by_mean_share():
    assert tracks_under_mask({0: [0.0, 0.01], 1: [0.4, 0.3]}) == {1}
    assert tracks_under_mask({0: [None, None], 1: [None]}) is None
    assert tracks_under_mask({0: [0.0], 1: [0.0]}) is None  # a mask that covers nobody


def test_crops_outside_the_mask_become_real_ones(duo, tmp_path):
    """Trap: with the label of the video, the left, untouched face would be taught as fake."""
    entries = [
        entry(duo, "masked", "mask.mp4"), entry(duo, "unmasked"), entry(duo, "real", label=0),
        entry(duo, "faceless", label=0, video="nobody.mp4"),
    ]  # fmt: skip
    write_catalogue(tmp_path / "dfd.csv", entries)
    crops = tmp_path / "crops"
    process_frames(
        ProcessFramesConfig(
            video_path=str(tmp_path / "dfd.csv"), output_path=str(crops), faces="all", size=64,
            workers=1,
        )
    )  # fmt: skip
    assert read_catalogue(crops / "catalogue.csv") == sorted(entries, key=video_name)
    with open(crops / "faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    masked = [row for row in rows if "masked" in row["video"] and "unmasked" not in row["video"]]
    assert len(masked) == 2 * N_FRAMES
    prepare = PrepareDatasetConfig(directory=str(crops), raw=True, color=True)
    prepare_dataset(prepare)
    index = read_json(dataset_folder(prepare, "test") / "index.json")
    assert index["counts"] == {"original": 3 * N_FRAMES, "DeepFakeDetection": 3 * N_FRAMES}
    assert [video["key"][2] for video in index["unjudged"]] == ["faceless"]


def test_evaluation_labels_people_not_videos(duo, demo):
    detector = Detector(demo[0].checkpoint)
    scores = score_videos(
        detector,
        [entry(duo, "masked", "mask.mp4"), entry(duo, "unmasked"),
         entry(duo, "faceless", label=0, video="nobody.mp4"),
         entry(duo, "broken", video="gone.mp4")],
        4,
    )  # fmt: skip
    labels = {}
    for key, label in zip(scores.predictions.keys, scores.predictions.label, strict=True):
        labels.setdefault((key.video_id, key.track_id), set()).add(int(label))
    masked = [labels["masked", track] for track in (0, 1)]
    assert sorted(map(sorted, masked)) == [[0], [1]]
    assert labels["unmasked", 0] == labels["unmasked", 1] == {1}
    assert [video.key.video_id for video in scores.predictions.unjudged] == ["faceless", "broken"]
    assert len(scores.unread) == 1 and "gone.mp4" in scores.unread[0]


def test_a_catalogue_that_is_none_is_refused(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a catalogue"):
        read_catalogue(path)
    write_catalogue(path, [VideoEntry(tmp_path, VideoKey("d", "original", "v"), 0, "val")])
    path.write_text(path.read_text().replace(",val,", ",nowhere,"))
    with pytest.raises(DataError, match="line 2: split 'nowhere'"):
        read_catalogue(path)


def _cut(tmp_path, entries):
    write_catalogue(tmp_path / "dfd.csv", entries)
    crops = tmp_path / "crops"
    return crops, process_frames(
        ProcessFramesConfig(
            video_path=str(tmp_path / "dfd.csv"), output_path=str(crops), faces="all", size=64,
            workers=1, frames=5,
        )
    )  # fmt: skip


def test_the_real_person_of_an_unwanted_fake_goes_with_it(duo, tmp_path):
    """Trap: left alone, its untouched face makes a fake video a real one of the test set."""
    other = entry(duo, "swapped")
    other = replace(other, key=other.key._replace(manipulation="FaceSwap"))
    entries = [entry(duo, "masked", "mask.mp4"), other, entry(duo, "real", label=0)]
    crops, _ = _cut(tmp_path, entries)
    prepare = PrepareDatasetConfig(directory=str(crops), raw=True, color=True)
    prepare_dataset(prepare)
    shards = open_shards(dataset_folder(prepare, "test"))
    assert shards.class_names == ("original", "DeepFakeDetection", "FaceSwap")
    assert shards.counts == (15, 5, 10)  # the real clip's two people, and one of the masked clip
    unlisted = replace(shards, kinds=(), kind_numbers=None)  # as mdcsd 0.2 wrote an index
    for each in (shards, unlisted):
        kept = keep_manipulations(each, ("FaceSwap",))
        assert kept.counts == (10, 0, 10)
        spec = PreprocessSpec(64, 3, "raw", 1.3, 64)
        data = FaceDataset(kept, spec, choose_classes(kept, binary=True))
        videos = {data.record(i).key.video_id for i in range(len(data))}
        assert videos == {"swapped", "real"}
        assert sorted(data.labels().tolist()) == [0] * 10 + [1] * 10
    with pytest.raises(DataError, match=r"no manipulation FaceSwop\. Did you mean 'FaceSwap'"):
        keep_manipulations(shards, ("FaceSwop",))


def test_a_mask_that_comes_later_is_not_ignored(duo, tmp_path):
    """Trap: crops cut before the masks were downloaded call both people manipulated for ever."""
    shutil.copy(duo / "duo.mp4", tmp_path / "duo.mp4")
    first = replace(entry(duo, "late"), path=tmp_path / "duo.mp4")
    crops, _ = _cut(tmp_path, [first])
    _, again = _cut(tmp_path, [first])
    assert again.n_resumed == 1
    _, masked = _cut(tmp_path, [replace(first, mask_path=duo / "mask.mp4")])
    assert masked.n_resumed == 0
    found = read_catalogued_crops(crops).entries
    assert sorted({crop.class_name for crop in found}) == ["DeepFakeDetection", "original"]


def test_a_catalogue_chooses_among_the_crops_of_a_folder(duo, tmp_path):
    """Trap: what an earlier selection cut stays in the folder, and in the data set."""
    entries = [entry(duo, "masked", "mask.mp4"), entry(duo, "real", label=0)]
    crops, _ = _cut(tmp_path, entries)
    write_catalogue(tmp_path / "fewer.csv", [replace(entries[1], split="val")])
    prepare = PrepareDatasetConfig(
        directory=str(crops), raw=True, color=True, catalogue=str(tmp_path / "fewer.csv")
    )
    made = prepare_dataset(prepare)
    assert [(split.split, split.counts) for split in made.splits] == [("val", {"original": 10})]


def test_damaged_rows_of_catalogued_crops_are_named(duo, tmp_path):
    crops, _ = _cut(tmp_path, [entry(duo, "real", label=0)])
    table = (crops / "faces.csv").read_text()
    (crops / "faces.csv").write_text(table.replace(",1.3,", ",wide,"))
    with pytest.raises(DataError, match=r"faces\.csv: .*wide"):
        read_catalogued_crops(crops)
    (crops / "faces.csv").write_text(table.replace("video", "clip"))
    with pytest.raises(DataError, match=r"not a faces\.csv of process_frames"):
        read_catalogued_crops(crops)


def test_frames_without_a_face_count_as_sampled_everywhere(duo, demo, tmp_path):
    """Trap: a face seen in 3 of 32 frames is a glimpse, in `detect`, in videos and in records."""
    frames = [frame.rgb for frame in iter_frames(duo / "duo.mp4", FrameSelection())]
    empty = np.zeros_like(frames[0])
    write_video(tmp_path / "glimpse.mp4", [*frames[:3], *[empty] * 29], 25)
    glimpse = replace(entry(duo, "glimpse", label=0), path=tmp_path / "glimpse.mp4")
    detector = Detector(demo[0].checkpoint)
    verdict = detector.judge(glimpse.path, n_frames=32)
    assert verdict.verdict == "cannot_judge" and len(verdict.frames) == 6
    predictions = score_videos(detector, [glimpse], 32).predictions
    assert pool_predictions(predictions, "track")[glimpse.key] == (0, None)
    (tmp_path / "table.csv").write_text(to_csv(predictions))
    read = read_csv(tmp_path / "table.csv")
    assert pool_predictions(read, "track") == {glimpse.key: (0, None)}
    write_catalogue(tmp_path / "dfd.csv", [glimpse])
    config = ProcessFramesConfig(
        video_path=str(tmp_path / "dfd.csv"), output_path=str(tmp_path / "crops"), frames=32,
        size=160, faces="all", workers=1,
    )  # fmt: skip
    process_frames(config)
    prepare = PrepareDatasetConfig(directory=str(tmp_path / "crops"), raw=True, color=True)
    prepare_dataset(prepare)
    measured = measure_shards(
        load_checkpoint(demo[0].checkpoint), open_shards(dataset_folder(prepare, "test"))
    )
    assert pool_predictions(measured.predictions(), "track") == {glimpse.key: (0, None)}
