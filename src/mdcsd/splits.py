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

_SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def assign_splits(entries: list[CropEntry], seed: int) -> list[CropEntry]:
    """Split entries 80/10/10 by groups of videos that share source ids.

    Groups are drawn in an order that only the seed and the ids decide; each goes to the
    split furthest below its share of the groups, so three groups already fill all splits.

    Returns: the entries, in the order given, each with its split.
    """
    groups = _tie({entry.source_ids for entry in entries})
    names = sorted(set(groups.values()))
    random.Random(seed).shuffle(names)
    split_of, counts = {}, dict.fromkeys(SPLITS, 0)
    for name in names:
        split = min(SPLITS, key=lambda each: counts[each] / _SHARES[each])
        split_of[name] = split
        counts[split] += 1
    return [replace(entry, split=split_of[groups[entry.source_ids[0]]]) for entry in entries]


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
