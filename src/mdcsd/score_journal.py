"""What `evaluate` notes of each video it has judged, so that an interrupted one goes on.

JSON lines: what all were judged with, then a video each, written when all its faces are scored.
The file goes when the report is written: scores are never taken from a run that ended.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from mdcsd import storage
from mdcsd.nouns import FloatArray, VideoEntry

JOURNAL = ".judged.jsonl"

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
    """Videos judged before, and a file for those that are judged now."""

    def __init__(self, earlier: dict[_Name, dict[str, Any]], file: IO[str]) -> None:
        """Go on after the lines of an earlier run."""
        self._earlier = earlier
        self._file = file
        self.n_found = 0
        """How many videos `find` has found so far."""

    def find(self, entry: VideoEntry) -> ScoredVideo | None:
        """Find what an earlier run said of a video; None if it did not, or the file is another."""
        line = self._earlier.get(_name(entry))
        if line is None or line["fingerprint"] != _fingerprint(entry):
            return None
        self.n_found += 1
        features = line["features"]
        return ScoredVideo(
            tuple((track, frame, label) for track, frame, label in line["faces"]),
            tuple(map(tuple, line["scores"])),
            line["n_sampled"],
            None if features is None else np.frombuffer(base64.b64decode(features), np.float32),
        )

    def add(self, entry: VideoEntry, scored: ScoredVideo) -> None:
        """Note what came out; a video that could not be read is tried again the next time."""
        if scored.error is not None:
            return
        features = scored.features
        line = {
            "video": _name(entry),
            "fingerprint": _fingerprint(entry),
            "faces": scored.faces,
            "scores": scored.scores,
            "n_sampled": scored.n_sampled,
            "features": None
            if features is None
            else base64.b64encode(np.asarray(features, np.float32).tobytes()).decode("ascii"),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


@contextmanager
def score_journal(path: Path, judged_with: dict[str, Any]) -> Iterator[ScoreJournal]:
    """Open a journal, with what an interrupted run left if it judged with the same.

    Args:
        path: file, made if it is not there.
        judged_with: JSON of whatever scores hang on; lines of other runs are dropped.

    Raises: InputError if it cannot be written.
    """
    header = json.dumps(judged_with)
    lines = _read_lines(path)
    kept = lines[1:] if lines[:1] == [header] else []
    earlier = {tuple(line["video"]): line for line in map(json.loads, kept)}
    with storage.line_file(path, [header, *kept]) as file:
        yield ScoreJournal(earlier, file)


def _read_lines(path: Path) -> list[str]:
    """Read the whole lines of a journal; one that was cut off does not count."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return text[: text.rfind("\n") + 1].splitlines()


def _name(entry: VideoEntry) -> _Name:
    return (*entry.key, entry.compression)


def _fingerprint(entry: VideoEntry) -> dict[str, Any] | None:
    """What tells a file from another of its name; None where it is gone."""
    try:
        return {
            **storage.fingerprint_of(entry.path, entry.mask_path),
            "label": entry.label,
            "crop_scale": entry.crop_scale,
        }
    except OSError:
        return None
