"""Video files -> RGB frames as a viewer sees them.

Decoding goes from front to back, and only wanted frames are converted to RGB; where these are
spread over a file, nothing is decoded but them and what they need. Frames that FFmpeg marks as
corrupt are dropped, not scored, and a file that is mostly missing (cut off, damaged) is an error,
because a verdict on its first third would mislead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av.error

from mdcsd.config import FrameSelection
from mdcsd.container import (
    bit_rate_bps,
    claimed_length_s,
    describe,
    joined_tags,
    opened,
    picture_stream,
    pixel_aspect,
)
from mdcsd.damage import Damage
from mdcsd.decode_plan import DecodePlan, PacketTable, packets_are_frames
from mdcsd.decoding import codec_name, decode, decode_runs, held_s, ready_to_decode
from mdcsd.deinterlace import DecodedFrame, Deinterlacer, is_interlaced
from mdcsd.errors import MediaError
from mdcsd.frame_choice import choose_evenly, choose_in_order
from mdcsd.frame_picture import FramePictures
from mdcsd.judging_nouns import MediaFacts
from mdcsd.nouns import HDR, Frame, VideoInfo

OnDamage = Callable[[Damage], None]


def iter_frames(
    path: Path, selection: FrameSelection, on_damage: OnDamage | None = None
) -> Iterator[Frame]:
    """Decode a video front to back, and yield the selected frames.

    With `selection.n_evenly` the file's packets are read first, and what no chosen frame needs
    is not decoded, so that damage there is not seen. Where a chosen one does not come whole the
    file is decoded from its start, all of it, to find out how much is lost.

    Time is counted from the file's start, whatever its first stamp (a broadcast's may be hours),
    and rises strictly; where the file gives none it is derived from the frame rate. The file is
    closed when the iterator is exhausted or closed.

    Args:
        on_damage: called at the end of a file of which something is lost, so little that it is no
            error.

    Raises: MediaError if the file is no video, or ends long before its own claim.
    """
    if selection.n_evenly is None:
        yield from _iter_all(path, choose_in_order(selection), selection.end, on_damage)
        return
    table, reorders, damage = _read_packets(path)
    chosen, done = choose_evenly(selection, table.n_shown), -1
    for reach in (0, 1):  # interlaced frames need those beside them
        left = {index for index in chosen if index > done}
        needed = {index + step for index in left for step in range(-reach, reach + 1)}
        if not (plan := table.plan(needed, reorders)):
            break
        try:
            for frame in _iter_planned(path, plan, left, is_alone=not reach):
                yield frame
                done = frame.index
            if on_damage and damage.lacks_its_end and selection.end is None:
                on_damage(damage)
            return
        except _NotAsPlannedError as stop:
            if not stop.is_for_interlaced:
                break
    yield from _iter_all(
        path, lambda index, _: index in chosen and index > done, selection.end, on_damage
    )


class _NotAsPlannedError(Exception):
    """A frame did not come as planned, or not alone because it is interlaced."""

    def __init__(self, is_for_interlaced: bool = False) -> None:
        self.is_for_interlaced = is_for_interlaced


def _iter_all(
    path: Path,
    is_wanted: Callable[[int, float], bool],
    end: int | None,
    on_damage: OnDamage | None,
) -> Iterator[Frame]:
    """Decode a video once, front to back, and yield what is wanted; see `iter_frames`."""
    with opened(path) as container:
        damage = Damage(describe(path, container))
        frames = _all_frames(container, damage, is_wanted, end, on_damage)
        yield from _pictures(path, container, frames)


def _all_frames(
    container: Any,
    damage: Damage,
    is_wanted: Callable[[int, float], bool],
    end: int | None,
    on_damage: OnDamage | None,
) -> Iterator[DecodedFrame]:
    """Yield whole frames up to `end`, and the one there, which an interlaced one may need.

    Raises: MediaError at the file's end, if too much of it is lost.
    """
    info, codec = damage.info, codec_name(container)
    time_s = -1.0 / info.fps
    for index, decoded in enumerate(decode(container, damage)):
        since_start_s = None if decoded.time is None else decoded.time - info.start_s
        time_s = _rising(since_start_s, time_s, info.fps)
        is_before_end = end is None or index < end
        chosen = is_before_end and is_wanted(index, time_s)
        if not decoded.is_corrupt:
            yield DecodedFrame(index, time_s, chosen, is_interlaced(decoded, codec), decoded)
        if not is_before_end:
            return
    damage.check()
    if on_damage and (damage.n_corrupt or damage.lacks_its_end):
        on_damage(damage)


def _iter_planned(
    path: Path, plan: DecodePlan, wanted: set[int], is_alone: bool
) -> Iterator[Frame]:
    """Yield the wanted frames of a plan.

    Args:
        is_alone: whether the plan has wanted frames alone, so that it ends at an interlaced one.

    Raises: _NotAsPlannedError where decoding fails, a frame is corrupt or lost, or a keyframe that
        was jumped to does not come, because it is none: whoever asks had better decode everything.
    """
    with opened(path) as container:
        start_s = describe(path, container).start_s
        frames = _planned_frames(container, plan, wanted, is_alone, start_s)
        yield from _pictures(path, container, frames)


def _planned_frames(
    container: Any, plan: DecodePlan, wanted: set[int], is_alone: bool, start_s: float
) -> Iterator[DecodedFrame]:
    """Yield all frames of a plan; raises as `_iter_planned` does."""
    keys, coming = deque(sorted(plan.starts)), deque(sorted(plan.index_of.items()))
    tick_s, codec = picture_stream(container).time_base, codec_name(container)
    for decoded in decode_runs(container, plan):
        if decoded.is_corrupt:
            break
        if keys and decoded.pts == keys[0]:
            keys.popleft()
        if decoded.pts not in plan.index_of:
            continue
        stamp, index = coming.popleft()
        if decoded.pts != stamp or (keys and keys[0] <= stamp):
            raise _NotAsPlannedError
        is_woven = is_interlaced(decoded, codec)
        if is_alone and is_woven:
            raise _NotAsPlannedError(is_for_interlaced=True)
        time_s = float(stamp * tick_s) - start_s
        yield DecodedFrame(index, time_s, index in wanted, is_woven, decoded)
    if coming:
        raise _NotAsPlannedError


def _pictures(path: Path, container: Any, frames: Iterator[DecodedFrame]) -> Iterator[Frame]:
    """Yield the wanted frames of a video as pictures.

    Raises: MediaError if FFmpeg cannot deinterlace or convert them.
    """
    pictures = FramePictures(path, pixel_aspect(container))
    for frame in Deinterlacer(path).pick(frames):
        yield Frame(frame.index, frame.time_s, pictures.convert(frame.decoded))


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
    table, _, _ = _read_packets(path)
    return table.n_shown


def _read_packets(path: Path) -> tuple[PacketTable, bool, Damage]:
    """Read what a file says of its packets, whether its decoder reorders them, and what is lost.

    Raises: as `count_frames` does.
    """
    table = PacketTable()
    with opened(path) as container:
        stream, info = picture_stream(container), describe(path, container)
        damage, kind = Damage(info), (codec_name(container), container.format.name)
        is_exact = packets_are_frames(*kind)
        frame_s = _interval_of_fields_s(path) if kind == ("h264", "mpegts") else None
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                time_s = None if packet.pts is None else float(packet.pts * packet.time_base)
                is_shown = not packet.is_discard
                is_regular = (
                    is_exact
                    and frame_s is None
                    and not packet.has_sidedata("new_extradata")
                    and (time_s is None or not is_shown or time_s >= info.start_s)
                )
                is_key = bool(packet.is_keyframe)
                table.add(packet.pts, packet.dts, is_key, is_shown, is_regular)
                if is_shown:
                    damage.count(time_s, held_s(packet))
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{path}: damaged, it cannot be read to its end ({error.strerror}). Copy it again."
            ) from None
        damage.check()
        if frame_s:
            table.n_shown = max(int(damage.end_s / frame_s + 0.25), 1)
        return table, bool(stream.codec_context.has_b_frames), damage


def _interval_of_fields_s(path: Path) -> float | None:
    """Seconds from frame to frame, where the first packets hold a field each, two of them a frame.

    Interlaced H.264 in a stream may be so; what packets and header say of time does not tell it.
    """
    with opened(path) as container:
        stream = ready_to_decode(container)
        try:
            packets = list(islice(container.demux(stream), 32))
            frames = [frame for packet in packets for frame in packet.decode()]
            frames += stream.codec_context.decode(None)
        except av.error.FFmpegError:
            return None
        times: list[float] = sorted(frame.time for frame in frames if frame.time is not None)
        if len(times) < 2 or 4 * len(frames) > 3 * len(packets):
            return None
        return max(median(later - time for time, later in pairwise(times)), 1e-3)


def probe(path: Path) -> VideoInfo:
    """Read what a video's container says of itself, without decoding a frame."""
    with opened(path) as container:
        return describe(path, container)


def read_container_facts(path: Path) -> MediaFacts:
    """Read what a video's container says; of its frames only the first is decoded.

    Raises: MediaError if the file is no video.
    """
    with opened(path) as container:
        info = describe(path, container)
        stream = picture_stream(container)
        codec = stream.codec_context
        first = _first_frame(container)
        return MediaFacts(
            kind="video",
            container=container.format.name,
            container_description=container.format.long_name,
            codec=codec_name(container),
            codec_description=" ".join(filter(None, (codec.codec.long_name, codec.profile))),
            width_px=info.width_px,
            height_px=info.height_px,
            size_bytes=path.stat().st_size,
            rotation_deg=-int(first.rotation) % 360 if first else 0,
            duration_s=claimed_length_s(container),
            frame_rate=info.fps,
            bit_rate_bps=bit_rate_bps(container, stream),
            tags=joined_tags(container.metadata, stream.metadata),
            hints=tuple(_hints(pixel_aspect(container), first, codec_name(container))),
        )


def _hints(aspect: float, first: Any, codec: str) -> Iterator[str]:
    """Yield what about the pictures makes them other than those that a network learned from."""
    if aspect != 1.0:
        yield f"stored with oblong pixels: faces were judged {aspect:.3g} times as wide"
    if first and is_interlaced(first, codec):
        yield (
            "interlaced: each frame holds the lines of two moments; the first one was judged, its "
            "other lines made up (deinterlaced by FFmpeg's bwdif), which may lower a score a little"
        )
    if first and first.color_trc in HDR:
        yield (
            f"{HDR[first.color_trc]}: colours were converted to those of an ordinary screen, on "
            "which the brightest parts are plain white, and may change a score a little"
        )


def _first_frame(container: Any) -> Any:
    """Decode the first frame; None where there is none."""
    return next(decode(container, Damage(describe(Path(container.name), container))), None)


def _rising(time_s: float | None, previous_s: float, fps: float) -> float:
    """Take the file's time stamp if it is later than the last one, else go on at the frame rate."""
    if time_s is None or time_s <= previous_s:
        return previous_s + 1.0 / fps
    return float(time_s)
