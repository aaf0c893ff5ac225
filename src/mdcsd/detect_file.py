"""One input of many: file -> verdict, its line, and its page; what goes wrong is a line too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdcsd import storage
from mdcsd.errors import DataError, InputError
from mdcsd.judging_config import DetectConfig
from mdcsd.judging_nouns import VERDICT_SCHEMA, Verdict

if TYPE_CHECKING:  # a process that judges shares the cores before torch is imported
    from mdcsd.detector import Detector

Line = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A file to judge, and where its page goes if one is wanted."""

    path: Path
    page: Path | None = None


@dataclass(frozen=True)
class Judged:
    """One input: its line, with `error` if it could not be read; the verdict if it is new."""

    path: Path
    line: Line
    verdict: Verdict | None
    was_done: bool = False
    is_bug: bool = False
    """Whether the error is ours, and not the file's."""


def judge_file(
    job: Job,
    detector: Detector,
    config: DetectConfig,
    progress: Callable[[int, int], None] | None = None,
) -> Judged:
    """Judge one file and write its page; what cannot be read is told, and ends nothing.

    Raises: DataError, of the weights; InputError if the page cannot be written.
    """
    path = job.path
    try:
        verdict = detector.judge(
            path, config.frames, config.pool, config.cropped, job.page is not None, progress
        )
    except InputError as error:
        return failed(path, str(error))
    except OSError as error:
        return failed(path, f"{path}: cannot be read ({error.strerror or error}). Is it there?")
    except DataError:  # of the weights: no file is judged with them
        raise
    except Exception as error:  # one file of a thousand must not end the others
        told = f"{path}: a bug in mdcsd, please report it ({type(error).__name__}: {error})"
        return failed(path, told, is_bug=True)
    if job.page:
        storage.write_text(job.page, verdict.to_html())
    return Judged(path, verdict.to_dict(), verdict)


def failed(path: Path, error: str, is_bug: bool = False) -> Judged:
    """Make the line of an input that could not be judged."""
    line = {"score": None, "verdict": "cannot_judge", "error": error}
    return Judged(path, {"schema": VERDICT_SCHEMA, "path": str(path), **line}, None, is_bug=is_bug)
