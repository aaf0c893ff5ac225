"""Video files -> RGB frames as a viewer sees them: upright, with square pixels.

The only file that opens them.

One sequential pass through the file; only the wanted frames are converted to RGB. Frames
that FFmpeg marks as corrupt are dropped, not scored, and a file that is mostly missing
(cut off, damaged) is an error, because a verdict on its first third would mislead.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from mdcsd.config import FrameSelection
from mdcsd.errors import MediaError
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

# A file may lose this share of its frames (edit lists, a bad packet) before it counts as damaged.
_TOLERATED_LOSS = 0.1


def iter_frames(path: Path, selection: FrameSelection) -> Iterator[Frame]:
    """Decode a video once, front to back, and yield the selected frames.

    Time rises strictly; where the file gives none it is derived from the frame rate. The
    file is closed when the iterator is exhausted or closed.

    Raises: MediaError if the file is no video, or ends long before its own claim.
    """
    is_wanted = _choose(path, selection)
    with _opened(path) as container:
        info = _describe(path, container)
        damage, aspect = _Damage(info), _pixel_aspect(container)
        time_s = -1.0 / info.fps
        for index, decoded in enumerate(_decode(container, damage)):
            if selection.end is not None and index >= selection.end:
                return
            time_s = _rising(decoded.time, time_s, info.fps)
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
    with _opened(path) as container:
        damage = _Damage(_describe(path, container))
        try:
            for packet in container.demux(container.streams.video[0]):
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
    with _opened(path) as container:
        return _describe(path, container)


def read_container_facts(path: Path) -> MediaFacts:
    """Read what a video's container says; of its frames only the first is decoded.

    Raises: MediaError if the file is no video.
    """
    with _opened(path) as container:
        info = _describe(path, container)
        stream = container.streams.video[0]
        codec = stream.codec_context
        tags = {**container.metadata, **stream.metadata}
        return MediaFacts(
            kind="video",
            container=container.format.name,
            container_description=container.format.long_name,
            codec=codec.codec.canonical_name,  # av1, and not the decoder at hand
            codec_description=" ".join(filter(None, (codec.codec.long_name, codec.profile))),
            width_px=info.width_px,
            height_px=info.height_px,
            size_bytes=path.stat().st_size,
            rotation_deg=-_rotation(container) % 360,
            duration_s=container.duration / av.time_base if container.duration else None,
            frame_rate=info.fps,
            bit_rate_bps=_bit_rate(container, stream),
            tags={str(name): str(value) for name, value in tags.items()},
            hints=tuple(_stretch_hint(_pixel_aspect(container))),
        )


def spread_indices(n_frames: int, n_wanted: int) -> list[int]:
    """Choose frames spaced evenly over a whole video.

    They are the middles of `n_wanted` equal stretches, with fewer than ten moved outwards so
    that the first and the last tenth are always covered. One frame is the middle one.

    Returns: at most `n_wanted` rising indices in 0..n_frames - 1.
    """
    if n_wanted == 1:
        return [n_frames // 2]
    margin = min(0.5 / n_wanted, 0.05)
    places = np.linspace(margin, 1.0 - margin, n_wanted) * n_frames
    return sorted({min(int(place), n_frames - 1) for place in places})


def loop_video(path: Path, output: Path, min_duration_s: float) -> None:
    """Copy a video's packets end to end, without encoding anew, until it lasts long enough."""
    with av.open(str(output), "w") as target:
        out_stream: Any = None
        offset = 0
        while out_stream is None or offset * out_stream.time_base < min_duration_s:
            with _opened(path) as source:
                stream = source.streams.video[0]
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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
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
        if not container.streams.video:
            raise MediaError(f"{path}: no picture in this file, only sound. Expected a video.")
        yield container


def _describe(path: Path, container: Any) -> VideoInfo:
    stream = container.streams.video[0]
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    if stream.codec_context is None or not stream.width or not stream.height:
        raise MediaError(f"{path}: the video's codec or size is unknown. Convert it to H.264 mp4.")
    return VideoInfo(path, stream.width, stream.height, float(rate), _claimed_duration(stream))


def _pixel_aspect(container: Any) -> float:
    """Width over height of a stored pixel as players show it, 1 where the file says nothing."""
    aspect = float(container.streams.video[0].sample_aspect_ratio or 1)
    return aspect if 1.0 / _MOST_OBLONG <= aspect <= _MOST_OBLONG else 1.0


def _stretch_hint(pixel_aspect: float) -> Iterator[str]:
    if pixel_aspect != 1.0:
        yield f"stored with oblong pixels: faces were judged {pixel_aspect:.3g} times as wide"


def _rotation(container: Any) -> int:
    """Quarter turns to the left that show the first frame upright, in degrees."""
    for decoded in _decode(container, _Damage(_describe(Path(container.name), container))):
        return int(decoded.rotation)
    return 0


def _bit_rate(container: Any, stream: Any) -> float | None:
    """Bits a second of the picture; MPEG-1 headers claim more than the file holds."""
    of_file = container.size * 8 * av.time_base / container.duration if container.duration else None
    known = [float(rate) for rate in (stream.bit_rate, of_file) if rate]
    return min(known) if known else None


def _claimed_duration(stream: Any) -> float | None:
    """When the container says the picture ends, edit lists applied; else Matroska's tag."""
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    try:
        hours, minutes, seconds = map(float, stream.metadata.get("DURATION", "").split(":"))
    except ValueError:
        return None
    claimed_s = hours * 3600 + minutes * 60 + seconds
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
            self.end_s = max(self.end_s, time_s + max(held_s, 1.0 / self.info.fps))

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
    stream = container.streams.video[0]
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


def _choose(path: Path, selection: FrameSelection) -> Callable[[int, float], bool]:
    """Turn a selection into a test of (index, time in seconds) that is asked in order."""
    if selection.n_evenly is not None:
        n_all = count_frames(path)
        n_frames = max(min(n_all, selection.end or n_all) - selection.start, 1)
        chosen = {selection.start + i for i in spread_indices(n_frames, selection.n_evenly)}
        return lambda index, _: index in chosen
    if selection.every_s is not None:
        return _Ticks(selection.start, selection.every_s)
    return lambda index, _: index >= selection.start


class _Ticks:
    """Says yes to the first frame at or after each multiple of a period."""

    def __init__(self, start: int, every_s: float) -> None:
        self.start = start
        self.every_s = every_s
        self.first_s: float | None = None
        self.n_periods = -1

    def __call__(self, index: int, time_s: float) -> bool:
        if index < self.start:
            return False
        if self.first_s is None:
            self.first_s = time_s
        n_periods = int((time_s - self.first_s) / self.every_s + 1e-6)
        is_due = n_periods > self.n_periods
        self.n_periods = n_periods
        return is_due


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
