"""Video files -> RGB frames as a viewer sees them: upright, with square pixels.

The only file that opens them.

One sequential pass through the file; only the wanted frames are converted to RGB. Frames
that FFmpeg marks as corrupt are dropped, not scored, and a file that is mostly missing
(cut off, damaged) is an error, because a verdict on its first third would mislead.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.stream import Disposition

from mdcsd.config import FrameSelection
from mdcsd.errors import MediaError
from mdcsd.frame_choice import choose_frames
from mdcsd.inputs import check_file
from mdcsd.judging_nouns import MediaFacts
from mdcsd.nouns import Frame, RgbArray, VideoInfo

# The demuxers of `inputs.VIDEO_SUFFIXES`, so that no playlist can make us read a file beside it.
_FORMATS = "mov,mp4,avi,mpeg,mpegvideo,mpegts,matroska,webm,gif,flv,asf,ogg"

# A frame of more is not decoded, whatever the container's header says: it would fill the memory.
_MAX_FRAME_PIXELS = 178_956_970  # Pillow's bound for pictures

# Pixels this much wider than high, or higher than wide, are taken for a slip in the header: real
# ones (DV, DVD, HDV) are at most 2.2.
_MOST_OBLONG = 3.0

_HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}  # transfer characteristics of ITU-T H.273

# A file may lose this share of its frames (edit lists, a bad packet) before it counts as damaged.
_TOLERATED_LOSS = 0.1


def iter_frames(path: Path, selection: FrameSelection) -> Iterator[Frame]:
    """Decode a video once, front to back, and yield the selected frames.

    Time is counted from the file's start, whatever its first stamp (a broadcast's may be hours),
    and rises strictly; where the file gives none it is derived from the frame rate. The file is
    closed when the iterator is exhausted or closed.

    Raises: MediaError if the file is no video, or ends long before its own claim.
    """
    is_wanted = choose_frames(selection, partial(count_frames, path))
    with opened(path) as container:
        info = _describe(path, container)
        damage, aspect = _Damage(info), _pixel_aspect(container)
        time_s = -1.0 / info.fps
        for index, decoded in enumerate(_decode(container, damage)):
            if selection.end is not None and index >= selection.end:
                return
            since_start_s = None if decoded.time is None else decoded.time - info.start_s
            time_s = _rising(since_start_s, time_s, info.fps)
            if is_wanted(index, time_s) and not decoded.is_corrupt:
                yield Frame(index, time_s, _as_shown(decoded, aspect))
        damage.check()


def decoded_ahead(frames: Iterator[Frame], n_ahead: int = 2) -> Iterator[Frame]:
    """Take frames from a thread that decodes a few ahead, while the last one is looked at.

    What decoding raises comes here; what is left undecoded when the caller stops stays so.
    """
    with ThreadPoolExecutor(1, "decoding") as decoder:
        coming = deque(decoder.submit(next, frames, None) for _ in range(n_ahead))
        while (frame := coming.popleft().result()) is not None:
            coming.append(decoder.submit(next, frames, None))
            yield frame


def count_frames(path: Path) -> int:
    """Count a video's frames by reading its packets, without decoding them.

    Raises: MediaError if the file is no video, or ends long before its own claim.
    """
    with opened(path) as container:
        damage = _Damage(_describe(path, container))
        try:
            for packet in container.demux(picture_stream(container)):
                if packet.size and not packet.is_discard:
                    time_s = None if packet.pts is None else float(packet.pts * packet.time_base)
                    damage.count(time_s, _held_s(packet))
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{path}: damaged, it cannot be read to its end ({error.strerror}). Copy it again."
            ) from None
        damage.check()
        return damage.n_frames


def probe(path: Path) -> VideoInfo:
    """Read what a video's container says of itself, without decoding a frame."""
    with opened(path) as container:
        return _describe(path, container)


def read_container_facts(path: Path) -> MediaFacts:
    """Read what a video's container says; of its frames only the first is decoded.

    Raises: MediaError if the file is no video.
    """
    with opened(path) as container:
        info = _describe(path, container)
        stream = picture_stream(container)
        codec = stream.codec_context
        first = _first_frame(container)
        return MediaFacts(
            kind="video",
            container=container.format.name,
            container_description=container.format.long_name,
            codec=codec.codec.canonical_name,  # av1, and not the decoder at hand
            codec_description=" ".join(filter(None, (codec.codec.long_name, codec.profile))),
            width_px=info.width_px,
            height_px=info.height_px,
            size_bytes=path.stat().st_size,
            rotation_deg=-int(first.rotation) % 360 if first else 0,
            duration_s=_duration_s(container),
            frame_rate=info.fps,
            bit_rate_bps=_bit_rate(container, stream),
            tags=_tags(container.metadata, stream.metadata),
            hints=tuple(_hints(_pixel_aspect(container), first)),
        )


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a video's container, of kinds that lead to no other file.

    Raises: MediaError if it cannot be opened, or shows no picture.
    """
    check_file(path)
    try:
        # no file may make us fetch another
        options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path}: not a video that can be opened ({reason}). Expected a whole mp4, mov, avi, "
            "mpg, ts, mkv, webm, flv, wmv, ogv or gif file, or a picture named .jpg, .png or so; "
            "if it should be one, copy it again."
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


def _describe(path: Path, container: Any) -> VideoInfo:
    stream = picture_stream(container)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    if stream.codec_context is None or not stream.width or not stream.height:
        raise MediaError(f"{path}: the video's codec or size is unknown. Convert it to H.264 mp4.")
    start_s = _start_s(container)
    claimed_s = _claimed_duration(stream, start_s)
    return VideoInfo(path, stream.width, stream.height, float(rate), claimed_s, start_s)


def _pixel_aspect(container: Any) -> float:
    """Width over height of a stored pixel as players show it, 1 where the file says nothing."""
    aspect = float(picture_stream(container).sample_aspect_ratio or 1)
    return aspect if 1.0 / _MOST_OBLONG <= aspect <= _MOST_OBLONG else 1.0


def _tags(of_file: dict[str, str], of_picture: dict[str, str]) -> dict[str, str]:
    """Lay the tags of a file and of its stream of pictures together, none over another."""
    twice = {f"{name} of the picture" if name in of_file else name: of_picture[name]
             for name in of_picture}  # fmt: skip
    return {str(name): str(text) for name, text in {**of_file, **twice}.items()}


def _hints(pixel_aspect: float, first: Any) -> Iterator[str]:
    """Yield what about the pictures makes them other than those that a network learned from."""
    if pixel_aspect != 1.0:
        yield f"stored with oblong pixels: faces were judged {pixel_aspect:.3g} times as wide"
    if first and first.interlaced_frame:
        yield (
            "interlaced: each frame holds the lines of two moments, which were judged together and "
            "can raise a score; save it deinterlaced (ffmpeg -i FILE -vf bwdif OUT) and judge that"
        )
    if first and first.color_trc in _HDR:
        yield (
            f"{_HDR[first.color_trc]}: colours were judged without the tone mapping that a screen "
            "applies, which changes a score"
        )


def _first_frame(container: Any) -> Any:
    """Decode the first frame; None where there is none."""
    return next(_decode(container, _Damage(_describe(Path(container.name), container))), None)


def _duration_s(container: Any) -> float | None:
    """How long the file says it lasts; Matroska says when it ends."""
    if not container.duration:
        return None
    end_s: float = container.duration / av.time_base
    start_s = _start_s(container) if "matroska" in container.format.name else 0.0
    return end_s - start_s if end_s > start_s else end_s


def _start_s(container: Any) -> float:
    return float(max((container.start_time or 0) / av.time_base, 0.0))


def _bit_rate(container: Any, stream: Any) -> float | None:
    """Bits a second of the picture; MPEG-1 headers claim more than the file holds."""
    duration_s = _duration_s(container)
    of_file = container.size * 8 / duration_s if duration_s else None
    known = [float(rate) for rate in (stream.bit_rate, of_file) if rate]
    return min(known) if known else None


def _claimed_duration(stream: Any, start_s: float) -> float | None:
    """How long after the file's start it says the picture ends; edit lists applied.

    Matroska says it in a tag, of the last time stamp or of the duration.
    """
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base) - start_s
    try:
        hours, minutes, seconds = map(float, stream.metadata.get("DURATION", "").split(":"))
    except ValueError:
        return None
    claimed_s = hours * 3600 + minutes * 60 + seconds
    if claimed_s > start_s:
        claimed_s -= start_s
    return claimed_s if math.isfinite(claimed_s) and claimed_s > 0 else None


class _Damage:
    """Counts what one pass over a file yields against what the container promised."""

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.n_frames = 0
        self.n_corrupt = 0
        self.end_s = 0.0

    def count(self, time_s: float | None, held_s: float, is_corrupt: bool = False) -> None:
        """Count a frame; what a clip ends with may be shown for longer than the others."""
        self.n_frames += 1
        self.n_corrupt += is_corrupt
        if time_s is not None:
            end_s = time_s - self.info.start_s + max(held_s, 1.0 / self.info.fps)
            self.end_s = max(self.end_s, end_s)

    def check(self) -> None:
        """Refuse a file that lost more than a tenth of its frames, or of its claimed time."""
        name, claimed_s = self.info.path, self.info.duration_claimed_s or 0.0
        n_good = self.n_frames - self.n_corrupt
        if n_good == 0:
            raise MediaError(f"{name}: no frame can be decoded. Copy the file again.")
        missing_s = claimed_s - self.end_s
        is_cut = missing_s > max(_TOLERATED_LOSS * claimed_s, 3.0 / self.info.fps)
        if is_cut or self.n_corrupt > max(2, _TOLERATED_LOSS * self.n_frames):
            what = f"only {n_good} of {self.n_frames} frames can be decoded"
            if is_cut:
                what = f"the picture ends at {self.end_s:.1f} of {claimed_s:.1f} s"
            raise MediaError(
                f"{name}: {what}: the file is cut off or damaged. Copy it again, or save the "
                "readable part with: ffmpeg -err_detect ignore_err -i FILE readable.mp4"
            )


def _decode(container: Any, damage: _Damage) -> Iterator[Any]:
    """Yield every decodable frame; packets that cannot be decoded are counted and passed over."""
    stream = picture_stream(container)
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(_MAX_FRAME_PIXELS)}
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            decoded = packet.decode()
        except StopIteration:
            return
        except av.error.FFmpegError:
            damage.count(None, 0.0, is_corrupt=True)
            if damage.n_corrupt > 1000:  # a demuxer that fails for ever
                return
            continue
        for frame in decoded:
            damage.count(frame.time, _held_s(frame), bool(frame.is_corrupt))
            yield frame


def _held_s(shown: Any) -> float:
    """How long the file says that a packet or frame is shown, 0 where it says nothing."""
    return float(shown.duration * shown.time_base) if shown.duration and shown.time_base else 0.0


def _rising(time_s: float | None, previous_s: float, fps: float) -> float:
    """Take the file's time stamp if it is later than the last one, else go on at the frame rate."""
    if time_s is None or time_s <= previous_s:
        return previous_s + 1.0 / fps
    return float(time_s)


def _as_shown(decoded: Any, pixel_aspect: float) -> RgbArray:
    """Convert a frame to RGB, with square pixels and upright, as players show it."""
    if pixel_aspect == 1.0:
        rgb: RgbArray = decoded.to_ndarray(format="rgb24")
    else:
        width = max(round(decoded.width * pixel_aspect), 1)
        rgb = decoded.to_ndarray(format="rgb24", width=width, interpolation="BICUBIC")
    quarter_turns = int(decoded.rotation) // 90
    return np.ascontiguousarray(np.rot90(rgb, k=quarter_turns)) if quarter_turns else rgb
