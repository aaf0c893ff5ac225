"""`mdcsd explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdcsd.cli.options import (
    DeviceOption,
    Weights,
    progress_bar,
    settings_of,
    standard_input,
)

if TYPE_CHECKING:
    from mdcsd.detector import Detector

_NAMES = {name: f"detect.{name}" for name in ("weights", "frames", "cropped", "device")}


def explain(
    ctx: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(help="Pictures, videos, folders of them, globs, or -.")
    ],
    output: Annotated[
        Path, typer.Option("--output", help="Folder for the strips, one PNG a face.")
    ],
    weights: Weights = None,
    frames: Annotated[
        int, typer.Option("--frames", help="Frames sampled evenly over a video.")
    ] = 8,
    cropped: Annotated[
        bool, typer.Option("--cropped", help="Crops of the network's scale: no face search.")
    ] = False,
    device: DeviceOption = None,
) -> None:
    """Draw where each branch of the network finds its evidence, a strip of pictures a face."""
    from mdcsd import storage
    from mdcsd.inputs import find_inputs

    config = settings_of(ctx, None, None, _NAMES).detect
    storage.check_writable(output / "strip.png")
    paths = find_inputs(inputs, standard_input())
    if len(paths) == 1:
        from mdcsd.media_facts import check_opens

        check_opens(paths[0])  # what cannot be read is said before seconds of imports

    from mdcsd.detector import Detector

    detector = Detector(config.weights, config.device)
    n_failed = 0
    with progress_bar("explaining") as bar:
        for n_done, path in enumerate(paths, start=1):
            n_failed += not _explain(detector, path, output, frames, cropped)
            bar(n_done, len(paths))
    if n_failed:
        print(f"{n_failed} of {len(paths)} file(s) could not be read", file=sys.stderr)
        raise typer.Exit(2)


def _explain(detector: Detector, path: Path, output: Path, frames: int, cropped: bool) -> bool:
    """Explain one file and say so; say why an unreadable one is passed over."""
    from mdcsd.errors import InputError
    from mdcsd.judging_nouns import readable
    from mdcsd.strips import explain_file

    try:
        done = explain_file(detector, path, output, frames, cropped)
    except (InputError, OSError) as error:
        print(f"error: {readable(str(error))}", file=sys.stderr)
        return False
    score = "  -  " if done.score is None else f"{done.score:.3f}"
    nothing = done.unjudged or "no face found"
    found = f"{len(done.strips)} face(s) in {done.folder}, of {done.n_sampled} sampled frame(s)"
    where = found if done.strips else nothing
    print(f"{score}  {readable(f'{path}: {where}')}", flush=True)
    return True
