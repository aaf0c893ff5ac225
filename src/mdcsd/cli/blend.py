"""`mdcsd blend`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from mdcsd.cli.options import Assignments, Recipe, settings_of
from mdcsd.errors import InputError


def blend(
    ctx: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(help="Pictures, videos, folders of them, globs, or -.")
    ],
    preview: Annotated[
        Path | None, typer.Option("--preview", help="A contact sheet, a .png.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="New folder: every face and its blend, as class folders."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=120, help="Blends on the sheet.")
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed.")] = 0,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Show the pseudo-fakes that training would make of real faces, by section [blend]."""
    from mdcsd.blend_preview import write_pairs, write_preview
    from mdcsd.detect_batch import find_inputs

    if not preview and not pairs:
        raise InputError("nothing to write. Give --preview SHEET.png or --pairs FOLDER.")
    config = settings_of(ctx, recipe, assignments, {}).blend
    paths = find_inputs(inputs, sys.stdin)
    if pairs:
        print(f"{pairs}: {write_pairs(paths, pairs, config, seed)} pair(s)")
    if not preview:
        return
    shown = write_preview(paths, preview, count, config, seed)
    kinds = Counter(each.kind for each in shown.blends)
    words = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    print(f"{preview}: {count} blend(s) of {shown.n_faces} face(s): {words}")
