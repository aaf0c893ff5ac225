"""A data set of records on disk: what its index.json says, and which of its records are read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from mdcsd import storage
from mdcsd.catalogue import check_manipulations
from mdcsd.config import Representation
from mdcsd.errors import DataError
from mdcsd.judging_nouns import UnjudgedVideo
from mdcsd.nouns import IntArray, VideoKey
from mdcsd.records import (
    FLOAT_LIST,
    FORMAT_VERSION,
    FaceRecord,
    FloatListFacts,
    Kind,
    decode_record,
    read_kind,
)
from mdcsd.tfrecord import ShardReader

INDEX_NAME = "index.json"


@dataclass(frozen=True)
class ShardSet:
    """A data set on disk: what its index.json says, or a scan of a single file.

    `counts` holds the number of records of each class of `class_names`; `shape` is (H, W, C)
    of every image, None where they differ. `fingerprint` changes with the records' bytes.
    `unjudged` are videos of the set in which no face was found; `split` is None where nothing
    says. `kinds` are the pairs of manipulation and class that occur, `kind_numbers` says of
    which of them each record is, shard after shard; None where the index does not say (it
    was made by mdcsd 0.2 or earlier). Records of `dropped` manipulations are left out when it
    is read, see `keep_manipulations`. `split_rule` says in words who split it. Records of a
    `float_list` set are named by number: what a class is, only its index says.
    """

    path: Path
    name: str
    shards: tuple[Path, ...]
    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    representation: Representation
    channels: int
    crop_scale: float
    shape: tuple[int, int, int] | None
    fingerprint: str
    unjudged: tuple[UnjudgedVideo, ...] = ()
    split: str | None = None
    kinds: tuple[Kind, ...] = ()
    kind_numbers: tuple[int, ...] | None = None
    dropped: frozenset[str] = frozenset()
    split_rule: str | None = None
    is_float_list: bool = False

    @property
    def facts(self) -> FloatListFacts:
        """What float_list records of this set do not say."""
        return FloatListFacts(self.representation, self.crop_scale, self.class_names)

    @property
    def manipulations(self) -> frozenset[str]:
        """Those of its records, and of its videos without any."""
        unjudged = {video.key.manipulation for video in self.unjudged if video.label == 1}
        return frozenset(self.class_names[1:]) | unjudged

    @cached_property
    def kind_of(self) -> list[Kind]:
        """Manipulation and class of every record; from the records where no index says."""
        if self.kind_numbers is not None:
            return [self.kinds[number] for number in self.kind_numbers]
        readers = map(ShardReader, self.shards)
        return [read_kind(each.read(i), self.facts) for each in readers for i in range(len(each))]

    def kept(self, n_records: int) -> IntArray:
        """Numbers of the records that are read, int64 (N,)."""
        if not self.dropped:
            return np.arange(n_records)
        kinds = enumerate(self.kind_of)
        return np.array([i for i, kind in kinds if kind.manipulation not in self.dropped], np.int64)


def open_shards(path: Path) -> ShardSet:
    """Open a data-set folder (by its index.json) or a single .tfrecords file (by reading it).

    A file that an index.json beside it names is opened by that: only the index says which split
    it is, and which videos have no face.

    Raises: DataError if it is neither, or unfinished, one part of several, or made by a later
        version.
    """
    if path.is_dir():
        return _from_index(path)
    if not path.exists():
        raise DataError(f"{path}: no such data set. Expected a *_tf folder or a .tfrecords file.")
    if (path.parent / INDEX_NAME).is_file():
        indexed = _from_index(path.parent)
        if indexed.shards == (path,):
            return indexed
        if path in indexed.shards:
            raise DataError(
                f"{path}: one of {len(indexed.shards)} parts of a data set. Give its folder."
            )
    return _from_scan(path)


def check_split(shards: ShardSet, purpose: str, kept: tuple[str, ...], right: str) -> None:
    """Refuse what is kept for judging: figures of it would flatter.

    Args:
        purpose: what it was about to be used for, "trained on".
        kept: the splits that must not be.
        right: the split to give instead.

    Raises: DataError.
    """
    if shards.split in kept:
        raise DataError(
            f"{shards.path}: the {shards.split} split, which must not be {purpose}. Give the "
            f"{right} split."
        )


def join_shards(sets: Sequence[ShardSet]) -> ShardSet:
    """Make one data set of several, read one behind the other.

    The first says which classes there are; a set of real faces alone fits any.

    Raises: DataError if they hold unlike things, or a class that the first does not have.
    """
    first = sets[0]
    for other in sets[1:]:
        _check_joins(first, other)
    kinds = tuple(dict.fromkeys(kind for each in sets for kind in each.kind_of))
    number_of = {kind: number for number, kind in enumerate(kinds)}
    tally = Counter(kind.class_name for each in sets for kind in each.kind_of)
    shapes = {each.shape for each in sets}
    return replace(
        first,
        name=" + ".join(each.name for each in sets),
        shards=tuple(shard for each in sets for shard in each.shards),
        counts=tuple(tally[name] for name in first.class_names),
        shape=first.shape if len(shapes) == 1 else None,
        fingerprint=_digest(each.fingerprint for each in sets),
        unjudged=tuple(video for each in sets for video in each.unjudged),
        kinds=kinds,
        kind_numbers=tuple(number_of[kind] for each in sets for kind in each.kind_of),
    )


def _check_joins(first: ShardSet, other: ShardSet) -> None:
    for what in ("representation", "channels", "crop_scale"):
        here, there = getattr(first, what), getattr(other, what)
        if here != there:
            raise DataError(
                f"{other.path}: {what} {there}, {first.path} has {here}. Prepare both with the "
                "same flags."
            )
    n_classes = len(other.class_names)
    if other.is_float_list and other.class_names != first.class_names[:n_classes]:
        raise DataError(
            f"{other.path}: classes {', '.join(other.class_names)}, {first.path} has "
            f"{', '.join(first.class_names)}, and float_list records know them by number alone. "
            "Prepare it again without --float-list."
        )
    unknown = {kind.class_name for kind in other.kind_of} - set(first.class_names)
    if unknown:
        raise DataError(
            f"{other.path}: class {', '.join(sorted(unknown))} is not among those of "
            f"{first.path} ({', '.join(first.class_names)}). Name the classes alike."
        )


def keep_manipulations(shards: ShardSet, wanted: tuple[str, ...]) -> ShardSet:
    """Leave out every manipulation but some; real videos stay. None named: all stay.

    The video's manipulation decides, not the face's class: the real people of an unwanted
    two-person fake go with it, for without its altered face it would be a real video.

    Raises: DataError naming those that there are, if one is unknown.
    """
    if not wanted:
        return shards
    check_manipulations(str(shards.path), wanted, shards.manipulations)
    return drop_manipulations(shards, shards.manipulations - set(wanted))


def drop_manipulations(shards: ShardSet, dropped: frozenset[str]) -> ShardSet:
    """Leave the videos of some manipulations out, with all people in them."""
    if not dropped:
        return shards
    tally = Counter(kind.class_name for kind in shards.kind_of if kind.manipulation not in dropped)
    return replace(
        shards,
        counts=tuple(tally[name] for name in shards.class_names),
        unjudged=tuple(v for v in shards.unjudged if v.key.manipulation not in dropped),
        dropped=dropped,
    )


def _from_index(folder: Path) -> ShardSet:
    index_path = folder / INDEX_NAME
    if not index_path.is_file():
        raise DataError(
            f"{folder}: no {INDEX_NAME}: not a data set, or an unfinished one. Run "
            "prepare_dataset.py, and pass the *_tf folder that it prints."
        )
    index = storage.read_json(index_path)
    try:
        return _described(folder, index)
    except (KeyError, TypeError) as error:
        raise DataError(f"{index_path}: lacks {error}. Run prepare_dataset.py again.") from None


def _described(folder: Path, index: dict[str, Any]) -> ShardSet:
    if index["format_version"] > FORMAT_VERSION:
        raise DataError(f"{folder}: format version {index['format_version']}. Update mdcsd.")
    for path in broken_shards(folder, index):
        raise DataError(f"{path}: missing, or of another size than indexed. Copy it again.")
    return ShardSet(
        path=folder,
        name=folder.name,
        shards=tuple(folder / shard["name"] for shard in index["shards"]),
        class_names=tuple(index["class_names"]),
        counts=tuple(index["counts"][name] for name in index["class_names"]),
        representation=index["representation"],
        channels=index["channels"],
        crop_scale=index["crop_scale"],
        shape=None if index["shape"] is None else cast(Any, tuple(index["shape"])),
        fingerprint=_digest(shard["sha256"] for shard in index["shards"]),
        split=index.get("split"),
        split_rule=index.get("split_by"),
        is_float_list=index.get("layout") == "float_list",
        kinds=tuple(Kind(*pair) for pair in index.get("kinds", ())),
        kind_numbers=tuple(n for shard in index["shards"] for n in shard["kinds"])
        if "kinds" in index
        else None,
        unjudged=tuple(
            UnjudgedVideo(**{**video, "key": VideoKey(*video["key"])})
            for video in index.get("unjudged", ())
        ),
    )


def broken_shards(folder: Path, index: dict[str, Any]) -> list[Path]:
    """List the shards of an index that are missing or of another size than it says."""
    sizes = {folder / shard["name"]: shard["bytes"] for shard in index["shards"]}
    return [p for p, size in sizes.items() if not p.is_file() or p.stat().st_size != size]


def _from_scan(path: Path) -> ShardSet:
    """Describe a single file; a float_list file is described by the name of its folder."""
    reader = ShardReader(path)
    facts = FloatListFacts(representation_of(path))
    names: dict[int, str] = {}
    tally: dict[int, int] = {}
    shapes, scales = set(), set()
    record: FaceRecord | None = None
    for number in range(len(reader)):
        record = decode_record(reader.read(number), number, facts)
        names[record.label] = record.class_name
        tally[record.label] = tally.get(record.label, 0) + 1
        shapes.add(cast(tuple[int, int, int], record.image.shape))
        scales.add(record.crop_scale)
    if record is None or len({shape[2] for shape in shapes}) != 1 or len(scales) != 1:
        raise DataError(f"{path}: records of unlike channels or crop scales. Prepare it again.")
    labels = range(max(names) + 1)
    return ShardSet(
        path=path,
        name=path.resolve().parent.name if path.stem.startswith("data") else path.stem,
        shards=(path,),
        class_names=tuple(names.get(label, str(label)) for label in labels),
        counts=tuple(tally.get(label, 0) for label in labels),
        representation=record.representation,
        channels=record.image.shape[2],
        crop_scale=record.crop_scale,
        shape=shapes.pop() if len(shapes) == 1 else None,
        fingerprint=_digest([storage.sha256_of(path)]),
        is_float_list=record.key.dataset == FLOAT_LIST,
    )


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def representation_of(path: Path) -> Representation:
    """Read the representation off a data set's folder name, as the paper's repository names it."""
    folder = path.parent.name if path.suffix else path.name
    for known in ("dct_log_scaled", "dct", "raw"):
        if f"_{known}_" in folder:
            return known
    return "raw"
