"""A container's packets -> decoded frames (`av.VideoFrame`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av.error

from mdcsd.container import picture_stream
from mdcsd.damage import Damage
from mdcsd.decode_plan import DecodePlan
from mdcsd.machine import decoding_threads

# A frame of more is not decoded, whatever the container's header says: it would fill the memory.
_MAX_FRAME_PIXELS = 178_956_970  # Pillow's bound for pictures


def codec_name(container: Any) -> str:
    """The name of the picture's codec: av1, and not the decoder at hand."""
    return str(picture_stream(container).codec_context.codec.canonical_name)


def decode(container: Any, damage: Damage) -> Iterator[Any]:
    """Yield every decodable frame; packets that cannot be decoded are counted and passed over."""
    packets = container.demux(ready_to_decode(container))
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
            damage.count(frame.time, held_s(frame), bool(frame.is_corrupt))
            yield frame


def decode_runs(container: Any, plan: DecodePlan) -> Iterator[Any]:
    """Yield the frames of a plan's packets, and end early where one cannot be decoded.

    H.264 frames that are not wanted and that no other is decoded from are left out: what HEVC
    calls so may be a reference in a higher temporal layer.
    """
    stream = ready_to_decode(container)
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


def ready_to_decode(container: Any) -> Any:
    """The stream of pictures, set to decode on this process's share of the cores, or on all.

    No frame is decoded that fills the memory.
    """
    stream = picture_stream(container)
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = decoding_threads()
    stream.codec_context.options = {"max_pixels": str(_MAX_FRAME_PIXELS)}
    return stream


def held_s(shown: Any) -> float:
    """How long the file says that a packet or frame is shown, 0 where it says nothing."""
    return float(shown.duration * shown.time_base) if shown.duration and shown.time_base else 0.0
