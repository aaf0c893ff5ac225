"""The sentences of a verdict: why it is what it is, and what makes it worth less."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from mdcsd.damage import Damage
from mdcsd.judging_nouns import Calibration, FrameScore, MediaFacts, Verdict, readable
from mdcsd.media_facts import is_strongly_compressed
from mdcsd.metrics import MIN_TRACK_FRAMES, min_track_frames
from mdcsd.persons import Persons
from mdcsd.quality import LeftOut, describe_flaws, explain_refusal

_SMALL_FACE_PX = 64
_FEW_REAL = 20  # below, 5 % of the real ones is less than one
_MOST_TIMES = 3  # told of one person
_FEW_FRAMES = 8  # a quarter of what is sampled by default
_FAR_APART_S, _CLOSE_S = 5.0, 2.0  # judged frames: further apart is told, and what would be close


def say_reason(
    score: float | None,
    n_sampled: int,
    by_track: dict[int, list[FrameScore]],
    left_out: Sequence[LeftOut],
    calibration: Calibration,
) -> str:
    """Say in one sentence why the verdict is what it is."""
    low, high = calibration.uncertain_from, calibration.manipulated_from
    if not by_track and left_out:
        return explain_refusal([face.flaw for face in left_out])
    if not by_track:
        return (
            f"no face found in {n_sampled} sampled frame(s); one narrower than a fifteenth of the "
            "picture may be missed"
        )
    if score is None:
        most = max(len(rows) for rows in by_track.values())
        needed = int(np.ceil(min_track_frames(n_sampled)))
        seen = "seen well enough" if left_out else "seen"
        return (
            f"nobody is {seen} in more than {most} of {n_sampled} sampled frames, {needed} needed"
        )
    digits = _enough_digits(score, (low, high), "g")
    told, from_, to = (f"{value:.{digits}g}" for value in (score, low, high))
    if score >= high:
        return f"score {told} is at or above {to}"
    if score >= low:
        return f"score {told} is between {from_} and {to}"
    return f"score {told} is below {from_}"


def length_s(frames: Sequence[FrameScore], media: MediaFacts | None) -> float:
    """How long a video is by its file, at least up to its last judged frame; 0 of a picture."""
    last_s = max((frame.time_s for frame in frames), default=0.0)
    said_s = media.duration_s if media else None
    return max(last_s, said_s) if said_s and last_s > 0 else last_s


def tell_time(time_s: float, whole_s: float, decimals: int = 2) -> str:
    """Write a time: 7.50 s, in a video of a minute and longer 0:07.50, of an hour 0:00:07.50."""
    if whole_s < 60:
        return f"{time_s:.{decimals}f} s"
    minutes, seconds = divmod(round(time_s, decimals), 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{seconds:0{decimals + 3 if decimals else 2}.{decimals}f}"
    if whole_s >= 3600 or hours:
        return f"{hours}:{minutes:02d}:{shown}"
    return f"{minutes}:{shown}"


def tell_span(first_s: float, last_s: float, whole_s: float, decimals: int = 2) -> str:
    """Write from when to when, the unit once."""
    first = tell_time(first_s, whole_s, decimals).removesuffix(" s")
    return f"{first} to {tell_time(last_s, whole_s, decimals)}"


def tell_score(score: float, limits: Sequence[float]) -> str:
    """Write a score with three decimals, or with as many as tell it from a limit that it misses."""
    return f"{score:.{_enough_digits(score, limits, 'f')}f}"


def _enough_digits(score: float, limits: Sequence[float], style: Literal["f", "g"]) -> int:
    """How many digits, 3 or more, tell a score from the limits that it is not equal to."""
    missed = [limit for limit in limits if limit != score]
    digits = 3
    while f"{score:.{digits}{style}}" in [f"{limit:.{digits}{style}}" for limit in missed]:
        digits += 1
    return digits


def face_warnings(
    n_sampled: int,
    by_track: dict[int, list[FrameScore]],
    left_out: Sequence[LeftOut],
    deciding: int | None,
) -> Iterator[str]:
    """Yield what about the faces makes a score worth less; `deciding` is whose score it is."""
    sides = [row.box_xyxy_px[2] - row.box_xyxy_px[0] for rows in by_track.values() for row in rows]
    if not sides:
        return
    if left_out:
        told = describe_flaws([face.flaw for face in left_out])
        yield f"faces left out of {len(left_out) + len(sides)} found: {told}"
    if float(np.median(sides)) < _SMALL_FACE_PX:
        yield f"small faces: crops of {np.median(sides):.0f} px, below {_SMALL_FACE_PX}"
    judged = {row.frame_index for rows in by_track.values() for row in rows}
    n_with_face = len(judged | {face.frame_index for face in left_out})
    if n_with_face < n_sampled / 2:
        yield f"a face in only {n_with_face} of {n_sampled} sampled frames"
    most = max(len(rows) for rows in by_track.values())
    if n_sampled == 1 and len(sides) > 1:
        yield (
            f"one picture: the highest of {len(sides)} faces decides, each seen once, where a "
            "video would show each many times"
        )
    elif n_sampled == 1:
        yield "one picture: a single face decides, where a video would give many"
    elif most < _FEW_FRAMES:
        yield f"few frames: nobody is judged in more than {most}"
    elif deciding is not None and len(by_track[deciding]) < _FEW_FRAMES:
        n_frames = len(by_track[deciding])
        yield f"few frames: person {deciding}, who decides, is judged in {n_frames} of {n_sampled}"


def stretch_warnings(
    score: float | None,
    by_track: dict[int, list[FrameScore]],
    manipulated_from: float,
    whole_s: float,
) -> Iterator[str]:
    """Yield where a person's score is that of a manipulation for a while, and not over the whole.

    `whole_s` is how long the video is. A score is the mean over all of a person's judged frames, so
    that a short manipulation hides in a long clip. A while is `MIN_TRACK_FRAMES` judged frames in a
    row; where cuts leave none so long, as many in all, and an eighth of the person's.
    """
    if score is None or score >= manipulated_from:
        return
    whiles = [
        (float(np.mean([row.score for row in rows[start : start + MIN_TRACK_FRAMES]])),
         rows[start].time_s, rows[start + MIN_TRACK_FRAMES - 1].time_s)
        for rows in by_track.values()
        for start in range(len(rows) - MIN_TRACK_FRAMES + 1)
    ]  # fmt: skip
    highest, first_s, last_s = max(whiles, default=(0.0, 0.0, 0.0))
    if highest >= manipulated_from:
        span = tell_span(first_s, last_s, whole_s, 1)
        yield (
            f"a part scores higher than the whole: {highest:.3g} from {span}, and likely "
            f"manipulated begins at {manipulated_from:.3g}"
        )
        return
    for track, rows in by_track.items():
        n_high = sum(row.score >= manipulated_from for row in rows)
        if n_high >= max(MIN_TRACK_FRAMES, len(rows) / 8):
            yield (
                f"parts score higher than the whole: {n_high} of {len(rows)} judged frames of "
                f"person {track} reach {manipulated_from:.3g}, where likely manipulated begins, "
                f"never {MIN_TRACK_FRAMES} in a row; judge each shot of an edited video by itself"
            )


def rare_warnings(
    by_track: dict[int, list[FrameScore]], n_enough: float, manipulated_from: float
) -> Iterator[str]:
    """Yield who scores as a manipulation in too few frames to count, and in more than one."""
    for person, rows in by_track.items():
        score = float(np.mean([row.score for row in rows]))
        if 1 < len(rows) < n_enough and score >= manipulated_from:
            yield (
                f"person {person} scores {score:.3g}, and likely manipulated begins at "
                f"{manipulated_from:.3g}, in {len(rows)} judged frames only, too few to count"
            )


def person_warnings(persons: Persons, n_more: int, whole_s: float) -> Iterator[str]:
    """Yield how far it is known who is who.

    `n_more` is how many frames were looked at, 0 where there are no others; `whole_s` is how long
    the video is.
    """
    n_people = len(set(persons.ids))
    if persons.is_cut:
        yield (
            f"several people, or one before several cameras or in several lights: {n_people}; "
            "across cuts the colours of the picture tell who is who, and two may count as one"
        )
    elif n_people > 1:
        yield f"several people: {n_people}"
    if persons.is_grey:
        yield "hardly any colour: who is who across cuts cannot be told, two people count as one"
    more = f"; detect --frames {2 * n_more} looks at more" if n_more else ""
    for person, times in persons.changes.items():
        if times:
            told = [tell_time(each, whole_s, 1).removesuffix(" s") for each in times[:_MOST_TIMES]]
            others = ", ..." if len(times) > _MOST_TIMES else ""
            unit = " s" if whole_s < 60 else ""
            yield (
                f"the picture of person {person} changes abruptly at {', '.join(told)}{others}"
                f"{unit}, in too few frames to tell whether it is somebody else's{more}"
            )


def say_false_alarms(verdict: Verdict, threshold: float) -> str:
    """Say how often a real file gets this far, as far as that is known."""
    calibrated_on, settings = verdict.calibrated_on, verdict.settings
    is_picture = verdict.media is not None and verdict.media.kind == "picture"
    of_single_faces = calibrated_on.endswith(", 1 frame each")
    others = {
        "this is a single picture": is_picture and not of_single_faces,
        "this was cropped before": bool(settings.get("cropped")),
        "its frames were pooled otherwise": settings.get("pool", "track") != "track",
        "it rests on fewer frames than were calibrated on": not of_single_faces
        and not is_picture
        and verdict.n_frames_sampled < _frames_calibrated_on(calibrated_on),
    }
    if any(others.values()):
        return (
            f"How often a real file of this kind reaches {threshold:.3g} is not known: the "
            "thresholds are meant for videos, with the faces found here and scored person by "
            f"person; {' and '.join(name for name, holds in others.items() if holds)}."
        )
    found = re.search(r"(\d+) real", calibrated_on)
    if found is None:
        return (
            f"How often a real file reaches {threshold:.3g} is not known: the thresholds were not "
            f"fitted on data ({readable(calibrated_on) or 'nothing is stated'})."
        )
    few = int(found[1]) < _FEW_REAL
    ones = "single real faces" if of_single_faces else "real ones"
    pooled = of_single_faces and not is_picture
    several = of_single_faces and len(verdict.tracks) > 1
    return (
        f"False alarms: {threshold:.3g} was set so that at most 5 % of {ones} are called "
        f"likely manipulated, on validation data ({readable(calibrated_on)})."
        + (
            " How often it happens to real videos, each a mean of many faces, is not known."
            * pooled
        )
        + (" With several people the highest score decides: it happens more often." * several)
        + (f" With only {found[1]} real ones that is hardly more than a guess." if few else "")
        + " On other cameras, platforms and compression there can be more."
    )


def _frames_calibrated_on(calibrated_on: str) -> int:
    """How many frames of a video the thresholds were fitted on, 0 where nothing says so."""
    found = re.search(r"(\d+) frames? each", calibrated_on)
    return int(found[1]) if found else 0


def damage_warnings(damage: Sequence[Damage]) -> Iterator[str]:
    """Yield what is damaged or missing of a file that was judged all the same."""
    for each in damage:
        if each.n_corrupt:
            yield (
                f"damaged frames: {each.n_corrupt} of {each.n_frames}; others are decoded from "
                "them, and torn faces can raise a score; look at the faces, and copy the file again"
            )
        if each.lacks_its_end:
            claimed_s = each.end_s + each.missing_s
            yield (
                f"its end is missing: the picture ends at {each.end_s:.1f} of {claimed_s:.1f} s; "
                "copy the file again"
            )


def sampling_warnings(media: MediaFacts, n_sampled: int) -> Iterator[str]:
    """Yield how far apart the judged frames of a long video are."""
    if media.duration_s is None or media.kind == "picture":
        return
    apart_s = media.duration_s / max(n_sampled, 1)
    if apart_s > _FAR_APART_S:
        n_close = round(media.duration_s / _CLOSE_S)
        yield (
            f"{n_sampled} frames, one every {apart_s:.0f} s: a shorter manipulation may lie "
            f"between, detect --frames {n_close} takes one every {_CLOSE_S:.0f} s"
        )


def media_warnings(media: MediaFacts) -> Iterator[str]:
    """Yield what about the file makes a score worth less."""
    if not is_strongly_compressed(media):
        pass
    elif media.jpeg_quality is not None:
        yield f"strong compression: JPEG quality of about {media.jpeg_quality}"
    else:
        yield (
            f"strong compression, or a very still picture: {media.bits_per_pixel:.3f} bits a pixel"
        )
    yield from media.hints
