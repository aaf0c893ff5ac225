"""Which video is trained on, which validates, which is tested on.

No source id ever stands in two splits: videos that share one, directly or through a chain
of others (000_003 ties 000 to 003), are kept together.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mdcsd.catalogue import CATALOGUE_NAME
from mdcsd.crops import (
    UNLABELLED,
    CropSet,
    read_catalogued_crops,
    read_crop_folder,
    read_faceless,
    unjudged_video,
)
from mdcsd.errors import DataError
from mdcsd.nouns import SPLITS, CropEntry, VideoEntry, VideoKey

DRAWN_OF_CROPS = "80/10/10 by video"
"""How the rule of a split begins that was drawn of crops in class folders."""


def read_split_crops(
    directory: Path, crop_scale: float, seed: int, catalogue: Path | None = None
) -> tuple[CropSet, str]:
    """Read a folder or catalogue of crops; each gets a split.

    Args:
        crop_scale: of the crops that neither faces.csv nor a catalogue describes.
        seed: of the split where folders and catalogue name none.
        catalogue: which videos to take out of the folder, and their splits.

    Returns: the crops, and where the split comes from, in words.
    """
    own = directory / CATALOGUE_NAME
    if directory.suffix.lower() == ".csv" or own.is_file() or catalogue:
        crops = read_catalogued_crops(directory, catalogue)
        check_no_leak(crops.entries)
        return crops, "the catalogue"
    entries, rule = read_crop_folder(directory, crop_scale), "folders"
    n_crops, classes = len(entries), {entry.class_name for entry in entries}
    entries += [each for each in read_faceless(directory) if each.class_name in classes]
    if classes == {UNLABELLED}:
        rule = "none: images alone"
        entries = [replace(entry, split="test") for entry in entries]
    elif entries[0].split is None:
        rule = f"{DRAWN_OF_CROPS}, source ids kept together, seed {seed}"
        entries = assign_splits(entries, seed)
        _check_all_filled(entries[:n_crops])
    # Pairs (000_003) name people; another name may be used anew in every folder, and says nothing.
    if any(len(entry.source_ids) > 1 for entry in entries):
        check_no_leak(entries)
    found, faceless = entries[:n_crops], entries[n_crops:]
    unjudged = [(each.split, unjudged_video(each)) for each in faceless if each.split]
    return CropSet(found, unjudged, _names_in_two_splits(found)), rule


def _names_in_two_splits(entries: list[CropEntry]) -> list[str]:
    """Warn of videos of one name in two splits: they may be one video, or other ones."""
    splits: dict[VideoKey, set[str | None]] = defaultdict(set)
    for entry in entries:
        splits[entry.key].add(entry.split)
    names = sorted(key.video_id for key, of in splits.items() if len(of) > 1)
    if not names:
        return []
    return [
        f"{len(names)} video name(s) stand in two splits ({', '.join(names[:3])}): if they are the "
        "same videos, scores will be too good"
    ]


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


def _split_groups(
    groups: list[str], rng: random.Random, splits: Sequence[str] = SPLITS
) -> dict[str, str]:
    """Draw a tenth, one at least, for each split but train; too few groups train."""
    rng.shuffle(groups)
    held_out = [name for name in splits if name != "train"]
    tenth = max(1, round(len(groups) / 10)) if len(groups) > len(held_out) else 0
    names = [name for name in held_out for _ in range(tenth)]
    names += ["train"] * (len(groups) - len(names))
    return dict(zip(groups, names, strict=True))


def split_videos(entries: Sequence[VideoEntry], seed: int) -> list[VideoEntry]:
    """Split the videos of one data set that no official list places, identity-disjoint.

    Groups of videos that share source ids go 80/10/10. Where nearly everybody is tied to
    everybody (each actor's face put on each other), people are split instead, and a video of
    two people from two splits gets none. Where some videos are placed officially, in `test`
    say, those that share people with them get no split either, and the rest is divided
    among the splits that the list leaves open.

    Returns: the entries, in the order given; split None: left out.
    """
    placed = {source for e in entries if e.split for source in e.source_ids}
    open_splits = [name for name in SPLITS if name not in {e.split for e in entries}]
    free = [e for e in entries if not e.split and not placed & set(e.source_ids)]
    if not free or not open_splits:
        return list(entries)
    group_of = _tie({entry.source_ids for entry in free})
    sizes = Counter(group_of[entry.source_ids[0]] for entry in free)
    if max(sizes.values()) > len(free) / 2 and len(group_of) >= len(SPLITS):
        group_of = {source: source for source in group_of}  # one knot: split people, not groups
    rng = random.Random(f"{seed} videos")
    split_of_group = _split_groups(sorted(set(group_of.values())), rng, open_splits)
    split_of = {source: split_of_group[group] for source, group in group_of.items()}

    def place(entry: VideoEntry) -> VideoEntry:
        splits = {split_of.get(source) for source in entry.source_ids}
        return replace(entry, split=splits.pop()) if len(splits) == 1 else entry

    return [entry if entry.split else place(entry) for entry in entries]


def place_late(
    entries: Sequence[VideoEntry],
    late: Sequence[int],
    official: set[str],
    gone: Mapping[str, str],
    seed: int,
) -> list[VideoEntry]:
    """Split videos that came after the rest of their data set was split; nobody moves.

    A video whose people all stand in one split joins them. One with new people in it goes with
    all the late videos that are tied to it: where the known people among them stand, or, if all
    are new, where the seed and their names say, 80/10/10 by chance. What is tied to several
    splits, or to an official list, gets none.

    Args:
        entries: the data set's videos, with their splits.
        late: indices of those to place.
        official: source ids of the videos that an official list places.
        gone: split of source ids whose videos were there when the split was drawn.

    Returns: the late ones, in the order given.
    """
    taken = {e.split for e in entries if e.split and official & set(e.source_ids)}
    shares = {"train": 8, "val": 1, "test": 1}
    open_splits = [name for name in SPLITS if name not in taken]
    here = {source: e.split for e in entries if e.split for source in e.source_ids}
    split_of = {**gone, **here}
    people_of = {entries[i].source_ids for i in late}
    group_of = _tie(ids for ids in people_of if not set(ids) <= split_of.keys())
    members: dict[str, set[str]] = defaultdict(set)
    for source, group in group_of.items():
        members[group].add(source)

    def choose(entry: VideoEntry) -> str | None:
        people = set(entry.source_ids)
        if not people <= split_of.keys():
            people = members[group_of[entry.source_ids[0]]]
        known = {split_of[source] for source in people if source in split_of}
        if len(known) > 1 or people & official or not open_splits:
            return None
        if known:
            return known.pop()
        draw = random.Random(f"{seed} late {min(people)}")
        return draw.choices(open_splits, [shares[name] for name in open_splits])[0]

    return [replace(entries[i], split=choose(entries[i])) for i in late]


def check_no_leak(entries: Iterable[VideoEntry | CropEntry]) -> None:
    """Make sure that no source id of a data set stands in two splits.

    Raises: DataError naming the first id that does, and where.
    """
    seen: dict[tuple[str, str], VideoEntry | CropEntry] = {}
    for entry in entries:
        if entry.split is None:
            continue
        for source in entry.source_ids:
            first = seen.setdefault((entry.key.dataset, source), entry)
            if first.split != entry.split:
                raise _leak(source, first, entry)


def _leak(source: str, first: VideoEntry | CropEntry, second: VideoEntry | CropEntry) -> DataError:
    return DataError(
        f"source {source} stands in two splits: {first.path} is in {first.split}, {second.path} "
        f"in {second.split}. Move one, or scores will be too good."
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
