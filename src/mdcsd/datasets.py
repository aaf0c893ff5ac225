"""Data sets as downloaded -> a catalogue with splits, and what is missing from it.

An official split is taken as it is; what it leaves open is split by source ids, and that
split is written beside the data, so that it stays the same when videos come or go; those that
come later join the split of the people in them.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mdcsd import storage
from mdcsd.catalogue import read_catalogue
from mdcsd.errors import DataError, InputError
from mdcsd.nouns import SPLITS, VideoEntry
from mdcsd.sources import Scan, read_dataset
from mdcsd.splits import check_no_leak, place_late, split_videos

_SPLIT_COLUMNS = ("video", "split", "source_ids")


@dataclass(frozen=True)
class Scanned:
    """A data set with every video's split: `split_rule` says in words where they come from,
    `split_path` where the drawn ones are kept, None if nothing was drawn or could be written;
    then `is_split_lost` tells which.
    """

    scan: Scan
    entries: tuple[VideoEntry, ...]
    split_rule: str
    split_path: Path | None
    is_split_lost: bool = False

    @property
    def why_left_out(self) -> str:
        """Why videos are in no split."""
        if self.scan.root.suffix.lower() == ".csv":
            return "the catalogue gives them none"
        return "they share people with several splits, or the official list leaves them out"

    @property
    def n_left_out(self) -> int:
        """Videos in no split."""
        return sum(entry.split is None for entry in self.entries)


def scan_dataset(name: str, root: Path, seed: int) -> Scanned:
    """Read a data set, split what no official list places, and check that nothing leaks.

    `root` may be a catalogue.csv of an earlier scan, which is taken as it is.

    Raises: InputError if there is no such data set; DataError if one source id stands in two
        splits, or an official list came after the split that is kept.
    """
    if root.suffix.lower() == ".csv":
        chosen = tuple(e for e in read_catalogue(root) if e.key.dataset == name)
        if not chosen:
            raise InputError(f"{root}: no video of {name} in this catalogue.")
        check_no_leak(chosen)
        return Scanned(Scan(name, root, chosen, None, (), ()), chosen, "the catalogue", None)
    scan = read_dataset(name, root)
    rule = scan.official_split or ""
    if all(entry.split for entry in scan.entries):
        check_no_leak(scan.entries)
        return Scanned(scan, scan.entries, rule, None)
    # Named after the data set: FaceForensics++ and DFD share a root.
    path = (root if root.is_dir() else root.parent) / f"mdcsd_split_{name}.csv"
    before = _read_split(path)
    _check_not_overtaken(path, scan.entries, before)
    entries, drawn, is_new = _draw(scan.entries, before, seed)
    check_no_leak(entries)
    kept = _write_split(path, scan.entries, entries, before) if is_new else path
    rule = f"{rule}; the rest {drawn}" if rule else drawn
    return Scanned(scan, tuple(entries), rule, kept, is_split_lost=kept is None)


def _check_not_overtaken(
    path: Path, entries: Sequence[VideoEntry], kept: Mapping[str, _Kept]
) -> None:
    """Refuse a split drawn before an official list came that puts its people elsewhere."""
    split_of = {source: each.split for each in kept.values() for source in each.source_ids}
    for entry in entries:
        drawn = {split_of[source] for source in entry.source_ids if source in split_of}
        if entry.split and drawn - {None, entry.split}:
            raise DataError(
                f"{path}: drawn before an official list was there, which puts {entry.path} in "
                f"{entry.split}, and not its people in {', '.join(sorted(filter(None, drawn)))}. "
                "Remove it to draw the rest anew; what was trained by it has seen people of the "
                "official test."
            )


def _draw(
    entries: Sequence[VideoEntry], kept: Mapping[str, _Kept], seed: int
) -> tuple[list[VideoEntry], str, bool]:
    """Split what no official list places: as kept, and what came since then by the seed.

    Returns: the entries, how in words, and whether there is something new to keep.
    """
    by_ids = "by source ids, 80/10/10, "
    if not kept:
        return split_videos(entries, seed), f"{by_ids}seed {seed}", True
    placed = [
        replace(e, split=kept[_id(e)].split) if not e.split and _id(e) in kept else e
        for e in entries
    ]
    late = [i for i, e in enumerate(entries) if not e.split and _id(e) not in kept]
    official = {source for e in entries if e.split for source in e.source_ids}
    gone = {
        source: each.split for each in kept.values() if each.split for source in each.source_ids
    }
    for i, entry in zip(late, place_late(placed, late, official, gone, seed), strict=True):
        placed[i] = entry
    words = f"{by_ids}as kept"
    if late:
        words += f", {len(late)} video(s) that came later by the same rule, seed {seed}"
    return placed, words, bool(late)


def select(
    entries: Iterable[VideoEntry],
    split: str,
    manipulations: Sequence[str] = (),
    compression: str | None = None,
) -> list[VideoEntry]:
    """The videos of a split ("all": of every split and of none), manipulation and compression.

    A data set that states no compression has one only, and is taken whole.

    Returns: entries; where several compressions of a video are left, its id begins with the
        compression, so that no two rows have one key.

    Raises: DataError if nothing is left, saying what there is.
    """
    entries = list(entries)
    chosen = [
        entry
        for entry in entries
        if split in ("all", entry.split)
        and (not manipulations or entry.label == 0 or entry.key.manipulation in manipulations)
        and (compression is None or entry.compression in ("", compression))
    ]
    if not chosen:
        there = Counter((e.key.dataset, e.compression, e.split or "no split") for e in entries)
        known = "; ".join(f"{' '.join(filter(None, key))}: {n}" for key, n in there.items())
        raise DataError(
            f"no video of split {split}"
            + (f", compression {compression}" if compression else "")
            + f". There are {known}."
        )
    if len({entry.compression for entry in chosen}) > 1:
        return [_with_compression(entry) for entry in chosen]
    return chosen


def _with_compression(entry: VideoEntry) -> VideoEntry:
    video_id = f"{entry.compression}/{entry.key.video_id}"
    return replace(entry, key=entry.key._replace(video_id=video_id))


def count_table(scanned: Scanned) -> list[list[str]]:
    """Rows of (data set, manipulation, compression, videos in train, val, test, none, all)."""
    counts: Counter[tuple[str, str, str | None]] = Counter(
        (entry.key.manipulation, entry.compression, entry.split) for entry in scanned.entries
    )
    kinds = dict.fromkeys(
        (entry.key.manipulation, entry.compression)
        for entry in sorted(scanned.entries, key=lambda e: (e.label, e.key, e.compression))
    )
    rows = []
    for kind in kinds:
        splits = [counts[(*kind, split)] for split in (*SPLITS, None)]
        rows.append([scanned.scan.dataset, *kind, *map(str, splits), str(sum(splits))])
    return rows


def _id(entry: VideoEntry) -> str:
    return f"{entry.key.manipulation}/{entry.key.video_id}"


class _Kept(NamedTuple):
    """What is kept of a video, also of one that is gone: None is no split."""

    split: str | None
    source_ids: tuple[str, ...]


def _read_split(path: Path) -> dict[str, _Kept]:
    if not path.is_file():
        return {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error):
        rows = []
    if not rows or tuple(rows[0]) not in (_SPLIT_COLUMNS, _SPLIT_COLUMNS[:2]):
        raise DataError(f"{path}: not a split that mdcsd wrote. Remove it to draw one anew.")
    if any(len(row) != len(rows[0]) or row[1] not in ("", *SPLITS) for row in rows[1:]):
        raise DataError(f"{path}: a row is damaged. Remove it to draw the split anew.")
    return {row[0]: _Kept(row[1] or None, tuple("".join(row[2:]).split())) for row in rows[1:]}


def _write_split(
    path: Path,
    before: Sequence[VideoEntry],
    after: Sequence[VideoEntry],
    kept: Mapping[str, _Kept],
) -> Path | None:
    """Keep the drawn part of a split beside the data, also of videos that are gone for now.

    A read-only root keeps none.
    """
    rows = dict(kept) | {
        _id(new): _Kept(new.split, new.source_ids)
        for old, new in zip(before, after, strict=True)
        if not old.split
    }
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_SPLIT_COLUMNS)
    table.writerows(
        (video, each.split or "", " ".join(each.source_ids)) for video, each in sorted(rows.items())
    )
    try:
        storage.write_text(path, text.getvalue())
    except InputError:
        return None
    return path
