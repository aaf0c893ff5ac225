"""One short function a layout: a data set as its makers hand it out -> a `Scan`.

A name alone does not identify a video (`000_003` exists in each manipulation of
FaceForensics++), so each row has its full `VideoKey`; a compression is no part of it.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mdcsd import source_lists
from mdcsd.crops import REAL_CLASS_NAMES, parse_source_ids
from mdcsd.errors import DataError, InputError
from mdcsd.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mdcsd.nouns import ORIGINAL, SPLITS
from mdcsd.source_lists import COMPRESSIONS, FAKE
from mdcsd.source_scan import Found, Listed, Scan, walk

_FAKES = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
FFPP = {"original_sequences/youtube": re.compile(r"\d{3}")} | {
    f"manipulated_sequences/{name}": re.compile(r"\d{3}_\d{3}") for name in _FAKES
}
DFD = {
    "original_sequences/actors": re.compile(r"\d\d__.+"),
    "manipulated_sequences/DeepFakeDetection": re.compile(r"\d\d_\d\d__.+__\w{8}"),
}
_IN_SEQUENCES = re.compile(
    r"(?P<folder>\w+_sequences/\w+)/(?P<rate>raw|c0|c23|c40)/videos/(?P<id>[^/]+)\.[^./]+"
)
CELEB_PP_SCENARIOS = ("FaceSwap", "FaceReenact", "TalkingFace")
_CELEB_FAKES = r"Celeb-synthesis/(?P<id>(?P<a>id\d+)_(?P<b>id\d+)_\d+)\.[^./]+"
_CELEB_PP_FAKES = (  # a face that was only made to talk has no second person
    rf"Celeb-synthesis/(?:{'|'.join(CELEB_PP_SCENARIOS)})/(?P<method>[^/]+)/"
    r"(?P<id>(?P<a>id\d+)_(?:(?P<b>id\d+)_)?\d+[^/]*)\.[^./]+"
)
_CELEB_REAL = re.compile(r"(?P<id>Celeb-real/(?P<a>id\d+)_\d+|YouTube-real/(?P<n>\d+))\.[^./]+")
FACES_LIST = "dfdc_faces224_split.csv"
_DEEPER = re.compile(r"manipulated_videos/(?P<variant>[^/]+)/(?P<id>(\d{3})_([MW]\d{3}))\.[^./]+")
_WILD = re.compile(r"(?P<label>real|fake)[_ ](?P<split>train|test)/[^/]+(?:/(?P<inner>\w+))?/[^/]+")


def read_ffpp(dataset: str, root: Path) -> Scan:
    """FaceForensics++: 1,000 originals and what five methods made of them, in three qualities."""
    split_of = source_lists.read_ffpp_split()
    found = _sequences(dataset, root, FFPP, split_of)
    there: dict[str, set[str]] = defaultdict(set)
    for path in found.files:
        there[path.rpartition("/")[0]].add(Path(path).stem)
    for folder in FFPP:
        n_ids = 1 if folder.startswith("original") else 2
        for rate in COMPRESSIONS:
            place = f"{folder}/{rate}/videos"
            for split in SPLITS if (root / place).is_dir() else ():
                named = {one for one in split_of if split_of[one] == split}
                named = {one for one in named if len(one.split("_")) == n_ids}
                found.lack(f"{place} ({split})", named - there[place], len(named))
    for entry in found.entries:
        if entry.split is None:
            place = entry.path.relative_to(root).as_posix()
            found.strangers.append(f"{place} (in no split: the official one does not name it)")
    return found.scan("the official FaceForensics++ split, 720/140/140 originals")


def read_dfd(dataset: str, root: Path) -> Scan:
    """DeepFakeDetection, which lies in FaceForensics++'s tree; ids are actors."""
    return _sequences(dataset, root, DFD, {}).scan(None)


def _sequences(
    dataset: str, root: Path, names: Mapping[str, re.Pattern[str]], split_of: Mapping[str, str]
) -> Found:
    """Read the folders `names` of FaceForensics++'s tree; the other set's are no strangers."""
    files = walk(root, VIDEO_SUFFIXES, skip=("downloaded_videos",))
    others = tuple(f"{folder}/" for folder in (*FFPP, *DFD) if folder not in names)
    ours = {p: n for p, n in files.items() if "/masks/" not in p and not p.startswith(others)}

    def describe(path: str) -> Listed | None:
        match = _IN_SEQUENCES.fullmatch(path)
        shape = names.get(match["folder"]) if match else None
        if match is None or shape is None or not shape.fullmatch(match["id"]):
            return None
        kind, _, name = match["folder"].partition("/")
        manipulation = ORIGINAL if kind == "original_sequences" else name
        people = tuple(match["id"].partition("__")[0].split("_"))
        split, rate = split_of.get(match["id"]), COMPRESSIONS[match["rate"]]
        return Listed(path, manipulation, match["id"], split, people, rate)

    found = Found(dataset, root, ours)
    found.sift(describe)
    for i, entry in enumerate(found.entries):
        mask = f"manipulated_sequences/{entry.key.manipulation}/masks/videos/{entry.path.stem}.mp4"
        if files.get(mask):
            found.entries[i] = replace(entry, mask_path=root / mask)
    return found


def _celeb_reader(fakes: str) -> Callable[[str, Path], Scan]:
    """Celeb-DF, whose versions differ in where fakes lie and how they are named."""
    fake_pattern = re.compile(fakes)

    def read(dataset: str, root: Path) -> Scan:
        list_path = root / "List_of_testing_videos.txt"
        listed = source_lists.read_celeb_list(list_path) if list_path.is_file() else []
        tested = set(listed)

        def describe(path: str) -> Listed | None:
            split = "test" if path in tested else None
            if match := _CELEB_REAL.fullmatch(path):
                person = match["a"] or f"youtube-{match['n']}"
                return Listed(path, ORIGINAL, match["id"], split, (person,))
            match = fake_pattern.fullmatch(path)
            if match is None:
                return None
            method = match.groupdict().get("method") or "Celeb-synthesis"
            people = tuple(one for one in (match["a"], match["b"]) if one)
            return Listed(path, method, match["id"], split, people)

        found = Found(dataset, root, walk(root, VIDEO_SUFFIXES))
        found.sift(describe)
        rows = [Listed(path, "", "", "test", ()) for path in listed]
        found.lack_rows(rows, found.files, list_path.name)
        if not listed:
            found.missing.append(f"{list_path.name}: not there, so no video is a test video")
        return found.scan(f"test: {list_path.name}" if listed else None)

    return read


read_celebdf = _celeb_reader(_CELEB_FAKES)
read_celebdfpp = _celeb_reader(_CELEB_PP_FAKES)


def read_dfdc(dataset: str, root: Path) -> Scan:
    """The DFDC: folders of videos, each with a metadata.json (or a labels.csv), at any depth.

    "train" in a metadata.json is the name of the DFDC's part; it counts as a split only where
    another part is there too.
    """
    files = walk(root, VIDEO_SUFFIXES | {".json", ".csv"})
    lists = [path for path in files if Path(path).name in ("metadata.json", "labels.csv")]
    folders = sorted({Path(path).parent.as_posix() for path in lists})
    rows = [row for folder in folders for row in source_lists.read_dfdc_folder(root, folder)]
    has_split = any(row.split in ("val", "test") for row in rows)
    if not has_split:
        rows = [row._replace(split=None) for row in rows]
    return _match(dataset, root, files, rows, "metadata").scan(
        "the DFDC's parts train, validation and test" if has_split else None
    )


def read_dfdcp(dataset: str, root: Path) -> Scan:
    """The DFDC preview: dataset.json names each video below the root."""
    rows = source_lists.read_dfdcp(root / "dataset.json")
    found = _match(dataset, root, walk(root, VIDEO_SUFFIXES), rows, "dataset.json")
    return found.scan("dataset.json")


def read_dfdc_faces(dataset: str, root: Path) -> Scan:
    """Read the crops that the list names; the others are held out, and not even named."""
    rows = source_lists.read_dfdc_faces(root / FACES_LIST)
    named = {row.path for row in rows}
    files = walk(root, IMAGE_SUFFIXES)
    files = {path: size for path, size in files.items() if path in named}
    return _match(dataset, root, files, rows, FACES_LIST, crop_scale=1.05).scan(FACES_LIST)


def read_deeperforensics(dataset: str, root: Path) -> Scan:
    """DeeperForensics-1.0: an actor's face on FaceForensics++'s originals, in several variants.

    Its source videos, studio recordings of the actors, are not read: the authors say that they
    are not the real part. That is FaceForensics++'s originals at c23, which they do not hand
    out; they are read where they were put into the same root.
    """
    splits = source_lists.read_deeperforensics_split(root / "lists" / "splits")
    split_of = splits | {name[:3]: split for name, split in splits.items()}
    reals = "original_sequences/youtube/c23/videos/"

    def describe(path: str) -> Listed | None:
        if match := _DEEPER.fullmatch(path):
            people = tuple(match["id"].split("_"))
            return Listed(path, match["variant"], match["id"], split_of.get(match["id"]), people)
        stem = os.path.splitext(path.removeprefix(reals))[0]
        if not path.startswith(reals) or not re.fullmatch(r"\d{3}", stem):
            return None
        return Listed(path, ORIGINAL, stem, split_of.get(stem), (stem,))

    files = walk(root, VIDEO_SUFFIXES, skip=("source_videos", "manipulated_sequences"))
    others = ("original_sequences/", "downloaded_videos/")
    files = {p: n for p, n in files.items() if p.startswith(reals) or not p.startswith(others)}
    found = Found(dataset, root, files)
    found.sift(describe)
    for variant in sorted({entry.key.manipulation for entry in found.entries if entry.label}):
        rows = [
            Listed(f"manipulated_videos/{variant}/{name}.mp4", variant, name, split, ())
            for name, split in splits.items()
        ]
        found.lack_rows(rows, found.files, "lists/splits")
    if not any(entry.label == 0 for entry in found.entries):
        found.missing.append(f"{reals}: the real part, to be had with FaceForensics++")
    if (root / "source_videos").is_dir():
        found.strangers.append("source_videos (not the real part, as the authors say)")
    return found.scan("lists/splits" if splits else None)


def read_wilddeepfake(dataset: str, root: Path) -> Scan:
    """WildDeepfake: sequences of face crops, a folder each, in archives that were unpacked.

    The faces are cut out already and nothing says how much wider than a detector's box: a
    `crop_scale` of 1.0 is assumed. An archive's sequences are kept together by one source id.
    """
    sizes: dict[str, list[int]] = defaultdict(list)
    for path, size in walk(root, IMAGE_SUFFIXES).items():
        sizes[path.rpartition("/")[0]].append(size)

    def describe(folder: str) -> Listed | None:
        match = _WILD.fullmatch(folder)
        if match is None or match["inner"] not in (None, match["label"]):
            return None
        archive = "/".join(folder.split("/")[:2])
        manipulation = ORIGINAL if match["label"] == "real" else FAKE
        return Listed(folder, manipulation, folder, match["split"], (archive,))

    found = Found(dataset, root, {folder: sum(pictures) for folder, pictures in sizes.items()})
    found.sift(describe, crop_scale=1.0)
    for folder, pictures in sorted(sizes.items()):
        if 0 in pictures and any(pictures):
            found.missing.append(f"{folder}: {pictures.count(0)} pictures are empty (0 bytes)")
    return found.scan("the folders train and test")


def read_deepfakebench(dataset: str, root: Path) -> Scan:
    """Crops that DeepfakeBench made: 256 px, 1.3 times the detector's box, a folder a video.

    A tree of its crops may hold more than the JSON files at hand name, so nothing is a stranger.
    """
    paths = bench_files(root)
    rows, official_split = source_lists.read_deepfakebench(paths)
    rgb_root = source_lists.find_rgb_root(paths[0].parent, rows)
    found = Found(dataset, rgb_root, {})
    there = {row.path for row in rows if row.path and _has_picture(rgb_root / row.path)}
    for row in rows:
        if row.path in there:
            found.add(row, crop_scale=1.3)
    found.lack_rows([row for row in rows if row.path], there, "frames in the JSON")
    unframed = [row.video_id for row in rows if not row.path]
    found.lack("the JSON lists no frames", unframed, len(rows))
    return replace(found.scan(official_split), root=root)


def bench_files(root: Path) -> list[Path]:
    """The data-set files of DeepfakeBench that a root stands for: itself, or all it holds."""
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" else []
    if any(item.is_dir() or item.suffix.lower() in VIDEO_SUFFIXES for item in root.iterdir()):
        return []
    return sorted(root.glob("*.json"))


def read_plain(dataset: str, root: Path) -> Scan:
    """Folders of videos, or of pictures: original or real, and a folder a manipulation.

    Pictures are read where there is no video, and told where there is; each counts as one. Folders
    train, val and test may stand above or below the class; what lies deeper belongs to the video's
    name. The same name in two splits is another video, unless names are those of originals
    (`000_003`), which then must not stand in two.
    """
    pictures = walk(root, IMAGE_SUFFIXES)
    files = walk(root, VIDEO_SUFFIXES) or pictures
    rows = {path: row for path in files if (row := _plain_row(path))}
    if files and not rows:
        raise InputError(
            f"{root}: its videos lie in no class folder, so nothing says which are real. Put real "
            "ones into original/ and the others into a folder named as their manipulation."
        )
    splits = {row.split for row in rows.values()}
    if len(splits) > 1 and None in splits:
        raise DataError(
            f"{root}: some videos lie in train/val/test folders and some do not. Put all of them "
            "into split folders, or none."
        )
    reals = {
        next(part for part in path.split("/") if part not in SPLITS)
        for path, row in rows.items()
        if row.manipulation == ORIGINAL
    }
    if len(reals) > 1:
        raise DataError(
            f"{root}: two classes of real videos ({', '.join(sorted(reals))}). Merge them."
        )
    if all(len(row.source_ids) == 1 for row in rows.values()):
        rows = {path: row._replace(source_ids=(row.video_id,)) for path, row in rows.items()}
    found = Found(dataset, root, files)
    found.sift(rows.get)
    if pictures and files is not pictures:
        found.missing.append(
            f"{len(pictures)} picture(s) beside videos, not read ({min(pictures)}): put pictures "
            "into a folder of their own"
        )
    return found.scan("the folders train, val and test" if splits - {None} else None)


def _plain_row(path: str) -> Listed | None:
    *folders, name = path.split("/")
    split = next((one for one in folders[:2] if one in SPLITS), None)
    if split:
        folders.remove(split)
    if not folders:
        return None
    class_name, *deeper = folders
    is_real = class_name.lower() in REAL_CLASS_NAMES
    video_id = "/".join((*([split] if split else ()), *deeper, os.path.splitext(name)[0]))
    people = parse_source_ids(video_id)
    return Listed(path, ORIGINAL if is_real else class_name, video_id, split, people)


def _match(
    dataset: str, root: Path, files: dict[str, int], rows: Sequence[Listed], who: str,
    crop_scale: float | None = None,
) -> Found:  # fmt: skip
    """Look which of the files that a list names are there."""
    media = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    files = {path: size for path, size in files.items() if Path(path).suffix.lower() in media}
    found = Found(dataset, root, files)
    found.sift({row.path: row for row in rows}.get, crop_scale)
    found.lack_rows(rows, files, who)
    return found


def _has_picture(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as items:
        return any(
            os.path.splitext(item.name)[1].lower() in IMAGE_SUFFIXES and item.stat().st_size
            for item in items
        )
