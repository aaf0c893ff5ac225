"""`mdcsd autoencoder`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mdcsd.cli.options import (
    Assignments,
    DeviceOption,
    Recipe,
    Seed,
    progress_bar,
    settings_of,
)

_NAMES = {
    name: f"autoencoder.{name}" for name in ("train_datasets", "output", "steps", "device", "seed")
}


def autoencoder(
    ctx: typer.Context,
    train_datasets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TRAIN_DATASET...",
            help="Training data of colour pixels with landmarks: *_tf folders or .tfrecords files.",
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="File to write, a .safetensors.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Steps of training.", show_default="3000")
    ] = None,
    device: DeviceOption = None,
    seed: Seed = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Train what paints faces for blends as a face swap's decoder does, on real faces alone.

    The default takes five to twenty minutes on two cores to itself, and should end with a loss
    below .1; few steps, or few faces, paint blurs. Look: mdcsd blend FILES --preview SHEET.png
    --set blend.autoencoder_file=FILE --set blend.autoencoder=1. Then mdcsd train, with the same
    settings or --recipe without_fakes.
    """
    from mdcsd.autoencoder import fit_autoencoder

    config = settings_of(ctx, recipe, assignments, _NAMES).autoencoder
    with progress_bar("autoencoder") as progress:
        try:
            fitted = fit_autoencoder(config, progress)
        except KeyboardInterrupt:
            print("nothing was saved: it is written when it is whole", file=sys.stderr)
            raise typer.Exit(130) from None
    losses = f"loss {fitted.first_loss:.4f} -> {fitted.last_loss:.4f}"
    print(f"{fitted.n_faces} real faces, {losses}")
    print(config.output)
