"""Frames -> faces -> square crops. The only file that touches a face model.

Detector: BlazeFace full range (192 px, one 48 x 48 grid); landmarks: FaceMesh, 468 points.
Both are MediaPipe's (Apache-2.0, see NOTICE), run by ai-edge-litert. The detector alone
takes backs of heads for faces, so a face counts only if FaceMesh says that one is there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from mdcsd.nouns import BoxXyxy, DetectedFace, RgbArray

MIN_CONFIDENCE = 0.5
MIN_PRESENCE = 0.5

_INPUT_PX = 192
_GRID = 48
_OVERLAP = 0.3  # boxes that overlap more than this are one face
_MESH_SCALE = 1.5  # side of the picture FaceMesh sees over the detector's box
_RIGHT_EYE, _LEFT_EYE = 0, 1
_MESH_RIGHT_EYE, _MESH_LEFT_EYE = 33, 263  # outer corners in FaceMesh's order

_STDERR = threading.Lock()

Float32Array = npt.NDArray[np.float32]


class FaceFinder:
    """Finds faces and their landmarks in frames; one per process, about 20 MB.

    >>> faces = FaceFinder().find(rgb)          # doctest: +SKIP
    >>> faces[0].box_xyxy_px                    # doctest: +SKIP
    (112.4, 61.0, 213.9, 162.5)
    """

    def __init__(self) -> None:
        """Load both models from the package."""
        self._detector = _Model("face_detection_full_range.tflite")
        self._mesh = _Model("face_landmark.tflite")
        ticks = (np.arange(_GRID) + 0.5) / _GRID
        self._anchors = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)

    def find(self, rgb: RgbArray) -> list[DetectedFace]:
        """Find the faces of one picture, the largest first.

        Args:
            rgb: uint8 (H, W, 3), RGB, upright.

        Returns: Faces of at least `MIN_CONFIDENCE` in which FaceMesh sees a face with at
            least `MIN_PRESENCE`. The whole picture is looked at with 192 px a side: faces narrower
            than about a fifteenth of its longer side may be missed, as are faces upside down.
        """
        found = []
        for centre, size, key_points, confidence in self._detect(rgb):
            landmarks, presence = self._landmarks(rgb, centre, size, key_points)
            if presence > MIN_PRESENCE:
                corners = np.concatenate([centre - size / 2, centre + size / 2])
                box = cast(BoxXyxy, tuple(float(edge) for edge in corners))
                found.append(DetectedFace(box, confidence, landmarks))
        return sorted(found, key=lambda face: -box_area(face.box_xyxy_px))

    def landmarks_in_crop(self, rgb: RgbArray, crop_scale: float) -> Float32Array | None:
        """Find the landmarks of a face in its own crop, too tight for the detector.

        The eyes that are found first say how far the head is turned; a second look is upright.

        Args:
            rgb: uint8 (S, S, 3), RGB.
            crop_scale: side of the crop over the detector's box.

        Returns: float32 (468, 2), pixels of the crop; None if no face is seen.
        """
        side = rgb.shape[0]
        centre, size = np.array([side / 2, side / 2]), np.array([side, side]) / crop_scale
        eyes = np.array([[0.0, 0.0], [1.0, 0.0]])
        for _ in range(2):
            landmarks, presence = self._landmarks(rgb, centre, size, eyes)
            if presence <= MIN_PRESENCE:
                return None
            eyes = landmarks[[_MESH_RIGHT_EYE, _MESH_LEFT_EYE]]
        return landmarks

    def _detect(self, rgb: RgbArray) -> list[tuple[Any, Any, Any, float]]:
        """Boxes as (centre (2,), size (2,), key points (6, 2), confidence), pixels of `rgb`."""
        height, width = rgb.shape[:2]
        scale = _INPUT_PX / max(height, width)
        shown = (max(round(width * scale), 1), max(round(height * scale), 1))
        left, top = (_INPUT_PX - shown[0]) // 2, (_INPUT_PX - shown[1]) // 2
        square = np.zeros((_INPUT_PX, _INPUT_PX, 3), np.uint8)
        square[top : top + shown[1], left : left + shown[0]] = resize(rgb, shown)
        raw, logits = self._detector(square.astype(np.float32) / 127.5 - 1.0)
        if raw.shape[-1] == 1:
            raw, logits = logits, raw
        confidence = 1.0 / (1.0 + np.exp(-np.clip(logits.ravel(), -80, 80)))
        kept = confidence >= MIN_CONFIDENCE
        boxes, anchors, confidence = (
            raw.reshape(-1, 16)[kept],
            self._anchors[kept],
            confidence[kept],
        )
        offset = np.array([left, top])
        centre = ((boxes[:, :2] / _INPUT_PX + anchors) * _INPUT_PX - offset) / scale
        size = boxes[:, 2:4] / scale
        points = boxes[:, 4:].reshape(-1, 6, 2) / _INPUT_PX + anchors[:, None]
        points = (points * _INPUT_PX - offset) / scale
        corners = np.concatenate([centre - size / 2, size], axis=1)
        best = cv2.dnn.NMSBoxes(corners.tolist(), confidence.tolist(), MIN_CONFIDENCE, _OVERLAP)
        order = np.asarray(best, dtype=int).ravel()
        return [(centre[i], size[i], points[i], float(confidence[i])) for i in order]

    def _landmarks(
        self, rgb: RgbArray, centre: Any, size: Any, key_points: Any
    ) -> tuple[Float32Array, float]:
        """468 landmarks in the pixels of `rgb`, and the probability that a face is there."""
        across = key_points[_LEFT_EYE] - key_points[_RIGHT_EYE]
        angle = np.arctan2(across[1], across[0])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        half = max(size) * _MESH_SCALE / 2
        corners = centre + half * (np.array([[-1, -1], [1, -1], [-1, 1]]) @ turn.T)
        target = np.array([[0, 0], [_INPUT_PX, 0], [0, _INPUT_PX]], np.float32)
        to_mesh = cv2.getAffineTransform(corners.astype(np.float32), target)
        upright = cv2.warpAffine(rgb, to_mesh, (_INPUT_PX, _INPUT_PX))
        outputs = sorted(self._mesh(upright.astype(np.float32) / 255.0), key=np.size)
        presence = 1.0 / (1.0 + np.exp(-float(outputs[0].ravel()[0])))
        back = cv2.invertAffineTransform(to_mesh)
        points = outputs[-1].reshape(468, 3)[:, :2]
        return (points @ back[:, :2].T + back[:, 2]).astype(np.float32), presence


class _Model:
    """One TensorFlow Lite file of this package."""

    def __init__(self, name: str) -> None:
        from ai_edge_litert.interpreter import Interpreter  # 0.2 s, so only when faces are sought

        content = resources.files("mdcsd").joinpath("assets", name).read_bytes()
        with _quiet_stderr():
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]

    def __call__(self, picture: Float32Array) -> list[Float32Array]:
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep a library from greeting the user: it writes to file descriptor 2 from C++."""
    with _STDERR:  # of two threads the second would keep the first one's silence for good
        sys.stderr.flush()
        saved = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(nowhere)


def box_area(box: BoxXyxy) -> float:
    """Area of a box in square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def crop_square(box: BoxXyxy, scale: float, height_px: int, width_px: int) -> tuple[int, int, int]:
    """Place the square crop around a face's box.

    The square keeps the box's centre, has `scale` times its longer side, and is shifted
    inwards where it would leave the picture and fits into it.

    Returns: (left, top, side) in whole pixels; left and top may be negative, and the square
        may reach over the border, where the picture is smaller than the crop.
    """
    side = max(round(max(box[2] - box[0], box[3] - box[1]) * scale), 2)

    def place(centre: float, length: int) -> int:
        start = round(centre - side / 2)
        return min(max(start, 0), length - side) if side <= length else start

    return place((box[0] + box[2]) / 2, width_px), place((box[1] + box[3]) / 2, height_px), side


def cut_crop(rgb: RgbArray, square: tuple[int, int, int], size_px: int) -> RgbArray:
    """Cut a square (left, top, side) out of a picture and resize it, never squashed.

    What lies outside the picture is mirrored from inside.

    Returns: uint8 (size_px, size_px, 3), RGB.
    """
    left, top, side = square
    height, width = rgb.shape[:2]
    inside = rgb[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    before = (max(-top, 0), max(-left, 0))
    after = (max(top + side - height, 0), max(left + side - width, 0))
    if any(before) or any(after):
        inside = cast(
            RgbArray,
            cv2.copyMakeBorder(
                inside, before[0], after[0], before[1], after[1], cv2.BORDER_REFLECT_101
            ),
        )
    return resize(inside, (size_px, size_px))


def resize(rgb: RgbArray, size_wh: tuple[int, int]) -> RgbArray:
    """Resize a picture (H, W) or (H, W, C): area averaging to shrink, cubic to enlarge."""
    if (rgb.shape[1], rgb.shape[0]) == size_wh:
        return rgb
    shrinks = rgb.shape[1] >= size_wh[0]
    return cast(
        RgbArray,
        cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC),
    )
