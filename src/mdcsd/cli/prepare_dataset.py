"""`mdcsd prepare-dataset`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mdcsd.cli.options import Assignments, Recipe, Seed, print_table, progress_bar, settings_of

if TYPE_CHECKING:
    from mdcsd.prepare_dataset import Prepared

_NAMES = {
    name: f"prepare_dataset.{name}"
    for name in ("directory", "raw", "log", "color", "float_list", "output", "crop_scale",
                 "catalogue", "landmarks", "seed", "workers")
}  # fmt: skip


def prepare_dataset(
    ctx: typer.Context,
    directory: Annotated[
        str | None,
        typer.Argument(
            help="Class folders, split/class, class/split, images alone, or a catalogue."
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Keep pixels instead of the DCT.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Log-scale the DCT.")] = False,
    color: Annotated[bool, typer.Option("--color", help="Three channels, else luma.")] = False,
    float_list: Annotated[
        bool, typer.Option("--float-list", help="Original feature layout, for old readers.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", help="Folder for the data sets.", show_default="beside DIRECTORY"),
    ] = None,
    crop_scale: Annotated[
        float | None,
        typer.Option("--crop_scale", help="Of crops no faces.csv describes.", show_default="1.3"),
    ] = None,
    catalogue: Annotated[
        str | None,
        typer.Option("--catalogue", help="Only the videos of this catalogue.csv, its splits."),
    ] = None,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="Keep the face mesh of real crops, for blends.")
    ] = False,
    seed: Seed = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Threads.", show_default="one a core")
    ] = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Write a folder of face crops as TFRecord data sets, one folder a split."""
    from mdcsd.prepare_dataset import prepare_dataset as run

    settings = settings_of(ctx, recipe, assignments, _NAMES)
    with progress_bar("images") as progress:
        prepared = run(settings.prepare_dataset, progress)
    _print_labels(prepared)
    for split in prepared.splits:
        note = " (done before)" if split.resumed else ""
        print(f"{split.split}: {split.n_videos} videos, {split.n_shards} shard(s){note}")
        print(split.folder)
    for warning in prepared.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    failed = [reason for split in prepared.splits for reason in split.failed]
    for reason in failed:
        print(f"error: {reason}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} image(s) could not be read and are left out", file=sys.stderr)
        raise typer.Exit(2)


def _print_labels(prepared: Prepared) -> None:
    """Print how many faces of each class each split has; a face of no class has no label."""
    from mdcsd.crops import UNLABELLED

    rows = [
        [
            "-" if name == UNLABELLED else str(label),
            name,
            *(str(split.counts.get(name, 0)) for split in prepared.splits),
        ]
        for name, label in prepared.labels.items()
    ]
    print_table("Labels", ["label", "class", *(split.split for split in prepared.splits)], rows)
