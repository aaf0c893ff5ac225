"""Folders -> catalogue entries: which files are there, of which video, class and split."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mdcsd.errors import DataError, InputError
from mdcsd.nouns import CropEntry, VideoKey
from mdcsd.video import IMAGE_SUFFIXES, find_media

SPLITS = ("train", "val", "test")
REAL_CLASS_NAMES = frozenset({"original", "real"})
UNLABELLED = "unlabelled"

# What process_frames writes: <video>_<frame:04d>[_t<track>]
_CROP_NAME = re.compile(r"^(?P<video>.+)_(?P<frame>\d{4,})(?:_t(?P<track>\d+))?$")
# FaceForensics++: 000 is an original, 000_003 the face of 003 put on 000.
_FFPP_NAME = re.compile(r"^(\d{3})(?:_(\d{3}))?$")


def read_crop_folder(directory: Path, crop_scale: float) -> list[CropEntry]:
    """Catalogue a folder of face crops.

    Layouts: class folders, split/class, class/split (train, val, test), or images alone,
    which get the class `unlabelled`. Below its class a crop may lie in further folders; they
    belong to its video's name. `faces.csv` at the root is believed where it names a crop;
    otherwise the file's name is parsed.

    Args:
        crop_scale: what to assume of crops that faces.csv does not describe.

    Returns: entries sorted by path. Label 0 is the class `original` or `real`; the others
        follow in alphabetical order from 1.

    Raises: InputError if there are no images; DataError if there are two real classes, or
        some classes are split and others not.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder. Expected a folder of face crops.")
    described = _read_faces_csv(directory)
    paths = find_media(directory, IMAGE_SUFFIXES)
    placed = [(path, *_place(path.relative_to(directory))) for path in paths]
    if len({split is None for _, split, _, _ in placed}) > 1:
        raise DataError(
            f"{directory}: some images lie in train/val/test folders and some do not. Put all of "
            "them into split folders, or none."
        )
    labels = label_classes({class_name for _, _, class_name, _ in placed})
    if UNLABELLED in labels and len(labels) > 1:
        loose = next(path for path, _, class_name, _ in placed if class_name == UNLABELLED)
        raise DataError(
            f"{loose}: lies outside the class folders ({', '.join(sorted(labels))}). Move it into "
            "one of them, or away."
        )
    entries = []
    for path, split, class_name, below in placed:
        entry = _from_name(path, directory.name, split, class_name, below)
        row = described.get(path.relative_to(directory).as_posix())
        if described and row is None:
            raise DataError(
                f"{path}: not in {directory / 'faces.csv'}: left by another run, or moved. Remove "
                "it, or remove faces.csv to go by the files' names and --crop_scale."
            )
        entry = replace(entry, label=labels[class_name], crop_scale=crop_scale)
        try:
            entries.append(_from_row(entry, row) if row else entry)
        except (KeyError, ValueError) as error:
            raise DataError(f"{directory / 'faces.csv'}: {path.name}: {error}.") from None
    _check_unique(entries)
    return entries


def label_classes(class_names: set[str]) -> dict[str, int]:
    """Number the classes: the real one is 0, the others follow in alphabetical order.

    Without a real class numbers start at 1; `unlabelled` alone is 0.

    Raises: DataError if two classes claim to be real.
    """
    real = sorted(name for name in class_names if name.lower() in REAL_CLASS_NAMES | {UNLABELLED})
    if len(real) > 1:
        raise DataError(f"two classes of real faces ({', '.join(real)}). Merge their folders.")
    fakes = sorted(class_names - set(real))
    return {name: 0 for name in real} | {name: i for i, name in enumerate(fakes, start=1)}


def parse_source_ids(video_id: str) -> tuple[str, ...]:
    """Name the originals a video is made of: FF++'s `000_003` has two, others have themselves."""
    name = video_id.rpartition("/")[2]
    match = _FFPP_NAME.match(name)
    return tuple(part for part in match.groups() if part) if match else (name,)


def _check_unique(entries: list[CropEntry]) -> None:
    seen: dict[tuple[object, ...], Path] = {}
    for entry in entries:
        key = (entry.key, entry.split, entry.track_id, entry.frame_index)
        first = seen.setdefault(key, entry.path)
        if first != entry.path:
            raise DataError(
                f"{first} and {entry.path} are the same face of the same frame (video "
                f"{entry.key.video_id}, frame {entry.frame_index}). Remove or rename one."
            )


def _place(relative: Path) -> tuple[str | None, str, Path]:
    """(split, class, path below both) of an image's path below the root."""
    folders = list(relative.parts[:-1])
    split = next((name for name in folders[:2] if name in SPLITS), None)
    if split:
        folders.remove(split)
    class_name = folders.pop(0) if folders else UNLABELLED
    return split, class_name, Path(*folders, relative.name)


def _from_name(
    path: Path, dataset: str, split: str | None, class_name: str, below: Path
) -> CropEntry:
    """Read video, frame and track off a file name; a name of digits alone is a frame number."""
    folder, stem = below.parent, below.stem
    match = _CROP_NAME.match(stem)
    if match:
        video = (folder / match["video"]).as_posix()
        frame, track = int(match["frame"]), int(match["track"] or 0)
    elif stem.isdigit() and folder.parts:
        video, frame, track = folder.as_posix(), int(stem), 0
    else:
        video, frame, track = (folder / stem).as_posix(), 0, 0
    return CropEntry(
        path=path,
        key=VideoKey(dataset, class_name, video),
        label=0,
        class_name=class_name,
        split=split,
        source_ids=parse_source_ids(video),
        frame_index=frame,
        track_id=track,
    )


def _from_row(entry: CropEntry, row: dict[str, str]) -> CropEntry:
    """Take from faces.csv what it says of a crop; ValueError if a field is no number."""
    _, _, below = _place(Path(row["video"]))
    video = below.with_suffix("").as_posix()
    return replace(
        entry,
        key=entry.key._replace(video_id=video),
        source_ids=parse_source_ids(video),
        frame_index=int(row["frame"]),
        time_s=float(row["time_s"]),
        track_id=int(row["track"]),
        box_xyxy_px=(float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"])),
        confidence=float(row["confidence"]),
        crop_scale=float(row["crop_scale"]),
    )


def _read_faces_csv(directory: Path) -> dict[str, dict[str, str]]:
    path = directory / "faces.csv"
    if not path.is_file():
        return {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {row["path"]: row for row in _complete_rows(path, csv.DictReader(file))}
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a faces.csv of process_frames.py ({error}).") from None


def _complete_rows(path: Path, table: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    for row in table:
        if None in row.values():
            raise DataError(
                f"{path}: line {table.line_num} is cut off. Run process_frames.py again."
            )
        yield row
