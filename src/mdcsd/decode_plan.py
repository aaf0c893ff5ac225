"""Which packets must be decoded for a few frames of a video, and which can be discarded.

Most frames are coded as what changed since others. Keyframes stand by themselves: what lies
before the last of them is not needed to show a frame.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

_KEY, _SHOWN = 1, 2

_CODECS = {
    "h264", "hevc", "vp9", "av1", "mpeg2video", "prores", "dnxhd", "dvvideo", "mjpeg", "jpeg2000",
    "ffv1",
}  # fmt: skip
_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mxf", "dv"}


def packets_are_frames(codec: str, container: str) -> bool:
    """Whether each packet is a frame, and its pts the time at which that is shown.

    Not in AVI, which counts packets, and VP8 hides some; H.264 in a stream may have two a frame,
    which only decoding tells. Names are FFmpeg's.
    """
    return codec in _CODECS and container in _CONTAINERS


@dataclass(frozen=True)
class DecodePlan:
    """Packets to decode, and the frames that are wanted of them.

    `runs` are stretches of packets as (first, last), both included, in order and apart;
    `starts` the time stamps (pts) of the keyframes that are jumped to; `index_of` the wanted
    frames by pts: the index among all frames that are shown, in order of time.
    """

    runs: tuple[tuple[int, int], ...]
    starts: frozenset[int]
    index_of: dict[int, int]


class PacketTable:
    """What a file says of its packets of pictures, in its order, which is that of decoding.

    Nine bytes a packet, as a file may hold millions.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._pts = array("q")
        self._flags = bytearray()
        self._last_dts: int | None = None
        self._is_regular = True
        self.n_shown = 0

    def add(
        self, pts: int | None, dts: int | None, is_key: bool, is_shown: bool, is_regular: bool
    ) -> None:
        """Add the next packet.

        Args:
            pts: when its frame is shown, in ticks; None where the file says nothing.
            dts: when it is decoded; rises, but where files were joined.
            is_key: whether it is called a keyframe.
            is_shown: not, where an edit list hides it, and others are decoded from it.
            is_regular: no, to have the whole file decoded front to back.
        """
        if dts is not None:
            is_regular &= self._last_dts is None or dts > self._last_dts
            self._last_dts = dts
        self._is_regular &= is_regular and pts is not None
        self._pts.append(pts or 0)
        self._flags.append(_KEY * is_key | _SHOWN * is_shown)
        self.n_shown += is_shown

    def plan(self, chosen: set[int], reorders: bool) -> DecodePlan | None:
        """Plan to decode the frames of the indices `chosen`, each from the keyframe before it.

        Indices that no frame has are passed over.

        A frame that is stored behind a keyframe and shown before it may need what lies before
        that one, so it is decoded from the keyframe before (leading pictures of HEVC, open
        groups of pictures).

        Args:
            reorders: whether the decoder expects packets in another order than that of showing.

        Returns: None where a frame's index might be another than if all were decoded: time
            stamps are missing, shared by two, out of order though the decoder expects order, or
            in order though it reorders, so that they are those of decoding; parts were joined; the
            first frames may lack what they are decoded from.
        """
        pts, flags = np.array(self._pts, np.int64), np.array(self._flags, np.uint8)
        if not self._is_regular or not self.n_shown or not flags[0] & _KEY:
            return None
        shown = np.sort(pts[(flags & _SHOWN) > 0])
        in_order = bool((np.diff(pts) > 0).all())
        if len(np.unique(pts)) < len(pts) or shown[0] < pts[0] or in_order == reorders:
            return None
        index_of = {int(shown[at]): at for at in sorted(chosen) if 0 <= at < len(shown)}
        if not index_of:
            return None
        places = np.flatnonzero(np.isin(pts, list(index_of)))
        runs = _merged_runs(pts, np.flatnonzero(flags & _KEY), places)
        return DecodePlan(runs, frozenset(int(pts[at]) for at, _ in runs if at), index_of)


def _merged_runs(
    pts: np.ndarray, keys: np.ndarray, places: np.ndarray
) -> tuple[tuple[int, int], ...]:
    """Stretches of packets that hold all that the packets at `places` may need."""
    runs: list[tuple[int, int]] = []
    for last in places.tolist():
        n_keys = int(np.searchsorted(keys, last, side="right"))
        if pts[last] < pts[keys[n_keys - 1]]:
            n_keys = max(n_keys - 1, 1)
        first = int(keys[n_keys - 1])
        while runs and first <= runs[-1][1] + 1:
            first = min(first, runs.pop()[0])
        runs.append((first, last))
    return tuple(runs)
