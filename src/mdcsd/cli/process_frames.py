"""`mdcsd process-frames`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mdcsd.cli.options import Assignments, Recipe, progress_bar, settings_of

if TYPE_CHECKING:
    from mdcsd.process_frames import Summary

_NAMES = {
    name: f"process_frames.{name}"
    for name in ("video_path", "output_path", "start_frame", "end_frame", "frames", "every",
                 "faces", "size", "scale", "workers")
}  # fmt: skip


def process_frames(
    ctx: typer.Context,
    video_path: Annotated[
        str | None, typer.Option("--video_path", help="A video, a folder, or a catalogue.csv.")
    ] = None,
    output_path: Annotated[
        str | None,
        typer.Option(
            "--output_path",
            "--output",
            help="Folder for crops and faces.csv.",
            show_default="frames",
        ),
    ] = None,
    start_frame: Annotated[
        int | None, typer.Option("--start_frame", help="First frame, inclusive.", show_default="0")
    ] = None,
    end_frame: Annotated[
        int | None,
        typer.Option("--end_frame", help="Frame to stop before.", show_default="the end"),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", help="So many frames, spaced evenly.", show_default="all"),
    ] = None,
    every: Annotated[float | None, typer.Option("--every", help="One frame a period, s.")] = None,
    faces: Annotated[
        str | None,
        typer.Option("--faces", help="largest or all of a frame.", show_default="largest"),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Side of the crops, pixels.", show_default="299")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", help="Side over the detector's box.", show_default="1.3"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes.", show_default="one a core")
    ] = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Cut face crops out of a video, or of all videos, else pictures, below a folder."""
    from mdcsd.process_frames import process_frames as run

    settings = settings_of(ctx, recipe, assignments, _NAMES)
    with progress_bar("videos") as progress:
        summary = run(settings.process_frames, progress)
    _tell(summary)
    if summary.failed:
        raise typer.Exit(2)


def _tell(summary: Summary) -> None:
    print(
        f"{summary.n_videos} video(s), {summary.n_resumed} of them done before: "
        f"{summary.n_frames} frames, {summary.n_frames_without_face} without a face, "
        f"{summary.n_crops} crops -> {summary.faces_csv}"
    )
    if summary.n_passed_over:
        print(
            f"{summary.n_passed_over} picture(s) beside videos, not cut: put pictures into a "
            "folder of their own",
            file=sys.stderr,
        )
    for failed in summary.failed:
        print(f"error: {failed.error}", file=sys.stderr)
    if summary.failed:
        print(f"{len(summary.failed)} video(s) could not be read", file=sys.stderr)
