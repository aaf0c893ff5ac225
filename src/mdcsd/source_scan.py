"""What a scan of a data set's folder finds, and how files are matched with what lists say."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mdcsd.nouns import ORIGINAL, VideoEntry, VideoKey


@dataclass(frozen=True)
class Scan:
    """What lies in one data set's folder.

    `dataset` is the user's name for it; `entries` are sorted by key and compression.
    `official_split` says in words where splits come from, None where the data set has none.
    `missing` are lines on what a split or metadata names and is not there, or is empty;
    `strangers` are files below the root that the layout does not explain: said, not read.
    """

    dataset: str
    root: Path
    entries: tuple[VideoEntry, ...]
    official_split: str | None
    missing: tuple[str, ...]
    strangers: tuple[str, ...]


class Listed(NamedTuple):
    """One video that a list names; `path` is relative to the data set's root.

    It is empty where DeepfakeBench names a video without frames.
    """

    path: str
    manipulation: str
    video_id: str
    split: str | None
    source_ids: tuple[str, ...]
    compression: str = ""


@dataclass
class Found:
    """A scan while it grows; `files` are paths below the root and their sizes in bytes."""

    dataset: str
    root: Path
    files: dict[str, int]
    entries: list[VideoEntry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def sift(
        self, describe: Callable[[str], Listed | None], crop_scale: float | None = None
    ) -> None:
        """Sort the files into videos, empty ones and strangers."""
        for path in sorted(self.files):
            row = describe(path)
            if row is None:
                self.strangers.append(path)
            elif self.files[path] == 0:
                self.missing.append(f"{path} is empty (0 bytes)")
            else:
                self.add(row, crop_scale)

    def add(self, row: Listed, crop_scale: float | None = None) -> None:
        """Take a video in."""
        # A catalogue joins ids with spaces.
        people = tuple("-".join(source.split()) for source in row.source_ids)
        key = VideoKey(self.dataset, row.manipulation, row.video_id)
        label = int(row.manipulation != ORIGINAL)
        path = self.root / row.path
        self.entries.append(
            VideoEntry(path, key, label, row.split, people, row.compression, None, crop_scale)
        )

    def lack(self, where: str, absent: Collection[str], n_named: int) -> None:
        """Say in one line what a list names and is not there."""
        if absent:
            some = ", ".join(sorted(absent)[:3]) + (", ..." if len(absent) > 3 else "")
            self.missing.append(
                f"{where}: {len(absent)} of {n_named} videos are not there ({some})"
            )

    def lack_rows(self, rows: Iterable[Listed], there: Collection[str], who: str) -> None:
        """Say what a list names and is not there, a line a folder and split."""
        named: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in rows:
            folder = row.path.rpartition("/")[0]
            named[folder or ".", f"{who}, {row.split}" if row.split else who].append(row.path)
        for (folder, words), paths in sorted(named.items()):
            absent = [path.rpartition("/")[2] for path in paths if path not in there]
            self.lack(f"{folder} ({words})", absent, len(paths))

    def scan(self, official_split: str | None) -> Scan:
        """Sort, and keep one file a video: `raw` and `c0` are two names of one folder."""
        if self.entries and all(entry.label for entry in self.entries):
            self.missing.append("no real video: without one no AUC can be computed")
        kept: dict[tuple[VideoKey, str], VideoEntry] = {}
        for entry in sorted(self.entries, key=lambda one: one.path):
            first = kept.setdefault((entry.key, entry.compression), entry)
            if first is not entry:
                place = entry.path.relative_to(self.root)
                self.strangers.append(f"{place} (the same video as {first.path.name} was read)")
        entries = tuple(kept[key] for key in sorted(kept))
        missing, strangers = tuple(self.missing), tuple(sorted(self.strangers))
        return Scan(self.dataset, self.root, entries, official_split, missing, strangers)


def walk(root: Path, suffixes: Collection[str], skip: Collection[str] = ()) -> dict[str, int]:
    """List the files below a folder that end in one of the suffixes, and their sizes in bytes.

    Links are followed, each folder once; hidden files are left out, and so are the folders
    `skip` right below the root. A broken link counts as empty.

    Returns: paths below the root, with forward slashes.
    """
    sizes: dict[str, int] = {}
    folders, seen = [""], {os.path.realpath(root)}
    while folders:
        above = folders.pop()
        with os.scandir(root / above) as items:
            for item in items:
                path = f"{above}{item.name}"
                if item.name.startswith(".") or path in skip:
                    continue
                if item.is_dir():
                    place = os.path.realpath(item.path)
                    if place not in seen:
                        seen.add(place)
                        folders.append(f"{path}/")
                elif os.path.splitext(item.name)[1].lower() in suffixes:
                    sizes[path] = _size(item)
    return sizes


def _size(item: os.DirEntry[str]) -> int:
    try:
        return item.stat().st_size
    except OSError:
        return 0
