"""A folder of face crops -> catalogue entries: which crops, of which video, class and split."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mdcsd.catalogue import CATALOGUE_NAME, read_catalogue, video_name
from mdcsd.cut_journal import JOURNAL, journal_of, read_results
from mdcsd.errors import DataError, InputError
from mdcsd.inputs import IMAGE_SUFFIXES, find_media
from mdcsd.judging_nouns import UnjudgedVideo
from mdcsd.masks import tracks_under_mask
from mdcsd.nouns import ORIGINAL, SPLITS, CropEntry, VideoEntry, VideoKey

REAL_CLASS_NAMES = frozenset({"original", "real"})
UNLABELLED = "unlabelled"

# What process_frames writes: <video>_<frame:04d>[_t<track>]
_CROP_NAME = re.compile(r"^(?P<video>.+)_(?P<frame>\d{4,})(?:_t(?P<track>\d+))?$")
# FaceForensics++: 000 is an original, 000_003 the face of 003 put on 000.
_FFPP_NAME = re.compile(r"^(\d{3})(?:_(\d{3}))?$")


@dataclass(frozen=True)
class CropSet:
    """Crops, (split, video) of the videos in which no face was found, and what to warn of."""

    entries: list[CropEntry]
    unjudged: list[tuple[str, UnjudgedVideo]]
    warnings: list[str] = field(default_factory=list)


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


def read_faceless(directory: Path) -> list[CropEntry]:
    """Stand-ins for the videos that process_frames cut no crop of into a folder of class folders.

    Returns: an entry each, whose picture is not there, for `read_crop_folder`'s entries lack them.
    """
    names = [Path(result.video) for result in read_results(directory) if not result.rows]
    entries = []
    for name in names:
        split, class_name, below = _place(name)
        picture = below.with_name(f"{below.stem}_0000.png")
        entries.append(_from_name(directory / name, directory.name, split, class_name, picture))
    return entries


def unjudged_video(entry: CropEntry) -> UnjudgedVideo:
    """A video no face of which can be judged, by one of its crops or a stand-in."""
    manipulation = entry.key.manipulation
    is_real = manipulation.lower() in REAL_CLASS_NAMES
    label = -1 if manipulation == UNLABELLED else int(not is_real)
    identity = entry.source_ids[0] if entry.source_ids else ""
    return UnjudgedVideo(entry.key, label, manipulation, entry.compression, identity)


def read_catalogued_crops(path: Path, catalogue: Path | None = None) -> CropSet:
    """Catalogue the crops of a folder that process_frames made from a catalogue.csv, or the
    crops that a catalogue.csv itself names.

    Only the people under the mask of a manipulated video are of its class; the others are
    real (see `masks.tracks_under_mask`). A video without a crop is in `unjudged`.

    Args:
        path: the folder, or the catalogue.
        catalogue: takes the place of the folder's own; crops of other videos are left out.

    Raises: DataError if a crop belongs to no video of the folder's own catalogue, or
        process_frames has not come to some of its videos yet.
    """
    if path.is_file():
        videos = [video for video in read_catalogue(path) if video.crop_scale is not None]
        entries = [crop for video in videos for crop in _crops_in(video)]
    else:
        videos = read_catalogue(catalogue or path / CATALOGUE_NAME)
        named = {video_name(video): video for video in videos}
        _check_all_cut(path, named)
        entries = _cut_crops(path, named, leave_out=catalogue is not None)
    if not entries:
        raise InputError(f"{path}: no crop of a video of the catalogue. Run process_frames.py.")
    there = {(entry.key, entry.compression) for entry in entries}
    unjudged = [
        (video.split, UnjudgedVideo(
            video.key, video.label, video.key.manipulation, video.compression,
            video.source_ids[0] if video.source_ids else "",
        ))
        for video in videos
        if video.split and (video.key, video.compression) not in there
    ]  # fmt: skip
    labels = label_classes({entry.class_name for entry in entries})
    numbered = [replace(entry, label=labels[entry.class_name]) for entry in entries]
    _check_unique(numbered)
    return CropSet(numbered, unjudged)


def _check_all_cut(directory: Path, videos: dict[str, VideoEntry]) -> None:
    """Tell what was not cut yet from what has no face; a folder without journals is believed."""
    if not (directory / JOURNAL).is_dir():
        return
    wanted = [name for name, video in videos.items() if video.split]
    uncut = [name for name in wanted if not journal_of(directory, name).is_file()]
    if uncut:
        raise DataError(
            f"{directory}: {len(uncut)} of {len(wanted)} videos are not cut yet ({uncut[0]}). Run "
            "process_frames again with the same settings: it goes on where it stopped."
        )


def _cut_crops(directory: Path, videos: dict[str, VideoEntry], leave_out: bool) -> list[CropEntry]:
    """Crops by the rows of faces.csv; those of videos in no split are left out.

    Those of videos in no catalogue are left out too, or refused.
    """
    crops_of: dict[str, list[CropEntry]] = defaultdict(list)
    for name, row in _read_faces_csv(directory).items():
        video = videos.get(row["video"])
        if video is None and leave_out:
            continue
        if video is None:
            raise DataError(
                f"{directory / name}: its video {row['video']} is not in {CATALOGUE_NAME}. Cut "
                "each catalogue into a folder of its own."
            )
        if video.split:
            try:
                crop = _from_row(_of_video(video, directory / name), row)
            except (KeyError, ValueError) as error:
                raise DataError(f"{directory / 'faces.csv'}: {name}: {error}.") from None
            kept = replace(crop, key=video.key, source_ids=video.source_ids)
            crops_of[row["video"]].append(kept)
    return [
        crop
        for name in sorted(crops_of)
        for crop in (_tell_apart(crops_of[name]) if videos[name].label else crops_of[name])
    ]


def _tell_apart(crops: list[CropEntry]) -> list[CropEntry]:
    """Call the people of a manipulated video who are not under its mask real."""
    shares: dict[int, list[float | None]] = defaultdict(list)
    for crop in crops:
        shares[crop.track_id].append(crop.mask_share)
    altered = tracks_under_mask(shares)
    if altered is None:
        return crops
    return [
        crop if crop.track_id in altered else replace(crop, class_name=ORIGINAL) for crop in crops
    ]


def find_numbered(path: Path) -> list[tuple[int, Path]]:
    """Find the pictures of one video with their frame numbers, in order of these.

    Numbers are the files' names, if all are whole numbers, else their places by name.

    Raises: InputError if there is no picture.
    """
    paths = find_media(path, IMAGE_SUFFIXES)
    if all(each.stem.isdecimal() for each in paths):
        return sorted((int(each.stem), each) for each in paths)
    return list(enumerate(paths))


def _crops_in(video: VideoEntry) -> list[CropEntry]:
    """Crops that are a data set's own: a picture, or the pictures of a folder in order."""
    if not video.split:
        return []
    return [
        replace(_of_video(video, path), frame_index=number)
        for number, path in find_numbered(video.path)
    ]


def _of_video(video: VideoEntry, path: Path) -> CropEntry:
    return CropEntry(
        path=path,
        key=video.key,
        label=0,
        class_name=video.key.manipulation,
        split=video.split,
        source_ids=video.source_ids,
        frame_index=0,
        crop_scale=video.crop_scale,
        compression=video.compression,
    )


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
        mask_share=float(row["mask_share"]) if row.get("mask_share") else None,
        frames_sampled=int(row.get("frames_sampled") or 0),
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
    if "video" not in (table.fieldnames or ()):
        raise KeyError("video")
    for row in table:
        if None in row.values():
            raise DataError(
                f"{path}: line {table.line_num} is cut off. Run process_frames.py again."
            )
        yield row
