"""Judged faces -> the pictures that a report shows of them.

Each person's judged frames are cut into stretches of time; the one with the highest mean score
is the one to look at first. Of each stretch a few faces are kept, with where each branch
looked, small enough that a page of them can be mailed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from mdcsd.explain import colour_difference, colour_heat
from mdcsd.faces import resize
from mdcsd.frame_choice import spread_indices
from mdcsd.judging_nouns import (
    Evidence,
    EvidenceFace,
    FrameScore,
    Heatmaps,
    PersonEvidence,
    Stretch,
    TrackScore,
)
from mdcsd.metrics import min_track_frames
from mdcsd.nouns import FaceCrop, RgbArray
from mdcsd.pictures import encode_jpeg, encode_png

MAX_PERSONS = 6
MAX_STRETCHES = 8
MAX_FACES = 4
"""Shown of a person's stretch, spaced evenly over its judged frames."""

_SIDE_PX = 192

Explain = Callable[[list[FaceCrop]], list[Heatmaps]]


def collect_evidence(
    crops: Sequence[FaceCrop],
    scores: Sequence[FrameScore],
    tracks: Sequence[TrackScore],
    explain: Explain,
    n_sampled: int,
) -> Evidence:
    """Keep pictures of the first persons of `rank_persons`.

    Args:
        crops: every judged face.
        scores: of the crops, in the same order.
        tracks: the persons.
        explain: finds where the network looked.
        n_sampled: how many frames were looked at.

    Returns: a person each, in that order.
    """
    by_track: dict[int, list[tuple[FaceCrop, FrameScore]]] = defaultdict(list)
    for crop, row in zip(crops, scores, strict=True):
        by_track[row.track_id].append((crop, row))
    ranked = rank_persons(tracks, n_sampled)[:MAX_PERSONS]
    return tuple(
        _collect_person(track.track_id, by_track[track.track_id], explain) for track in ranked
    )


def rank_persons(tracks: Sequence[TrackScore], n_sampled: int) -> list[TrackScore]:
    """Sort persons: those seen in enough frames to count first, each part by falling score."""
    enough = min_track_frames(n_sampled)
    return sorted(tracks, key=lambda track: (track.n_frames < enough, -track.score))


def _collect_person(
    track_id: int, faces: list[tuple[FaceCrop, FrameScore]], explain: Explain
) -> PersonEvidence:
    n_stretches = min(MAX_STRETCHES, -(-len(faces) // MAX_FACES))
    bounds = np.linspace(0, len(faces), n_stretches + 1).round().astype(int).tolist()
    stretches = tuple(_collect_stretch(faces[low:high], explain) for low, high in pairwise(bounds))
    worst = int(np.argmax([stretch.score for stretch in stretches]))
    return PersonEvidence(track_id, stretches, worst)


def _collect_stretch(faces: list[tuple[FaceCrop, FrameScore]], explain: Explain) -> Stretch:
    shown = [faces[index] for index in spread_indices(len(faces), MAX_FACES)]
    found = explain([crop for crop, _ in shown])
    return Stretch(
        first_s=faces[0][1].time_s,
        last_s=faces[-1][1].time_s,
        n_frames=len(faces),
        score=float(np.mean([row.score for _, row in faces])),
        faces=tuple(
            _picture_face(crop, row, maps) for (crop, row), maps in zip(shown, found, strict=True)
        ),
    )


def _picture_face(crop: FaceCrop, row: FrameScore, maps: Heatmaps) -> EvidenceFace:
    difference = maps.log_dct_difference
    return EvidenceFace(
        frame_index=row.frame_index,
        time_s=row.time_s,
        score=row.score,
        crop=_small_jpeg(crop.rgb),
        rgb_heat=None if maps.rgb is None else _small_jpeg(colour_heat(crop.rgb, maps.rgb)),
        frequency_heat=None
        if maps.frequency is None
        else _small_jpeg(colour_heat(crop.rgb, maps.frequency)),
        log_dct_difference=None
        if difference is None
        else encode_png(colour_difference(difference)),
    )


def _small_jpeg(rgb: RgbArray) -> bytes:
    side = min(_SIDE_PX, rgb.shape[0])
    return encode_jpeg(resize(rgb, (side, side)))
