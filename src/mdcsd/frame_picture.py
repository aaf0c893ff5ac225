"""Decoded frames -> RGB as a viewer sees them: upright, square pixels, one moment, SDR colours."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.error
import av.filter
import numpy as np

from mdcsd.errors import MediaError
from mdcsd.nouns import RgbArray

HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}
"""Names of the transfer characteristics of ITU-T H.273 that a screen of SDR cannot show."""

_UNKNOWN = 2  # of primaries and matrix, in H.273


class FramePictures:
    """Makes pictures of one video's frames.

    Of an interlaced frame one field is taken, and enlarged: the other shows another moment. HDR
    is mapped to BT.709, tones and gamut, by FFmpeg's scaler; a screen of SDR is what networks
    learned from.
    """

    def __init__(self, path: Path, pixel_aspect: float) -> None:
        """Take the file's name for errors, and the width over the height of a stored pixel."""
        self._path = path
        self._aspect = pixel_aspect
        self._graphs: dict[tuple[Any, ...], tuple[Any, Any, Any]] = {}

    def convert(self, decoded: Any) -> RgbArray:
        """Make a picture of an `av.VideoFrame`: uint8 (H, W, 3), RGB.

        Raises: MediaError if FFmpeg cannot convert its colours.
        """
        try:
            rgb = self._square(decoded)
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{self._path}: its colours cannot be converted to RGB ({error.strerror}; "
                f"{decoded.format.name}, matrix {int(decoded.colorspace)} of H.273). Convert it to "
                "H.264 mp4."
            ) from None
        quarter_turns = int(decoded.rotation) // 90
        return np.ascontiguousarray(np.rot90(rgb, k=quarter_turns)) if quarter_turns else rgb

    def _square(self, decoded: Any) -> RgbArray:
        """Convert a frame as it was stored, but of square pixels."""
        width = decoded.width
        if self._aspect != 1.0:
            width = max(round(width * self._aspect), 1)
        if decoded.interlaced_frame or decoded.color_trc in HDR:
            rgb: RgbArray = self._filtered(decoded, width).to_ndarray()
        elif width != decoded.width:
            rgb = decoded.to_ndarray(format="rgb24", width=width, interpolation="BICUBIC")
        else:
            rgb = decoded.to_ndarray(format="rgb24")
        return rgb

    def _filtered(self, decoded: Any, width: int) -> Any:
        """Run a frame through a graph that is kept: mapping colours takes 1.4 s to set up."""
        known = (
            decoded.width, decoded.height, decoded.format.name, int(decoded.colorspace),
            int(decoded.color_range), int(decoded.color_primaries), int(decoded.color_trc),
            bool(decoded.interlaced_frame),
        )  # fmt: skip
        if known not in self._graphs:
            self._graphs[known] = _make_graph(decoded, width)
        _, source, sink = self._graphs[known]
        source.push(decoded)
        return sink.pull()


def _make_graph(decoded: Any, width: int) -> tuple[Any, Any, Any]:
    """Build (graph, source, sink); PyAV frees the last two with the first."""
    graph = av.filter.Graph()
    told = {
        "video_size": f"{decoded.width}x{decoded.height}", "pix_fmt": decoded.format.name,
        "time_base": "1/1", "pixel_aspect": "1/1", "colorspace": int(decoded.colorspace),
        "range": int(decoded.color_range),
    }  # fmt: skip
    scaled = {"w": width, "h": decoded.height, "flags": "bicubic"}
    if decoded.color_trc in HDR:
        scaled |= {"out_primaries": "bt709", "out_transfer": "bt709"}
        if decoded.color_primaries == _UNKNOWN:
            scaled["in_primaries"] = "bt2020"
    chain = [graph.add("buffer", _options(told))]
    chain += [graph.add("field", "top")] if decoded.interlaced_frame else []
    chain += [graph.add("scale", _options(scaled)), graph.add("format", "rgb24")]
    chain += [graph.add("buffersink")]
    for before, behind in pairwise(chain):
        before.link_to(behind)
    graph.configure()
    return graph, chain[0], chain[-1]


def _options(named: dict[str, Any]) -> str:
    return ":".join(f"{name}={value}" for name, value in named.items())
