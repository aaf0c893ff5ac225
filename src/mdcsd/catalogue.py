"""catalogue.csv: which videos there are, of which class, split and compression.

`mdcsd datasets scan` writes one out of data sets as downloaded; process_frames reads it in
place of a folder of videos and leaves it beside the crops, so that prepare_dataset knows what
each crop shows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable
from pathlib import Path

from mdcsd import storage
from mdcsd.errors import DataError, InternalError, nearest
from mdcsd.nouns import SPLITS, VideoEntry, VideoKey

CATALOGUE_NAME = "catalogue.csv"
CATALOGUE_COLUMNS = (
    "dataset", "manipulation", "video_id", "label", "split", "source_ids", "compression", "path",
    "mask_path", "crop_scale",
)  # fmt: skip


def write_catalogue(path: Path, entries: Iterable[VideoEntry]) -> None:
    """Write entries as CSV, paths absolute, source ids joined by spaces.

    Raises: DataError if two videos have one name: one would be taken for the other.
    """
    entries = list(entries)
    _check_unique(path, entries)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CATALOGUE_COLUMNS)
    for entry in entries:
        mask = entry.mask_path.resolve() if entry.mask_path else ""
        scale = "" if entry.crop_scale is None else entry.crop_scale
        table.writerow(
            (*entry.key, entry.label, entry.split or "", " ".join(entry.source_ids),
             entry.compression, entry.path.resolve(), mask, scale)
        )  # fmt: skip
    storage.write_text(path, text.getvalue())


def read_catalogue(path: Path) -> list[VideoEntry]:
    """Read what `write_catalogue` wrote.

    Raises: DataError naming the line, if it is no such file, or the videos, if two have one name.
    """
    entries = _read_rows(path)
    _check_unique(path, entries)
    return entries


def _read_rows(path: Path) -> list[VideoEntry]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = set(CATALOGUE_COLUMNS) - set(table.fieldnames or ())
            if missing:
                raise DataError(
                    f"{path}: not a catalogue (no column {', '.join(sorted(missing))}). Make one "
                    "by: mdcsd datasets scan NAME=ROOT --output catalogue.csv"
                )
            return [_read_row(path, table.line_num, row) for row in table]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a catalogue ({error}).") from None


def _check_unique(path: Path, entries: Iterable[VideoEntry]) -> None:
    first: dict[tuple[VideoKey, str], VideoEntry] = {}
    for entry in entries:
        other = first.setdefault((entry.key, entry.compression), entry)
        if other is not entry:
            raise DataError(
                f"{path}: {other.path} and {entry.path} are both {'/'.join(entry.key)}. Give each "
                "data set a NAME of its own, or rename one of them."
            )


def _read_row(path: Path, line: int, row: dict[str, str]) -> VideoEntry:
    try:
        if row["split"] not in ("", *SPLITS):
            raise ValueError(f"split {row['split']!r}")
        return VideoEntry(
            path=Path(row["path"]),
            key=VideoKey(row["dataset"], row["manipulation"], row["video_id"]),
            label=int(row["label"]),
            split=row["split"] or None,
            source_ids=tuple(row["source_ids"].split()),
            compression=row["compression"],
            mask_path=Path(row["mask_path"]) if row["mask_path"] else None,
            crop_scale=float(row["crop_scale"]) if row["crop_scale"] else None,
        )
    except (ValueError, TypeError, AttributeError, InternalError) as error:
        raise DataError(f"{path}: line {line}: {error}. Scan the data set again.") from None


def add_to_catalogue(path: Path, entries: Iterable[VideoEntry]) -> None:
    """Write entries into a catalogue that may be there already; newer ones replace older."""
    known = {video_name(entry): entry for entry in (read_catalogue(path) if path.exists() else ())}
    known |= {video_name(entry): entry for entry in entries}
    write_catalogue(path, [known[name] for name in sorted(known)])


def check_manipulations(source: str, wanted: Iterable[str], there: Collection[str]) -> None:
    """Refuse the name of a manipulation that there is not.

    Raises: DataError naming the nearest one.
    """
    for name in wanted:
        if name not in there:
            raise DataError(f"{source}: no manipulation {name}.{nearest(name, there)}")


def video_name(entry: VideoEntry) -> str:
    """Name an entry's crops: dataset/compression/manipulation/video_id and the file's ending.

    A key does not hold the compression, and one tree holds several.
    """
    folder = "/".join(part for part in (entry.key.dataset, entry.compression) if part)
    return f"{folder}/{entry.key.manipulation}/{entry.key.video_id}{entry.path.suffix}"
