"""What can go wrong, and whose turn it is to act.

    MdcsdError                  every error this package raises on purpose
    ├── InputError              exit 2: a file, folder or flag of the user's
    │   ├── SettingError        a flag, a --set or a line of a recipe
    │   └── MediaError          a video or picture that cannot be decoded or used
    ├── DataError               exit 2: a data set or checkpoint made earlier
    │   ├── RecordError         a TFRecord file that is damaged or not ours
    │   └── CheckpointError     weights that are damaged or of another network
    └── InternalError           exit 1: our bug

Each message says what came, what was expected and what to do next, on one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MdcsdError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 2


class InputError(MdcsdError):
    """A file, folder or flag that the user gave cannot be used."""


class SettingError(InputError):
    """A flag, a `--set` or a line of a recipe is unknown or out of range."""


class MediaError(InputError):
    """A video or picture cannot be decoded, or holds nothing that can be used."""


class DataError(MdcsdError):
    """A data set or checkpoint that an earlier step made does not fit this step."""


class RecordError(DataError):
    """A TFRecord file is damaged, cut off, or holds other records than ours."""


class CheckpointError(DataError):
    """A weights file is damaged, or belongs to another network."""


class InternalError(MdcsdError):
    """A rule of our own was broken: a bug to report."""

    exit_code = 1


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known words are closest to a wrong one.

    Returns: " Did you mean 'x'?" or, with nothing close, " Known: a, b, c."
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=2)
    if close:
        return f" Did you mean {' or '.join(repr(name) for name in close)}?"
    return f" Known: {', '.join(names)}."
