"""`mdcsd blend`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from mdcsd.cli.options import (
    Assignments,
    Recipe,
    settings_of,
    standard_input,
)
from mdcsd.errors import InputError


def blend(
    ctx: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(help="Pictures, videos, folders of them, globs, or -.")
    ],
    preview: Annotated[
        Path | None, typer.Option("--preview", help="A contact sheet, a .png: a column a blend.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            help="New folder: every face and its blend, as class folders; of each face alone, with "
            "--set blend.other_person=0.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=120, help="Blends on the sheet.")
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed.")] = 0,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Show the pseudo-fakes that training would make of real faces, by section [blend].

    A column holds, from top to bottom: the real face as resampled and recoloured, the fake made of
    it, the mask, and their difference six times enlarged. The title names kind, region and mean
    difference inside the mask, of 255. The first faces of the inputs are used, as many as --count.
    Faces of other files count as other people (blend.other_person).
    """
    from mdcsd.blend_preview import write_pairs, write_preview
    from mdcsd.inputs import find_inputs

    if not preview and not pairs:
        raise InputError("nothing to write. Give --preview SHEET.png or --pairs FOLDER.")
    config = settings_of(ctx, recipe, assignments, {}).blend
    paths = find_inputs(inputs, standard_input())
    if pairs:
        print(f"{pairs}: {write_pairs(paths, pairs, config, seed)} pair(s)")
    if not preview:
        return
    shown = write_preview(paths, preview, count, config, seed)
    kinds = Counter(each.kind for each in shown.blends)
    words = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    print(f"{preview}: {count} blend(s) of {shown.n_faces} face(s): {words}")
