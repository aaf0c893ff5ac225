"""The crops of one split -> TFRecord shards and an index.

<DIRECTORY>[_color]_<representation>_<split>_tf/
    data.tfrecords             or data-00000-of-00004.tfrecords ... above the size limit
    index.json                 written last: a folder without it is unfinished
    .partial/                  finished shards of an unfinished run, each with its note;
                               the next run goes on behind them
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from threading import local
from typing import Any

from mdcsd import storage
from mdcsd.config import PrepareDatasetConfig
from mdcsd.crops import unjudged_video
from mdcsd.errors import DataError, MediaError
from mdcsd.faces import FaceFinder
from mdcsd.judging_nouns import UnjudgedVideo
from mdcsd.nouns import CropEntry, FloatImage, FrameKey, RgbArray
from mdcsd.pictures import read_image
from mdcsd.records import FORMAT_VERSION, FaceRecord, Kind, encode_float_list, encode_record
from mdcsd.representation import represent, to_luma
from mdcsd.shard_set import INDEX_NAME, broken_shards
from mdcsd.tfrecord import ShardWriter


@dataclass(frozen=True)
class PreparedSplit:
    """One data-set folder: `counts` of records by class, `failed` images with the reason."""

    split: str
    folder: Path
    counts: dict[str, int]
    n_videos: int
    n_shards: int
    resumed: bool
    failed: tuple[str, ...]


def dataset_folder(config: PrepareDatasetConfig, split: str) -> Path:
    """Name a split's folder: `<DIRECTORY>[_color]_<representation>_<split>_tf`."""
    directory = Path(config.directory).resolve()
    parent = Path(config.output) if config.output else directory.parent
    color = "_color" if config.color else ""
    name = directory.stem if directory.suffix == ".csv" else directory.name
    return parent / f"{name}{color}_{config.representation}_{split}_tf"


class SplitWriter:
    """Writes the records of one split."""

    def __init__(
        self,
        config: PrepareDatasetConfig,
        split: str,
        split_rule: str,
        entries: list[CropEntry],
        labels: dict[str, int],
        unjudged: list[UnjudgedVideo],
    ) -> None:
        """Shuffle the crops by the seed, and say what the records will depend on."""
        self.config = config
        self.split = split
        self.split_rule = split_rule
        self.entries = list(entries)
        random.Random(f"{config.seed} {split}").shuffle(self.entries)
        self.labels = labels
        self.unjudged = unjudged
        self.kinds = sorted({_kind(entry) for entry in entries})
        self.folder = dataset_folder(config, split)
        self.partial = self.folder / ".partial"
        self.fingerprint = self._fingerprint()

    def run(self, progress: Callable[[int], None]) -> PreparedSplit:
        """Write what is missing, then the index."""
        done = self._finished()
        if done is not None:
            progress(len(self.entries))
            return self._summary(done, resumed=True)
        storage.make_folder(self.folder)
        notes = self._usable_notes()
        try:
            while not notes or notes[-1]["next_entry"] < len(self.entries):
                self._write_shard(notes, progress)
        except BaseException:
            if not notes:  # nothing to go on with: leave no trace, nor harm what was there
                shutil.rmtree(self.partial, ignore_errors=True)
                if not any(self.folder.iterdir()):
                    self.folder.rmdir()
            raise
        index = self._index(notes)
        self._publish(notes)
        storage.write_json(self.folder / INDEX_NAME, index)
        shutil.rmtree(self.partial, ignore_errors=True)
        return self._summary(index, resumed=False)

    def _fingerprint(self) -> str:
        """What the records depend on: settings, classes, and each image's name, size and date."""
        kept = asdict(self.config)
        for name in ("directory", "output", "catalogue", "workers"):
            del kept[name]
        facts = (FORMAT_VERSION, kept, sorted(self.labels.items()), self.unjudged)
        digest = hashlib.sha256(repr(facts).encode())
        for entry in self.entries:
            stat = entry.path.stat()
            digest.update(repr((entry, stat.st_size, stat.st_mtime_ns)).encode())
        return digest.hexdigest()

    def _finished(self) -> dict[str, Any] | None:
        path = self.folder / INDEX_NAME
        if not path.is_file():
            return None
        index: dict[str, Any] = storage.read_json(path)
        same = index["fingerprint"] == self.fingerprint
        return index if same and not broken_shards(self.folder, index) else None

    def _usable_notes(self) -> list[dict[str, Any]]:
        """Notes of the shards that an interrupted run of the same job completed."""
        notes: list[dict[str, Any]] = []
        while (path := self._shard(len(notes)).with_suffix(".json")).is_file():
            note = storage.read_json(path)
            if note["fingerprint"] != self.fingerprint or not self._shard(len(notes)).is_file():
                break
            notes.append(note)
        if not notes:
            shutil.rmtree(self.partial, ignore_errors=True)
        return notes

    def _shard(self, number: int) -> Path:
        return self.partial / f"{number:05d}.tfrecords"

    def _write_shard(self, notes: list[dict[str, Any]], progress: Callable[[int], None]) -> None:
        """Fill the next shard, and note it; a last one of unreadable images is no shard."""
        number, start = len(notes), notes[-1]["next_entry"] if notes else 0
        counts: Counter[str] = Counter()
        kinds: list[int] = []
        shapes = {tuple(shape) for note in notes for shape in note["shapes"]}
        videos: set[str] = set()
        failed: list[str] = []
        position = start
        with storage.writing(self._shard(number)) as file:
            writer = ShardWriter(file)
            for entry, content, shape_or_error in self._encoded(start):
                if content is None:
                    failed.append(str(shape_or_error))
                else:
                    writer.write(content)
                    counts[entry.class_name] += 1
                    kinds.append(self.kinds.index(_kind(entry)))
                    shapes.add(tuple(shape_or_error))
                    self._check_shapes(entry, shapes)
                    videos.add("/".join(entry.key))
                position += 1
                progress(position)
                if writer.n_bytes >= self.config.shard_mb * 1_000_000:
                    break
        if not counts:
            self._shard(number).unlink()
            if not notes:
                raise DataError(f"{self.config.directory}: no image can be read: {failed[0]}")
            notes[-1].update(next_entry=position, failed=notes[-1]["failed"] + failed)
            return
        note = {
            "fingerprint": self.fingerprint,
            "next_entry": position,
            "counts": counts,
            "kinds": kinds,
            "shapes": sorted(shapes),
            "videos": sorted(videos),
            "failed": failed,
            "bytes": self._shard(number).stat().st_size,
            "sha256": storage.sha256_of(self._shard(number)),
        }
        storage.write_json(self._shard(number).with_suffix(".json"), note)
        notes.append(note)

    def _encoded(self, start: int) -> Iterator[tuple[CropEntry, bytes | None, Any]]:
        """Encode entries in order, a few ahead of the writer, on several threads."""
        n_threads = self.config.workers or os.cpu_count() or 1
        with ThreadPoolExecutor(n_threads) as pool:
            source = islice(self.entries, start, None)
            waiting = [
                (entry, pool.submit(self._encode, entry)) for entry in islice(source, 4 * n_threads)
            ]
            try:
                while waiting:
                    entry, future = waiting.pop(0)
                    for following in islice(source, 1):
                        waiting.append((following, pool.submit(self._encode, following)))
                    yield entry, *future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _encode(self, entry: CropEntry) -> tuple[bytes | None, Any]:
        """(bytes, shape) of an entry's record, or (None, the reason it cannot be read)."""
        try:
            rgb = read_image(entry.path)
        except MediaError as error:
            return None, str(error)
        pixels = rgb if self.config.color else to_luma(rgb)
        image = represent(pixels, self.config.representation)
        scale = entry.crop_scale or self.config.crop_scale
        record = FaceRecord(
            image=image,
            representation=self.config.representation,
            key=FrameKey(*entry.key, entry.track_id, entry.frame_index),
            label=entry.label,
            class_name=entry.class_name,
            source_ids=entry.source_ids,
            compression=entry.compression,
            time_s=entry.time_s,
            box_xyxy_px=entry.box_xyxy_px,
            confidence=entry.confidence,
            crop_scale=scale,
            frames_sampled=entry.frames_sampled,
            landmarks_xy=self._landmarks(rgb, scale) if entry.label == 0 else None,
        )
        encode = encode_float_list if self.config.float_list else encode_record
        return encode(record), image.shape

    def _landmarks(self, rgb: RgbArray, crop_scale: float) -> FloatImage | None:
        if not self.config.landmarks or rgb.shape[0] != rgb.shape[1]:
            return None
        found = _finder_of_thread().landmarks_in_crop(rgb, crop_scale)
        return None if found is None else found / rgb.shape[0]

    def _check_shapes(self, entry: CropEntry, shapes: set[tuple[int, ...]]) -> None:
        """Coefficients of unlike sizes or of oblong pictures cannot share a network."""
        if self.config.representation == "raw":
            return
        height, width, _ = next(iter(shapes))
        if len(shapes) > 1 or height != width:
            sizes = ", ".join(f"{shape[1]}x{shape[0]}" for shape in sorted(shapes))
            raise DataError(
                f"{entry.path}: DCT coefficients need square crops of one size, found {sizes}. "
                "Cut them with process_frames.py, or prepare with --raw."
            )

    def _index(self, notes: list[dict[str, Any]]) -> dict[str, Any]:
        counts = sum((Counter(note["counts"]) for note in notes), Counter[str]())
        shapes = {tuple(shape) for note in notes for shape in note["shapes"]}
        videos = sorted({video for note in notes for video in note["videos"]})
        class_names = _numbered(self.labels)
        lost = {entry.key: entry for entry in self.entries if "/".join(entry.key) not in videos}
        return {
            "format_version": FORMAT_VERSION,
            "layout": "float_list" if self.config.float_list else "mdcsd",
            "dataset": self.entries[0].key.dataset,
            "split": self.split,
            "split_by": self.split_rule,
            "seed": self.config.seed,
            "representation": self.config.representation,
            "channels": 3 if self.config.color else 1,
            "crop_scale": self.entries[0].crop_scale,
            "shape": list(shapes.pop()) if len(shapes) == 1 else None,
            "class_names": class_names,
            "counts": {name: counts.get(name, 0) for name in class_names},
            "n_videos": len(videos),
            "kinds": self.kinds,
            "shards": [
                {
                    "name": _shard_name(i, len(notes)),
                    "bytes": note["bytes"],
                    "sha256": note["sha256"],
                    "kinds": note["kinds"],
                }
                for i, note in enumerate(notes)
            ],
            "failed": [reason for note in notes for reason in note["failed"]],
            "videos": videos,
            "unjudged": [
                asdict(video) for video in (*self.unjudged, *map(unjudged_video, lost.values()))
            ],
            "fingerprint": self.fingerprint,
        }

    def _publish(self, notes: list[dict[str, Any]]) -> None:
        (self.folder / INDEX_NAME).unlink(missing_ok=True)
        for stale in self.folder.glob("data*.tfrecords"):
            stale.unlink()
        for number in range(len(notes)):
            self._shard(number).rename(self.folder / _shard_name(number, len(notes)))

    def _summary(self, index: dict[str, Any], resumed: bool) -> PreparedSplit:
        return PreparedSplit(
            self.split, self.folder, index["counts"], index["n_videos"], len(index["shards"]),
            resumed, tuple(index["failed"]),
        )  # fmt: skip


_threads = local()


def _finder_of_thread() -> FaceFinder:
    """This thread's models, loaded at its first face: an interpreter serves one at a time."""
    if not hasattr(_threads, "finder"):
        _threads.finder = FaceFinder()
    finder: FaceFinder = _threads.finder
    return finder


def _kind(entry: CropEntry) -> Kind:
    return Kind(entry.key.manipulation, entry.class_name)


def _numbered(labels: dict[str, int]) -> list[str]:
    """Class names by label; a label that no class has (0 without a real class) is named so."""
    names = {label: name for name, label in labels.items()}
    return [names.get(label, "original") for label in range(max(names) + 1)]


def _shard_name(number: int, n_shards: int) -> str:
    return "data.tfrecords" if n_shards == 1 else f"data-{number:05d}-of-{n_shards:05d}.tfrecords"
