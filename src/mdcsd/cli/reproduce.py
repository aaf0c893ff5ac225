"""`mdcsd reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdcsd.cli.options import Assignments, progress_bar


def reproduce(
    protocol: Annotated[
        Path,
        typer.Argument(
            help="ffpp_c23, ffpp_c40, cross, ablation, ablation_default, leave_one_out, or a TOML "
            "file of yours."
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            "--data", metavar="NAME=ROOT", help="A data set as downloaded; may be repeated."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Folder for everything.", show_default="runs/reproduce/PROTOCOL"
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say steps, sizes, an estimate; write catalogues only."),
    ] = False,
    assignments: Assignments = None,
) -> None:
    """Make a table of the paper out of data sets as downloaded; interrupted, it goes on."""
    from mdcsd.cli.train import TrainingReport
    from mdcsd.reproduce import make_plan, run_plan
    from mdcsd.reproduce_estimate import estimate
    from mdcsd.reproduce_table import write_tables
    from mdcsd.sources import parse_data_argument

    sources = [parse_data_argument(text) for text in data]
    folder = output or Path("runs") / "reproduce" / protocol.stem
    plan = make_plan(protocol, assignments or [], sources, folder)
    if dry_run:
        for line in estimate(plan):
            print(line)
        return
    with progress_bar("training") as progress:
        outcome = run_plan(plan, hooks=TrainingReport(progress).hooks())
    for path in write_tables(plan, outcome):
        print(path)
