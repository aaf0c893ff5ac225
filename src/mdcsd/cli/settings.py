"""`mdcsd settings`."""

from __future__ import annotations

from typing import Annotated

import typer

from mdcsd.cli.options import Assignments, Recipe, settings_of


def settings(
    ctx: typer.Context,
    sections: Annotated[
        list[str] | None,
        typer.Argument(metavar="SECTION", help="Sections of a recipe; none means all."),
    ] = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Print every setting, its meaning, and its value in a recipe: a recipe to copy from."""
    from mdcsd.settings_text import write_settings

    print(write_settings(settings_of(ctx, recipe, assignments, {}), sections or []), end="")
