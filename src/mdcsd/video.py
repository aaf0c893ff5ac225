"""Video and picture files -> upright RGB frames. The only file that touches a decoder.

One sequential pass through the file; only the wanted frames are converted to RGB. Frames
that FFmpeg marks as corrupt are dropped, not scored, and a file that is mostly missing
(cut off, damaged) is an error, because a verdict on its first third would mislead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mdcsd.config import FrameSelection
from mdcsd.errors import InputError, MediaError
from mdcsd.nouns import Frame, RgbArray, VideoInfo

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mpg", ".mov", ".mkv", ".webm", ".gif"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})

# A file may lose this share of its frames (edit lists, a bad packet) before it counts as damaged.
_TOLERATED_LOSS = 0.1


def find_media(root: Path, suffixes: Collection[str]) -> list[Path]:
    """List the files below a folder that end in one of the suffixes, sorted by path.

    Raises: InputError if `root` does not exist or holds no such file.
    """
    if not root.exists():
        raise InputError(f"{root}: no such file or folder. Check the path.")
    if root.is_file():
        return [root]
    found = sorted(
        Path(folder) / name
        for folder, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in suffixes and not name.startswith(".")
    )
    if not found:
        kinds = " ".join(sorted(suffix[1:] for suffix in suffixes))
        raise InputError(f"{root}: no file to read in this folder. Expected some of: {kinds}.")
    return found


def iter_frames(path: Path, selection: FrameSelection) -> Iterator[Frame]:
    """Decode a video once, front to back, and yield the selected frames.

    Time rises strictly; where the file gives none it is derived from the frame rate. The
    file is closed when the iterator is exhausted or closed.

    Raises: MediaError if the file is no video, or ends long before its own claim.
    """
    is_wanted = _choose(path, selection)
    with _opened(path) as container:
        info = _describe(path, container)
        damage = _Damage(info)
        time_s = -1.0 / info.fps
        for index, decoded in enumerate(_decode(container, damage)):
            if selection.end is not None and index >= selection.end:
                return
            time_s = _rising(decoded.time, time_s, info.fps)
            if is_wanted(index, time_s) and damage.is_sound(decoded):
                yield Frame(index, time_s, _upright(decoded))
        damage.check_length()


def count_frames(path: Path) -> int:
    """Count a video's frames by reading its packets, without decoding them.

    Raises: MediaError if the file is no video, or ends long before its own claim.
    """
    with _opened(path) as container:
        damage = _Damage(_describe(path, container))
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            damage.n_decoded += 1 if packet.size else 0
        damage.check_length()
        return damage.n_decoded


def probe(path: Path) -> VideoInfo:
    """Read what a video's container says of itself, without decoding a frame."""
    with _opened(path) as container:
        return _describe(path, container)


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


def read_image(path: Path) -> RgbArray:
    """Read a picture as uint8 (H, W, 3) RGB, turned upright by its EXIF orientation.

    CMYK is converted, 16 bit is scaled to 8, transparency is laid on white as viewers do.

    Raises: MediaError if the file is empty, no picture, cut off or absurdly large.
    """
    _check_file(path)
    try:
        with Image.open(path) as opened:
            picture: Image.Image = ImageOps.exif_transpose(opened)
            return np.asarray(_eight_bit_rgb(picture))
    except UnidentifiedImageError:
        raise MediaError(
            f"{path}: not a picture, whatever its name says. Expected JPEG, PNG or the like."
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(
            f"{path}: the picture cannot be decoded ({error}). Save it again and retry."
        ) from None


def encode_png(pixels: RgbArray) -> bytes:
    """Encode uint8 (H, W, 3) RGB, or (H, W, 1) grey, as PNG, without loss."""
    bgr = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels
    return cv2.imencode(".png", bgr)[1].tobytes()


def decode_png(content: bytes, channels: int) -> RgbArray:
    """Decode PNG bytes to uint8 (H, W, 3) RGB or (H, W, 1) grey.

    Raises: ValueError if the bytes are no picture.
    """
    flag = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    if bgr is None:
        raise ValueError("no PNG")
    pixels = bgr[..., ::-1] if channels == 3 else bgr[..., None]
    return np.ascontiguousarray(pixels, np.uint8)


def write_video(path: Path, frames: Iterable[RgbArray], fps: int, crf: int = 23) -> None:
    """Encode uint8 (H, W, 3) RGB frames of one even size as H.264 in the container of the name."""
    with av.open(str(path), "w") as container:
        stream: Any = None
        for rgb in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf)})
                stream.height, stream.width = rgb.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


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


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path.")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes). Copy it again.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    _check_file(path)
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path}: not a video that can be opened ({reason}). Expected a whole mp4, avi, mpg, "
            "mov, mkv, webm or gif file; if it should be one, copy it again."
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
    return VideoInfo(path, stream.width, stream.height, float(rate), _claimed_count(stream, rate))


def _claimed_count(stream: Any, rate: Fraction) -> int | None:
    """Frames the container promises: its count, else (Matroska) its duration tag x rate."""
    if stream.frames:
        return int(stream.frames)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    if not seconds:
        return None
    return int((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * rate)


class _Damage:
    """Counts what one pass over a file yields against what the container promised."""

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.n_decoded = 0
        self.n_corrupt = 0

    def is_sound(self, decoded: Any) -> bool:
        return not decoded.is_corrupt

    def check_length(self) -> None:
        """Refuse a file that lost more than a tenth of what it claims, or of what it holds."""
        n_good = self.n_decoded - self.n_corrupt
        n_expected = max(self.info.frame_count_claimed or 0, self.n_decoded)
        if n_good == 0:
            raise MediaError(f"{self.info.path}: no frame can be decoded. Copy the file again.")
        if n_expected - n_good > max(2, _TOLERATED_LOSS * n_expected):
            raise MediaError(
                f"{self.info.path}: only {n_good} of {n_expected} frames can be decoded: the file "
                "is cut off or damaged. Copy it again, or save the readable part with: ffmpeg "
                f"-err_detect ignore_err -i {self.info.path.name} -c:v libx264 readable.mp4"
            )


def _decode(container: Any, damage: _Damage) -> Iterator[Any]:
    """Yield every decodable frame; packets that cannot be decoded are counted and passed over."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            decoded = packet.decode()
        except StopIteration:
            return
        except av.error.FFmpegError:
            damage.n_decoded += 1
            damage.n_corrupt += 1
            if damage.n_corrupt > 1000:  # a demuxer that fails for ever
                return
            continue
        for frame in decoded:
            damage.n_decoded += 1
            damage.n_corrupt += bool(frame.is_corrupt)
            yield frame


def _choose(path: Path, selection: FrameSelection) -> Callable[[int, float], bool]:
    """Turn a selection into a test of (index, time in seconds) that is asked in order."""
    if selection.n_evenly is not None:
        stop = min(count_frames(path), selection.end or count_frames(path))
        n_frames = max(stop - selection.start, 1)
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
        self.next_s: float | None = None

    def __call__(self, index: int, time_s: float) -> bool:
        if index < self.start or (self.next_s is not None and time_s < self.next_s - 1e-6):
            return False
        self.next_s = time_s + self.every_s if self.next_s is None else self.next_s + self.every_s
        return True


def _rising(time_s: float | None, previous_s: float, fps: float) -> float:
    """Take the file's time stamp if it is later than the last one, else go on at the frame rate."""
    if time_s is None or time_s <= previous_s:
        return previous_s + 1.0 / fps
    return float(time_s)


def _upright(decoded: Any) -> RgbArray:
    rgb: RgbArray = decoded.to_ndarray(format="rgb24")
    quarter_turns = int(decoded.rotation) // 90
    return np.ascontiguousarray(np.rot90(rgb, k=quarter_turns)) if quarter_turns else rgb


def _eight_bit_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        scaled = np.asarray(picture, dtype=np.uint32) >> 8
        picture = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        picture = Image.alpha_composite(white, rgba)
    return picture.convert("RGB")
