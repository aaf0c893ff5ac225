"""Interlaced frames -> frames of one moment.

An interlaced frame holds the lines of two moments, every other one of each. Where something moves
they stand apart like the teeth of a comb, which a network that learned from whole frames takes for
a trace of manipulation. FFmpeg's bwdif keeps the first moment's lines and makes up the others of
these and of the frames before and behind it; where nothing moves both moments' lines stay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mdcsd.frame_graph import FrameGraph, told_of

_BWDIF = {"bwdif": {"mode": "send_frame", "deint": "interlaced"}}


@dataclass(frozen=True, slots=True)
class Shown:
    """A decoded frame (`av.VideoFrame`), where it stands in its video, and whether it is wanted."""

    index: int
    time_s: float
    is_wanted: bool
    decoded: Any


def deinterlaced(frames: Iterator[Shown]) -> Iterator[Shown]:
    """Yield the wanted frames, those that are marked as interlaced as frames of one moment.

    Args:
        frames: in order. With an interlaced one that is wanted come those before and behind it,
            where there are any; of others nothing but the wanted ones is looked at.

    Raises: av.error.FFmpegError if FFmpeg cannot take frames of that kind.
    """
    graph: FrameGraph | None = None
    inside: deque[Shown] = deque()  # a frame comes out when the next one goes in
    for shown in _wanted_and_beside(frames):
        source = told_of(shown.decoded)
        if graph and not graph.fits(source, _BWDIF):
            yield from _come_out(graph, inside, None)
            graph = None
        if graph is None and shown.decoded.interlaced_frame:
            graph = FrameGraph(source, _BWDIF)
        if graph:
            inside.append(shown)
            yield from _come_out(graph, inside, shown.decoded)
        elif shown.is_wanted:
            yield shown
    if graph:
        yield from _come_out(graph, inside, None)


def _come_out(graph: FrameGraph, inside: deque[Shown], decoded: Any) -> Iterator[Shown]:
    """Put a frame in, None after the last, and yield what comes out of it that is wanted."""
    for made in graph.send(decoded):
        shown = inside.popleft()
        if shown.is_wanted:
            yield replace(shown, decoded=made)


def _wanted_and_beside(frames: Iterator[Shown]) -> Iterator[Shown]:
    """Leave out what is neither wanted nor beside a wanted frame: nothing would come of it."""
    before: Shown | None = None
    is_kept = False
    for shown in frames:
        if before and (is_kept or shown.is_wanted):
            yield before
        is_kept = shown.is_wanted or bool(before and before.is_wanted)
        before = shown
    if before and is_kept:
        yield before
