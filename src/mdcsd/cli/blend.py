"""`mdcsd blend`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from mdcsd.cli.options import Assignments, Recipe, settings_of


def blend(
    ctx: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(help="Pictures, videos, folders of them, globs, or -.")
    ],
    preview: Annotated[Path, typer.Option("--preview", help="The contact sheet, a .png.")],
    count: Annotated[
        int, typer.Option("--count", min=1, max=120, help="Blends on the sheet.")
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed.")] = 0,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Show the pseudo-fakes that training would make of real faces, by section [blend]."""
    from mdcsd.blend_preview import write_preview
    from mdcsd.detect_batch import find_inputs

    config = settings_of(ctx, recipe, assignments, {}).blend
    shown = write_preview(find_inputs(inputs, sys.stdin), preview, count, config, seed)
    kinds = Counter(each.kind for each in shown.blends)
    words = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    print(f"{preview}: {count} blend(s) of {shown.n_faces} face(s): {words}")
