"""Face crops as records: what a data set on disk holds, and what its index.json says.

One record = one encoded crop or its coefficients, and all that is known of its video.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mdcsd import storage
from mdcsd.config import Representation
from mdcsd.errors import DataError, RecordError, nearest
from mdcsd.judging_nouns import UnjudgedVideo
from mdcsd.nouns import BoxXyxy, FrameKey, VideoKey
from mdcsd.pictures import decode_png, encode_png
from mdcsd.tfrecord import FeatureValue, ShardReader, decode_example, encode_example

FORMAT_VERSION = 1
INDEX_NAME = "index.json"


PixelArray = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class FaceRecord:
    """One face crop as a data set keeps it.

    `image` uint8 (H, W, C) for `raw`, C 1 (luma) or 3 (RGB); float32 (H, W, C) coefficients
    for the DCT representations. `label` 0 is real. `box_xyxy_px` None: not known.
    """

    image: PixelArray
    representation: Representation
    key: FrameKey
    label: int
    class_name: str
    source_ids: tuple[str, ...] = ()
    compression: str = ""
    time_s: float = 0.0
    box_xyxy_px: BoxXyxy | None = None
    confidence: float = 1.0
    crop_scale: float = 1.0


@dataclass(frozen=True)
class FloatListFacts:
    """What the original layout (image, label, shape) leaves out; the paper's crop scale is 1.3."""

    representation: Representation = "raw"
    crop_scale: float = 1.3
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShardSet:
    """A data set on disk: what its index.json says, or a scan of a single file.

    `counts` holds the number of records of each class of `class_names`; `shape` is (H, W, C)
    of every image, None where they differ. `fingerprint` changes with the records' bytes.
    `unjudged` are videos of the set in which no face was found; `split` is None where nothing
    says. `dropped` classes are left out when it is read, see `keep_manipulations`.
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
    dropped: frozenset[str] = frozenset()

    @property
    def facts(self) -> FloatListFacts:
        """What float_list records of this set do not say."""
        return FloatListFacts(self.representation, self.crop_scale, self.class_names)


def encode_record(record: FaceRecord) -> bytes:
    """Encode a record as the bytes of a `tf.train.Example`.

    Pixels are kept as PNG, coefficients as float32 in little endian, zlib-compressed.
    """
    key = record.key
    pixels = record.representation == "raw"
    features: dict[str, FeatureValue] = {
        "image": encode_png(cast(Any, record.image)) if pixels else _encode_floats(record.image),
        "representation": [record.representation],
        "shape": np.array(record.image.shape, np.int64),
        "label": np.array([record.label], np.int64),
        "class_name": [record.class_name],
        "dataset": [key.dataset],
        "manipulation": [key.manipulation],
        "video_id": [key.video_id],
        "track_id": np.array([key.track_id], np.int64),
        "frame_index": np.array([key.frame_index], np.int64),
        "source_ids": list(record.source_ids),
        "compression": [record.compression],
        "time_s": np.array([record.time_s], np.float32),
        "confidence": np.array([record.confidence], np.float32),
        "crop_scale": np.array([record.crop_scale], np.float32),
        "format_version": np.array([FORMAT_VERSION], np.int64),
    }
    if record.box_xyxy_px is not None:
        features["box"] = np.array(record.box_xyxy_px, np.float32)
    return encode_example(features)


def encode_float_list(record: FaceRecord) -> bytes:
    """Encode a record in the layout of the paper's repository, for its readers.

    `image` float_list (H * W * C), `label` int64, `shape` int64[3], and nothing else.
    """
    return encode_example(
        {
            "image": record.image.astype(np.float32).ravel(),
            "label": np.array([record.label], np.int64),
            "shape": np.array(record.image.shape, np.int64),
        }
    )


def decode_record(content: bytes, number: int, facts: FloatListFacts | None = None) -> FaceRecord:
    """Decode an Example that `encode_record` or `encode_float_list` wrote.

    Args:
        content: the Example's bytes.
        number: position in its data set; of a float_list record, which has no other identity,
            it becomes the video's name.
        facts: what a float_list record does not say itself.

    Raises: RecordError if a feature is missing, or of a format version later than ours.
    """
    features = decode_example(content)
    try:
        shape = tuple(int(side) for side in features["shape"])
        label = int(features["label"][0])
        if "format_version" not in features:
            return _old_record(features["image"], shape, label, number, facts or FloatListFacts())
        if int(features["format_version"][0]) > FORMAT_VERSION:
            raise RecordError(
                f"record {number} has format version {int(features['format_version'][0])}, this "
                f"mdcsd reads up to {FORMAT_VERSION}. Update mdcsd."
            )
        return _our_record(features, shape, label)
    except (KeyError, IndexError, ValueError, zlib.error) as error:
        raise RecordError(
            f"record {number} is not a face record ({type(error).__name__}: {error}). Run "
            "prepare_dataset.py again."
        ) from None


def open_shards(path: Path) -> ShardSet:
    """Open a data-set folder (by its index.json) or a single .tfrecords file (by reading it).

    Raises: DataError if it is neither, or unfinished, or made by a later version.
    """
    if path.is_dir():
        return _from_index(path)
    if not path.exists():
        raise DataError(f"{path}: no such data set. Expected a *_tf folder or a .tfrecords file.")
    return _from_scan(path)


def keep_manipulations(shards: ShardSet, kept: tuple[str, ...]) -> ShardSet:
    """Leave out every manipulation but some; the real faces stay. None named: all stay.

    Raises: DataError naming those that there are, if one is unknown.
    """
    if not kept:
        return shards
    fakes = shards.class_names[1:]
    for name in kept:
        if name not in fakes:
            raise DataError(f"{shards.path}: no manipulation {name}.{nearest(name, fakes)}")
    dropped = frozenset(fakes) - set(kept)
    counts = tuple(
        0 if name in dropped else count
        for name, count in zip(shards.class_names, shards.counts, strict=True)
    )
    unjudged = tuple(video for video in shards.unjudged if video.class_name not in dropped)
    return replace(shards, counts=counts, unjudged=unjudged, dropped=dropped)


def read_class_name(content: bytes, facts: FloatListFacts) -> str:
    """Read a record's class without decoding its picture."""
    features = decode_example(content)
    if "class_name" in features:
        return cast(bytes, features["class_name"][0]).decode()
    label = int(features["label"][0])
    return facts.class_names[label] if label < len(facts.class_names) else str(label)


def _encode_floats(image: PixelArray) -> bytes:
    return zlib.compress(np.ascontiguousarray(image, "<f4").tobytes(), level=1)


def _our_record(features: dict[str, Any], shape: tuple[int, ...], label: int) -> FaceRecord:
    def text(name: str) -> str:
        return cast(bytes, features[name][0]).decode()

    representation = cast(Representation, text("representation"))
    content = features["image"][0]
    image: PixelArray
    if representation == "raw":
        image = decode_png(content, shape[2])
    else:
        image = np.frombuffer(zlib.decompress(content), "<f4").reshape(shape)
    key = FrameKey(
        text("dataset"),
        text("manipulation"),
        text("video_id"),
        int(features["track_id"][0]),
        int(features["frame_index"][0]),
    )
    box = features.get("box")
    return FaceRecord(
        image=image,
        representation=representation,
        key=key,
        label=label,
        class_name=text("class_name"),
        source_ids=tuple(each.decode() for each in features["source_ids"]),
        compression=text("compression"),
        time_s=float(features["time_s"][0]),
        box_xyxy_px=None if box is None else cast(BoxXyxy, tuple(float(edge) for edge in box)),
        confidence=float(features["confidence"][0]),
        crop_scale=round(float(features["crop_scale"][0]), 6),
    )


def _old_record(
    values: Any, shape: tuple[int, ...], label: int, number: int, facts: FloatListFacts
) -> FaceRecord:
    image = np.asarray(values, np.float32).reshape(shape)
    if facts.representation == "raw":
        image = image.round().clip(0, 255).astype(np.uint8)
    names = facts.class_names
    name = names[label] if label < len(names) else str(label)
    key = FrameKey("float_list", name, f"record {number}", 0, 0)
    return FaceRecord(image, facts.representation, key, label, name, crop_scale=facts.crop_scale)


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
