"""Which files are meant: by their names, folders and globs, before anything heavy is loaded."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from mdcsd.errors import InputError, MediaError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mpg", ".mov", ".mkv", ".webm", ".gif"})


def find_media(root: Path, suffixes: Collection[str]) -> list[Path]:
    """List the files below a folder that end in one of the suffixes, sorted by path.

    Raises: InputError if `root` does not exist or holds no such file.
    """
    if not root.exists():
        raise InputError(f"{root}: no such file or folder. Check the path.")
    if root.is_file():
        return [root]
    found = sorted(
        Path(folder) / name
        for folder, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in suffixes and not name.startswith(".")
    )
    if not found:
        kinds = " ".join(sorted(suffix[1:] for suffix in suffixes))
        raise InputError(f"{root}: no file to read in this folder. Expected some of: {kinds}.")
    return found


def find_inputs(words: Iterable[str], standard_input: Iterable[str]) -> list[Path]:
    """List the pictures and videos that words name, each once.

    A word is a file, a folder (searched recursively), a glob, or "-" for the paths on standard
    input, one a line. What is not there, or a folder with nothing to judge, is kept, so that
    judging it reports the error in its place.
    """
    found: list[Path] = []
    for word in words:
        named = (line.rstrip("\r\n") for line in standard_input) if word == "-" else _matches(word)
        for path in (Path(name) for name in named if name):
            try:
                found += find_media(path, VIDEO_SUFFIXES | IMAGE_SUFFIXES)
            except InputError:
                found.append(path)
    return list(dict.fromkeys(found))


def _matches(word: str) -> list[str]:
    """Expand a glob that the shell did not; a file of that very name comes first."""
    if os.path.lexists(word):
        return [word]
    return sorted(glob.glob(word, recursive=True)) or [word]


def check_file(path: Path) -> None:
    """Refuse a path where there is no file, or an empty one."""
    if path.is_dir():
        raise InputError(f"{path}: a folder with no picture or video in it. Check the path.")
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path.")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes). Copy it again.")
