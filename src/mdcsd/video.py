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
from pathlib import Path
from typing import Any

import av
import av.error

from mdcsd.config import FrameSelection
from mdcsd.container import describe, opened, picture_stream, pixel_aspect, start_s
from mdcsd.damage import Damage
from mdcsd.decode_plan import DecodePlan, PacketTable, packets_are_frames
from mdcsd.deinterlace import Shown, deinterlaced
from mdcsd.errors import MediaError
from mdcsd.frame_choice import choose_evenly, choose_in_order
from mdcsd.frame_picture import HDR, FramePictures
from mdcsd.judging_nouns import MediaFacts
from mdcsd.nouns import Frame, VideoInfo

# A frame of more is not decoded, whatever the container's header says: it would fill the memory.
_MAX_FRAME_PIXELS = 178_956_970  # Pillow's bound for pictures

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
        on_damage: called at the end of a file of which so little is lost that it is no error.

    Raises: MediaError if the file is no video, or ends long before its own claim.
    """
    if selection.n_evenly is None:
        yield from _iter_all(path, choose_in_order(selection), selection.end, on_damage)
        return
    table, reorders = _read_packets(path)
    chosen, done = choose_evenly(selection, table.n_shown), -1
    for reach in (0, 1):  # interlaced frames need those beside them
        left = {index for index in chosen if index > done}
        needed = {index + step for index in left for step in range(-reach, reach + 1)}
        if left and (plan := table.plan(needed, reorders)):
            for frame in _iter_planned(path, plan, left, is_alone=not reach):
                yield frame
                done = frame.index
    if done < max(chosen):
        yield from _iter_all(
            path, lambda index, _: index in chosen and index > done, selection.end, on_damage
        )


def _iter_all(
    path: Path,
    is_wanted: Callable[[int, float], bool],
    end: int | None,
    on_damage: OnDamage | None,
) -> Iterator[Frame]:
    """Decode a video once, front to back, and yield what is wanted; see `iter_frames`."""

    def shown() -> Iterator[Shown]:
        time_s = -1.0 / info.fps
        for index, decoded in enumerate(_decode(container, damage)):
            if end is not None and index >= end:
                return
            since_start_s = None if decoded.time is None else decoded.time - info.start_s
            time_s = _rising(since_start_s, time_s, info.fps)
            is_whole = not decoded.is_corrupt
            yield Shown(index, time_s, is_wanted(index, time_s) and is_whole, decoded)
        damage.check()
        if damage.n_corrupt and on_damage:
            on_damage(damage)

    with opened(path) as container:
        info = describe(path, container)
        damage = Damage(info)
        yield from _pictures(path, container, shown())


def _iter_planned(
    path: Path, plan: DecodePlan, wanted: set[int], is_alone: bool
) -> Iterator[Frame]:
    """Yield the wanted frames of a plan until one does not come as planned.

    That is where decoding fails, a frame is corrupt or lost, frames come in another order than
    their stamps, or a keyframe that was jumped to does not come, because it is none: there whoever
    asks had better decode everything.

    Args:
        is_alone: whether the plan has wanted frames alone, so that it ends at an interlaced one.
    """

    def shown() -> Iterator[Shown]:
        keys, coming = deque(sorted(plan.starts)), deque(sorted(plan.index_of.items()))
        last_pts = None
        for decoded in _decode_runs(container, plan):
            is_late = last_pts is not None and (decoded.pts is None or decoded.pts <= last_pts)
            if decoded.is_corrupt or is_late:
                return
            last_pts = decoded.pts
            if keys and decoded.pts == keys[0]:
                keys.popleft()
            if decoded.pts not in plan.index_of:
                continue
            stamp, index = coming.popleft()
            is_lost = decoded.pts != stamp or (keys and keys[0] <= stamp)
            if is_lost or (is_alone and decoded.interlaced_frame):
                return
            yield Shown(index, float(stamp * tick_s) - info.start_s, index in wanted, decoded)

    with opened(path) as container:
        info, tick_s = describe(path, container), picture_stream(container).time_base
        yield from _pictures(path, container, shown())


def _pictures(path: Path, container: Any, shown: Iterator[Shown]) -> Iterator[Frame]:
    """Yield the wanted frames of a video as pictures.

    Raises: MediaError if FFmpeg cannot deinterlace or convert them.
    """
    pictures = FramePictures(path, pixel_aspect(container))
    try:
        for each in deinterlaced(shown):
            yield Frame(each.index, each.time_s, pictures.convert(each.decoded))
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{path}: its interlaced frames cannot be deinterlaced ({error.strerror}). Export it "
            "anew, progressive."
        ) from None


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
    table, _ = _read_packets(path)
    return table.n_shown


def _read_packets(path: Path) -> tuple[PacketTable, bool]:
    """Read what a file says of its packets, and whether its decoder expects them reordered.

    Raises: as `count_frames` does.
    """
    table = PacketTable()
    with opened(path) as container:
        stream, info = picture_stream(container), describe(path, container)
        damage, codec = Damage(info), stream.codec_context.codec.canonical_name
        is_exact = packets_are_frames(codec, container.format.name)
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                time_s = None if packet.pts is None else float(packet.pts * packet.time_base)
                is_shown = not packet.is_discard
                is_regular = (
                    is_exact
                    and not packet.has_sidedata("new_extradata")
                    and (time_s is None or not is_shown or time_s >= info.start_s)
                )
                is_key = bool(packet.is_keyframe)
                table.add(packet.pts, packet.dts, is_key, is_shown, is_regular)
                if is_shown:
                    damage.count(time_s, _held_s(packet))
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{path}: damaged, it cannot be read to its end ({error.strerror}). Copy it again."
            ) from None
        damage.check()
        return table, bool(stream.codec_context.has_b_frames)


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
            hints=tuple(_hints(pixel_aspect(container), first)),
        )


def _tags(of_file: dict[str, str], of_picture: dict[str, str]) -> dict[str, str]:
    """Lay the tags of a file and of its stream of pictures together, none over another."""
    twice = {f"{name} of the picture" if name in of_file else name: of_picture[name]
             for name in of_picture}  # fmt: skip
    return {str(name): str(text) for name, text in {**of_file, **twice}.items()}


def _hints(aspect: float, first: Any) -> Iterator[str]:
    """Yield what about the pictures makes them other than those that a network learned from."""
    if aspect != 1.0:
        yield f"stored with oblong pixels: faces were judged {aspect:.3g} times as wide"
    if first and first.interlaced_frame:
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
    return next(_decode(container, Damage(describe(Path(container.name), container))), None)


def _duration_s(container: Any) -> float | None:
    """How long the file says it lasts; Matroska says when it ends."""
    if not container.duration:
        return None
    end_s: float = container.duration / av.time_base
    begins_s = start_s(container) if "matroska" in container.format.name else 0.0
    return end_s - begins_s if end_s > begins_s else end_s


def _bit_rate(container: Any, stream: Any) -> float | None:
    """Bits a second of the picture; MPEG-1 headers claim more than the file holds."""
    duration_s = _duration_s(container)
    of_file = container.size * 8 / duration_s if duration_s else None
    known = [float(rate) for rate in (stream.bit_rate, of_file) if rate]
    return min(known) if known else None


def _decode(container: Any, damage: Damage) -> Iterator[Any]:
    """Yield every decodable frame; packets that cannot be decoded are counted and passed over."""
    packets = container.demux(_ready_to_decode(container))
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


def _decode_runs(container: Any, plan: DecodePlan) -> Iterator[Any]:
    """Yield the frames of a plan's packets, and end early where one cannot be decoded.

    H.264 frames that are not wanted and that no other is decoded from are left out: what HEVC
    calls so may be a reference in a higher temporal layer.
    """
    stream = _ready_to_decode(container)
    decoder, runs = stream.codec_context, iter(plan.runs)
    discards = decoder.codec.canonical_name == "h264"
    first, last = next(runs)
    packets = (packet for packet in container.demux(stream) if packet.size)
    try:
        for place, packet in enumerate(packets):
            if place < first:
                continue
            if discards:
                decoder.skip_frame = "DEFAULT" if packet.pts in plan.index_of else "NONREF"
            yield from packet.decode()
            if place == last:
                yield from decoder.decode(None)
                decoder.flush_buffers()
                if (run := next(runs, None)) is None:
                    return
                first, last = run
    except av.error.FFmpegError:
        return


def _ready_to_decode(container: Any) -> Any:
    """The stream of pictures, set to decode on all cores and no frame that fills the memory."""
    stream = picture_stream(container)
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(_MAX_FRAME_PIXELS)}
    return stream


def _held_s(shown: Any) -> float:
    """How long the file says that a packet or frame is shown, 0 where it says nothing."""
    return float(shown.duration * shown.time_base) if shown.duration and shown.time_base else 0.0


def _rising(time_s: float | None, previous_s: float, fps: float) -> float:
    """Take the file's time stamp if it is later than the last one, else go on at the frame rate."""
    if time_s is None or time_s <= previous_s:
        return previous_s + 1.0 / fps
    return float(time_s)
