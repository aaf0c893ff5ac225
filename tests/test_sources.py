"""Data sets as downloaded -> entries: miniature trees, one a layout, and the traps of each."""

from __future__ import annotations

import csv
import json
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

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


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


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


# DFDC, its preview, and crops of it


def dfdc_part(root, part, split="train"):
    record = {"label": "FAKE", "split": split, "original": "b.mp4"}
    real = {"label": "REAL", "split": split}
    write_json(root / part / "metadata.json", {"a.mp4": record, "b.mp4": real, "gone.mp4": real})
    touch(root, f"{part}/a.mp4", f"{part}/b.mp4", f"{part}/unnamed.mp4")


def test_a_dfdc_fake_and_its_original_share_a_source(tmp_path):
    dfdc_part(tmp_path, "train/dfdc_train_part_0")
    scan = read_dataset("dfdc", tmp_path)
    entries = by_id(scan)
    assert set(entries) == {("fake", "dfdc_train_part_0/a"), ("original", "dfdc_train_part_0/b")}
    assert {e.source_ids for e in scan.entries} == {("b",)}
    assert scan.official_split is None and {e.split for e in scan.entries} == {None}
    assert scan.missing == (
        "train/dfdc_train_part_0 (metadata): 1 of 3 videos are not there (gone.mp4)",
    )
    assert scan.strangers == ("train/dfdc_train_part_0/unnamed.mp4",)


def test_dfdc_train_is_a_split_only_beside_another(tmp_path):
    dfdc_part(tmp_path, "dfdc_train_part_0")
    touch(tmp_path, "test/c.mp4", "test/d.mp4")
    (tmp_path / "test/labels.csv").write_text("filename,label\nc.mp4,0\nd.mp4,1\n")
    dfdc_part(tmp_path, "more", split="validation")
    scan = read_dataset("dfdc", tmp_path)
    splits = {key: (e.label, e.split) for key, e in by_id(scan).items()}
    assert splits["original", "test/c"] == (0, "test")
    assert splits["fake", "test/d"] == (1, "test")
    assert splits["original", "more/b"] == (0, "val")
    assert splits["fake", "dfdc_train_part_0/a"] == (1, "train")
    assert "validation" in scan.official_split


def test_a_single_dfdc_part_can_be_the_root(tmp_path):
    dfdc_part(tmp_path, "dfdc_train_part_7")
    scan = read_dataset("dfdc", tmp_path / "dfdc_train_part_7")
    assert {e.key.video_id for e in scan.entries} == {"dfdc_train_part_7/a", "dfdc_train_part_7/b"}


def test_damaged_dfdc_metadata_is_refused(tmp_path):
    touch(tmp_path, "part/a.mp4")
    touch(tmp_path, "part/metadata.json", content=b'{"a.mp4": {"label": "FAKE", ')
    with pytest.raises(DataError, match=r"metadata\.json: not JSON, or cut off"):
        read_dataset("dfdc", tmp_path)
    write_json(tmp_path / "part/metadata.json", {"a.mp4": {"label": "FAKE?", "x": "FAKE"}})
    with pytest.raises(DataError, match="neither REAL nor FAKE"):
        read_dataset("dfdc", tmp_path)


def test_dfdc_preview(tmp_path):
    fake = "method_A/1260311/1260311_C/1255229_1260311_C_001.mp4"
    real = "original_videos/643049/643049_A_001.mp4"
    write_json(
        tmp_path / "dataset.json",
        {
            fake: {"label": "fake", "set": "test", "target_id": "1260311", "swapped_id": "1255229",
                   "augmentations": []},
            real: {"label": "real", "set": "train", "target_id": "643049", "swapped_id": None},
            fake.replace("_001", "_002"): {"label": "fake", "set": "test", "target_id": "1",
                                           "swapped_id": "2"},
        },
    )  # fmt: skip
    touch(tmp_path, fake, real, "method_B/x.mp4")
    scan = read_dataset("dfdcp", tmp_path)
    entries = by_id(scan)
    found = entries["method_A", "1260311/1260311_C/1255229_1260311_C_001"]
    assert (found.source_ids, found.split) == (("1260311", "1255229"), "test")
    found = entries["original", "643049/643049_A_001"]
    assert (found.source_ids, found.split, found.label) == (("643049",), "train", 0)
    assert scan.official_split == "dataset.json"
    assert len(scan.missing) == 1 and "1 of 2" in scan.missing[0]
    assert scan.strangers == ("method_B/x.mp4",)


def test_of_the_face_crops_only_listed_ones_are_read(tmp_path):
    head = "videoname,label,original,original_width_px,identity_cluster,split\n"
    rows = "a.mp4,fake,b.mp4,129,382,train\nb.mp4,real,,130,382,val\ngone.mp4,real,,1,5,val\n"
    (tmp_path / "dfdc_faces224_split.csv").write_text(head + rows)
    touch(tmp_path, "faces_224/a.jpg", "faces_224/b.jpg", "faces_224/heldout.jpg")
    scan = read_dataset("dfdc_faces", tmp_path)
    entries = by_id(scan)
    assert set(entries) == {("fake", "a"), ("original", "b")}
    assert entries["fake", "a"].source_ids == ("identity-382",)
    assert {e.crop_scale for e in scan.entries} == {1.05}
    assert entries["original", "b"].split == "val"
    assert scan.strangers == () and "gone.jpg" in scan.missing[0]


def test_a_damaged_list_of_crops_is_refused(tmp_path):
    for text, words in (
        ("videoname,label\na.mp4,fake\n", "expected the columns"),
        ("videoname,label,identity_cluster,split\na.mp4,fake\n", "cut off"),
        ("videoname,label,identity_cluster,split\na.mp4,fake,1,exam\n", "split exam"),
    ):
        (tmp_path / "dfdc_faces224_split.csv").write_text(text)
        with pytest.raises(DataError, match=words):
            read_dataset("dfdc_faces", tmp_path)


# DeeperForensics, WildDeepfake


@pytest.fixture
def deeper(tmp_path):
    for variant in ("end_to_end", "end_to_end_level_1"):
        touch(tmp_path, f"manipulated_videos/{variant}/000_M101.mp4")
    touch(tmp_path, "source_videos/M101/BlendShape/M101_BlendShape_camera_front.mp4")
    for split, names in (("train", "000_M101.mp4"), ("test", "001_W002.mp4"), ("val", "")):
        path = tmp_path / "lists" / "splits" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(names + "\n")
    return tmp_path


def test_deeperforensics_variants_and_its_missing_real_part(deeper):
    scan = read_dataset("deeperforensics", deeper)
    keys = {e.key[1:] for e in scan.entries}
    assert keys == {("end_to_end", "000_M101"), ("end_to_end_level_1", "000_M101")}
    assert {(e.split, e.source_ids) for e in scan.entries} == {("train", ("000", "M101"))}
    assert any("001_W002.mp4" in line and "test" in line for line in scan.missing)
    assert any("to be had with FaceForensics++" in line for line in scan.missing)
    assert scan.strangers == ("source_videos (not the real part, as the authors say)",)


def test_deeperforensics_takes_its_targets_for_real(deeper):
    touch(deeper, "original_sequences/youtube/c23/videos/001.mp4")
    touch(deeper, "original_sequences/youtube/c40/videos/001.mp4")
    scan = read_dataset("deeperforensics", deeper)
    (real,) = (e for e in scan.entries if e.label == 0)
    assert (real.key.video_id, real.split, real.source_ids) == ("001", "test", ("001",))
    assert not any("no real video" in line for line in scan.missing)


@pytest.mark.parametrize("gap", ["_", " "])
def test_a_wilddeepfake_video_is_a_folder_of_crops(tmp_path, gap):
    real, fake = f"real{gap}train/0/real/3", f"fake{gap}test/0/fake/1"
    touch(tmp_path, f"{real}/1.png", f"{real}/2.png", f"{fake}/7.png")
    touch(tmp_path, f"{fake}/8.png", f"fake{gap}test/5/fake/2/0.png", content=b"")
    touch(tmp_path, f"fake{gap}test/0/real/1/1.png")
    scan = read_dataset("wilddeepfake", tmp_path)
    entries = by_id(scan)
    assert set(entries) == {("original", real), ("fake", fake)}
    assert entries["original", real].path == tmp_path / real
    assert entries["original", real].split == "train" and entries["fake", fake].split == "test"
    assert {e.crop_scale for e in scan.entries} == {1.0}
    assert all(" " not in source for e in scan.entries for source in e.source_ids)
    assert scan.missing == (
        f"fake{gap}test/5/fake/2 is empty (0 bytes)",
        f"{fake}: 1 pictures are empty (0 bytes)",
    )
    assert scan.strangers == (f"fake{gap}test/0/real/1",)


# DeepfakeBench's JSON


def bench_video(root, label, folder, separator="/", lead=""):
    """A record of DeepfakeBench, and its frames below `rgb`."""
    frames = [f"{folder}/{frame:03d}.png" for frame in range(2)]
    touch(root / "datasets" / "rgb", *frames)
    return {"label": label, "frames": [(lead + frame).replace("/", separator) for frame in frames]}


@pytest.mark.parametrize(("separator", "lead"), [("\\", ""), ("/", ""), ("\\", "./datasets/rgb/")])
def test_deepfakebench_with_separators_of_either_kind(tmp_path, separator, lead):
    def video(label, kind, name):
        folder = f"FaceForensics++/{kind}/c23/frames/{name}"
        return {name: bench_video(tmp_path, label, folder, separator, lead)}

    real, fake = "original_sequences/youtube", "manipulated_sequences/Deepfakes"
    content = {
        "FF-real": {
            "train": {"c23": video("FF-real", real, "071")},
            "val": {"c23": {}},
            "test": {"c23": video("FF-real", real, "000")},
        },
        "FF-DF": {
            "train": {"c23": video("FF-DF", fake, "071_054")},
            "test": {"c23": video("FF-DF", fake, "000_003")},
        },
    }
    path = tmp_path / "preprocessing" / "dataset_json" / "FF-DF.json"
    write_json(path, {"FF-DF": content})
    for root in (path, path.parent):
        scan = read_dataset("bench", root)
        entries = by_id(scan)
        assert scan.root == root and scan.missing == ()
        assert {(key[1], e.split) for key, e in entries.items()} == {
            ("FaceForensics++/071", "train"), ("FaceForensics++/000", "test"),
            ("FaceForensics++/071_054", "train"), ("FaceForensics++/000_003", "test"),
        }  # fmt: skip
        found = entries["FF-DF", "FaceForensics++/000_003"]
        assert (found.label, found.compression, found.crop_scale) == (1, "c23", 1.3)
        assert found.source_ids == ("000", "003")
        assert (found.path / "001.png").is_file()
        assert entries["original", "FaceForensics++/071"].label == 0


def test_a_bench_set_without_a_split_gets_none(tmp_path):
    videos = {}
    for label in ("UADFV_Real", "UADFV_Fake"):
        records = {
            f"{i:04d}{label[5:]}": bench_video(tmp_path, label, f"UADFV/{label}/{i}")
            for i in range(2)
        }
        videos[label] = dict.fromkeys(("train", "val", "test"), records)
    write_json(tmp_path / "UADFV.json", {"UADFV": videos})
    scan = read_dataset("uadfv", tmp_path / "UADFV.json")
    assert len(scan.entries) == 4 and {e.split for e in scan.entries} == {None}
    assert scan.official_split.startswith("none; no split for UADFV_Fake, UADFV_Real, listed alike")


def test_a_bench_test_list_that_stands_in_train_too_is_test(tmp_path):
    def video(label, folder, name):
        return {name: bench_video(tmp_path, label, f"Celeb-DF-v2/{folder}/frames/{name}")}

    label = "CelebDFv2_fake"
    tested = video(label, "Celeb-synthesis", "id0_id1_0000")
    others = video(label, "Celeb-synthesis", "id1_id2_0000")
    free = video(label, "Celeb-synthesis", "id3_id4_0000")
    gone = {"id5_id6_0000": {"label": label, "frames": []}}
    splits = {"train": tested | others | free, "val": tested, "test": tested | gone}
    write_json(tmp_path / "Celeb-DF-v2.json", {"Celeb-DF-v2": {label: splits}})
    scan = read_dataset("celeb", tmp_path / "Celeb-DF-v2.json")
    split_of = {e.key.video_id.rpartition("/")[2]: e.split for e in scan.entries}
    assert split_of == {"id0_id1_0000": "test", "id1_id2_0000": None, "id3_id4_0000": "train"}
    assert "none for videos that share people with test videos" in scan.official_split
    assert any("lists no frames: 1 of 4" in line for line in scan.missing)


def test_bench_methods_below_the_split_are_manipulations(tmp_path):
    label = "CelebDFv3_fake"
    record = bench_video(
        tmp_path, label, "Celeb-DF-v3/Celeb-synthesis/FaceSwap/GHOST/frames/id0_id1_0"
    )
    content = {label: {"test": {"GHOST": {"id0_id1_0": record}}}}
    write_json(tmp_path / "Celeb-DF-v3.json", {"Celeb-DF-v3": content})
    (entry,) = read_dataset("pp", tmp_path / "Celeb-DF-v3.json").entries
    assert entry.key == ("pp", "GHOST", "Celeb-DF-v3/id0_id1_0") and entry.compression == ""


def test_bench_frames_that_are_not_there(tmp_path):
    record = {"label": "FF-DF", "frames": ["FaceForensics++/x/000_003/000.png"]}
    write_json(tmp_path / "FF-DF.json", {"FF-DF": {"FF-DF": {"test": {"000_003": record}}}})
    with pytest.raises(InputError, match=r"rgb/FaceForensics\+\+/"):
        read_dataset("bench", tmp_path)
    write_json(tmp_path / "FF-DF.json", {"FF-DF": {"a.mp4": "b"}})
    with pytest.raises(DataError, match="not a data-set file of DeepfakeBench"):
        read_dataset("bench", tmp_path / "FF-DF.json")


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
