"""`mdcsd calibrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from mdcsd.cli.options import (
    Assignments,
    DeviceOption,
    Recipe,
    number,
    print_table,
    settings_of,
)

_NAMES = {
    name: f"calibrate.{name}"
    for name in ("weights", "val_datasets", "output", "mirror", "batch_size", "device")
}


def calibrate(
    ctx: typer.Context,
    val_datasets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VAL_DATASET...",
            help="Validation data: *_tf folders or .tfrecords files, also of real faces alone.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Checkpoint: the path that train printed.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", help="Where to write it.", show_default="in its place"),
    ] = None,
    mirror: Annotated[
        bool,
        typer.Option("--mirror", help="Judge faces and their mirror images from now on."),
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option("--batch_size", "-b", help="Samples a step.", show_default="32")
    ] = None,
    device: DeviceOption = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
) -> None:
    """Fit temperature and thresholds on validation data and store them in the checkpoint.

    Training does the same on its own validation set; this is for other validation data, or
    a checkpoint of an earlier version. Never give the test set.
    """
    from mdcsd.calibration import calibrate as run

    done = run(settings_of(ctx, recipe, assignments, _NAMES).calibrate)
    fitted = done.calibration
    print_table(
        f"fitted on {fitted.fitted_on}",
        ["faces", "before", "after"],
        [[name, number(done.before[name]), number(done.after[name])] for name in done.before],
    )
    print(f"temperature {fitted.temperature:.4g}")
    for name in ("equal_error", "false_alarm_5", "false_alarm_1"):
        print(f"{name} from {getattr(fitted, name):.4f}")
    print(done.path)
