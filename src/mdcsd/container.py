"""Video files opened, of kinds that lead to no other file, and what their headers claim."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.stream import Disposition

from mdcsd.errors import MediaError
from mdcsd.inputs import check_file, is_iso_picture
from mdcsd.nouns import VideoInfo

# The demuxers of `inputs.VIDEO_SUFFIXES`, so that no playlist can make us read a file beside it.
_FORMATS = "mov,mp4,avi,mpeg,mpegvideo,mpegts,matroska,webm,gif,flv,asf,ogg,mxf,dv"

# Pixels this much wider than high, or higher than wide, are taken for a slip in the header: real
# ones (DV, DVD, HDV) are at most 2.2.
_MOST_OBLONG = 3.0

# Frames a second above which the average is none: raw DV gives the ticks of its clock.
_FASTEST_FPS = 10_000


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a video's container, of kinds that lead to no other file.

    Raises: MediaError if it cannot be opened, is a picture, or shows none.
    """
    if is_iso_picture(check_file(path)):  # of which FFmpeg would take the first tile for the whole
        raise MediaError(f"{path}: a HEIC or AVIF picture by its content. Name it .heic or .avif.")
    try:
        # no file may make us fetch another
        options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path}: not a video that can be opened ({reason}). Expected a whole mp4, mov, avi, "
            "mpg, ts, mkv, webm, mxf, dv, flv, wmv, ogv or gif file, or a picture named .jpg, .png "
            "or so; if it should be one, it is cut off or damaged: copy it again."
        ) from None
    with container:
        if all(_is_cover(stream) for stream in container.streams.video):
            raise MediaError(f"{path}: no picture in this file, only sound. Expected a video.")
        yield container


def picture_stream(container: Any) -> Any:
    """Find the first stream of pictures that is not the cover of a sound file."""
    return next(stream for stream in container.streams.video if not _is_cover(stream))


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def describe(path: Path, container: Any) -> VideoInfo:
    """Say what a video claims of itself.

    Raises: MediaError if codec or size are unknown.
    """
    stream = picture_stream(container)
    rate = stream.average_rate
    if not rate or rate > _FASTEST_FPS:
        rate = stream.guessed_rate or Fraction(25)
    if stream.codec_context is None or not stream.width or not stream.height:
        raise MediaError(f"{path}: the video's codec or size is unknown. Convert it to H.264 mp4.")
    start = start_s(container)
    claimed_s = _claimed_duration(stream, start)
    return VideoInfo(path, stream.width, stream.height, float(rate), claimed_s, start)


def pixel_aspect(container: Any) -> float:
    """Width over height of a stored pixel as players show it, 1 where the file says nothing."""
    aspect = float(picture_stream(container).sample_aspect_ratio or 1)
    return aspect if 1.0 / _MOST_OBLONG <= aspect <= _MOST_OBLONG else 1.0


def start_s(container: Any) -> float:
    """When the file starts, in seconds by its own stamps; 0 if it says nothing, or before 0."""
    return float(max((container.start_time or 0) / av.time_base, 0.0))


def _claimed_duration(stream: Any, start: float) -> float | None:
    """How long after the file's start it says the picture ends; edit lists applied.

    Matroska says it in a tag, of the last time stamp or of the duration.
    """
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base) - start
    try:
        hours, minutes, seconds = map(float, stream.metadata.get("DURATION", "").split(":"))
    except ValueError:
        return None
    claimed_s = hours * 3600 + minutes * 60 + seconds
    if claimed_s > start:
        claimed_s -= start
    return claimed_s if math.isfinite(claimed_s) and claimed_s > 0 else None


def joined_tags(of_file: dict[str, str], of_picture: dict[str, str]) -> dict[str, str]:
    """Lay the tags of a file and of its stream of pictures together, none over another."""
    twice = {f"{name} of the picture" if name in of_file else name: of_picture[name]
             for name in of_picture}  # fmt: skip
    return {str(name): str(text) for name, text in {**of_file, **twice}.items()}


def claimed_length_s(container: Any) -> float | None:
    """How long the file says it lasts; Matroska says when it ends."""
    if not container.duration:
        return None
    end_s: float = container.duration / av.time_base
    begins_s = start_s(container) if "matroska" in container.format.name else 0.0
    return end_s - begins_s if end_s > begins_s else end_s


def bit_rate_bps(container: Any, stream: Any) -> float | None:
    """Bits a second of the picture; MPEG-1 headers claim more than the file holds."""
    duration_s = claimed_length_s(container)
    of_file = container.size * 8 / duration_s if duration_s else None
    known = [float(rate) for rate in (stream.bit_rate, of_file) if rate]
    return min(known) if known else None
