"""Frame -> face crops: detector, tracks and crop geometry in one step.

process_frames and detect both cut their crops here, so a verdict sees what training saw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from mdcsd.config import FrameSelection
from mdcsd.faces import FaceFinder, crop_square, cut_crop
from mdcsd.inputs import IMAGE_SUFFIXES
from mdcsd.masks import MaskReader
from mdcsd.nouns import BoxXyxy, FaceCrop, Frame
from mdcsd.pictures import read_image
from mdcsd.tracks import Tracker
from mdcsd.video import iter_frames


def iter_crops(
    path: Path,
    video_id: str,
    selection: FrameSelection,
    faces: str,
    size_px: int,
    scale: float,
    mask_path: Path | None = None,
) -> Iterator[tuple[Frame, list[FaceCrop]]]:
    """Decode a video, or a picture, and cut the faces out of each selected frame.

    Args:
        faces: "largest" for one face a frame, "all" for every one.
        mask_path: a video of the same frames that is bright where they were manipulated.

    Yields: each frame with its crops, the largest face first; a frame without a face comes
        with an empty list, so that the caller can count it.
    """
    finder, tracker = _finder(), Tracker()
    mask = MaskReader(mask_path) if mask_path else None
    is_picture = path.suffix.lower() in IMAGE_SUFFIXES
    frames = [Frame(0, 0.0, read_image(path))] if is_picture else iter_frames(path, selection)
    for frame in frames:
        crops = crop_faces(frame, video_id, finder, tracker, faces, size_px, scale)
        yield frame, [under_mask(crop, mask) for crop in crops] if mask else crops


def under_mask(crop: FaceCrop, mask: MaskReader) -> FaceCrop:
    """Note how much of a crop the mask covers."""
    return replace(crop, mask_share=mask.share(crop.frame_index, crop.box_xyxy_px))


def crop_faces(
    frame: Frame,
    video_id: str,
    finder: FaceFinder,
    tracker: Tracker,
    faces: str,
    size_px: int,
    scale: float,
) -> list[FaceCrop]:
    """Cut the faces out of one frame; see `iter_crops`."""
    found = finder.find(frame.rgb)[: 1 if faces == "largest" else None]
    track_ids = tracker.update([face.box_xyxy_px for face in found], frame.time_s)
    height, width = frame.rgb.shape[:2]
    crops = []
    for face, track_id in zip(found, track_ids, strict=True):
        left, top, side = square = crop_square(face.box_xyxy_px, scale, height, width)
        box: BoxXyxy = (float(left), float(top), float(left + side), float(top + side))
        rgb = cut_crop(frame.rgb, square, size_px)
        crops.append(
            FaceCrop(
                video_id, frame.index, frame.time_s, track_id, box,
                face.confidence, face.landmarks_xy_px, scale, rgb,
            )
        )  # fmt: skip
    return crops


@lru_cache(maxsize=1)
def _finder() -> FaceFinder:
    """This process's models, loaded when the first video is opened."""
    return FaceFinder()
