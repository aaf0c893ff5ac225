"""Folders -> entries: layouts, names, labels."""

from __future__ import annotations

import pytest

from mdcsd.crops import find_numbered, label_classes, parse_source_ids, read_crop_folder
from mdcsd.errors import DataError, InputError
from mdcsd.pictures import read_image


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.parametrize("pattern", ["{split}/{name}/000_0001.png", "{name}/{split}/000_0001.png"])
def test_split_and_class_folders_in_either_order(tmp_path, pattern):
    for split in ("train", "val", "test"):
        for name in ("original", "Deepfakes"):
            touch(tmp_path, pattern.format(split=split, name=name))
    entries = read_crop_folder(tmp_path, 1.3)
    assert {(e.split, e.class_name, e.label) for e in entries} == {
        (split, name, label)
        for split in ("train", "val", "test")
        for name, label in (("original", 0), ("Deepfakes", 1))
    }
    assert {e.key.video_id for e in entries} == {"000"}
    assert {e.frame_index for e in entries} == {1}


def test_labels_put_the_real_class_first_then_the_alphabet():
    names = {"NeuralTextures", "Deepfakes", "original", "FaceSwap", "Face2Face"}
    assert label_classes(names) == {
        "original": 0, "Deepfakes": 1, "Face2Face": 2, "FaceSwap": 3, "NeuralTextures": 4,
    }  # fmt: skip
    assert label_classes({"zebra", "Real"}) == {"Real": 0, "zebra": 1}
    assert label_classes({"Deepfakes"}) == {"Deepfakes": 1}
    assert label_classes({"unlabelled"}) == {"unlabelled": 0}
    with pytest.raises(DataError, match="two classes of real"):
        label_classes({"real", "original"})


def test_images_alone_are_unlabelled(tmp_path):
    touch(tmp_path, "one.png", "two.jpg")
    entries = read_crop_folder(tmp_path, 1.3)
    assert {(e.class_name, e.label, e.split) for e in entries} == {("unlabelled", 0, None)}
    assert {e.key.video_id for e in entries} == {"one", "two"}


def test_names_tell_video_frame_and_track(tmp_path):
    touch(tmp_path, "original/000_003_0012.png", "original/000_003_0012_t2.png",
          "original/000_003.png", "original/clip/0007.png")  # fmt: skip
    found = {
        e.path.relative_to(tmp_path).as_posix(): (e.key.video_id, e.frame_index, e.track_id)
        for e in read_crop_folder(tmp_path, 1.3)
    }
    assert found == {
        "original/000_003_0012.png": ("000_003", 12, 0),
        "original/000_003_0012_t2.png": ("000_003", 12, 2),
        "original/000_003.png": ("000_003", 0, 0),
        "original/clip/0007.png": ("clip", 7, 0),
    }


def test_the_same_name_in_two_manipulations_is_two_videos(tmp_path):
    touch(tmp_path, "Deepfakes/000_003_0000.png", "FaceSwap/000_003_0000.png")
    assert len({e.key for e in read_crop_folder(tmp_path, 1.3)}) == 2


def test_source_ids_of_pairs_and_of_plain_names():
    assert parse_source_ids("000_003") == ("000", "003")
    assert parse_source_ids("a/b/017") == ("017",)
    assert parse_source_ids("clip one") == ("clip one",)


def test_faces_csv_is_believed(demo):
    entries = read_crop_folder(demo[1] / "crops", 9.9)
    entry = next(e for e in entries if e.path.name == "000_001_0004.png")
    assert entry.key == ("crops", "Deepfakes", "000_001")
    assert (entry.frame_index, entry.track_id, entry.crop_scale) == (4, 0, 1.3)
    assert entry.time_s == pytest.approx(0.16)
    assert entry.box_xyxy_px is not None and entry.confidence > 0.5
    assert entry.source_ids == ("000", "001")
    assert read_image(entry.path).shape == (299, 299, 3)


def test_a_cut_off_faces_csv_is_refused(tmp_path):
    touch(tmp_path, "original/a_0000.png")
    (tmp_path / "faces.csv").write_text("path,video,frame\noriginal/a_0000.png,orig")
    with pytest.raises(DataError, match="line 2 is cut off"):
        read_crop_folder(tmp_path, 1.3)


def test_half_split_folders_are_refused(tmp_path):
    touch(tmp_path, "train/original/a_0000.png", "original/b_0000.png")
    with pytest.raises(DataError, match="some do not"):
        read_crop_folder(tmp_path, 1.3)


def test_the_same_face_twice_is_refused(tmp_path):
    touch(tmp_path, "original/a_0000.png", "original/a_0000.jpg")
    with pytest.raises(DataError, match="the same face of the same frame"):
        read_crop_folder(tmp_path, 1.3)


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(InputError, match="no file to read"):
        read_crop_folder(tmp_path, 1.3)
    with pytest.raises(InputError, match="no such folder"):
        read_crop_folder(tmp_path / "gone", 1.3)


def test_loose_images_beside_class_folders_are_refused(tmp_path):
    touch(tmp_path, "Deepfakes/a_0000.png", "loose.png")
    with pytest.raises(DataError, match=r"loose\.png: lies outside the class folders"):
        read_crop_folder(tmp_path, 1.3)


def test_crops_that_faces_csv_does_not_know_are_refused(demo, tmp_path):
    import shutil

    shutil.copytree(demo[1] / "crops", tmp_path / "crops")
    shutil.copy(tmp_path / "crops/original/000_0000.png", tmp_path / "crops/original/000_0777.png")
    with pytest.raises(DataError, match=r"000_0777\.png: not in .*faces\.csv"):
        read_crop_folder(tmp_path / "crops", 1.3)


def test_a_faces_csv_with_words_for_numbers_is_refused(demo, tmp_path):
    import shutil

    shutil.copytree(demo[1] / "crops", tmp_path / "crops")
    table = tmp_path / "crops" / "faces.csv"
    table.write_text(table.read_text().replace(",1.3,", ",wide,"))
    with pytest.raises(DataError, match=r"faces\.csv: .*wide"):
        read_crop_folder(tmp_path / "crops", 1.3)


def test_pictures_of_a_folder_come_in_order_of_their_numbers(tmp_path):
    for name in ("0.png", "2.png", "10.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [(n, path.name) for n, path in find_numbered(tmp_path)] == [
        (0, "0.png"), (2, "2.png"), (10, "10.png"),
    ]  # fmt: skip
    (tmp_path / "cover.png").write_bytes(b"x")  # with other names among them, places by name
    assert [(n, path.name) for n, path in find_numbered(tmp_path)] == [
        (0, "0.png"), (1, "10.png"), (2, "2.png"), (3, "cover.png"),
    ]  # fmt: skip
