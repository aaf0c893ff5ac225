"""The things that cross doors on the way to a network: frozen dataclasses, checked at birth.

Every array states shape, dtype, unit and colour order here and nowhere else. A broken
invariant is a bug of the room that made the noun, so it raises `InternalError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdcsd.errors import InternalError

if TYPE_CHECKING:
    import torch

RgbArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.floating[Any]]
FloatImage = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]
BoxXyxy = tuple[float, float, float, float]
Progress = Callable[[int, int], None]
"""Called with (done, in all) as work goes on."""
ORIGINAL = "original"
"""The manipulation of a real video in its `VideoKey`, whatever its data set calls it."""
SPLITS = ("train", "val", "test")


def require(condition: bool, message: str) -> None:
    """Raise InternalError unless an invariant holds."""
    if not condition:
        raise InternalError(message)


def _check_rgb(rgb: RgbArray, owner: str) -> None:
    require(
        rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3,
        f"{owner}.rgb must be uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}",
    )


HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}
"""Names of the transfer characteristics of ITU-T H.273 that a screen of SDR cannot show."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video's container says of itself.

    `start_s` is the file's first time stamp, 0 for most; `duration_claimed_s` is how long after it
    the container says the picture ends, None where it says nothing; it is wrong in damaged files,
    so only the check for damage relies on it. (A count of frames would be of less use: edit lists
    and variable rates make it wrong in sound files.) Width and height are as stored: frames turned
    by a quarter come out upright with the two exchanged.
    """

    path: Path
    width_px: int
    height_px: int
    fps: float
    duration_claimed_s: float | None
    start_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes and rates that no video has."""
        require(self.width_px > 0 and self.height_px > 0, f"{self.path}: empty picture")
        require(self.fps > 0, f"{self.path}: frame rate {self.fps}")


@dataclass(frozen=True)
class Frame:
    """One decoded picture: `rgb` uint8 (H, W, 3), upright; `index` counts from 0 as decoded."""

    index: int
    time_s: float
    rgb: RgbArray

    def __post_init__(self) -> None:
        """Check the picture."""
        _check_rgb(self.rgb, "Frame")


@dataclass(frozen=True)
class DetectedFace:
    """A face found in a frame, in the frame's pixels.

    `box_xyxy_px` is the detector's own box, unscaled; `confidence` its score in 0..1;
    `landmarks_xy_px` float32 (468, 2), FaceMesh order.
    """

    box_xyxy_px: BoxXyxy
    confidence: float
    landmarks_xy_px: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the landmarks' shape."""
        shape = self.landmarks_xy_px.shape
        require(shape == (468, 2), f"landmarks must be (468, 2), got {shape}")


@dataclass(frozen=True)
class FaceCrop:
    """A square face crop: `rgb` uint8 (S, S, 3).

    `box_xyxy_px` is the crop's square in the frame's pixels (it may reach over the border,
    where the picture is mirrored); `crop_scale` is its side over the detector's box.
    `landmarks_xy_px` float32 (468, 2) in the frame's pixels, None where no face was searched.
    `track_id` counts the persons of one video from 0. `mask_share` is the share of the square
    that the data set's mask marks as manipulated, None without a mask.
    """

    video_id: str
    frame_index: int
    time_s: float
    track_id: int
    box_xyxy_px: BoxXyxy
    confidence: float
    landmarks_xy_px: npt.NDArray[np.float32] | None
    crop_scale: float
    rgb: RgbArray
    mask_share: float | None = None

    def __post_init__(self) -> None:
        """Check that the crop is square."""
        _check_rgb(self.rgb, "FaceCrop")
        height, width, _ = self.rgb.shape
        require(height == width, f"FaceCrop.rgb must be square, got {height} x {width}")


class VideoKey(NamedTuple):
    """What identifies a video everywhere.

    A name alone does not: `000_003` exists in every manipulation of FaceForensics++.
    """

    dataset: str
    manipulation: str
    video_id: str


@dataclass(frozen=True)
class VideoEntry:
    """One video of a data set, and what the data set says of it.

    `path` is a video file, or a folder of frames, or a single picture. `label` 0 is real, 1
    manipulated. `split` is train, val or test, None where nothing says. `source_ids` are the
    people or original videos in it: one id never stands in two splits; the first is the one
    whose picture it is, as opposed to the one whose face was put on. `mask_path` is a video of
    the same frames that is bright where they were manipulated. `crop_scale` is set where
    `path` holds face crops already: their side over the detector's box.
    """

    path: Path
    key: VideoKey
    label: int
    split: str | None = None
    source_ids: tuple[str, ...] = ()
    compression: str = ""
    mask_path: Path | None = None
    crop_scale: float | None = None

    def __post_init__(self) -> None:
        """Real videos, and only they, are of the manipulation `original`."""
        require(self.label in (0, 1), f"{self.path}: label {self.label}")
        is_original = self.key.manipulation == ORIGINAL
        require(is_original == (self.label == 0), f"{self.path}: label {self.label}, {self.key}")


@dataclass(frozen=True)
class CropEntry:
    """One face crop on disk, and what is known of the video it came from.

    `label` 0 is real, 1.. the manipulations in the order of the data set's `class_names`;
    `source_ids` are the people or original videos in it: one id never stands in two splits.
    `crop_scale` None and `box_xyxy_px` None mean that no faces.csv said. `mask_share` is the
    share of the box that the data set's mask marks as manipulated, None without a mask.
    `frames_sampled` counts the frames of the video that were searched for faces, 0 where it is
    not known.
    """

    path: Path
    key: VideoKey
    label: int
    class_name: str
    split: str | None
    source_ids: tuple[str, ...]
    frame_index: int
    time_s: float = 0.0
    track_id: int = 0
    box_xyxy_px: BoxXyxy | None = None
    confidence: float = 1.0
    crop_scale: float | None = None
    compression: str = ""
    mask_share: float | None = None
    frames_sampled: int = 0

    def __post_init__(self) -> None:
        """Refuse a label below 0."""
        require(self.label >= 0, f"{self.path}: label {self.label}")


class FrameKey(NamedTuple):
    """What identifies one face in one frame; the first three fields are its `VideoKey`."""

    dataset: str
    manipulation: str
    video_id: str
    track_id: int
    frame_index: int

    @property
    def video(self) -> VideoKey:
        """The video this face is in."""
        return VideoKey(self.dataset, self.manipulation, self.video_id)


class Origin(NamedTuple):
    """Where one face in one frame comes from.

    `class_name` is the data's own, which a network of two classes does not tell apart;
    `identity` the person or original video that intervals are resampled by, the first of its
    source ids. Both compression and identity are empty where they are not known.
    `frames_sampled` counts the frames of its video that were looked at, with and without a
    face; 0 where it is not known.
    """

    key: FrameKey
    class_name: str
    compression: str = ""
    identity: str = ""
    frames_sampled: int = 0


@dataclass(frozen=True)
class Batch:
    """What the loader hands to the network.

    `image` float32 (B, C, S, S), RGB, 0..255 for pixels, else DCT coefficients; `label`
    int64 (B,), index of the network's class, 0 real. `global_size` counts the samples of this
    step over all processes: dividing the summed loss by it gives one process and many the
    same gradient. `intact`, there where a teacher asks for it, is `image` before its faces lost
    quality.
    """

    image: torch.Tensor
    label: torch.Tensor
    origins: tuple[Origin, ...]
    global_size: int
    intact: torch.Tensor | None = None

    def __post_init__(self) -> None:
        """Check that images, labels and keys are of one number."""
        sizes = (self.image.shape[0], self.label.shape[0], len(self.origins))
        require(len(set(sizes)) == 1, f"Batch of unequal parts: {sizes}")
        require(self.image.ndim == 4, f"Batch.image must be (B, C, S, S): {self.image.shape}")
