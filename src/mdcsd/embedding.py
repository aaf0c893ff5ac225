"""The job: a trained checkpoint -> the detector that the package carries."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mdcsd.checkpoint import Checkpoint, compact_checkpoint, load_checkpoint, save_checkpoint
from mdcsd.default_weights import MAX_EMBEDDED_BYTES
from mdcsd.errors import InputError

_HEADER_BYTES = 100_000  # more than names, shapes and provenance take


@dataclass(frozen=True)
class Embedded:
    """What was written: where, its size in bytes, its id and that of what it was made of."""

    path: Path
    size_bytes: int
    checkpoint_id: str
    source_id: str


def embed_checkpoint(source: Path, licence: str, data: str, output: Path) -> Embedded:
    """Round a checkpoint to 16 bits and write it with the terms of its weights.

    Args:
        licence: the terms, or a text file of them whose first paragraph is taken.
        data: what it learned from and on which terms, or a text file likewise.

    Raises: CheckpointError if it is none, or does not fit 16 bits; InputError if it would be
        larger than the package may carry, or a text is empty. Nothing is written then.
    """
    whole = load_checkpoint(source)
    compact = compact_checkpoint(whole)
    _check_size(source, compact)
    known = whole.provenance.get("compacted_from")  # of one that was calibrated anew
    is_compact = compact.checkpoint_id == whole.checkpoint_id
    origin: dict[str, Any] = {
        "licence": _read_paragraph("--licence", licence),
        "data": _read_paragraph("--data", data),
        "compacted_from": known if known and is_compact else whole.checkpoint_id,
    }
    if command := whole.provenance.get("command"):
        origin["command"] = without_folders(str(command))
    origin["stages"] = [
        {**stage, "command": without_folders(str(stage["command"]))}
        for stage in whole.provenance.get("stages", ())
    ]
    settings = whole.provenance.get("settings", {})
    if path := settings.get("blend", {}).get("autoencoder_file"):
        blend = {**settings["blend"], "autoencoder_file": Path(path).name}
        origin["settings"] = {**settings, "blend": blend}
    network = replace(compact.network, pretrained="none", pretrained_file=None)
    named = replace(compact, network=network, provenance={**whole.provenance, **origin})
    save_checkpoint(named, output)
    return Embedded(output, output.stat().st_size, named.checkpoint_id, whole.checkpoint_id)


def _check_size(source: Path, checkpoint: Checkpoint) -> None:
    n_bytes = sum(each.numel() * each.element_size() for each in checkpoint.state_dict.values())
    if n_bytes + _HEADER_BYTES > MAX_EMBEDDED_BYTES:
        raise InputError(
            f"{source}: takes {n_bytes / 1e6:.1f} MB in 16 bits; the package carries up to "
            f"{MAX_EMBEDDED_BYTES / 1e6:.0f} MB. Embed a smaller network, and give this one by "
            "--weights."
        )


def without_folders(command: str) -> str:
    """A command with the names of files alone: whose folders they lay in is nobody's concern."""
    return re.sub(r"(?<![\w.~-])[~/][\w.~/+-]*/", "", command)


def _read_paragraph(flag: str, given: str) -> str:
    """A text on one line: the one given, or the first paragraph of a file."""
    try:
        text = Path(given).read_text(encoding="utf-8") if Path(given).is_file() else given
    except (OSError, UnicodeDecodeError):
        text = given  # longer than a name of a file may be, or no text
    line = " ".join(text.strip().split("\n\n")[0].split())
    if not line:
        raise InputError(f"{flag} is empty. Give a text, or a file of it.")
    return line
