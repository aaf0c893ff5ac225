"""Which packets must be decoded for a few frames of a video, and which can be passed over.

A codec stores most pictures as what changed since others. Some, the key pictures, stand by
themselves: what lies before the last of them is not needed to show a frame.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PacketFacts:
    """One stored picture, in the order of the file, which is the order of decoding.

    `stamp` says when it is shown, in ticks, None where the file says nothing; `is_key` that it
    stands by itself; a picture that is not shown is only there for others to be decoded.
    """

    stamp: int | None
    is_key: bool
    is_shown: bool


@dataclass(frozen=True)
class DecodePlan:
    """Packets to decode, and the frames that are wanted of them.

    `runs` are stretches of packets as (first, last), both included, in order and apart;
    `starts` the stamps of those that a run jumps to; `index_of` the wanted frames by stamp,
    the index among all frames that are shown, in order of time.
    """

    runs: tuple[tuple[int, int], ...]
    starts: frozenset[int]
    index_of: dict[int, int]


def plan_decoding(
    packets: Sequence[PacketFacts], chosen: set[int], reorders: bool
) -> DecodePlan | None:
    """Plan to decode the frames of the indices `chosen`, each from the key picture before it.

    A picture that is stored behind a key picture and shown before it may need what lies before
    that one: it is decoded from the key picture before (HEVC: leading pictures).

    Args:
        reorders: the codec may store pictures in another order than that in which they are shown.

    Returns: None where a frame cannot be told by its stamp: some are missing or not one frame's
        own, or they count the packets as stored where pictures are reordered (AVI); and where
        no frame has an index of these.
    """
    known = [packet.stamp for packet in packets if packet.stamp is not None]
    if len(set(known)) < len(packets) or (reorders and known == sorted(known)):
        return None
    place_of = {stamp: place for place, stamp in enumerate(known)}
    shown = sorted(known[place] for place, packet in enumerate(packets) if packet.is_shown)
    index_of = {shown[index]: index for index in sorted(chosen) if index < len(shown)}
    if not index_of:
        return None
    keys = [place for place, packet in enumerate(packets) if packet.is_key]
    runs: list[tuple[int, int]] = []
    for last in sorted(place_of[stamp] for stamp in index_of):
        n_keys = bisect_right(keys, last)
        if n_keys and known[last] < known[keys[n_keys - 1]]:
            n_keys -= 1
        first = keys[n_keys - 1] if n_keys else 0
        while runs and first <= runs[-1][1] + 1:
            first = min(first, runs.pop()[0])
        runs.append((first, last))
    jumped_to = frozenset(known[first] for first, _ in runs if first)
    return DecodePlan(tuple(runs), jumped_to, index_of)
