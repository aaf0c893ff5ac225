"""Which files are meant: by their names, folders and globs, before anything heavy is loaded."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from mdcsd.errors import InputError, MediaError

IMAGE_SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".heic", ".heif", ".hif", ".avif", ".bmp", ".webp",
    ".tif", ".tiff",
})  # fmt: skip
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".avi", ".mpg", ".mpeg", ".m2v", ".vob", ".ts",
    ".mts", ".m2ts", ".m2t", ".mkv", ".webm", ".mxf", ".dv", ".flv", ".wmv", ".asf", ".ogv", ".gif",
})  # fmt: skip
_ISO_PICTURES = frozenset({b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"})


def find_media(root: Path, suffixes: Collection[str]) -> list[Path]:
    """List the files below a folder that end in one of the suffixes, sorted by path.

    A folder that cannot be read stands among them, so that reading it reports the error.

    Raises: InputError if `root` does not exist or holds no such file.
    """
    closed: list[OSError] = []
    if not root.exists():
        raise InputError(f"{root}: no such file or folder. Check the path.")
    if root.is_file():
        return [root]
    found = [
        Path(folder) / name
        for folder, _, names in os.walk(root, onerror=closed.append)
        for name in names
        if Path(name).suffix.lower() in suffixes and not name.startswith(".")
    ]
    found = sorted(found + [Path(error.filename) for error in closed])
    if not found:
        kinds = " ".join(sorted(suffix[1:] for suffix in suffixes))
        raise InputError(f"{root}: no file to read in this folder. Expected some of: {kinds}.")
    return found


def find_inputs(words: Iterable[str], standard_input: Iterable[str]) -> list[Path]:
    """List the pictures and videos that words name, each once.

    A word is a file, a folder (searched recursively), a glob, or "-" for the paths on standard
    input, one a line. What is not there, or a folder with nothing to judge, is kept, so that
    judging it reports the error in its place.

    Raises: InputError if standard input names nothing.
    """
    found: list[Path] = []
    for word in words:
        named = (line.rstrip("\r\n") for line in standard_input) if word == "-" else _matches(word)
        for path in (Path(name) for name in named if name):
            try:
                found += find_media(path, VIDEO_SUFFIXES | IMAGE_SUFFIXES)
            except (InputError, OSError):
                found.append(path)
    if not found:
        raise InputError("no file is named on standard input. Give one path a line.")
    return list(dict.fromkeys(found))


def count_passed_over(words: Iterable[str]) -> Counter[str]:
    """Count the files in folders that `find_inputs` leaves out, by how their names end."""
    counts: Counter[str] = Counter()
    for root in {path for word in words if word != "-" for path in _matches(word)}:
        for _, _, names in os.walk(root):
            kinds = (Path(name).suffix.lower() for name in names if not name.startswith("."))
            counts.update(kind for kind in kinds if kind not in VIDEO_SUFFIXES | IMAGE_SUFFIXES)
    return counts


def _matches(word: str) -> list[str]:
    """Expand a glob that the shell did not; a file of that very name comes first."""
    if os.path.lexists(word):
        return [word]
    return sorted(glob.glob(word, recursive=True)) or [word]


def check_file(path: Path) -> bytes:
    """Refuse a path where there is no file that can be read, or an empty one.

    Returns: its first bytes, twelve at most.
    """
    try:
        if path.is_dir():
            os.listdir(path)  # which fails where it may not be read
            ends = " ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
            raise InputError(
                f"{path}: a folder with no picture or video in it that is read here. Expected "
                f"names that end in {ends}."
            )
        if not path.is_file():
            raise InputError(f"{path}: no such file. Check the path.")
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError as error:
        raise MediaError(
            f"{path}: cannot be read ({error.strerror}). Check the path and its permissions."
        ) from None
    if not head:
        raise MediaError(f"{path}: the file is empty (0 bytes). Copy it again.")
    return head


def is_iso_picture(head: bytes) -> bool:
    """Whether a file that begins so is a HEIC or AVIF picture: a video file by its build."""
    return head[4:8] == b"ftyp" and head[8:12] in _ISO_PICTURES
