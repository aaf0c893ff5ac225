"""Data sets as their makers hand them out -> rows of `VideoEntry`: which layout a folder has.

Nothing is decoded: a scan lists folders and asks for sizes, and says what a list or a split
names that is not there. `source_layouts.py` reads the layouts, `source_lists.py` the lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mdcsd import source_layouts as layouts
from mdcsd.errors import InputError, SettingError
from mdcsd.source_scan import Scan

__all__ = ["LAYOUTS", "Scan", "parse_data_argument", "read_dataset"]


def read_dataset(name: str, root: Path) -> Scan:
    """Read a data set as downloaded.

    Args:
        name: one of `LAYOUTS`; any other name is read by content, as a JSON file of
            DeepfakeBench (or a folder of nothing else), or as plain class folders.

    Raises: InputError if `root` is not laid out so, saying what was expected and which known
        layout it has; DataError if a list in it is damaged or contradicts itself.
    """
    if not root.exists():
        raise InputError(f"{root}: no such file or folder. Check the path after {name}=.")
    if root.is_file() and root.suffix.lower() != ".json":
        raise InputError(
            f"{root}: a file. Expected the folder of {name}, a catalogue.csv of `mdcsd datasets "
            "scan`, or a JSON file of DeepfakeBench."
        )
    layout = LAYOUTS.get(name)
    try:
        if layout is not None and layout.fits(root):
            scan = layout.read(name, root)
        elif layout is not None:
            raise InputError(f"{root}: expected {layout.expects} for {name}.{_advice(root)}")
        elif _fitting(root):
            raise InputError(f"{root}: as {name} it would lose its split and ids.{_advice(root)}")
        elif layouts.bench_files(root):
            scan = layouts.read_deepfakebench(name, root)
        else:
            scan = layouts.read_plain(name, root)
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error}). Check its rights.") from None
    if not scan.entries:
        expected = layout.expects if layout else "class folders (original or real, and others)"
        raise InputError(f"{root}: no video of {name} in it. Expected {expected}.")
    return scan


def parse_data_argument(text: str) -> tuple[str, Path]:
    """Take "NAME=ROOT" apart.

    Raises: SettingError if it is no such pair.
    """
    name, _, root = text.partition("=")
    if not re.fullmatch(r"[\w.+-]+", name) or not root:
        raise SettingError(
            f"{text!r}: expected NAME=ROOT, as in ffpp=FaceForensics++. Names with a layout of "
            f"their own: {', '.join(LAYOUTS)}."
        )
    return name, Path(root).expanduser()


class _Layout(NamedTuple):
    """How a layout is read and recognised, and what it looks like in words."""

    read: Callable[[str, Path], Scan]
    fits: Callable[[Path], bool]
    expects: str


def _has_any(*folders: str) -> Callable[[Path], bool]:
    return lambda root: any((root / folder).is_dir() for folder in folders)


def _is_celeb_df(root: Path) -> bool:
    return _has_any("Celeb-real", "YouTube-real", "Celeb-synthesis")(root) and not _is_pp(root)


_is_pp = _has_any(*(f"Celeb-synthesis/{name}" for name in layouts.CELEB_PP_SCENARIOS))


def _is_dfdc(root: Path) -> bool:
    """Look for the DFDC's labels; a metadata.json of another kind is no sign of it."""
    if any((root / part / "labels.csv").is_file() for part in ("test", "validation")):
        return True
    depths = ("metadata.json", "*/metadata.json", "*/*/metadata.json", "*/*/*/metadata.json")
    path = next((path for depth in depths for path in root.glob(depth)), None)
    if path is None:
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        start = file.read(4096)
    return '"REAL"' in start or '"FAKE"' in start


def _is_dfdcp(root: Path) -> bool:
    has_videos = _has_any("original_videos", "method_A", "method_B")(root)
    return has_videos and (root / "dataset.json").is_file()


_CELEB_TREE = "Celeb-real/, YouTube-real/ and Celeb-synthesis/ with videos in them"
LAYOUTS = {
    "ffpp": _Layout(
        layouts.read_ffpp,
        _has_any(*layouts.FFPP),
        "original_sequences/youtube/c23/videos/000.mp4 and "
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4 (or raw, c0, c40)",
    ),
    "dfd": _Layout(
        layouts.read_dfd,
        _has_any(*layouts.DFD),
        "original_sequences/actors/c23/videos/ and "
        "manipulated_sequences/DeepFakeDetection/c23/videos/ (or raw, c0, c40)",
    ),
    "celebdf1": _Layout(layouts.read_celebdf, _is_celeb_df, _CELEB_TREE),
    "celebdf2": _Layout(layouts.read_celebdf, _is_celeb_df, _CELEB_TREE),
    "celebdfpp": _Layout(
        layouts.read_celebdfpp,
        _is_pp,
        "Celeb-real/, YouTube-real/ and Celeb-synthesis/FaceSwap/BlendFace/id0_id1_0000.mp4",
    ),
    "dfdc": _Layout(
        layouts.read_dfdc, _is_dfdc, "folders such as dfdc_train_part_0/, each with metadata.json"
    ),
    "dfdcp": _Layout(
        layouts.read_dfdcp, _is_dfdcp, "dataset.json, original_videos/, method_A/ and method_B/"
    ),
    "deeperforensics": _Layout(
        layouts.read_deeperforensics,
        _has_any("manipulated_videos"),
        "manipulated_videos/end_to_end/000_M101.mp4 and lists/splits/",
    ),
    "wilddeepfake": _Layout(
        layouts.read_wilddeepfake,
        _has_any(*(f"{a}{gap}{b}" for a in ("real", "fake") for b in ("train", "test")
                   for gap in "_ ")),
        "real_train/, fake_train/, real_test/, fake_test/ with their archives unpacked to "
        "0/real/1/0.png",
    ),
    "dfdc_faces": _Layout(
        layouts.read_dfdc_faces,
        lambda root: (root / layouts.FACES_LIST).is_file(),
        f"{layouts.FACES_LIST} and faces_224/",
    ),
}  # fmt: skip
"""The data sets that are known by name."""


def _fitting(root: Path) -> list[str]:
    return [name for name, layout in LAYOUTS.items() if layout.fits(root)]


def _advice(root: Path) -> str:
    """Say under which name, or from which folder, the data can be read."""
    if names := _fitting(root):
        return f" It is laid out as {' or '.join(names)}: give {names[0]}={root}."
    for child in sorted(root.iterdir()) if root.is_dir() else ():
        if child.is_dir() and (names := _fitting(child)):
            return f" Its folder is laid out as {' or '.join(names)}: give {names[0]}={child}."
    return " Check the path; docs/datasets.md shows the tree of each data set."
