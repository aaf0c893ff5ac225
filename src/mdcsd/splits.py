"""Which video is trained on, which validates, which is tested on.

No source id ever stands in two splits: videos that share one, directly or through a chain
of others (000_003 ties 000 to 003), are kept together.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from mdcsd.errors import DataError
from mdcsd.nouns import CropEntry
from mdcsd.sources import SPLITS


def assign_splits(entries: list[CropEntry], seed: int) -> list[CropEntry]:
    """Split entries 80/10/10 by groups of videos that share source ids.

    Groups with the same classes in them are split among themselves, so that no split lacks
    a class; which group goes where only the seed and the ids decide.

    Returns: the entries, in the order given, each with its split.

    Raises: DataError if there are too few groups for each split to have every class.
    """
    group_of = _tie({entry.source_ids for entry in entries})
    classes: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        classes[group_of[entry.source_ids[0]]].add(entry.class_name)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for group in sorted(classes):
        strata[tuple(sorted(classes[group]))].append(group)
    split_of: dict[str, str] = {}
    for stratum in sorted(strata):
        split_of |= _split_groups(strata[stratum], random.Random(f"{seed} {stratum}"))
    placed = [replace(entry, split=split_of[group_of[entry.source_ids[0]]]) for entry in entries]
    _check_all_filled(placed)
    return placed


def _check_all_filled(entries: list[CropEntry]) -> None:
    there = {(entry.class_name, entry.split) for entry in entries}
    for name in sorted({entry.class_name for entry in entries}):
        if not all((name, split) in there for split in SPLITS):
            example = next(entry for entry in entries if entry.class_name == name)
            raise DataError(
                f"class {name}: too few independent videos for train, val and test (files are "
                f"read as VIDEO_FRAME.png, {example.path.name} as video {example.key.video_id}). "
                "Put the images into train/, val/ and test/ yourself."
            )


def _split_groups(groups: list[str], rng: random.Random) -> dict[str, str]:
    """Draw a tenth, one at least, for val and for test; fewer than three groups train."""
    rng.shuffle(groups)
    tenth = max(1, round(len(groups) / 10)) if len(groups) >= len(SPLITS) else 0
    names = ["val"] * tenth + ["test"] * tenth + ["train"] * (len(groups) - 2 * tenth)
    return dict(zip(groups, names, strict=True))


def check_no_leak(entries: Iterable[CropEntry]) -> None:
    """Make sure that no source id stands in two splits, where ids are known.

    They are where videos are named as pairs (000_003); elsewhere a name may be used anew in
    every split, and says nothing.

    Raises: DataError naming the first id that does, and where.
    """
    seen: dict[str, CropEntry] = {}
    entries = list(entries)
    if not any(len(entry.source_ids) > 1 for entry in entries):
        return
    for entry in entries:
        for source in entry.source_ids:
            first = seen.setdefault(source, entry)
            if first.split != entry.split:
                raise DataError(
                    f"source {source} stands in two splits: {first.path} is in {first.split}, "
                    f"{entry.path} in {entry.split}. Move one, or scores will be too good."
                )


def _tie(tuples: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """Group ids that occur together: id -> the group's first id (union-find)."""
    parent: dict[str, str] = {}

    def root(source: str) -> str:
        while parent.setdefault(source, source) != source:
            source = parent[source]
        return source

    for ids in tuples:
        first, *others = sorted(root(source) for source in ids)
        for other in others:
            parent[root(other)] = root(first)
    members = defaultdict(list)
    for source in list(parent):
        members[root(source)].append(source)
    return {source: min(group) for group in members.values() for source in group}
