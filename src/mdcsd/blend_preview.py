"""The jobs: pictures and videos -> a contact sheet of pseudo-fakes made of their faces, or the
pairs themselves as class folders, to measure a detector on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mdcsd import storage
from mdcsd.augment_config import BlendConfig
from mdcsd.autoencoder import open_repainter
from mdcsd.blend import Blend, blend_face, mean_difference
from mdcsd.detector import iter_sampled_frames
from mdcsd.donors import Donor, Donors
from mdcsd.errors import InputError
from mdcsd.face_crops import crop_faces
from mdcsd.faces import FaceFinder
from mdcsd.nouns import FaceCrop, FloatImage, RgbArray, require
from mdcsd.pictures import encode_png
from mdcsd.tracks import Tracker

_CROP_PX, _CROP_SCALE = 256, 1.3
_FRAMES = 4  # of a video
_COLUMNS, _GAP_PX, _TITLE_PX, _AMPLIFIED = 6, 6, 20, 6
_INK, _PAPER = (34, 34, 34), 255


@dataclass(frozen=True)
class FoundFace:
    """A face of a file: uint8 (256, 256, 3) RGB, landmarks float32 (468, 2) in its pixels."""

    path: Path
    rgb: RgbArray
    landmarks_xy_px: FloatImage


@dataclass(frozen=True)
class Preview:
    """What a sheet shows: how many faces were found, and a blend a column."""

    n_faces: int
    blends: tuple[Blend, ...]


def write_preview(
    inputs: Sequence[Path], output: Path, count: int, config: BlendConfig, seed: int
) -> Preview:
    """Write a PNG of blends: real, fake, mask, and the difference six times enlarged.

    Faces are taken in the order of the inputs, four frames of a video, and used in turn.

    With `other_person` faces of other files are laid on, chosen by shape as in training.

    Raises: InputError if OUTPUT is no .png or one of the inputs, or if there is no face in
        them, or in one file alone where other people are asked for; MediaError if one cannot
        be decoded. Nothing is written then.
    """
    _check_output(inputs, output)
    repaint = open_repainter(config)
    faces = find_faces(inputs, count, 2 if config.other_person else 1)
    rng = np.random.default_rng(seed)
    lending = _Lending(faces, config.other_person) if config.other_person else None
    blends = []
    for i in range(count):
        face = faces[i % len(faces)]
        donor = lending.draw(face, rng) if lending else None
        blends.append(blend_face(face.rgb, face.landmarks_xy_px, config, rng, donor, repaint))
    storage.write_bytes(output, encode_png(draw_sheet(blends)))
    return Preview(len(faces), tuple(blends))


class _Lending:
    """Lends faces of other files for a share of the blends, as training does those of others."""

    def __init__(self, faces: Sequence[FoundFace], share: float) -> None:
        self._faces, self._share = faces, share
        landmarks = [face.landmarks_xy_px for face in faces]
        self._donors = Donors(np.arange(len(faces)), landmarks, [str(face.path) for face in faces])

    def draw(self, face: FoundFace, rng: np.random.Generator) -> Donor | None:
        """Draw a donor for a face, or none."""
        if rng.random() >= self._share:
            return None
        number = self._donors.choose(face.landmarks_xy_px, str(face.path), rng)
        if number is None:
            return None
        return Donor(self._faces[number].rgb, self._faces[number].landmarks_xy_px)


def write_pairs(inputs: Sequence[Path], folder: Path, config: BlendConfig, seed: int) -> int:
    """Write a blend of every face as FOLDER/test/original and FOLDER/test/self_blend, PNG.

    Crops are 256 px wide, 1.3 times the detector's box. A blend depends on the seed and on how
    many faces came before it.

    Returns: the number of pairs.

    Raises: InputError if FOLDER holds something, two inputs have one name, no face is found,
        or other people's faces are asked for; MediaError if an input cannot be decoded.
    """
    if config.other_person:
        raise InputError(
            "--pairs makes each blend of one face alone. Give --set blend.other_person=0, or no "
            "--pairs."
        )
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"--pairs {folder}: not empty. Give a new folder.")
    stems = Counter(path.stem for path in inputs)
    if twice := [stem for stem, count in stems.items() if count > 1]:
        raise InputError(
            f"--pairs {folder}: several inputs are called {twice[0]}, and so would their pairs "
            "be. Give them other names, or one folder a call."
        )
    repaint = open_repainter(config)
    rng, finder, n_pairs = np.random.default_rng(seed), FaceFinder(), 0
    for path in inputs:
        for number, face in enumerate(_faces_of(path, finder)):
            blend = blend_face(face.rgb, face.landmarks_xy_px, config, rng, repaint=repaint)
            for name, rgb in (("original", blend.real), ("self_blend", blend.fake)):
                output = folder / "test" / name / f"{path.stem}_{number:04d}.png"
                storage.make_folder(output.parent)
                storage.write_bytes(output, encode_png(rgb))
            n_pairs += 1
    if not n_pairs:
        raise _no_face(inputs)
    return n_pairs


def _no_face(inputs: Sequence[Path]) -> InputError:
    return InputError(
        f"no face found in {len(inputs)} file(s). Give pictures or videos with a face of at "
        "least 30 pixels."
    )


def _landmarks_in_crop(crop: FaceCrop) -> FloatImage:
    """A crop's landmarks in its own pixels, float32 (468, 2)."""
    require(crop.landmarks_xy_px is not None, "a crop without landmarks")
    left, top, right, _ = crop.box_xyxy_px
    scale = crop.rgb.shape[0] / (right - left)
    return np.asarray((crop.landmarks_xy_px - np.array([left, top])) * scale, np.float32)


def draw_sheet(blends: Sequence[Blend]) -> RgbArray:
    """Draw blends as columns, six side by side at most, uint8 RGB."""
    columns = [_column(blend) for blend in blends]
    empty = np.full_like(columns[0], _PAPER)
    across = min(_COLUMNS, len(columns))
    columns += [empty] * (-len(columns) % across)
    bands = [np.hstack(columns[i : i + across]) for i in range(0, len(columns), across)]
    return np.vstack(bands)


def _check_output(inputs: Sequence[Path], output: Path) -> None:
    if output.suffix.lower() != ".png":
        raise InputError(f"--preview {output}: expected a name that ends in .png.")
    if any(path.resolve() == output.resolve() for path in inputs):
        raise InputError(f"--preview {output}: it is one of the inputs. Give another name.")


def find_faces(inputs: Sequence[Path], count: int, n_files: int = 1) -> list[FoundFace]:
    """Find up to `count` faces in pictures and videos, four frames of each video.

    Args:
        n_files: how many files they shall be of at least; with two more faces may come.

    Raises: InputError if there is none, or they are of fewer files.
    """
    faces: list[FoundFace] = []
    finder, with_faces = FaceFinder(), 0
    for path in inputs:
        found = list(_faces_of(path, finder))[:count]
        with_faces += bool(found)
        faces += found
        if len(faces) >= count and with_faces >= n_files:
            break
    if not faces:
        raise _no_face(inputs)
    if with_faces < n_files:
        raise InputError(
            f"blend.other_person needs faces of {n_files} files at least, found them in "
            f"{with_faces}. Give more files, or --set blend.other_person=0."
        )
    return faces if n_files > 1 else faces[:count]


def _faces_of(path: Path, finder: FaceFinder) -> Iterator[FoundFace]:
    tracker = Tracker()
    for frame in iter_sampled_frames(path, _FRAMES):
        for crop in crop_faces(frame, path.name, finder, tracker, "all", _CROP_PX, _CROP_SCALE):
            yield FoundFace(path, crop.rgb, _landmarks_in_crop(crop))


def _column(blend: Blend) -> RgbArray:
    """One blend from top to bottom under a line of text."""
    mask = np.rint(blend.mask * 255).astype(np.uint8)[..., None].repeat(3, 2)
    difference = cv2.convertScaleAbs(cv2.absdiff(blend.real, blend.fake), alpha=_AMPLIFIED)
    tiles = np.vstack([blend.real, blend.fake, mask, difference])
    column = np.pad(tiles, ((_TITLE_PX, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=_PAPER)
    text = f"{blend.kind}, {blend.region}, {mean_difference(blend):.1f}"
    cv2.putText(column, text, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
    return np.asarray(column, np.uint8)
