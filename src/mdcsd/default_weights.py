"""The embedded default detector: where it lies, and what its header says. Without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mdcsd.errors import InputError

MAX_EMBEDDED_BYTES = 20_000_000
"""Bytes that the package may spend on its default detector."""
_NAME = "default.safetensors"
_LENGTH_BYTES = 8  # a safetensors file begins with the length of its header


@dataclass(frozen=True)
class DefaultWeights:
    """What the header of the embedded detector says: its id, and the terms of its weights."""

    checkpoint_id: str
    licence: str


def shelf() -> Path:
    """Folder of the package that holds the default detector, if it comes with one."""
    return Path(str(resources.files("mdcsd"))) / "weights"


def weights_path(given: str | Path | None) -> Path:
    """The checkpoint that was asked for, or else the embedded one.

    Raises: InputError if none was asked for and none is embedded.
    """
    if given:
        return Path(given)
    default = shelf() / _NAME
    if not default.is_file():
        raise InputError(
            "no weights given, and this mdcsd has none embedded. Pass --weights with the path that "
            "train printed."
        )
    return default


def read_default() -> DefaultWeights | None:
    """Read the embedded detector's header, a few kilobytes; None if none is embedded."""
    path = shelf() / _NAME
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        outer = json.loads(file.read(length))
    header = json.loads(outer["__metadata__"]["mdcsd"])
    return DefaultWeights(header["checkpoint_id"], header["provenance"].get("licence", ""))
