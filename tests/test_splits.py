"""Splits: nobody stands in two of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import save_noise
from mdcsd.crops import parse_source_ids
from mdcsd.errors import DataError
from mdcsd.nouns import CropEntry, VideoEntry, VideoKey
from mdcsd.splits import (
    assign_splits,
    check_no_leak,
    place_late,
    read_split_crops,
    split_videos,
)


def entry(video, split=None, manipulation="original"):
    return CropEntry(
        path=Path(f"{manipulation}/{video}_0000.png"),
        key=VideoKey("set", manipulation, video),
        label=int(manipulation != "original"),
        class_name=manipulation,
        split=split,
        source_ids=parse_source_ids(video),
        frame_index=0,
    )


def ffpp(n_pairs):
    """FaceForensics++'s shape: originals a, b and fakes a_b, b_a of two manipulations."""
    entries = []
    for pair in range(n_pairs):
        a, b = f"{2 * pair:03d}", f"{2 * pair + 1:03d}"
        entries += [entry(a), entry(b)]
        for manipulation in ("Deepfakes", "FaceSwap"):
            entries += [
                entry(f"{a}_{b}", None, manipulation),
                entry(f"{b}_{a}", None, manipulation),
            ]
    return entries


@given(st.integers(3, 40), st.integers(0, 5))
def test_no_source_stands_in_two_splits_and_all_splits_are_filled(n_pairs, seed):
    entries = assign_splits(ffpp(n_pairs), seed)
    check_no_leak(entries)
    assert {e.split for e in entries} == {"train", "val", "test"}
    shares = [sum(e.split == split for e in entries) / len(entries) for split in ("val", "test")]
    if n_pairs >= 10:
        assert all(0.04 <= share <= 0.16 for share in shares)


@given(st.permutations(range(6)))
def test_the_order_of_files_does_not_matter(order):
    entries = ffpp(6)
    groups = [entries[6 * i : 6 * i + 6] for i in order]
    shuffled = assign_splits([e for group in groups for e in group], seed=1)
    expected = {e.path: e.split for e in assign_splits(entries, seed=1)}
    assert {e.path: e.split for e in shuffled} == expected


def test_another_seed_is_another_split():
    first, second = ([e.split for e in assign_splits(ffpp(20), seed)] for seed in (0, 1))
    assert first != second


def test_a_chain_of_pairs_stays_together():
    entries = [entry("000_001"), entry("001_002"), entry("002_003"), entry("010"), entry("011"),
               entry("012")]  # fmt: skip
    split = {e.key.video_id: e.split for e in assign_splits(entries, 0)}
    assert len({split[name] for name in ("000_001", "001_002", "002_003")}) == 1


def test_a_leak_is_named():
    entries = [entry("000_001", "train", "Deepfakes"), entry("001", "test")]
    with pytest.raises(DataError, match="source 001 stands in two splits"):
        check_no_leak(entries)


def test_names_used_anew_in_every_folder_are_no_leak_but_pairs_are(tmp_path):
    for split in ("train", "test"):
        save_noise(tmp_path / "plain" / split / "original" / "img_0000.png", 0)
    crops, _ = read_split_crops(tmp_path / "plain", 1.3, 0)
    assert "1 video name(s) stand in two splits (img)" in crops.warnings[0]
    for split, name in (("train", "original/001"), ("test", "Deepfakes/001_002")):
        save_noise(tmp_path / "pairs" / split / f"{name}_0000.png", 0)
    with pytest.raises(DataError, match="source 001 stands in two splits"):
        read_split_crops(tmp_path / "pairs", 1.3, 0)


def test_too_few_videos_to_split_are_refused_with_advice():
    with pytest.raises(DataError, match=r"original: too few independent.*train/, val/ and test/"):
        assign_splits([entry("a"), entry("b")], 0)


def video(name: str, ids: tuple[str, ...], split: str | None = None) -> VideoEntry:
    key = VideoKey("set", "swap" if len(ids) > 1 else "original", name)
    return VideoEntry(Path(name), key, int(len(ids) > 1), split, ids)


def test_everybody_tied_to_everybody_splits_people():
    """DFD: each actor's face on each other; pairs across splits are in none."""
    actors = [f"{i:02d}" for i in range(28)]
    videos = [video(a, (a,)) for a in actors]
    videos += [video(f"{a}_{b}", (a, b)) for a in actors for b in actors if a != b]
    placed = split_videos(videos, seed=0)
    check_no_leak(placed)
    counts = Counter(each.split for each in placed if each.label == 0)
    assert counts == {"train": 22, "val": 3, "test": 3}
    assert all(
        (each.split is None) == (len({of[source] for source in each.source_ids}) > 1)
        for of in [{each.source_ids[0]: each.split for each in placed if each.label == 0}]
        for each in placed
    )


def test_what_shares_people_with_an_official_test_list_is_left_out():
    """Trap: Celeb-DF's test people stand in its other videos too."""
    videos = [video("id0_0000", ("id0",), "test"), video("id0_id1_0001", ("id0", "id1"))]
    videos += [video(f"id{i}_0000", (f"id{i}",)) for i in range(1, 30)]
    placed = {each.key.video_id: each.split for each in split_videos(videos, seed=0)}
    assert placed["id0_id1_0001"] is None
    assert set(placed.values()) == {"train", "val", "test", None}
    assert [name for name, split in placed.items() if split == "test"] == ["id0_0000"]


def test_a_person_in_two_splits_is_an_error():
    """Trap: the same source in train and test."""
    with pytest.raises(DataError, match="source 003 stands in two splits"):
        check_no_leak([video("003", ("003",), "train"), video("000_003", ("000", "003"), "test")])


def test_a_leak_of_catalogued_crops_is_found_without_pairs():
    """Trap: DFDC's fakes carry one id, their original's; two splits share it unnoticed."""
    crops = [replace(entry(name, split), source_ids=("aaa",)) for name, split in
             (("aaa", "train"), ("bbb", "test"))]  # fmt: skip
    with pytest.raises(DataError, match="source aaa stands in two splits"):
        check_no_leak(crops)
    other = replace(crops[1], key=crops[1].key._replace(dataset="another"))
    check_no_leak([crops[0], other])  # the same name in another data set is somebody else


def late_ids(videos: list[VideoEntry], official: set[str] = frozenset()) -> list[str | None]:
    late = [i for i, each in enumerate(videos) if each.split is None]
    return [each.split for each in place_late(videos, late, set(official), {}, seed=0)]


def test_videos_that_come_later_join_their_people():
    videos = [video("a1", ("a",), "train"), video("b1", ("b",), "test"), video("c1", ("c",), "val")]
    late = [video("a2", ("a",)), video("a_b", ("a", "b")), video("b_new", ("b", "new")),
            video("new", ("new",))]  # fmt: skip
    assert late_ids([*videos, *late]) == ["train", None, "test", "test"]
    assert late_ids([*videos, *late], {"a"}) == [None, None, "test", "test"]


def test_new_people_are_drawn_each_by_themselves():
    known = [video("a", ("a",), "train")]
    new = [video(f"n{i}", (f"n{i}",)) for i in range(400)]
    drawn = late_ids([*known, *new])
    counts = Counter(drawn)
    assert 290 <= counts["train"] <= 350 and counts["val"] > 15 and counts["test"] > 15
    assert late_ids([*known, *new[200:]]) == drawn[200:]  # whoever else comes


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_late_videos_never_leak(pairs):
    kept = [video(f"k{i}", (str(i),), ("train", "val", "test")[i % 3]) for i in range(5)]
    late = [video(f"l{i}", tuple(map(str, dict.fromkeys(pair)))) for i, pair in enumerate(pairs)]
    placed = place_late([*kept, *late], range(5, 5 + len(late)), set(), {}, seed=1)
    check_no_leak([*kept, *placed])
