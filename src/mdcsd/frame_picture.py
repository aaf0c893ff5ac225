"""Decoded frames -> RGB as a viewer sees them: upright, of square pixels, in SDR colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av.error
import numpy as np

from mdcsd.errors import MediaError
from mdcsd.frame_graph import FrameGraph, told_of
from mdcsd.nouns import HDR, RgbArray

_UNKNOWN = {0, 2, 3}  # reserved or unspecified in H.273


class FramePictures:
    """Makes pictures of one video's frames.

    HDR is converted to BT.709 by FFmpeg's scaler, as networks learned from SDR. What is brighter
    than SDR's white (203 cd/m2) is clipped to it, where a player may keep some of it apart.
    """

    def __init__(self, path: Path, pixel_aspect: float) -> None:
        """Take the file's name for errors, and the width over the height of a stored pixel."""
        self._path = path
        self._aspect = pixel_aspect
        self._graph: FrameGraph | None = None

    def convert(self, decoded: Any) -> RgbArray:
        """Make a picture of an `av.VideoFrame`: uint8 (H, W, 3), RGB.

        Raises: MediaError if FFmpeg cannot convert its colours.
        """
        try:
            rgb = self._square(decoded)
        except av.error.FFmpegError as error:
            told = decoded.color_primaries, decoded.color_trc, decoded.colorspace
            raise MediaError(
                f"{self._path}: its colours cannot be converted to RGB ({error.strerror}; "
                f"{decoded.format.name}, primaries, transfer and matrix of H.273: "
                f"{', '.join(str(int(each)) for each in told)}). Export it anew, as SDR."
            ) from None
        quarter_turns = int(decoded.rotation) // 90
        return np.ascontiguousarray(np.rot90(rgb, k=quarter_turns)) if quarter_turns else rgb

    def _square(self, decoded: Any) -> RgbArray:
        """Convert a frame as it was stored, but of square pixels."""
        width = decoded.width
        if self._aspect != 1.0:
            width = max(round(width * self._aspect), 1)
        if decoded.color_trc in HDR:
            rgb: RgbArray = self._in_sdr(decoded, width).to_ndarray()
        elif width != decoded.width:
            rgb = decoded.to_ndarray(format="rgb24", width=width, interpolation="BICUBIC")
        else:
            rgb = decoded.to_ndarray(format="rgb24")
        return rgb

    def _in_sdr(self, decoded: Any, width: int) -> Any:
        """Run a frame through a graph that is kept for the next."""
        source = told_of(decoded) | {
            "colorspace": int(decoded.colorspace), "range": int(decoded.color_range),
        }  # fmt: skip
        scaled: dict[str, Any] = {
            "w": width, "h": decoded.height, "flags": "bicubic", "out_primaries": "bt709",
            "out_transfer": "bt709", "in_transfer": int(decoded.color_trc),
            "in_primaries": _known_or_2020(decoded.color_primaries),
        }  # fmt: skip
        if decoded.colorspace in _UNKNOWN and decoded.format.name.startswith("yuv"):
            scaled["in_color_matrix"] = "bt2020"
        filters = {"scale": scaled, "format": {"pix_fmts": "rgb24"}}
        if not (self._graph and self._graph.fits(source, filters)):
            self._graph = FrameGraph(source, filters)
        (made,) = self._graph.send(decoded)
        return made


def _known_or_2020(primaries: Any) -> int | str:
    return "bt2020" if primaries in _UNKNOWN else int(primaries)
