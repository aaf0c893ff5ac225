"""Splits: nobody stands in two of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcsd.crops import parse_source_ids
from mdcsd.errors import DataError
from mdcsd.nouns import CropEntry, VideoKey
from mdcsd.splits import assign_splits, check_no_leak


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


def test_names_used_anew_in_every_split_are_no_leak():
    check_no_leak([entry("img", "train"), entry("img", "test")])


def test_too_few_videos_to_split_are_refused_with_advice():
    with pytest.raises(DataError, match=r"original: too few independent.*train/, val/ and test/"):
        assign_splits([entry("a"), entry("b")], 0)
