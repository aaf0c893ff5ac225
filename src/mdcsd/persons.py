"""Tracks of a whole video -> persons: across cuts by the colours of the picture.

Place tells who is who while nothing is cut (`tracks.py`). After a cut somebody else stands in the
same place, and the same person in another one, so that a manipulated face would be pooled with real
ones. What stays of a shot is its colours, of skin, clothes, light and background: crops of one
camera's shots are alike, and those of two shots seldom. Nothing looks at who it is: one person
before two cameras or in two lights may count as two, and two people in one light as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import cv2
import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from mdcsd.nouns import FaceCrop, FloatArray, FloatImage, IntArray

_LOOK_PX = 64
_BINS, _COLOURS = (8, 16, 16), (64, 191)  # of lightness, a, b; a and b beyond count as the ends
# Distances of looks, 1 less the Bhattacharyya coefficient. One person in one shot: at most .095 in
# 32 frames of eleven GRID clips and two of turning heads, .032 from one of them to the next; of 95
# in 100 pairs of frames of a video of YouTube Faces at most .163. Others: in one of 1,000 pairs of
# YouTube Faces below .174, for two speakers of GRID in one studio from .060 on. So what counts as
# alike goes by how still a video is: so many times the usual distance to the face most alike.
_STILL, _LIVELY, _TIMES = 0.05, 0.15, 3.0
# Products of shapes: of one person in GRID .87 and more in 95 of 100 pairs of frames, of two
# speakers at most .908, in one of 1,000 pairs above .88; of people of YouTube Faces at most .86.
_SHAPE_PX, _SAME_SHAPE = 16, 0.91
_FEWEST = 2  # frames that make somebody of another look, however few were sampled
_GREY = 0.95  # share of pixels within some eight levels of grey, as compression leaves of grey


@dataclass(frozen=True, eq=False)
class Sighting:
    """A face in a frame: which track it is on by place, its look and its shape, see `sight`."""

    frame_index: int
    time_s: float
    track_id: int
    look: FloatImage
    shape: FloatImage


@dataclass(frozen=True)
class Persons:
    """Who is who: a person's number for each sighting, counted from 0 in order of appearance.

    `changes` holds of each person the times, in seconds, of the first frames of another look, where
    it was seen too rarely to be somebody else. `is_cut` says whether looks told people apart who
    were on one track, `is_grey` whether most faces have next to no colour that could.
    """

    ids: tuple[int, ...]
    changes: dict[int, list[float]]
    is_cut: bool
    is_grey: bool


def sight(crop: FaceCrop) -> Sighting:
    """Keep of a crop what tells who it is.

    Its look is float32 (2048,), the roots of the shares of its colours. Its shape is float32
    (768,), the crop at 16 px, each colour without its mean and of one length, so that the product
    of two is 1 where nothing but the light has changed.
    """
    small = cv2.resize(crop.rgb, (_LOOK_PX, _LOOK_PX), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    lab[..., 1:] = lab[..., 1:].clip(*_COLOURS)
    first, last = _COLOURS
    ranges = [0, 256, first, last + 1, first, last + 1]
    counts = cv2.calcHist([lab], [0, 1, 2], None, list(_BINS), ranges).ravel()
    look = np.sqrt(counts / counts.sum(), dtype=np.float32)
    tiny = cv2.resize(small, (_SHAPE_PX, _SHAPE_PX), interpolation=cv2.INTER_AREA)
    centred = tiny.reshape(-1, 3).astype(np.float32)
    centred -= centred.mean(axis=0)
    shape = centred / np.maximum(np.linalg.norm(centred, axis=0), 1.0) / np.sqrt(3)
    return Sighting(crop.frame_index, crop.time_s, crop.track_id, look, shape.ravel())


def tell_apart(seen: Sequence[Sighting], n_enough: float) -> Persons:
    """Find who is who in a video, by place and by look.

    Faces are one person's whose looks are alike, or alike to one in between (single linkage), or of
    one shape one after the other, in whatever light; of two in one frame place tells. Whose look is
    seen in too few frames to count goes to the one most like it that stood in the same place and
    not beside it.

    Args:
        seen: the faces of a video, in order of time.
        n_enough: in how many frames a person must be seen to count, `metrics.min_track_frames`.
    """
    if not seen:
        return Persons((), {}, False, False)
    looks = np.stack([each.look for each in seen])
    tracks = np.array([each.track_id for each in seen])
    frames = np.array([each.frame_index for each in seen])
    shapes = np.stack([each.shape for each in seen])
    groups = _split_crowded(_link(looks, *_find_runs(looks, shapes, tracks)), tracks, frames)
    persons = _join_rare(groups, looks, tracks, frames, max(n_enough, _FEWEST))
    number: dict[int, int] = {}
    ids = tuple(number.setdefault(person, len(number)) for person in persons.tolist())
    changes: dict[int, list[float]] = {person: [] for person in number.values()}
    before: dict[int, int] = {}
    for person, group, face in zip(ids, groups.tolist(), seen, strict=True):
        if before.setdefault(person, group) != group:
            changes[person].append(face.time_s)
        before[person] = group
    is_cut = len(set(zip(tracks.tolist(), ids, strict=True))) > len(set(tracks.tolist()))
    is_grey = len(seen) > 1 and float(np.median(_grey_share(looks))) > _GREY
    return Persons(ids, changes, is_cut, is_grey)


def _grey_share(looks: FloatImage) -> FloatArray:
    """The share of each face's pixels whose a and b are in the two bins about grey."""
    shares = np.square(looks).reshape(len(looks), *_BINS)
    middle = slice(_BINS[1] // 2 - 1, _BINS[1] // 2 + 1)
    return np.asarray(shares[:, :, middle, middle].sum(axis=(1, 2, 3)))


def _find_runs(
    looks: FloatImage, shapes: FloatImage, tracks: IntArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Cut tracks where look and shape change at once.

    Returns: the run of each face, counted from 0; the run of the face before it on its track, its
        own of the first; the distance to that face, infinite of the first.
    """
    runs, before = np.zeros((2, len(looks)), np.int64)
    steps = np.full(len(looks), np.inf)
    last: dict[int, int] = {}
    n_runs = 0
    for index, track in enumerate(tracks.tolist()):
        if track in last:
            steps[index] = 1 - looks[last[track]] @ looks[index]
        is_same_shape = track in last and shapes[last[track]] @ shapes[index] >= _SAME_SHAPE
        if is_same_shape or steps[index] <= _STILL:
            runs[index] = runs[last[track]]
        else:
            runs[index] = n_runs
            n_runs += 1
        before[index] = runs[last.get(track, index)]
        last[track] = index
    return runs, before, steps


def _link(looks: FloatImage, runs: IntArray, before: IntArray, steps: FloatArray) -> IntArray:
    """Group runs whose looks are alike: the group of each face.

    As near as two runs are their mean looks, or the last look of one and the first of the next.
    """
    if not runs.any():
        return runs
    distances = _distances(looks, runs)
    for here, there, step in zip(runs, before, steps, strict=True):
        if here != there:
            nearest = min(step, distances[here, there])
            distances[here, there] = distances[there, here] = nearest
    to_another = (distances + np.eye(len(distances))).min(axis=1)[runs]
    usual = float(np.median(np.minimum(steps, to_another)))
    alike = np.clip(_TIMES * usual, _STILL, _LIVELY)
    tree = linkage(squareform(distances, checks=False), "single")
    return np.asarray(fcluster(tree, alike, "distance")[runs])


def _split_crowded(groups: IntArray, tracks: IntArray, frames: IntArray) -> IntArray:
    """Divide groups of which two faces stand in one frame by their tracks."""
    places, n_faces = np.unique(np.stack([groups, frames]), axis=1, return_counts=True)
    crowded = np.isin(groups, places[0][n_faces > 1])
    pairs = np.stack([groups, np.where(crowded, tracks, -1)])
    return np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)


def _join_rare(
    groups: IntArray, looks: FloatImage, tracks: IntArray, frames: IntArray, n_enough: float
) -> IntArray:
    """Give groups of too few faces to the nearest of their tracks, the smallest first."""
    groups = np.unique(groups, return_inverse=True)[1]
    members = np.eye(groups.max() + 1, dtype=np.float32)[groups].T
    sums = members @ looks
    on_track = members @ (tracks[:, None] == np.unique(tracks)) > 0
    in_frame = members @ (frames[:, None] == np.unique(frames)) > 0
    sizes = members.sum(axis=1)
    rare = [(size, group) for group, size in enumerate(sizes.tolist()) if size < n_enough]
    heapify(rare)
    while rare:
        size, mine = heappop(rare)
        if size != sizes[mine]:
            continue  # it has grown, or is gone
        others = np.flatnonzero(on_track[:, on_track[mine]].any(axis=1) & (sizes > 0))
        others = others[~in_frame[others][:, in_frame[mine]].any(axis=1)]  # nor itself, therefore
        if not len(others):
            continue
        alike = sums[others] @ sums[mine] / np.linalg.norm(sums[others], axis=1)
        nearest = int(others[np.argmax(alike)])
        for table in (sums, sizes, on_track, in_frame):
            table[nearest] += table[mine]
        sizes[mine] = 0
        groups[groups == mine] = nearest
        if sizes[nearest] < n_enough:
            heappush(rare, (float(sizes[nearest]), nearest))
    return np.asarray(groups)


def _distances(looks: FloatImage, groups: IntArray) -> FloatArray:
    """Distances of the mean looks of groups 0, 1, ..., float64 (G, G)."""
    means = np.stack([looks[groups == group].mean(axis=0) for group in range(groups.max() + 1)])
    means = means / np.linalg.norm(means, axis=1, keepdims=True)
    distances = np.clip(1 - means.astype(np.float64) @ means.T, 0, 1)
    np.fill_diagonal(distances, 0)
    return np.asarray(distances)
