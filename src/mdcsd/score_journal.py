"""What `evaluate` notes of each video it has judged, so that an interrupted one goes on.

JSON lines, a video each, written when all its faces are scored, in a file named after whatever
scores hang on: a run with other settings has notes of its own. They go when the report is
written: scores are never taken from a run that ended.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdcsd import storage
from mdcsd.errors import InputError
from mdcsd.inputs import IMAGE_SUFFIXES, find_media
from mdcsd.nouns import FloatArray, VideoEntry

_Name = tuple[str, ...]


@dataclass(frozen=True)
class ScoredVideo:
    """What a detector says of one video.

    `faces` are (track, frame, 1 if manipulated) each; `scores` has as many for every version of
    the video, the untouched one first; `features` float32 (D,) are of the first face; `error`
    says why it could not be read.
    """

    faces: tuple[tuple[int, int, int], ...] = ()
    scores: tuple[tuple[float, ...], ...] = ()
    n_sampled: int = 0
    features: FloatArray | None = None
    error: str | None = None


class ScoreJournal:
    """Videos judged before by an interrupted run of the same settings, and now."""

    def __init__(self, folder: Path, judged_with: dict[str, Any]) -> None:
        """Read what an interrupted run left in a folder.

        Args:
            folder: where the notes lie; made with the first.
            judged_with: JSON of whatever tells one run from another.

        Raises: InputError if a last line that was cut off cannot be removed.
        """
        digest = hashlib.sha256(json.dumps(judged_with).encode()).hexdigest()[:12]
        self.path = folder / f".judged-{digest}.jsonl"
        self.n_found = 0
        """How many videos had been judged before, of those asked for so far."""
        self._earlier = _read_lines(self.path)

    def get(self, entry: VideoEntry, judge: Callable[[], ScoredVideo]) -> ScoredVideo:
        """Find what was said of a video, or judge and note it.

        One that could not be read is not noted: it may be copied again before the next run.

        Raises: InputError if the notes cannot be written.
        """
        fingerprint = _fingerprint(entry)  # first: a file may still be growing while it is judged
        line = self._earlier.get(_name(entry))
        if line and fingerprint and line["fingerprint"] == fingerprint:
            self.n_found += 1
            return _read(line)
        scored = judge()
        if fingerprint and scored.error is None:
            storage.append_line(self.path, json.dumps(_line(entry, fingerprint, scored)))
        return scored

    def remove(self) -> None:
        """Forget all, once a report is written."""
        self.path.unlink(missing_ok=True)


def _line(entry: VideoEntry, fingerprint: dict[str, Any], scored: ScoredVideo) -> dict[str, Any]:
    features = scored.features
    return {
        "video": _name(entry),
        "fingerprint": fingerprint,
        "faces": scored.faces,
        "scores": scored.scores,
        "n_sampled": scored.n_sampled,
        "features": None
        if features is None
        else base64.b64encode(np.asarray(features, np.float32).tobytes()).decode("ascii"),
    }


def _read(line: dict[str, Any]) -> ScoredVideo:
    features = line["features"]
    return ScoredVideo(
        tuple((track, frame, label) for track, frame, label in line["faces"]),
        tuple(map(tuple, line["scores"])),
        line["n_sampled"],
        None if features is None else np.frombuffer(base64.b64decode(features), np.float32),
    )


def _read_lines(path: Path) -> dict[_Name, dict[str, Any]]:
    """Read the lines of a journal by video; one that is damaged or cut off does not count."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        storage.write_text(path, text)
    found: dict[_Name, dict[str, Any]] = {}
    for each in text.split("\n"):
        try:
            line = json.loads(each)
            _read(line)
            found[tuple(line["video"])] = line
        except (ValueError, TypeError, KeyError):
            continue
    return found


def _name(entry: VideoEntry) -> _Name:
    return (*entry.key, entry.compression)


def _fingerprint(entry: VideoEntry) -> dict[str, Any] | None:
    """Tell a file, or the pictures of a folder, from others of that name; None if gone."""
    try:
        told = {
            **storage.fingerprint_of(entry.path, entry.mask_path),
            "label": entry.label,
            "crop_scale": entry.crop_scale,
        }
        if entry.path.is_dir():
            pictures = find_media(entry.path, IMAGE_SUFFIXES)
            marks = [(path.name, *storage.fingerprint_of(path).values()) for path in pictures]
            told["pictures"] = hashlib.sha256(json.dumps(marks).encode()).hexdigest()
    except (OSError, InputError):
        return None
    return told
