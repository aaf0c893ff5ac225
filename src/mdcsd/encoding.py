"""RGB frames -> H.264, by x264: whole files, and frames as they look behind the codec.

And a file's packets -> a longer file, without encoding anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from mdcsd.container import opened, picture_stream
from mdcsd.nouns import RgbArray

# The same frames give the same bytes everywhere: x264's macroblock tree and adaptive quantisation
# differ from run to run on some CPUs, and with two threads it decides otherwise than with one.
_X264 = "mbtree=0:aq-mode=0:threads=1:log=-1"
_FPS = 25


def write_video(path: Path, frames: Iterable[RgbArray], fps: int, crf: int = 23) -> None:
    """Encode uint8 (H, W, 3) RGB frames of one even size in the container of the name.

    The same frames give the same bytes.
    """
    options = {"crf": str(crf), "x264-params": _X264}
    with av.open(str(path), "w") as container:
        stream: Any = None
        for rgb in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options=options)
                stream.height, stream.width = rgb.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


def code_h264(frames: Sequence[RgbArray], crf: int) -> RgbArray:
    """Encode a few frames and decode them, in memory: the last one, as a viewer sees it.

    The first is coded by itself, what follows as the difference to what moved there from the
    frames around it. On one thread; the same frames give the same pixels.

    Args:
        frames: uint8 (H, W, 3), RGB, all of one size, odd sides included.
        crf: Constant rate factor, 0 (no loss) to 51 (worst).

    Returns: uint8 (H, W, 3), RGB.
    """
    height, width, _ = frames[0].shape
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = width + width % 2, height + height % 2
    encoder.pix_fmt, encoder.framerate = "yuv420p", Fraction(_FPS)
    encoder.time_base = Fraction(1, _FPS)
    encoder.options = {"crf": str(crf), "x264-params": _X264}
    packets = []
    for rgb in frames:
        packets += encoder.encode(av.VideoFrame.from_ndarray(pad_to_even(rgb), format="rgb24"))
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    rgb = decoded[-1].to_ndarray(format="rgb24")
    return np.ascontiguousarray(rgb[:height, :width])


def pad_to_even(rgb: RgbArray) -> RgbArray:
    """Give an odd side one more row or column, mirrored: H.264 stores colour for 2 x 2 px."""
    height, width, _ = rgb.shape
    padded = cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REFLECT)
    return np.asarray(padded, np.uint8)


def loop_video(path: Path, output: Path, min_duration_s: float) -> None:
    """Copy a video's packets end to end, without encoding anew, until it lasts long enough."""
    with av.open(str(output), "w") as target:
        out_stream: Any = None
        offset = 0
        while out_stream is None or offset * out_stream.time_base < min_duration_s:
            with opened(path) as source:
                stream = picture_stream(source)
                if out_stream is None:
                    out_stream = target.add_stream_from_template(stream)
                offset = _append_packets(source, stream, target, out_stream, offset)


def _append_packets(source: Any, stream: Any, target: Any, out_stream: Any, offset: int) -> int:
    """Copy one run of a stream shifted by `offset` ticks; return where the next one starts."""
    end = offset
    for packet in source.demux(stream):
        if packet.dts is None:
            continue
        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
        end = max(end, packet.pts + packet.duration)
        packet.stream = out_stream
        target.mux(packet)
    return end
