"""`mdcsd export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdcsd.cli.options import Weights


def export(
    output: Annotated[Path, typer.Option("--output", help="ONNX file to write.")],
    weights: Weights = None,
) -> None:
    """Write a checkpoint as ONNX, face crops to scores, for programs without mdcsd or torch."""
    from mdcsd.export import export_onnx

    done = export_onnx(weights, output)
    print(
        f"{done.checkpoint_id}, {done.size_bytes / 1e6:.1f} MB; on made faces its scores are "
        f"within {done.apart:.1g} of torch's"
    )
    print(done.path)
