"""The sentences of a verdict: why it is what it is, and what makes it worth less."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mdcsd.judging_nouns import Calibration, FrameScore, MediaFacts
from mdcsd.media_facts import is_strongly_compressed
from mdcsd.metrics import min_track_frames
from mdcsd.quality import LeftOut, describe_flaws, explain_refusal

_SMALL_FACE_PX = 64
_FEW_FRAMES = 8  # a quarter of what is sampled by default


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
    if score >= high:
        return f"score {score:.3g} is at or above {high:.3g}"
    if score >= low:
        return f"score {score:.3g} is between {low:.3g} and {high:.3g}"
    return f"score {score:.3g} is below {low:.3g}"


def face_warnings(
    n_sampled: int, by_track: dict[int, list[FrameScore]], left_out: Sequence[LeftOut]
) -> Iterator[str]:
    """Yield what about the faces makes a score worth less."""
    sides = [row.box_xyxy_px[2] - row.box_xyxy_px[0] for rows in by_track.values() for row in rows]
    if not sides:
        return
    if left_out:
        told = describe_flaws([face.flaw for face in left_out])
        yield f"faces left out of {len(left_out) + len(sides)} found: {told}"
    if float(np.median(sides)) < _SMALL_FACE_PX:
        yield f"small faces: crops of {np.median(sides):.0f} px, below {_SMALL_FACE_PX}"
    if len(by_track) > 1:
        yield f"several people: {len(by_track)} tracks"
    judged = {row.frame_index for rows in by_track.values() for row in rows}
    n_with_face = len(judged | {face.frame_index for face in left_out})
    if n_with_face < n_sampled / 2:
        yield f"a face in only {n_with_face} of {n_sampled} sampled frames"
    most = max(len(rows) for rows in by_track.values())
    if n_sampled == 1:
        yield "one picture: a single face decides, where a video would give many"
    elif most < _FEW_FRAMES:
        yield f"few frames: nobody is judged in more than {most}"


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
