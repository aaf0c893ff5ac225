"""`mdcsd embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def embed(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint: the path that train printed.")],
    licence: Annotated[
        str,
        typer.Option(
            "--licence",
            metavar="TEXT|FILE",
            help="Terms of the weights; of a file its first paragraph.",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="TEXT|FILE",
            help="What it learned from, and the terms of that; of a file its first paragraph.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", help="src/mdcsd/weights/default.safetensors makes it the default."
        ),
    ],
) -> None:
    """Write a checkpoint in 16 bits with its terms, small enough to come with the package."""
    from mdcsd.embedding import embed_checkpoint

    done = embed_checkpoint(checkpoint, licence, data, output)
    print(
        f"{done.checkpoint_id}, {done.size_bytes / 1e6:.2f} MB in 16 bits, made of {done.source_id}"
    )
    print(done.path)
