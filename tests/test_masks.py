"""Which of two people was manipulated: tracks under the mask, and them alone."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from mdcsd.catalogue import read_catalogue, video_name, write_catalogue
from mdcsd.config import PrepareDatasetConfig, ProcessFramesConfig
from mdcsd.detector import Detector
from mdcsd.errors import DataError
from mdcsd.masks import MaskReader, tracks_under_mask
from mdcsd.nouns import VideoEntry, VideoKey
from mdcsd.prepare_dataset import dataset_folder, prepare_dataset
from mdcsd.process_frames import process_frames
from mdcsd.storage import read_json
from mdcsd.video import write_video
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
