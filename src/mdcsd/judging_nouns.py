"""The things that cross doors behind a network: scores, thresholds, verdicts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from mdcsd.nouns import (
    BoxXyxy,
    FloatArray,
    FloatImage,
    FrameKey,
    IntArray,
    Origin,
    VideoKey,
    require,
)

VerdictWord = Literal["likely_real", "uncertain", "likely_manipulated", "cannot_judge"]


@dataclass(frozen=True)
class Calibration:
    """How a network's answer becomes a score and a verdict; plain data, fitted on validation.

    `temperature` divides the logits before they become a score. The thresholds are on that
    score: `equal_error` errs equally often on real and manipulated videos, `false_alarm_5` and
    `false_alarm_1` call at most 5 % and 1 % of the real ones manipulated. `fitted_on` says on
    what, in words, or that nothing was fitted.
    """

    equal_error: float
    false_alarm_5: float
    false_alarm_1: float
    temperature: float
    fitted_on: str

    def __post_init__(self) -> None:
        """Check range and order of the thresholds."""
        ordered = 0.0 <= self.false_alarm_5 <= self.false_alarm_1 <= 1.0
        require(ordered and 0.0 <= self.equal_error <= 1.0, f"thresholds out of order: {self}")
        require(self.temperature > 0, f"temperature of {self}")

    @property
    def manipulated_from(self) -> float:
        """Score from which a file is called likely manipulated."""
        return self.false_alarm_5

    @property
    def uncertain_from(self) -> float:
        """Score from which a file is called uncertain."""
        return min(self.equal_error, self.false_alarm_5)

    def verdict(self, score: float) -> VerdictWord:
        """Name the step of three that a score (0..1, higher is more fake) stands on."""
        if score >= self.manipulated_from:
            return "likely_manipulated"
        return "uncertain" if score >= self.uncertain_from else "likely_real"


@dataclass(frozen=True)
class UnjudgedVideo:
    """A video that has no score, because no face was found in it, or it could not be read.

    `label` 0 real, 1 manipulated, -1 not known.
    """

    key: VideoKey
    label: int
    class_name: str
    compression: str = ""
    identity: str = ""


@dataclass(frozen=True)
class Predictions:
    """Scores of data sets, one row per face in a frame, as columns of equal length N.

    `label` int64 (N,): 0 real, 1 manipulated, whatever the manipulation, -1 not known;
    `score` float64 (N,), 0..1, higher is more fake. `unjudged` are the videos without a row.
    """

    origins: tuple[Origin, ...]
    label: IntArray
    score: FloatArray
    unjudged: tuple[UnjudgedVideo, ...] = ()

    def __post_init__(self) -> None:
        """Refuse columns of unequal length, rows told twice, and scores that are no number."""
        sizes = {len(self.origins), len(self.label), len(self.score)}
        require(len(sizes) == 1, f"Predictions with columns of lengths {sorted(sizes)}")
        require(len(set(self.keys)) == len(self.keys), "Predictions hold a row twice")
        require(bool(np.isfinite(self.score).all()), "Predictions hold NaN or infinity")

    @cached_property
    def keys(self) -> tuple[FrameKey, ...]:
        """What identifies each row."""
        return tuple(origin.key for origin in self.origins)

    def rows(self, chosen: IntArray) -> Predictions:
        """Some of the rows, by index, and no unjudged video."""
        origins = tuple(self.origins[i] for i in chosen)
        return Predictions(origins, self.label[chosen], self.score[chosen])


@dataclass(frozen=True)
class TrackScore:
    """One person of a video: mean score over the `n_frames` judged frames it was seen in."""

    track_id: int
    score: float
    n_frames: int
    first_s: float
    last_s: float


@dataclass(frozen=True)
class FrameScore:
    """One face in one judged frame; `box_xyxy_px` in the frame's pixels."""

    frame_index: int
    time_s: float
    track_id: int
    score: float
    box_xyxy_px: BoxXyxy


@dataclass(frozen=True)
class Heatmaps:
    """Where each branch looked in one crop of side S, and what is odd about its spectrum.

    `rgb` and `frequency` float32 (S, S), 0..1, None in a network without that branch.
    `log_dct_difference` float32 (64, 64), lowest frequency at [0, 0]: the crop's log-DCT minus
    that of typical real faces, None where the checkpoint carries none.
    """

    rgb: FloatImage | None
    frequency: FloatImage | None
    log_dct_difference: FloatImage | None


@dataclass(frozen=True)
class Verdict:
    """What `detect` says of one file.

    `score` 0..1, higher is more fake, None with `cannot_judge`; `reason` says why the
    verdict is what it is; `thresholds` holds `uncertain_from` and `manipulated_from`.
    """

    path: str
    sha256: str
    score: float | None
    verdict: VerdictWord
    thresholds: dict[str, float]
    reason: str
    checkpoint_id: str
    backend: str
    pooling: str
    n_frames_sampled: int
    tracks: tuple[TrackScore, ...] = ()
    frames: tuple[FrameScore, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """A file without a score cannot be judged, and the other way round."""
        unjudged = self.verdict == "cannot_judge"
        require((self.score is None) == unjudged, f"{self.verdict} with score {self.score}")

    def to_json(self) -> str:
        """Write the verdict as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)
