"""Interlaced frames -> frames of one moment.

An interlaced frame holds the lines of two moments, every other one of each. Where something moves
they stand apart like the teeth of a comb, which a network that learned from whole frames takes for
a trace of manipulation. FFmpeg's bwdif keeps the first moment's lines and makes up the others of
these and of the frames before and behind it; where nothing moves both moments' lines stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av.error

from mdcsd.errors import MediaError
from mdcsd.frame_graph import FrameGraph, told_of

# Which frames are interlaced is decided here: FFmpeg would let those that are not marked pass, and
# then take the next for the first of all.
_BWDIF = {"bwdif": {"mode": "send_frame", "deint": "all"}}
_LEAST_WH = (3, 4)  # of bwdif


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded frame (`av.VideoFrame`), where it stands in its video, and whether it is wanted."""

    index: int
    time_s: float
    is_wanted: bool
    is_interlaced: bool
    decoded: Any


def is_interlaced(frame: Any, codec: str) -> bool:
    """Whether an `av.VideoFrame` holds two moments: a field of HEVC comes as a frame of its own."""
    return bool(frame.interlaced_frame) and codec != "hevc"


class Deinterlacer:
    """Makes the interlaced frames of one video those of their first moment."""

    def __init__(self, path: Path) -> None:
        """Take the file's name for errors."""
        self._path = path
        self._graph: FrameGraph | None = None
        self._sent: tuple[DecodedFrame, ...] = ()

    def pick(self, frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
        """Yield the wanted frames, an interlaced one as soon as the frame behind it is there.

        Args:
            frames: in order; with a wanted interlaced one those before and behind it, where there
                are any. A lone one stays as it is: nothing tells what of it moves.

        Raises: MediaError if FFmpeg cannot take frames of that kind.
        """
        before = waiting = None
        for frame in frames:
            if waiting:
                yield self._of_first_moment(before, waiting, frame)
                before, waiting = waiting, None
            if frame.is_wanted and frame.is_interlaced:
                waiting = frame
            else:
                if frame.is_wanted:
                    yield frame
                before = frame
        if waiting:
            yield self._of_first_moment(before, waiting, None)

    def _of_first_moment(
        self, before: DecodedFrame | None, frame: DecodedFrame, behind: DecodedFrame | None
    ) -> DecodedFrame:
        """Deinterlace a frame, beside itself where there is no other of its kind."""
        source = told_of(frame.decoded)
        if frame.decoded.width < _LEAST_WH[0] or frame.decoded.height < _LEAST_WH[1]:
            return frame
        three = tuple(
            each
            if each and abs(each.index - frame.index) == 1 and told_of(each.decoded) == source
            else frame
            for each in (before, frame, behind)
        )
        try:
            if not (self._graph and self._graph.fits(source, _BWDIF)):
                self._graph, self._sent = FrameGraph(source, _BWDIF), ()
            for each in three[2:] if self._sent == three[:2] else three:
                made = self._graph.send(each.decoded)  # which is the frame sent before
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{self._path}: its interlaced frames cannot be deinterlaced ({error.strerror}). "
                "Export it anew, progressive."
            ) from None
        self._sent = three[1:]
        return replace(frame, decoded=made[-1])
