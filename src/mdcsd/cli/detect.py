"""`mdcsd detect`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdcsd.cli.options import (
    Assignments,
    DeviceOption,
    Recipe,
    Weights,
    progress_bar,
    settings_of,
    standard_input,
)

if TYPE_CHECKING:
    from mdcsd.detect_batch import Batch, Outputs
    from mdcsd.judging_config import DetectConfig
    from mdcsd.judging_nouns import Verdict

_NAMES = {
    name: f"detect.{name}"
    for name in ("weights", "frames", "pool", "cropped", "device", "workers", "time_limit_s")
}


class FailOn(StrEnum):
    """Verdicts that a pipeline may stop at."""

    MANIPULATED = "manipulated"


_Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="OUT",
        help="Write a line of JSON an input; what OUT holds of the same inputs, weights and "
        "settings is kept and not judged again.",
    ),
]
_FailOn = Annotated[
    FailOn | None,
    typer.Option("--fail-on", help="Leave with 3 if an input is likely manipulated."),
]
_Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Files judged at once, a process each.", show_default="1"),
]
_TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit", metavar="SECONDS", help="Give a file up after so long.", show_default="none"
    ),
]


def detect(
    ctx: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, videos, folders of them, globs, or - for paths on standard input."
        ),
    ],
    weights: Weights = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", help="Frames sampled evenly over a video.", show_default="32"),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", help="Video score: track, mean or topk.", show_default="track"),
    ] = None,
    cropped: Annotated[
        bool, typer.Option("--cropped", help="Crops of the network's scale: no face search.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="OUT", help="Write a page: OUT.html of one input, or a folder."
        ),
    ] = None,
    json_path: _Json = None,
    csv_path: Annotated[
        Path | None, typer.Option("--csv", metavar="OUT", help="Write a row an input.")
    ] = None,
    fail_on: _FailOn = None,
    workers: _Workers = None,
    time_limit_s: _TimeLimit = None,
    device: DeviceOption = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Judge files: a score 0..1 (higher is more fake), a verdict, and what it rests on."""
    from mdcsd.inputs import find_inputs

    config = settings_of(ctx, recipe, assignments, _NAMES).detect
    paths = find_inputs(inputs, standard_input())
    if len(paths) == 1 and not (json_path or csv_path or report or config.time_limit_s):
        from mdcsd.media_facts import check_opens

        check_opens(paths[0])  # what cannot be read is said before seconds of imports

    from mdcsd.detect_batch import Outputs

    _say_passed_over(inputs)
    with _ended_as_by_ctrl_c():
        verdicts = judge_files(paths, config, Outputs(json_path, csv_path, report))
    if fail_on and "likely_manipulated" in verdicts:
        raise typer.Exit(3)


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Have what `timeout`, systemd or a container sends (SIGTERM) end a run as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_passed_over(words: list[str]) -> None:
    """Say how many files of folders are not read, by how their names end."""
    from mdcsd.inputs import count_passed_over

    if counts := count_passed_over(words):
        kinds = [f"{n} {_shown(kind) or 'without an ending'}" for kind, n in counts.items()]
        told = f"passed over, as their names end otherwise than is read: {', '.join(kinds)}"
        print(told, file=sys.stderr)


def judge_files(paths: list[Path], config: DetectConfig, outputs: Outputs) -> set[str]:
    """Judge files and say so.

    Leaves with 2 if a file could not be read or was given up, with 1 if that was a bug of ours.

    Returns: the verdicts that there are.
    """
    from mdcsd.detect_batch import Batch
    from mdcsd.detector import Detector

    detector = Detector(config.weights, config.device)
    batch = Batch(paths, detector, config, outputs)
    if batch.n_done:
        print(
            f"{batch.n_done} of {len(batch.inputs)} file(s) are in {outputs.json} already, with "
            "these weights and settings: not judged again",
            file=sys.stderr,
        )
    if batch.n_again:
        print(
            f"{batch.n_again} of {len(batch.inputs)} file(s) are in {outputs.json} and judged "
            "again: of other content, weights or settings, or without the page that is wanted",
            file=sys.stderr,
        )
    verdicts, failed, is_bug = _run(batch)
    if failed:
        print(f"{len(failed)} of {len(batch.inputs)} file(s) could not be judged:", file=sys.stderr)
        for path in failed:
            print(f"  {_shown(path)}", file=sys.stderr)
        raise typer.Exit(1 if is_bug else 2)
    return verdicts


def _run(batch: Batch) -> tuple[set[str], list[Path], bool]:
    """Judge with a bar over the files, or over the frames of the only one."""
    verdicts: set[str] = set()
    failed: list[Path] = []
    is_bug = False
    n_all, n_judged = len(batch.inputs) - batch.n_done, 0
    with progress_bar("judging") as bar:
        for each in batch.run(bar if n_all == 1 else None):
            verdicts.add(each.line["verdict"])
            n_judged += not each.was_done
            is_bug |= each.is_bug
            if each.verdict:
                say_verdict(each.verdict)
            elif "error" in each.line:
                failed.append(each.path)
                print(f"error: {_shown(each.line['error'])}", file=sys.stderr)
            if n_all > 1:
                bar(n_judged, n_all)
    return verdicts, failed, is_bug


def say_verdict(verdict: Verdict) -> None:
    """Print one line a file, one a person if there are several, one a warning."""
    from mdcsd.judging_nouns import VERDICT_WORDS
    from mdcsd.wording import length_s, tell_span

    score = "  -  " if verdict.score is None else f"{verdict.score:.3f}"
    words = VERDICT_WORDS[verdict.verdict]
    print(f"{score}  {words:<18}  {_shown(verdict.path)}: {verdict.reason}", flush=True)
    if len(verdict.tracks) > 1:
        whole_s = length_s(verdict.frames, verdict.media)
        for track in verdict.tracks:
            span = tell_span(track.first_s, track.last_s, whole_s, 1)
            print(
                f"       person {track.track_id}: {track.score:.3f} in {track.n_frames} frames, "
                f"{span}{'' if track.counts else ', too few to count'}"
            )
    for warning in verdict.warnings:
        print(f"       warning: {_shown(warning)}")


def _shown(text: str | Path) -> str:
    from mdcsd.judging_nouns import readable

    return readable(str(text))
