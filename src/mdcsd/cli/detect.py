"""`mdcsd detect`."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from mdcsd.cli.options import Assignments, DeviceOption, Recipe, settings_of

if TYPE_CHECKING:
    from mdcsd.detector import Detector
    from mdcsd.judging_config import DetectConfig
    from mdcsd.judging_nouns import Verdict

_NAMES = {name: f"detect.{name}" for name in ("weights", "frames", "pool", "cropped", "device")}
_WORDS = {
    "likely_real": "likely real",
    "uncertain": "uncertain",
    "likely_manipulated": "likely manipulated",
    "cannot_judge": "cannot judge",
}


def detect(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Pictures, videos, or folders of them.")],
    weights: Annotated[
        str | None, typer.Option("--weights", help="Checkpoint: the path that train printed.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", help="Frames sampled evenly over a video.", show_default="32"),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", help="Video score: track, mean or topk.", show_default="track"),
    ] = None,
    cropped: Annotated[
        bool, typer.Option("--cropped", help="The inputs are face crops: no search.")
    ] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write a line of JSON a file.")
    ] = None,
    device: DeviceOption = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Judge files: a score 0..1 (higher is more fake), a verdict, and what it rests on."""
    judge_files(files, settings_of(ctx, recipe, assignments, _NAMES).detect, json_path)


def judge_files(files: list[Path], config: DetectConfig, json_path: Path | None) -> None:
    """Judge files one after the other and say so; leave with 2 if one could not be read."""
    from mdcsd import storage
    from mdcsd.detector import Detector, find_inputs

    inputs = find_inputs(files)
    detector = Detector(config.weights, config.device)
    n_failed = 0
    with storage.line_file(json_path) if json_path else nullcontext() as lines:
        for path in inputs:
            n_failed += not _judge(detector, path, config, lines)
    if n_failed:
        print(f"{n_failed} of {len(inputs)} file(s) could not be read", file=sys.stderr)
        raise typer.Exit(2)


def _judge(detector: Detector, path: Path, config: DetectConfig, lines: IO[str] | None) -> bool:
    """Judge one file and say so; an unreadable one gets a line with its error."""
    from mdcsd.errors import InputError

    try:
        verdict = detector.judge(path, config.frames, config.pool, config.cropped)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        failed = {"path": str(path), "score": None, "verdict": "cannot_judge", "error": str(error)}
        _write_line(lines, json.dumps(failed, ensure_ascii=False))
        return False
    say_verdict(verdict)
    _write_line(lines, verdict.to_json())
    return True


def _write_line(lines: IO[str] | None, text: str) -> None:
    if lines is not None:
        lines.write(text + "\n")
        lines.flush()


def say_verdict(verdict: Verdict) -> None:
    """Print one line a file, one a person if there are several, one a warning."""
    score = "  -  " if verdict.score is None else f"{verdict.score:.3f}"
    print(f"{score}  {_WORDS[verdict.verdict]:<18}  {verdict.path}: {verdict.reason}")
    if len(verdict.tracks) > 1:
        for track in verdict.tracks:
            print(
                f"       person {track.track_id}: {track.score:.3f} in {track.n_frames} frames, "
                f"{track.first_s:.1f} to {track.last_s:.1f} s"
            )
    for warning in verdict.warnings:
        print(f"       warning: {warning}")
