"""The job: files -> a strip of pictures a face: crop, heat of each branch, odd frequencies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mdcsd import storage
from mdcsd.detector import Detector
from mdcsd.explain import colour_difference, colour_heat
from mdcsd.faces import resize
from mdcsd.judging_nouns import Heatmaps, short_name
from mdcsd.metrics import min_track_frames, pool_video
from mdcsd.nouns import FaceCrop, FloatImage, RgbArray
from mdcsd.persons import Sighting, sight, tell_apart
from mdcsd.pictures import encode_png
from mdcsd.quality import LeftOut, explain_refusal, leave_out

_TILE_PX, _GAP_PX, _TITLE_PX = 256, 8, 44
_INK, _PAPER = (34, 34, 34), 255


@dataclass(frozen=True)
class Explained:
    """What was written of one file: its score, None as in a verdict, and a strip a face.

    `n_sampled` frames were looked at. `unjudged` says why no face of it could be judged, if faces
    were found.
    """

    path: Path
    score: float | None
    folder: Path
    strips: tuple[Path, ...]
    n_sampled: int
    unjudged: str = ""


def explain_file(
    detector: Detector, path: Path, output: Path, n_frames: int, cropped: bool
) -> Explained:
    """Write a strip for each face in frames spaced evenly over a video, or in a picture.

    They lie in OUTPUT/NAME-DIGEST/frame_000000_person_0.png, with the first digits of the
    file's SHA-256, so that files of one name in two folders do not overwrite each other. Strips of
    an earlier run on the same file go.

    Raises: MediaError if the file cannot be decoded, InputError if it is not there.
    """
    judged: list[tuple[FaceCrop, float, Heatmaps]] = []
    seen: list[Sighting] = []
    n_sampled = 0
    left_out: list[LeftOut] = []
    for _, all_crops in detector.iter_crops(path, n_frames, cropped):
        n_sampled += 1
        crops = leave_out(all_crops, left_out)
        scored = detector.score(crops)[0].tolist()
        for crop, of_face, maps in zip(crops, scored, detector.explain(crops), strict=True):
            seen.append(sight(crop))
            judged.append((_small_crop(crop), of_face, _small_maps(maps)))
    persons = tell_apart(seen, min_track_frames(n_sampled)).ids
    scores: dict[int, list[tuple[int, float]]] = defaultdict(list)
    pictures: dict[str, bytes] = {}
    for (crop, of_face, maps), person in zip(judged, persons, strict=True):
        scores[person].append((crop.frame_index, of_face))
        name = f"frame_{crop.frame_index:06d}_person_{person}.png"
        pictures[name] = encode_png(_draw_strip(replace(crop, track_id=person), of_face, maps))
    folder = output / f"{short_name(path)}-{storage.sha256_of(path)[:8]}"
    for old in folder.glob("frame_*_person_*.png"):  # of other frames, or another network
        old.unlink()
    for name, picture in pictures.items():
        storage.write_bytes(folder / name, picture)
    strips = tuple(folder / name for name in pictures)
    score = pool_video(scores, n_sampled, "track")
    is_refused = bool(left_out) and not strips
    unjudged = explain_refusal([face.flaw for face in left_out]) if is_refused else ""
    return Explained(path, score, folder, strips, n_sampled, unjudged)


def _small_crop(crop: FaceCrop) -> FaceCrop:
    """Keep no more of a face than is drawn: a view of a frame holds all of it."""
    return replace(crop, rgb=resize(crop.rgb, (_TILE_PX, _TILE_PX)).copy())


def _small_maps(maps: Heatmaps) -> Heatmaps:
    """Keep no more of heat than is drawn."""
    return replace(maps, rgb=_small_heat(maps.rgb), frequency=_small_heat(maps.frequency))


def _small_heat(heat: FloatImage | None) -> FloatImage | None:
    if heat is None:
        return None
    return cv2.resize(heat, (_TILE_PX, _TILE_PX)).clip(0, 1).astype(np.float32)


def _draw_strip(crop: FaceCrop, score: float, maps: Heatmaps) -> RgbArray:
    """Draw a face's pictures, of the side of a tile, next to each other: uint8 RGB, titled."""
    tiles = [_titled(rgb, title, note) for rgb, title, note in _pictures(crop, score, maps)]
    gap = np.full((tiles[0].shape[0], _GAP_PX, 3), _PAPER, np.uint8)
    row = [gap]
    for tile in tiles:
        row += [tile, gap]
    return np.pad(np.hstack(row), ((0, _GAP_PX), (0, 0), (0, 0)), constant_values=_PAPER)


def _pictures(crop: FaceCrop, score: float, maps: Heatmaps) -> Iterator[tuple[RgbArray, str, str]]:
    """Yield (picture, title, note) for what there is."""
    face = crop.rgb
    yield face, f"score {score:.3f}", f"{crop.time_s:.2f} s, person {crop.track_id}"
    for heat, title, note in (
        (maps.rgb, "RGB branch", "hot: speaks for manipulated"),
        (maps.frequency, "frequency branch", "hot: suspect frequencies lie here"),
    ):
        if heat is not None:
            yield (
                colour_heat(face, heat),
                title,
                note if heat.any() else "nothing speaks for manipulated",
            )
    difference = maps.log_dct_difference
    if difference is not None:
        bands = colour_difference(difference)
        coloured = bands.repeat(_TILE_PX // len(bands), 0).repeat(_TILE_PX // len(bands), 1)
        yield coloured, "log-DCT minus real faces'", "low at top left; blue less, brown more"


def _titled(rgb: RgbArray, title: str, note: str) -> RgbArray:
    """Put two lines of text above a picture."""
    tile = np.full((_TITLE_PX + _TILE_PX, _TILE_PX, 3), _PAPER, np.uint8)
    tile[_TITLE_PX:] = rgb
    for text, bottom, size in ((title, 18, 0.5), (note, 36, 0.4)):
        cv2.putText(tile, text, (0, bottom), cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
    return tile
