"""Data sets whose labels stand in a list, a table or a JSON file: miniature trees of each."""

from __future__ import annotations

import json

import pytest

from mdcsd.errors import DataError, InputError
from mdcsd.nouns import SPLITS
from mdcsd.source_lists import read_dfdc_faces
from mdcsd.sources import read_dataset


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


def test_the_lists_validation_people_are_cut_in_two(tmp_path):
    head = "videoname,label,original,original_width_px,identity_cluster,split\n"
    people = [*range(8), 10, 11]
    rows = "".join(f"v{p}.mp4,real,,130,{p},{'train' if p < 4 else 'val'}\n" for p in people)
    (tmp_path / "dfdc_faces224_split.csv").write_text(head + rows)
    touch(tmp_path, *(f"faces_224/v{p}.jpg" for p in people))
    split_of = {e.source_ids[0]: e.split for e in read_dataset("dfdc_faces", tmp_path).entries}
    expected = {p: "train" if p < 4 else ("test" if p % 2 else "val") for p in people}
    assert split_of == {f"identity-{p}": split for p, split in expected.items()}


def test_the_real_list_shares_nobody_between_its_three_parts(media):
    rows = read_dfdc_faces(media.parent / "data" / "dfdc_faces224_split.csv")
    people = {split: {row.source_ids[0] for row in rows if row.split == split} for split in SPLITS}
    assert all(people.values())
    assert not people["train"] & people["val"]
    assert not people["train"] & people["test"]
    assert not people["val"] & people["test"]


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
