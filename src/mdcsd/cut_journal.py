"""What process_frames notes of each video beside its crops: done, without a face, unreadable.

    .process_frames/videos/<video path>.json        one video each, written after all its crops

A video without such a file was not cut yet.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mdcsd import storage
from mdcsd.errors import DataError

JOURNAL = ".process_frames"


@dataclass(frozen=True)
class VideoResult:
    """What became of one video: the rows of its crops, or the error that ended it."""

    video: str
    fingerprint: dict[str, Any]
    n_frames: int
    n_frames_without_face: int
    rows: tuple[tuple[Any, ...], ...]
    error: str | None = None


def journal_of(output: Path, video: str) -> Path:
    """Where it is noted what became of a video."""
    return output / JOURNAL / "videos" / f"{video}.json"


def write_result(output: Path, result: VideoResult) -> None:
    """Note what became of a video."""
    storage.write_json(journal_of(output, result.video), asdict(result))


def read_result(journal: Path) -> VideoResult:
    """Read what `write_result` wrote.

    Raises: DataError if it is of another version.
    """
    saved = storage.read_json(journal)
    try:
        return VideoResult(**{**saved, "rows": tuple(tuple(row) for row in saved["rows"])})
    except (KeyError, TypeError):
        raise DataError(f"{journal}: not of this mdcsd. Delete it to cut the video anew.") from None


def read_results(output: Path) -> list[VideoResult]:
    """Every video noted in a folder of crops, by any run, sorted by name; none in other folders."""
    journals = (output / JOURNAL / "videos").rglob("*.json")
    return sorted(map(read_result, journals), key=lambda result: result.video)
