"""A verdict as one web page, for a person with one file and a question.

A pure function: what the page says is decided here, where it stands in
`assets/report.html.j2`. The page needs no network; without scripts everything is there, and
the script only chooses what is shown. Style and script never depend on the verdict, so that a
server can name them in its Content-Security-Policy by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import PurePath
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template

from mdcsd.evidence import rank_persons
from mdcsd.judging_nouns import (
    VERDICT_WORDS,
    EvidenceFace,
    FrameScore,
    PersonEvidence,
    Stretch,
    TrackScore,
    Verdict,
    readable,
)
from mdcsd.metrics import min_track_frames
from mdcsd.report_facts import file_facts, made_facts, tags_of
from mdcsd.wording import length_s, say_false_alarms, tell_score, tell_span, tell_time

_MEANINGS = {
    "likely_manipulated": "The score is at or above the threshold for “likely manipulated”. That "
    "is a reason to look closer, and no proof.",
    "uncertain": "The score lies between the two thresholds, where the detector errs too often in "
    "either direction. Do not lean on it.",
    "likely_real": "The score is below both thresholds: the detector found too few traces of the "
    "kinds of manipulation it was trained on. Other kinds can pass unseen.",
    "cannot_judge": "There is no score. That is a sign of neither real nor manipulated.",
}
_CREDENTIALS = {
    "not_checked": "Not checked: the library c2pa-python is not installed.",
    "unsupported": "Not checked: the library c2pa-python does not read files of this kind.",
    "none": "None found. Most files carry none, and they are easily removed.",
    "unreadable": "Could not be read, or kept elsewhere: a manifest on a server is not fetched. "
    "That is no sign of tampering.",
    "invalid": "Found, but not valid: the file was changed after it was signed, the certificate "
    "does not hold, or the manifest is damaged.",
    "valid": "Found, and the signature is intact; the signer was not checked against a list of "
    "trusted ones.",
    "trusted": "Found, intact, and signed by someone on a list of trusted signers.",
}
_PLOT_TOP, _PLOT_BOTTOM = 10.0, 170.0  # px; of a score of 1 and of 0
_MARGIN = 1.5  # % of the width, so that the outermost dots are whole


@dataclass(frozen=True)
class _Dot:
    """A judged frame in the plot: x in % of its width, y in px."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class _Band:
    """A stretch in the plot, from x over a width in %, and the id of its faces."""

    x: float
    width: float
    target: str
    label: str
    is_worst: bool
    stretch: Stretch
    faces: tuple[_Face, ...]


@dataclass(frozen=True)
class _Face:
    title: str
    pictures: tuple[_Picture, ...]


@dataclass(frozen=True)
class _Picture:
    """A picture with its address (data:), what is below it, and words for who cannot see it."""

    source: str
    caption: str
    description: str
    is_bands: bool = False


@dataclass(frozen=True)
class _Person:
    track: TrackScore
    dots: tuple[_Dot, ...]
    segments: tuple[tuple[_Dot, _Dot], ...]
    bands: tuple[_Band, ...]
    rows: tuple[tuple[str, FrameScore], ...]
    role: str


def render_report(verdict: Verdict) -> str:
    """Write a verdict as one self-contained HTML page."""
    thresholds = verdict.thresholds
    low, high = thresholds.get("uncertain_from", 0.0), thresholds.get("manipulated_from", 1.0)
    persons = tuple(_persons(verdict))
    return template("report.html.j2").render(
        verdict=verdict,
        summary=_summary(verdict),
        name=readable(PurePath(verdict.path).name or verdict.path),
        word=VERDICT_WORDS[verdict.verdict],
        heading=_sentence(VERDICT_WORDS[verdict.verdict]),
        score="" if verdict.score is None else tell_score(verdict.score, (low, high)),
        meaning=_MEANINGS[verdict.verdict],
        reason=_sentence(verdict.reason),
        low=low,
        high=high,
        y_low=_y(low),
        y_high=_y(high),
        end_s=_end_s(verdict),
        time_ticks=_time_ticks(verdict),
        false_alarms=say_false_alarms(verdict, high),
        warnings=[_sentence(text) for text in verdict.warnings],
        persons=persons,
        n_hidden=sum(not person.bands for person in persons),
        has_evidence=verdict.evidence is not None,
        has_spectrum=any(_has_bands(person) for person in persons),
        file_facts=file_facts(verdict),
        tags=tags_of(verdict.media),
        hints=[_sentence(text) for text in verdict.media.hints] if verdict.media else [],
        credentials=_CREDENTIALS[verdict.media.credentials] if verdict.media else "Not checked.",
        made_facts=made_facts(verdict),
        style=read_asset("report.css"),
        script=read_asset("report.js"),
    )


def _summary(verdict: Verdict) -> str:
    """What an index shows of this page, as JSON: a later run reads it here."""
    return json.dumps(
        {
            "path": verdict.path,
            "verdict": verdict.verdict,
            "score": verdict.score,
            "n_persons": len(verdict.tracks),
            "n_warnings": len(verdict.warnings),
            "reason": verdict.reason,
        }
    )


def content_security_policy() -> str:
    """Say what a report needs, for the header: its one style and its one script, by hash."""
    style, script = (_hash_source(read_asset(f"report.{kind}")) for kind in ("css", "js"))
    return (
        f"default-src 'none'; img-src data:; style-src {style}; script-src {script}; "
        "base-uri 'none'; form-action 'none'"
    )


def read_asset(name: str) -> str:
    """Read a text file of the package's."""
    return resources.files("mdcsd").joinpath("assets", name).read_text("utf-8")


def template(name: str) -> Template:
    """Compile a template of the package's, which escapes whatever comes in."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(read_asset(name))


def _hash_source(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _sentence(text: str) -> str:
    """Write the first letter large, and nothing that a terminal or page would obey."""
    return readable(text[:1].upper() + text[1:])


def _end_s(verdict: Verdict) -> float:
    return max((frame.time_s for frame in verdict.frames), default=0.0)


def _time_ticks(verdict: Verdict) -> list[str]:
    """Times below the plot, at its start, middle and end: with a tenth, long ones without."""
    whole_s = length_s(verdict.frames, verdict.media)
    decimals = 1 if whole_s < 60 else 0
    return [tell_time(share * _end_s(verdict), whole_s, decimals) for share in (0, 0.5, 1)]


def _largest_step(verdict: Verdict) -> float:
    """How many frames lie at most between two that were sampled one after the other.

    Two steps between evenly sampled frames differ by one at most; the smallest is seen where two
    neighbours were judged.
    """
    indices = sorted({frame.frame_index for frame in verdict.frames})
    step = min((other - one for one, other in pairwise(indices)), default=1)
    return max(step + 1, 1.5 * step)


def _segments(
    frames: Sequence[FrameScore], dots: Sequence[_Dot], largest_step: float
) -> tuple[tuple[_Dot, _Dot], ...]:
    """Join frames that were sampled one after the other: nothing is drawn where none was judged."""
    pairs = zip(pairwise(frames), pairwise(dots), strict=True)
    return tuple(
        ends for (one, other), ends in pairs if other.frame_index - one.frame_index <= largest_step
    )


def _x(time_s: float, end_s: float) -> float:
    share = min(max(time_s / end_s, 0.0), 1.0) if end_s > 0 else 0.5
    return round(_MARGIN + share * (100.0 - 2.0 * _MARGIN), 2)


def _y(score: float) -> float:
    return round(_PLOT_BOTTOM - score * (_PLOT_BOTTOM - _PLOT_TOP), 1)


def _persons(verdict: Verdict) -> Iterator[_Person]:
    """Yield the persons, those that count for the score first."""
    enough = min_track_frames(verdict.n_frames_sampled)
    is_by_person = verdict.settings.get("pool", "track") == "track"
    shown = {person.track_id: person for person in verdict.evidence or ()}
    end_s, whole_s = _end_s(verdict), length_s(verdict.frames, verdict.media)
    largest_step = _largest_step(verdict)
    for rank, track in enumerate(rank_persons(verdict.tracks, verdict.n_frames_sampled)):
        role = ""
        if is_by_person and track.n_frames < enough:
            role = ", seen in too few frames to count"
        elif is_by_person and rank == 0 and len(verdict.tracks) > 1:
            role = ", whose score is that of the file"
        frames = tuple(row for row in verdict.frames if row.track_id == track.track_id)
        dots = tuple(
            _Dot(
                _x(row.time_s, end_s),
                _y(row.score),
                f"{tell_time(row.time_s, whole_s)}: {row.score:.3f}",
            )
            for row in frames
        )
        segments = _segments(frames, dots, largest_step)
        person = shown.get(track.track_id)
        bands = tuple(_bands(person, end_s, whole_s)) if person else ()
        rows = tuple((tell_time(row.time_s, whole_s), row) for row in frames)
        yield _Person(track, dots, segments, bands, rows, role)


def _bands(person: PersonEvidence, end_s: float, whole_s: float) -> Iterator[_Band]:
    """Yield a person's stretches; each reaches to the middle between it and its neighbours."""
    inner = [(one.last_s + next_.first_s) / 2.0 for one, next_ in pairwise(person.stretches)]
    first, last = person.stretches[0].first_s, person.stretches[-1].last_s
    edges = [_x(time_s, end_s) for time_s in (first, *inner, last)]
    edges[0], edges[-1] = edges[0] - _MARGIN, edges[-1] + _MARGIN
    for index, stretch in enumerate(person.stretches):
        is_worst = index == person.worst
        label = f"{_span(stretch, whole_s)}, mean score {stretch.score:.3f}"
        if is_worst and len(person.stretches) > 1:
            label += ", the highest"
        yield _Band(
            x=round(edges[index], 2),
            width=round(edges[index + 1] - edges[index], 2),
            target=f"person-{person.track_id}-stretch-{index}",
            label=label,
            is_worst=is_worst,
            stretch=stretch,
            faces=tuple(_face(face, whole_s) for face in stretch.faces),
        )


def _has_bands(person: _Person) -> bool:
    faces = (face for band in person.bands for face in band.faces)
    return any(picture.is_bands for face in faces for picture in face.pictures)


def _span(stretch: Stretch, whole_s: float) -> str:
    if stretch.last_s - stretch.first_s < 0.005:
        return f"At {tell_time(stretch.first_s, whole_s)}"
    return tell_span(stretch.first_s, stretch.last_s, whole_s)


def _face(face: EvidenceFace, whole_s: float) -> _Face:
    at = f"at {tell_time(face.time_s, whole_s)}"
    offered = (
        (face.crop, "face", f"The judged face {at}"),
        (face.rgb_heat, "RGB branch", f"Where the RGB branch looked {at}"),
        (face.frequency_heat, "frequency branch", f"Where the frequency branch looked {at}"),
        (face.log_dct_difference, "spectrum against real faces",
         f"Difference of the log-DCT spectrum {at} from that of typical real faces"),
    )  # fmt: skip
    pictures = tuple(
        _Picture(_data_uri(content), caption, words, content is face.log_dct_difference)
        for content, caption, words in offered
        if content is not None
    )
    return _Face(f"{tell_time(face.time_s, whole_s)}, score {face.score:.3f}", pictures)


def _data_uri(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{quote(base64.b64encode(picture), safe='+/=')}"
