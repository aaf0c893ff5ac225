"""`mdcsd datasets scan`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mdcsd.cli.options import print_table

app = typer.Typer(
    help="Read data sets as downloaded.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Keep `scan` a command of its own."""


@app.command()
def scan(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=ROOT...",
            help="ffpp, dfd, celebdf1, celebdf2, celebdfpp, dfdc, dfdcp, deeperforensics, "
            "wilddeepfake, dfdc_faces, or a name of yours, and the folder.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", help="Write catalogue.csv for process-frames here.")
    ] = None,
    compression: Annotated[
        str | None, typer.Option("--compression", help="Catalogue only this one, e.g. c23.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of splits that are drawn.")] = 0,
) -> None:
    """Count videos by class, compression and split; say what is missing or cannot be used."""
    from mdcsd.catalogue import write_catalogue
    from mdcsd.datasets import count_table, scan_dataset, select
    from mdcsd.sources import parse_data_argument

    named = [parse_data_argument(text) for text in data]
    scanned = [scan_dataset(name, root, seed) for name, root in named]
    if compression:
        scanned = [
            replace(each, entries=tuple(select(each.entries, "all", (), compression)))
            for each in scanned
        ]
    print_table(
        "videos",
        ["data set", "manipulation", "compression", "train", "val", "test", "no split", "all"],
        [row for each in scanned for row in count_table(each)],
    )
    for each in scanned:
        print(f"{each.scan.dataset}: split: {each.split_rule}")
        if each.split_path:
            print(f"{each.scan.dataset}: drawn split kept in {each.split_path}")
        if each.n_left_out:
            print(
                f"{each.scan.dataset}: {each.n_left_out} video(s) in no split ({each.why_left_out})"
            )
        for line in each.scan.missing:
            print(f"missing: {line}", file=sys.stderr)
        for line in each.scan.strangers:
            print(f"not understood, left out: {line}", file=sys.stderr)
    if output:
        kept = [entry for each in scanned for entry in select(each.entries, "all", (), compression)]
        write_catalogue(output, kept)
        print(output)
