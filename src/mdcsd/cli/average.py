"""`mdcsd average`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def average(
    first: Annotated[Path, typer.Argument(help="Checkpoint that a training began from.")],
    second: Annotated[Path, typer.Argument(help="Checkpoint of that training.")],
    output: Annotated[Path, typer.Option("--output", help="Checkpoint to write.")],
    share: Annotated[
        float, typer.Option("--share", help="Share of the second one's weights, 0 to 1.")
    ] = 0.5,
) -> None:
    """Average the weights of a training and of what it began from; calibrate the result."""
    from mdcsd.averaging import average_checkpoints

    mean = average_checkpoints(first, second, share, output)
    print(f"{mean.checkpoint_id}, to be calibrated: mdcsd calibrate --weights {output} VAL_tf")
    print(output)
