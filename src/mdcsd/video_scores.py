"""Data-set entries -> predictions: a detector over videos, untouched and perturbed.

Streams: one video, one frame at a time; faces are found on the untouched frame, and every
perturbed version of it is cut at the same places, so that versions differ in nothing else.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from mdcsd.config import FrameSelection
from mdcsd.crops import find_numbered
from mdcsd.detector import Detector, iter_sampled_frames, whole_picture
from mdcsd.errors import DataError, InputError, MediaError
from mdcsd.face_crops import under_mask
from mdcsd.faces import cut_crop
from mdcsd.frame_choice import spread_indices
from mdcsd.inputs import IMAGE_SUFFIXES
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.masks import MaskReader, tracks_under_mask
from mdcsd.metrics import min_track_frames
from mdcsd.nouns import (
    ORIGINAL,
    FaceCrop,
    FloatArray,
    Frame,
    FrameKey,
    Origin,
    Progress,
    RgbArray,
    VideoEntry,
)
from mdcsd.persons import Sighting, sight, tell_apart
from mdcsd.perturb import Perturbation, distort, recode_video
from mdcsd.pictures import read_image
from mdcsd.quality import leave_out
from mdcsd.score_journal import ScoredVideo, ScoreJournal
from mdcsd.tracks import Tracker
from mdcsd.video import iter_frames


@dataclass(frozen=True)
class VideoScores:
    """What a detector says of videos.

    `perturbed` are the same rows under each perturbation; `features` float32 (V, D) of one
    face a video, whose classes are `feature_names`; `unread` says which files failed and why.
    """

    predictions: Predictions
    perturbed: dict[Perturbation, Predictions]
    features: FloatArray
    feature_names: tuple[str, ...]
    unread: tuple[str, ...]


def score_videos(
    detector: Detector,
    entries: Sequence[VideoEntry],
    n_frames: int,
    perturbations: Sequence[Perturbation] = (),
    seed: int = 0,
    progress: Progress = lambda *_: None,
    journal: ScoreJournal | None = None,
) -> VideoScores:
    """Judge the faces of videos.

    Args:
        entries: what to judge; one that cannot be read, or shows no face that can be judged
            (`quality.judge_quality`, asked of the untouched frame), is not left out but
            `unjudged`.
        n_frames: frames to sample evenly over each.
        perturbations: versions to judge besides the untouched one.
        seed: of noise; the same for every video, real or manipulated.
        progress: called with (videos done, videos in all).
        journal: where each video is noted once it is judged, and looked up before.

    Raises: DataError, InputError if a clip encoded anew, or the journal, cannot be written.
    """
    judged: list[tuple[VideoEntry, ScoredVideo]] = []
    for number, entry in enumerate(entries, start=1):
        judge = partial(
            _or_unread, partial(_score_entry, detector, entry, n_frames, perturbations, seed)
        )
        judged.append((entry, journal.get(entry, judge) if journal else judge()))
        progress(number, len(entries))
    origins = tuple(origin for entry, scored in judged for origin in _origins(entry, scored))
    label = np.array([label for _, scored in judged for *_, label in scored.faces], np.int64)
    unjudged = tuple(_unjudged(entry) for entry, scored in judged if not scored.faces)

    def table(which: int) -> Predictions:
        scores = [score for _, scored in judged if scored.faces for score in scored.scores[which]]
        return Predictions(origins, label, np.array(scores, np.float64), unjudged)

    features = [(entry, scored.features) for entry, scored in judged if scored.faces]
    return VideoScores(
        predictions=table(0),
        perturbed={version: table(which) for which, version in enumerate(perturbations, start=1)},
        features=np.array([values for _, values in features], np.float32),
        feature_names=tuple(f"{e.key.dataset} {e.key.manipulation}" for e, _ in features),
        unread=tuple(scored.error for _, scored in judged if scored.error is not None),
    )


def _or_unread(score: Callable[[], ScoredVideo]) -> ScoredVideo:
    try:
        return score()
    except (InputError, OSError) as error:  # damaged, or gone since the scan
        return ScoredVideo(error=str(error))


def _score_entry(
    detector: Detector,
    entry: VideoEntry,
    n_frames: int,
    perturbations: Sequence[Perturbation],
    seed: int,
) -> ScoredVideo:
    """Score one video under every perturbation."""
    is_video = entry.crop_scale is None and entry.path.suffix.lower() not in IMAGE_SUFFIXES
    of_clip = [each for each in perturbations if is_video and each.distortion == "h264"]
    of_frame = [each for each in perturbations if each not in of_clip]
    rng = np.random.default_rng(seed)
    scores: dict[Perturbation | None, list[float]] = defaultdict(list)
    located: list[FaceCrop] = []
    seen: list[Sighting] = []
    first: FloatArray | None = None
    n_sampled = 0
    for frame, found in _iter_crops(detector, entry, n_frames):
        n_sampled += 1
        crops = leave_out(found, [])
        versions: list[Perturbation | None] = [None, *of_frame] if crops else []
        for version in versions:
            rgb = frame.rgb if version is None else distort(frame.rgb, version, rng)
            answers, features = detector.score([_cut_again(crop, rgb) for crop in crops])
            scores[version] += answers.tolist()
            if first is None:
                first = features[0]
        located += [replace(crop, rgb=crop.rgb[:1, :1]) for crop in crops]
        seen += [sight(crop) for crop in crops]
    for version in of_clip if located else []:
        scores[version] = _score_recoded(detector, entry.path, version, located)
    persons = tell_apart(seen, min_track_frames(n_sampled)).ids
    return ScoredVideo(
        faces=_label(entry, located, persons),
        scores=tuple(tuple(scores[version]) for version in (None, *perturbations)),
        n_sampled=n_sampled,
        features=first,
    )


def _iter_crops(
    detector: Detector, entry: VideoEntry, n_frames: int
) -> Iterator[tuple[Frame, list[FaceCrop]]]:
    """Sampled frames of an entry with the faces in them."""
    if entry.crop_scale is not None:
        scale = max(entry.crop_scale, detector.checkpoint.preprocess.crop_scale)  # as it is
        for frame in _iter_pictures(entry.path, n_frames):
            yield frame, [whole_picture(frame, entry.key.video_id, scale)]
        return
    tracker = Tracker()
    mask = MaskReader(entry.mask_path) if entry.mask_path and entry.label else None
    for frame in iter_sampled_frames(entry.path, n_frames):
        crops = detector.find(frame, entry.key.video_id, tracker)
        yield frame, [under_mask(crop, mask) for crop in crops] if mask else crops


def _iter_pictures(path: Path, n_frames: int) -> Iterator[Frame]:
    """Pictures of a folder, spread evenly; or a single one."""
    numbered = find_numbered(path)
    for place in spread_indices(len(numbered), n_frames):
        number, picture = numbered[place]
        yield Frame(number, float(number), read_image(picture))


def _cut_again(crop: FaceCrop, rgb: RgbArray) -> FaceCrop:
    """The same square out of another version of the frame."""
    left, top, right, _ = (round(edge) for edge in crop.box_xyxy_px)
    return replace(crop, rgb=cut_crop(rgb, (left, top, right - left), crop.rgb.shape[0]))


def _score_recoded(
    detector: Detector, path: Path, version: Perturbation, located: list[FaceCrop]
) -> list[float]:
    """Encode the whole clip anew, and score the faces where they were found before."""
    size_px = detector.checkpoint.preprocess.cut_size_px
    waiting: dict[int, list[FaceCrop]] = defaultdict(list)
    for crop in located:
        waiting[crop.frame_index].append(replace(crop, rgb=_blank(size_px)))
    scores: list[float] = []
    try:
        with tempfile.TemporaryDirectory(prefix="mdcsd-") as folder:
            recoded = Path(folder) / "recoded.mp4"
            recode_video(path, recoded, round(version.parameter))
            last = max(waiting)
            for frame in iter_frames(recoded, FrameSelection(end=last + 1)):
                crops = [_cut_again(crop, frame.rgb) for crop in waiting.pop(frame.index, [])]
                scores += detector.score(crops)[0].tolist()
    except OSError as error:  # no fault of the video, which would count as unreadable
        raise DataError(
            f"a clip encoded anew cannot be written ({error.strerror or error}). Free space in "
            f"{os.environ.get('TMPDIR', '/tmp')}, or set TMPDIR to another folder."
        ) from error
    if waiting:
        raise MediaError(f"{path}: lost frames when encoded anew as H.264.")
    return scores


def _blank(size_px: int) -> RgbArray:
    return np.zeros((size_px, size_px, 3), np.uint8)


def _label(
    entry: VideoEntry, located: list[FaceCrop], persons: Sequence[int]
) -> tuple[tuple[int, int, int], ...]:
    """Person, frame and label of faces; under a mask only the people whom it covers are fake."""
    shares: dict[int, list[float | None]] = defaultdict(list)
    for crop, person in zip(located, persons, strict=True):
        shares[person].append(crop.mask_share)
    altered = tracks_under_mask(shares)
    return tuple(
        (
            person,
            crop.frame_index,
            int(entry.label == 1 and (altered is None or person in altered)),
        )
        for crop, person in zip(located, persons, strict=True)
    )


def _origins(entry: VideoEntry, scored: ScoredVideo) -> Iterator[Origin]:
    for track_id, frame_index, label in scored.faces:
        key = FrameKey(*entry.key, track_id, frame_index)
        class_name = entry.key.manipulation if label else ORIGINAL
        yield Origin(key, class_name, entry.compression, _identity(entry), scored.n_sampled)


def _unjudged(entry: VideoEntry) -> UnjudgedVideo:
    return UnjudgedVideo(
        entry.key, entry.label, entry.key.manipulation, entry.compression, _identity(entry)
    )


def _identity(entry: VideoEntry) -> str:
    return entry.source_ids[0] if entry.source_ids else ""
