"""Data sets as downloaded -> entries: miniature trees, one a layout, and the traps of each."""

from __future__ import annotations

import csv
import json
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from mdcsd.catalogue import write_catalogue
from mdcsd.datasets import scan_dataset
from mdcsd.errors import DataError, InputError, SettingError
from mdcsd.source_lists import read_ffpp_split
from mdcsd.sources import LAYOUTS, parse_data_argument, read_dataset

SHARED_SPLITS = Path(__file__).resolve().parents[2] / "shared" / "data" / "ffpp_splits"
FAKES = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")


def touch(root, *names, content=b"x"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def by_id(scan):
    return {(e.key.manipulation, e.key.video_id): e for e in scan.entries}


def official_pair():
    """Two originals that are one pair of the official training split."""
    return next(name for name in read_ffpp_split() if "_" in name).split("_")


@pytest.fixture
def ffpp(tmp_path):
    a, b = official_pair()
    for name in (a, b):
        touch(tmp_path, f"original_sequences/youtube/c23/videos/{name}.mp4")
    for fake in FAKES:
        touch(tmp_path, f"manipulated_sequences/{fake}/c23/videos/{a}_{b}.mp4")
    touch(tmp_path, f"manipulated_sequences/Deepfakes/masks/videos/{a}_{b}.mp4")
    return tmp_path


# FaceForensics++ and DeepFakeDetection


def test_the_packaged_split_is_the_official_one():
    text = resources.files("mdcsd").joinpath("assets", "ffpp_splits.csv").read_text("utf-8")
    comment, *lines = text.splitlines()
    assert comment.startswith("#") and "ICCV 2019" in comment
    rows = list(csv.DictReader(lines))
    assert Counter(row["split"] for row in rows) == {"train": 360, "val": 70, "test": 70}
    ids = [row[side] for row in rows for side in "ab"]
    assert len(ids) == len(set(ids)) == 1000
    originals = Counter(split for name, split in read_ffpp_split().items() if len(name) == 3)
    assert originals == {"train": 720, "val": 140, "test": 140}


def test_the_packaged_split_equals_the_makers_files():
    if not SHARED_SPLITS.is_dir():
        pytest.skip("no official split files beside this checkout")
    split_of = read_ffpp_split()
    for split in ("train", "val", "test"):
        for a, b in json.loads((SHARED_SPLITS / f"{split}.json").read_text()):
            assert {split_of[name] for name in (a, b, f"{a}_{b}", f"{b}_{a}")} == {split}


def test_one_name_in_five_manipulations_is_five_videos(ffpp):
    a, b = official_pair()
    scan = read_dataset("ffpp", ffpp)
    fakes = [e for e in scan.entries if e.key.video_id == f"{a}_{b}"]
    assert {e.key for e in fakes} == {("ffpp", fake, f"{a}_{b}") for fake in FAKES}
    assert {(e.label, e.split, e.source_ids) for e in fakes} == {(1, "train", (a, b))}
    original = by_id(scan)["original", a]
    assert (original.label, original.split, original.source_ids) == (0, "train", (a,))
    assert {e.compression for e in scan.entries} == {"c23"}
    masks = {e.key.manipulation: e.mask_path for e in scan.entries if e.mask_path}
    assert list(masks) == ["Deepfakes"] and masks["Deepfakes"].is_file()
    assert list(scan.entries) == sorted(scan.entries, key=lambda e: (e.key, e.compression))
    assert "720/140/140" in scan.official_split
    assert scan.strangers == ()


def test_each_compression_gives_entries_and_c0_is_raw(ffpp):
    a, b = official_pair()
    touch(ffpp, f"original_sequences/youtube/c40/videos/{a}.mp4")
    touch(ffpp, f"original_sequences/youtube/raw/videos/{a}.mp4")
    touch(ffpp, f"original_sequences/youtube/c0/videos/{a}.mp4")
    touch(ffpp, f"original_sequences/youtube/c0/videos/{b}.mp4")
    scan = read_dataset("ffpp", ffpp)
    rates = {(e.key.video_id, e.compression) for e in scan.entries if e.label == 0}
    assert rates == {(a, "c23"), (a, "c40"), (a, "raw"), (b, "c23"), (b, "raw")}
    assert [line for line in scan.strangers if "the same video" in line]


def test_missing_videos_are_said_a_line_a_folder_and_split(ffpp):
    scan = read_dataset("ffpp", ffpp)
    lines = [line for line in scan.missing if line.startswith("original_sequences")]
    assert len(lines) == 3
    assert "c23/videos (train): 718 of 720 videos are not there (" in lines[0]
    assert lines[0].endswith(", ...)") and lines[0].count(",") == 3
    fakes = [line for line in scan.missing if "FaceShifter" in line]
    assert ["719 of 720" in line for line in fakes] == [True, False, False]


def test_names_outside_the_official_split_have_none_and_are_said(ffpp):
    a, b = official_pair()
    stranger = f"manipulated_sequences/FaceSwap/c23/videos/{a}_{a}.mp4"
    touch(ffpp, stranger, f"original_sequences/youtube/c23/videos/{a}_{b}.mp4", "extra.mp4")
    scan = read_dataset("ffpp", ffpp)
    assert by_id(scan)["FaceSwap", f"{a}_{a}"].split is None
    assert any(line.startswith(stranger) for line in scan.strangers)
    assert f"original_sequences/youtube/c23/videos/{a}_{b}.mp4" in scan.strangers
    assert "extra.mp4" in scan.strangers


def test_empty_files_are_left_out_and_said(ffpp):
    a, _ = official_pair()
    place = f"original_sequences/youtube/c23/videos/{a}.mp4"
    touch(ffpp, place, content=b"")
    scan = read_dataset("ffpp", ffpp)
    assert f"{place} is empty (0 bytes)" in scan.missing
    assert ("original", a) not in by_id(scan)
    assert "718 of 720" in scan.missing[1]  # said once: an empty file is there


def test_two_sets_of_one_root_do_not_mix(ffpp):
    original = "original_sequences/actors/c23/videos/01__exit_phone_room.mp4"
    name = "01_02__exit_phone_room__YVGY8LOK"
    touch(ffpp, original, f"manipulated_sequences/DeepFakeDetection/c23/videos/{name}.mp4")
    touch(ffpp, f"manipulated_sequences/DeepFakeDetection/masks/videos/{name}.mp4")
    touch(ffpp, "original_sequences/actors/c23/videos/readme.mp4")
    assert not any("actors" in line for line in read_dataset("ffpp", ffpp).strangers)
    scan = read_dataset("dfd", ffpp)
    entries = by_id(scan)
    assert set(entries) == {("original", "01__exit_phone_room"), ("DeepFakeDetection", name)}
    fake = entries["DeepFakeDetection", name]
    assert fake.source_ids == ("01", "02") and fake.mask_path.is_file()
    assert entries["original", "01__exit_phone_room"].source_ids == ("01",)
    assert scan.official_split is None and {e.split for e in scan.entries} == {None}
    assert scan.strangers == ("original_sequences/actors/c23/videos/readme.mp4",)


def test_a_linked_folder_is_read_and_a_circle_ends(ffpp, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk")
    touch(elsewhere, "videos/000.mp4")
    (ffpp / "original_sequences/youtube/c40").symlink_to(elsewhere)
    (ffpp / "original_sequences/circle").symlink_to(ffpp)
    (ffpp / "original_sequences/youtube/c23/videos/999.mp4").symlink_to(ffpp / "gone.mp4")
    scan = read_dataset("ffpp", ffpp)
    assert ("000", "c40") in {(e.key.video_id, e.compression) for e in scan.entries}
    assert "original_sequences/youtube/c23/videos/999.mp4 is empty (0 bytes)" in scan.missing


# Celeb-DF


@pytest.fixture
def celeb(tmp_path):
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0000.mp4")
    touch(tmp_path, "YouTube-real/00000.mp4", "YouTube-real/00170.mp4")
    touch(tmp_path, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0000.mp4")
    (tmp_path / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n1 Celeb-real/id9_0000.mp4\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", ["celebdf1", "celebdf2"])
def test_celeb_df_where_one_means_real(celeb, name):
    touch(celeb, "Celeb-real/notes.mp4")
    scan = read_dataset(name, celeb)
    entries = by_id(scan)
    tested = {key: e.label for key, e in entries.items() if e.split == "test"}
    assert tested == {
        ("original", "YouTube-real/00170"): 0,
        ("Celeb-synthesis", "id0_id1_0000"): 1,
    }
    assert {e.split for e in scan.entries} == {"test", None}
    assert entries["original", "Celeb-real/id0_0000"].source_ids == ("id0",)
    assert entries["original", "YouTube-real/00000"].source_ids == ("youtube-00000",)
    assert entries["Celeb-synthesis", "id0_id1_0000"].source_ids == ("id0", "id1")
    assert scan.official_split == "test: List_of_testing_videos.txt"
    assert scan.strangers == ("Celeb-real/notes.mp4",)


def test_a_listed_test_video_that_is_not_there_is_said(celeb):
    (line,) = read_dataset("celebdf2", celeb).missing
    assert "1 of 1 videos are not there (id9_0000.mp4)" in line and "test" in line


def test_a_list_that_contradicts_the_folders_is_refused(celeb):
    (celeb / "List_of_testing_videos.txt").write_text("0 YouTube-real/00170.mp4\n")
    with pytest.raises(DataError, match=r"line 1 calls YouTube-real/00170\.mp4 fake"):
        read_dataset("celebdf2", celeb)
    (celeb / "List_of_testing_videos.txt").write_text("YouTube-real/00170.mp4\n")
    with pytest.raises(DataError, match="expected 1 or 0"):
        read_dataset("celebdf2", celeb)


def test_without_the_list_there_is_no_official_split(celeb):
    (celeb / "List_of_testing_videos.txt").unlink()
    scan = read_dataset("celebdf2", celeb)
    assert scan.official_split is None
    assert any("List_of_testing_videos.txt: not there" in line for line in scan.missing)


def test_celeb_df_plus_plus_has_a_folder_a_method(tmp_path):
    swap, talk = "FaceSwap/BlendFace/id0_id1_0000", "TalkingFace/FLOAT/id3_0001_test_12"
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "YouTube-real/00001.mp4")
    touch(tmp_path, *(f"Celeb-synthesis/{name}.mp4" for name in (swap, talk)))
    touch(tmp_path, "Celeb-synthesis/FaceReenact/LIA/id0_id1_0000.mp4")
    listed = f"0 Celeb-synthesis/{talk}.mp4\n1 YouTube-real/00001.mp4\n"
    (tmp_path / "List_of_testing_videos.txt").write_text(listed)
    entries = by_id(read_dataset("celebdfpp", tmp_path))
    assert entries["BlendFace", "id0_id1_0000"].source_ids == ("id0", "id1")
    assert entries["LIA", "id0_id1_0000"].path != entries["BlendFace", "id0_id1_0000"].path
    talking = entries["FLOAT", "id3_0001_test_12"]
    assert (talking.source_ids, talking.split, talking.label) == (("id3",), "test", 1)


# Plain folders


@pytest.mark.parametrize("pattern", ["{split}/{name}/a/000.mp4", "{name}/{split}/a/000.mp4"])
def test_plain_folders_with_splits_in_either_order(tmp_path, pattern):
    for split in ("train", "test"):
        for name in ("Real", "FaceSwap"):
            touch(tmp_path, pattern.format(split=split, name=name))
    scan = read_dataset("mine", tmp_path)
    assert {(e.key, e.label, e.split, e.source_ids) for e in scan.entries} == {
        (("mine", name, f"{split}/a/000"), label, split, (f"{split}/a/000",))
        for split in ("train", "test")
        for name, label in (("original", 0), ("FaceSwap", 1))
    }
    assert scan.official_split == "the folders train, val and test"


def test_plain_names_of_pairs_tell_the_originals(tmp_path):
    touch(tmp_path, "original/000.mp4", "Deepfakes/000_003.mp4", "loose.mp4")
    scan = read_dataset("mine", tmp_path)
    assert by_id(scan)["Deepfakes", "000_003"].source_ids == ("000", "003")
    assert scan.official_split is None and scan.strangers == ("loose.mp4",)


def test_pictures_beside_videos_are_told(tmp_path):
    touch(tmp_path, "original/a.mp4", "fake/1.jpg", "fake/2.jpg")
    scan = read_dataset("mine", tmp_path)
    assert len(scan.entries) == 1
    assert scan.missing == ("2 picture(s) beside videos, not read (fake/1.jpg): put pictures into "
                            "a folder of their own",)  # fmt: skip


def test_an_official_list_that_comes_after_a_split_was_drawn_is_told(tmp_path):
    names = ("id0_0000", "id1_0000", "id2_0000", "id3_0000", "id4_0000")
    touch(tmp_path, *(f"Celeb-real/{name}.mp4" for name in names))
    touch(tmp_path, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id2_id3_0000.mp4")
    drawn = {e.path.stem: e.split for e in scan_dataset("celebdf2", tmp_path, 0).entries}
    name = next(each for each in names if drawn[each] == "train")
    listed = tmp_path / "List_of_testing_videos.txt"
    listed.write_text(f"1 Celeb-real/{name}.mp4\n")
    with pytest.raises(DataError, match=r"mdcsd_split_celebdf2\.csv: drawn before an official"):
        scan_dataset("celebdf2", tmp_path, 0)
    (tmp_path / "mdcsd_split_celebdf2.csv").unlink()
    after = {e.path.stem: e.split for e in scan_dataset("celebdf2", tmp_path, 0).entries}
    assert after[name] == "test"


def test_two_videos_of_one_name_make_no_catalogue(tmp_path):
    for folder in ("a", "b"):
        touch(tmp_path / folder, "original/x.mp4", "fake/y.mp4")
    entries = [e for folder in "ab" for e in read_dataset("mine", tmp_path / folder).entries]
    with pytest.raises(DataError, match=r"are both mine/fake/y\. Give each data set a NAME"):
        write_catalogue(tmp_path / "c.csv", entries)
    assert not (tmp_path / "c.csv").exists()


def test_plain_folders_without_a_real_class_are_all_manipulated(tmp_path):
    touch(tmp_path, "Sora/a.mp4", "Veo/a.mp4")
    scan = read_dataset("generated", tmp_path)
    assert [(e.key.manipulation, e.label) for e in scan.entries] == [("Sora", 1), ("Veo", 1)]
    assert scan.missing == ("no real video: without one no AUC can be computed",)


def test_plain_folders_that_leave_a_label_open_are_refused(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    with pytest.raises(InputError, match="nothing says which are real"):
        read_dataset("mine", tmp_path)
    touch(tmp_path, "real/a.mp4", "original/a.mp4")
    with pytest.raises(DataError, match=r"two classes of real videos \(original, real\)"):
        read_dataset("mine", tmp_path)
    (tmp_path / "real/a.mp4").unlink()
    touch(tmp_path, "train/original/a.mp4")
    with pytest.raises(DataError, match="some videos lie in train/val/test"):
        read_dataset("mine", tmp_path)


# What is said when a folder is another one


def test_a_root_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        read_dataset("ffpp", tmp_path / "nowhere")


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_root_says_what_was_expected(tmp_path, name):
    with pytest.raises(InputError, match=f"for {name}") as caught:
        read_dataset(name, tmp_path)
    assert LAYOUTS[name].expects in str(caught.value) and "\n" not in str(caught.value)


def test_folders_of_a_layout_without_videos(tmp_path):
    (tmp_path / "real_train").mkdir()
    with pytest.raises(InputError, match=r"no video of wilddeepfake in it\..*unpacked"):
        read_dataset("wilddeepfake", tmp_path)


def test_another_layout_is_named(celeb, ffpp):
    """Both fixtures share a folder: move FaceForensics++ below it."""
    for name in ("original_sequences", "manipulated_sequences"):
        (celeb / "FF" / name).parent.mkdir(exist_ok=True)
        (ffpp / name).rename(celeb / "FF" / name)
    with pytest.raises(InputError, match="laid out as celebdf1 or celebdf2: give celebdf1="):
        read_dataset("ffpp", celeb)
    with pytest.raises(InputError, match="laid out as ffpp: give ffpp="):
        read_dataset("celebdf2", celeb / "FF")
    with pytest.raises(InputError, match=r"as mine it would lose its split.*give ffpp="):
        read_dataset("mine", celeb / "FF")


def test_a_root_one_folder_too_high(ffpp):
    (ffpp / "FF").mkdir()
    for name in ("original_sequences", "manipulated_sequences"):
        (ffpp / name).rename(ffpp / "FF" / name)
    with pytest.raises(InputError, match=r"Its folder is laid out as ffpp: give ffpp=.*FF\."):
        read_dataset("ffpp", ffpp)


def test_data_arguments():
    assert parse_data_argument("ffpp=/data/FF++") == ("ffpp", Path("/data/FF++"))
    assert parse_data_argument("mine=a=b") == ("mine", Path("a=b"))
    assert parse_data_argument("mine=~/x")[1] == Path.home() / "x"
    for text in ("ffpp", "=x", "ffpp=", "a/b=c"):
        with pytest.raises(SettingError, match="expected NAME=ROOT"):
            parse_data_argument(text)
