"""`mdcsd card`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdcsd.cli.options import Weights
from mdcsd.errors import InputError

if TYPE_CHECKING:
    from mdcsd.model_card import Report


def card(
    output: Annotated[Path, typer.Option("--output", help="Markdown file, e.g. MODEL_CARD.md.")],
    weights: Weights = None,
    report: Annotated[
        list[str] | None,
        typer.Option(
            "--report",
            metavar="NAME=report.json",
            help="What `mdcsd evaluate` measured of these weights; may be repeated.",
        ),
    ] = None,
) -> None:
    """Write a model card: data, terms, training, thresholds, figures, limits; nothing by hand."""
    from mdcsd import storage
    from mdcsd.checkpoint import load_checkpoint
    from mdcsd.default_weights import weights_path
    from mdcsd.model_card import write_card

    checkpoint = load_checkpoint(weights_path(weights))
    reports = dict(_read_report(text) for text in report or ())
    storage.write_text(output, write_card(checkpoint, reports))
    print(output)


def _read_report(text: str) -> tuple[str, Report]:
    from mdcsd import storage

    name, equals, path = text.partition("=")
    if not name or not equals or not path:
        raise InputError(f"--report {text}: expected NAME=report.json.")
    report = storage.read_json(Path(path))
    if not isinstance(report, dict) or "overall" not in report:
        raise InputError(f"{path}: no report. Give the report.json that mdcsd evaluate wrote.")
    return name, report
