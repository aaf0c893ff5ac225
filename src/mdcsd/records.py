"""Face crops as records: the bytes of one, and back.

One record = one encoded crop or its coefficients, and all that is known of its video.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from mdcsd.config import Representation
from mdcsd.errors import RecordError
from mdcsd.nouns import BoxXyxy, FloatImage, FrameKey
from mdcsd.pictures import decode_png, encode_png
from mdcsd.tfrecord import FeatureValue, decode_example, encode_example

FORMAT_VERSION = 1
FLOAT_LIST = "float_list"  # the data set of records in the original layout, which name none

PixelArray = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class FaceRecord:
    """One face crop as a data set keeps it.

    `image` uint8 (H, W, C) for `raw`, C 1 (luma) or 3 (RGB); float32 (H, W, C) coefficients
    for the DCT representations. `label` 0 is real. `box_xyxy_px` None: not known.
    `landmarks_xy` float32 (468, 2), FaceMesh order, in units of the crop's side (0, 0 is its
    upper left corner); None where nobody looked, or no face was found.
    `frames_sampled` counts the frames of its video that were looked at, with and without a
    face; 0: not known.
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
    frames_sampled: int = 0
    landmarks_xy: FloatImage | None = None

    @property
    def identity(self) -> str:
        """The person or original video whose picture it is; empty where it is not known."""
        return self.source_ids[0] if self.source_ids else ""

    @property
    def person(self) -> str:
        """The identity and its data set: the same name in two is two people; empty if unknown."""
        return _person(self.key.dataset, self.identity)


class Kind(NamedTuple):
    """What a record is of: its video's manipulation, and its face's class.

    They differ for the real people of a manipulated video.
    """

    manipulation: str
    class_name: str


@dataclass(frozen=True)
class FloatListFacts:
    """What the original layout (image, label, shape) leaves out; the paper's crop scale is 1.3."""

    representation: Representation = "raw"
    crop_scale: float = 1.3
    class_names: tuple[str, ...] = ()


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
        "frames_sampled": np.array([record.frames_sampled], np.int64),
        "format_version": np.array([FORMAT_VERSION], np.int64),
    }
    if record.box_xyxy_px is not None:
        features["box"] = np.array(record.box_xyxy_px, np.float32)
    if record.landmarks_xy is not None:
        features["landmarks"] = record.landmarks_xy.ravel()
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


def read_kind(content: bytes, facts: FloatListFacts) -> Kind:
    """Read what a record is of without decoding its picture."""
    features = decode_example(content)
    if "class_name" in features:
        manipulation, name = (
            cast(bytes, features[each][0]).decode() for each in ("manipulation", "class_name")
        )
        return Kind(manipulation, name)
    name = _old_class(int(features["label"][0]), facts)
    return Kind(name, name)


def read_person(content: bytes) -> tuple[str, bool]:
    """Read who is in a record, of which data set, and whether it has landmarks.

    Nobody is the empty text; the same name in two data sets is two people.
    """
    features = decode_example(content)
    first = [
        cast(bytes, next(iter(features.get(each, ())), b"")).decode()
        for each in ("dataset", "source_ids")
    ]
    return _person(*first), "landmarks" in features


def _person(dataset: str, identity: str) -> str:
    return f"{dataset}/{identity}" if identity else ""


def read_landmarks(content: bytes) -> FloatImage | None:
    """Read a record's landmarks alone, float32 (468, 2); None if it has none."""
    return _landmarks(decode_example(content))


def _landmarks(features: dict[str, Any]) -> FloatImage | None:
    landmarks = features.get("landmarks")
    return None if landmarks is None else np.reshape(landmarks, (-1, 2))


def _old_class(label: int, facts: FloatListFacts) -> str:
    """Class of a float_list record, by number where nothing names it."""
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
        frames_sampled=int(features.get("frames_sampled", (0,))[0]),
        landmarks_xy=_landmarks(features),
    )


def _old_record(
    values: Any, shape: tuple[int, ...], label: int, number: int, facts: FloatListFacts
) -> FaceRecord:
    image = np.asarray(values, np.float32).reshape(shape)
    if facts.representation == "raw":
        image = image.round().clip(0, 255).astype(np.uint8)
    name = _old_class(label, facts)
    key = FrameKey(FLOAT_LIST, name, f"record {number}", 0, 0)
    return FaceRecord(image, facts.representation, key, label, name, crop_scale=facts.crop_scale)
