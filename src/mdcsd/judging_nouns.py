"""The things that cross doors behind a network: scores, thresholds, verdicts."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

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
Credentials = Literal[
    "not_checked", "unsupported", "none", "unreadable", "invalid", "valid", "trusted"
]
_MAX_NAME_BYTES = 150  # file systems end at 255
VERDICT_SCHEMA = 1
"""Version of a line of JSON, as docs/schema.json has it."""
VERDICT_WORDS: dict[str, str] = {
    "likely_real": "likely real",
    "uncertain": "uncertain",
    "likely_manipulated": "likely manipulated",
    "cannot_judge": "cannot judge",
}


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
    """One person of a video: mean score over the `n_frames` judged frames it was seen in.

    `counts` says whether these are enough for the file's score.
    """

    track_id: int
    score: float
    n_frames: int
    first_s: float
    last_s: float
    counts: bool = True


@dataclass(frozen=True)
class FrameScore:
    """One face in one judged frame; `box_xyxy_px` in the frame's pixels."""

    frame_index: int
    time_s: float
    track_id: int
    score: float
    box_xyxy_px: BoxXyxy


@dataclass(frozen=True)
class MediaFacts:
    """What a file says of itself, and what can be measured of it without its frames.

    `container` and `codec` are short names ("mov,mp4,...", "h264"), the descriptions are for
    people; `width_px` and `height_px` are as stored, before `rotation_deg` (clockwise).
    `bit_rate_bps` is of the picture where the container tells it apart from the sound;
    `jpeg_quality` 1..100 is estimated from the quantisation table. `tags` are the file's own
    words: easily forged, and without places, of which `has_gps` only says that there are some.
    `credentials` are C2PA Content Credentials; "valid" is an intact signature of a signer that
    was not checked, "trusted" one on a trust list. `hints` say what the facts suggest.
    """

    kind: Literal["video", "picture"]
    container: str
    container_description: str
    codec: str
    codec_description: str
    width_px: int
    height_px: int
    size_bytes: int
    rotation_deg: int = 0
    duration_s: float | None = None
    frame_rate: float | None = None
    bit_rate_bps: float | None = None
    jpeg_quality: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    has_gps: bool = False
    credentials: Credentials = "not_checked"
    hints: tuple[str, ...] = ()

    @property
    def bits_per_pixel(self) -> float | None:
        """Bits that the codec spends on a pixel of a frame; None where a rate is unknown."""
        if not self.bit_rate_bps or not self.frame_rate:
            return None
        return self.bit_rate_bps / (self.frame_rate * self.width_px * self.height_px)


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
class EvidenceFace:
    """One judged face as pictures: PNG or JPEG bytes, None for what the network has not."""

    frame_index: int
    time_s: float
    score: float
    crop: bytes
    rgb_heat: bytes | None
    frequency_heat: bytes | None
    log_dct_difference: bytes | None


@dataclass(frozen=True)
class Stretch:
    """Successive judged frames of one person: their mean score, and some of the faces.

    `first_s` and `last_s` are the times of the first and last judged frame in it.
    """

    first_s: float
    last_s: float
    n_frames: int
    score: float
    faces: tuple[EvidenceFace, ...]


@dataclass(frozen=True)
class PersonEvidence:
    """A person's stretches in order of time, and which of them scores highest."""

    track_id: int
    stretches: tuple[Stretch, ...]
    worst: int

    def __post_init__(self) -> None:
        """Refuse a worst stretch that is none of them."""
        require(0 <= self.worst < len(self.stretches), f"worst stretch {self.worst} is not there")


Evidence = tuple[PersonEvidence, ...]


@dataclass(frozen=True)
class Verdict:
    """What `detect` says of one file.

    `score` 0..1, higher is more fake, None with `cannot_judge`; `reason` says why the
    verdict is what it is; `thresholds` holds `uncertain_from` and `manipulated_from`, which
    were fitted on `calibrated_on`. `settings` are frames, pool and cropped as asked for;
    `weights_licence` is empty where the checkpoint states none; `judged_at` is in UTC.
    `evidence` holds pictures of the faces if they were asked for, and never enters JSON.
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
    calibrated_on: str = ""
    network: str = ""
    weights_licence: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    mdcsd: str = ""
    judged_at: str = ""
    media: MediaFacts | None = None
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        """A file without a score cannot be judged, and the other way round."""
        unjudged = self.verdict == "cannot_judge"
        require((self.score is None) == unjudged, f"{self.verdict} with score {self.score}")

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, as plain data of docs/schema.json."""
        plain = asdict(replace(self, evidence=None))
        del plain["evidence"]
        return {"schema": VERDICT_SCHEMA, **plain}

    def to_json(self) -> str:
        """Write the verdict as one line of JSON, without pictures."""
        return to_line(self.to_dict())

    def to_html(self) -> str:
        """Write the verdict as one self-contained HTML page; the faces need `evidence`."""
        from mdcsd.report import render_report  # a person asks a noun for its page

        return render_report(self)

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame of its own, so that no style leaks."""
        page = html.escape(self.to_html())
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" width="100%" height="720" '
            'title="mdcsd report"></iframe>'
        )


def to_line(value: Mapping[str, Any]) -> str:
    r"""Write plain data as one line of JSON; a file name that is no text stays exact (\udcff)."""
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def readable(text: str) -> str:
    """Replace what is not printable in hostile names, so that it cannot move a cursor or text."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def short_name(path: Path) -> str:
    """A file's name as a part of another's: readable, and of a length that file systems take."""
    name = readable(path.name).encode("utf-8")[:_MAX_NAME_BYTES]
    return name.decode("utf-8", "ignore")
