"""What the lists beside data sets say: official splits, labels, and who is in a video.

Each function reads the list of one maker and returns plain rows; `sources.py` looks which of
the files they name are there. Sources are given where a format is not documented by its maker.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from mdcsd.errors import DataError, InputError
from mdcsd.nouns import ORIGINAL, SPLITS
from mdcsd.source_scan import Listed

COMPRESSIONS = {"raw": "raw", "c0": "raw", "c23": "c23", "c40": "c40"}
"""Folder of FaceForensics++ -> compression: its makers use raw and c0 for one thing."""

FAKE = "fake"
"""The manipulation where a data set does not say which it is."""

# Names that tell who is in a video, the target first: FF++ (000, 000_003), Celeb-DF
# (id0_0000, id0_id1_0000, id0_0000_test_1), DFD (01__scene, 01_02__scene__ID).
_NAMES_WITH_IDS = (
    re.compile(r"(\d{3})(?:_(\d{3}))?"),
    re.compile(r"(id\d+)_(?:(id\d+)_)?\d+.*"),
    re.compile(r"(\d\d)(?:_(\d\d))?__.+"),
)


def read_ffpp_split() -> dict[str, str]:
    """Read the official split of FaceForensics++: video (000, 000_003) -> train, val or test."""
    text = resources.files("mdcsd").joinpath("assets", "ffpp_splits.csv").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    split_of: dict[str, str] = {}
    for row in csv.DictReader(lines):
        a, b = row["a"], row["b"]
        split_of |= dict.fromkeys((a, b, f"{a}_{b}", f"{b}_{a}"), row["split"])
    return split_of


def read_celeb_list(path: Path) -> list[str]:
    """Read Celeb-DF's `List_of_testing_videos.txt`: lines of label and path, where 1 is REAL.

    Returns: the paths of the test videos, relative to the data set's root.

    Raises: DataError if a line is no such line, or its label contradicts its folder.
    """
    paths = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        label, _, name = line.strip().partition(" ")
        name = name.strip()
        if label not in ("0", "1") or not name:
            raise DataError(
                f"{path}: line {number} is {line!r}, expected 1 or 0, a space and a path. "
                "Download the list again."
            )
        is_real = name.partition("/")[0] != "Celeb-synthesis"
        if is_real != (label == "1"):
            raise DataError(
                f"{path}: line {number} calls {name} {'real' if label == '1' else 'fake'} (1 is "
                "real), its folder says the opposite. Download the list again."
            )
        paths.append(name)
    return paths


def read_deeperforensics_split(folder: Path) -> dict[str, str]:
    """Read `train.txt`, `val.txt` and `test.txt`, a manipulated video's name a line."""
    split_of: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        if path.is_file():
            names = (PurePosixPath(line.strip()).stem for line in _read_text(path).splitlines())
            split_of |= {name: split for name in names if name}
    return split_of


def read_dfdc_folder(root: Path, folder: str) -> list[Listed]:
    """Read one folder of the DFDC: `metadata.json`, or `labels.csv` in `test` and `validation`.

    A fake and the original it was made from share a source id, the original's name.
    """
    directory = root / folder
    name = directory.resolve().name
    if (directory / "labels.csv").is_file():
        split = {"test": "test", "validation": "val"}.get(name)
        table = _read_table(directory / "labels.csv", ("filename", "label"))
        said = [(row["filename"], row["label"] == "0", split, None) for row in table]
    else:
        path = directory / "metadata.json"
        splits = {"train": "train", "validation": "val", "test": "test"}
        said = []
        for file, record in _read_records(path):
            if record.get("label") not in ("REAL", "FAKE"):
                raise DataError(f"{path}: {file}: label is neither REAL nor FAKE.")
            split = splits.get(str(record.get("split")))
            said.append((file, record["label"] == "REAL", split, record.get("original")))
    rows = []
    for file, is_real, split, original in said:
        stem = PurePosixPath(file).stem
        source = PurePosixPath(original).stem if original else stem
        place = (PurePosixPath(folder) / file).as_posix()
        manipulation = ORIGINAL if is_real else FAKE
        rows.append(Listed(place, manipulation, f"{name}/{stem}", split, (source,)))
    return rows


def read_dfdcp(path: Path) -> list[Listed]:
    """Read `dataset.json` of the DFDC preview: path -> label, set, target_id, swapped_id.

    The first folder of a path is the manipulation (method_A, method_B). The target is whose
    video it is, the swapped id whose face was put on; it is null in real videos.
    """
    rows = []
    for file, record in _read_records(path):
        if record.get("label") not in ("real", "fake"):
            raise DataError(f"{path}: {file}: label is neither real nor fake.")
        folder, _, below = file.partition("/")
        video_id = PurePosixPath(below or folder).with_suffix("").as_posix()
        ids = (record.get("target_id"), record.get("swapped_id"))
        people = tuple(dict.fromkeys(str(one) for one in ids if one is not None))
        split = record.get("set") if record.get("set") in SPLITS else None
        manipulation = ORIGINAL if record["label"] == "real" else folder
        rows.append(Listed(file, manipulation, video_id, split, people or (video_id,)))
    return rows


def read_dfdc_faces(path: Path) -> list[Listed]:
    """Read an identity-disjoint list of the "deepfake-faces" crops, one crop a DFDC video.

    The list has no test rows: its val identities of even number stay val (the epoch, the
    temperature and the thresholds are chosen on them), those of odd number become test.
    """
    columns = ("videoname", "label", "identity_cluster", "split")
    rows = []
    for row in _read_table(path, columns):
        stem = PurePosixPath(row["videoname"]).stem
        if row["label"] not in ("real", "fake") or row["split"] not in SPLITS:
            raise DataError(f"{path}: {stem}: label {row['label']}, split {row['split']}.")
        manipulation = ORIGINAL if row["label"] == "real" else FAKE
        people = (f"identity-{row['identity_cluster']}",)
        odd = row["identity_cluster"][-1:] in tuple("13579")
        split = "test" if row["split"] == "val" and odd else row["split"]
        rows.append(Listed(f"faces_224/{stem}.jpg", manipulation, stem, split, people))
    return rows


def read_deepfakebench(paths: Sequence[Path]) -> tuple[list[Listed], str]:
    """Read data-set files of DeepfakeBench: set > label > split [> compression or method] > video.

    Source: SCLBD/DeepfakeBench, preprocessing/rearrange.py and dataset/abstract_dataset.py.
    Its paths are relative to a folder `rgb`, or begin with `./datasets/rgb`, with separators of
    either kind. A set without a split lists all its videos in train, val and test: those get no
    split here. Elsewhere a test list may stand in train and val too: what is listed in test is
    test, and what shares people with it gets no split.

    Returns: rows, whose paths are folders of frames below `rgb`; where the splits come from.
    """
    splits_of: dict[str, dict[Listed, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in paths:
        for label, split, row in _bench_videos(path):
            splits_of[label][row].add(split)
    rows, unsplit = [], []
    for label, videos in splits_of.items():
        kinds = {frozenset(splits) for splits in videos.values()}
        if len(kinds) == 1 and {"train", "test"} <= next(iter(kinds)):
            unsplit.append(label)
            rows += list(videos)
        else:
            rows += [row._replace(split=_strictest(splits)) for row, splits in videos.items()]
    tested = {source for row in rows if row.split == "test" for source in row.source_ids}
    tied = {row for row in rows if row.split != "test" and tested & set(row.source_ids)}
    words = ["as DeepfakeBench's JSON lists them"]
    if len(unsplit) == len(splits_of):
        words = ["none"]
    if unsplit:
        labels = ", ".join(sorted(unsplit))
        words.append(f"no split for {labels}, listed alike in train and test")
    if any(row.split for row in tied):
        words.append("none for videos that share people with test videos")
    return [row._replace(split=None) if row in tied else row for row in rows], "; ".join(words)


def find_rgb_root(json_folder: Path, rows: Sequence[Listed]) -> Path:
    """Find the folder that DeepfakeBench's paths are relative to, beside its JSON or above.

    Raises: InputError if it is in none of the usual places.
    """
    first = next((row.path for row in rows if row.path), ".").partition("/")[0]
    folder = json_folder.resolve()
    for base in (folder, *folder.parents[:4]):
        for below in ("", "rgb", "datasets/rgb", "datasets"):
            if (base / below / first).is_dir():
                return base / below
    raise InputError(
        f"{json_folder}: the frames in {first}/, which the JSON names, are not found. Expected "
        f"{first}/, rgb/{first}/ or datasets/rgb/{first}/ there or up to four folders above."
    )


def _bench_videos(path: Path) -> Iterator[tuple[str, str, Listed]]:
    """Yield (label, split, row) of each video that a file names."""
    content = _read_json(path)
    try:
        for labels in content.values():
            for label, splits in labels.items():
                for split, videos in splits.items():
                    if split not in SPLITS:
                        raise ValueError(f"{split!r} where train, val or test was expected")
                    for levels, name, record in _bench_leaves(videos, ()):
                        yield label, split, _bench_row(levels, name, record)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a data-set file of DeepfakeBench ({error}). Expected set > label > "
            "split > video > label and frames."
        ) from None


def _bench_leaves(
    node: dict[str, Any], levels: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str, dict[str, Any]]]:
    for name, below in node.items():
        if "frames" not in below:
            yield from _bench_leaves(below, (*levels, name))
        else:
            yield levels, name, below


def _bench_row(levels: tuple[str, ...], name: str, record: dict[str, Any]) -> Listed:
    folder = PurePosixPath(*(str(path).replace("\\", "/") for path in record["frames"][:1])).parent
    parts = tuple(part for part in folder.parts if part != "/")
    if "rgb" in parts:
        parts = parts[parts.index("rgb") + 1 :]
    elif parts[:1] == ("datasets",):
        parts = parts[1:]
    methods = [level for level in levels if level not in COMPRESSIONS]
    rates = [COMPRESSIONS[level] for level in levels if level in COMPRESSIONS]
    label = record["label"]
    return Listed(
        path="/".join(parts),
        manipulation=ORIGINAL if "real" in label.lower() else "/".join(methods) or label,
        # The set's own folder: two sets read together may both have a 000.
        video_id="/".join((*parts[:1], name)),
        split=None,
        source_ids=_ids_in(name),
        compression=rates[0] if rates else "",
    )


def _strictest(splits: Iterable[str]) -> str:
    """Choose the split of a video that is listed in several: test, else train."""
    return next(split for split in ("test", "train", "val") if split in splits)


def _ids_in(name: str) -> tuple[str, ...]:
    for pattern in _NAMES_WITH_IDS:
        if match := pattern.fullmatch(name):
            return tuple(one for one in match.groups() if one)
    return (name,)


def _read_records(path: Path) -> list[tuple[str, dict[str, Any]]]:
    content = _read_json(path)
    if not all(isinstance(record, dict) for record in content.values()):
        raise DataError(f"{path}: expected an object a video. Download it again.")
    return list(content.items())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise DataError(f"{path}: not JSON, or cut off. Download it again.")
    return content


def _read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    table = csv.DictReader(_read_text(path).splitlines())
    if not set(columns) <= set(table.fieldnames or ()):
        raise DataError(f"{path}: expected the columns {', '.join(columns)}. Download it again.")
    rows = list(table)
    if any(row[column] is None for row in rows for column in columns):
        raise DataError(f"{path}: a line is cut off. Download it again.")
    return rows


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Download it again.") from None
