"""The job: a folder of face crops -> TFRecord shards and an index, one folder a split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mdcsd.config import PrepareDatasetConfig
from mdcsd.errors import DataError, InputError
from mdcsd.nouns import SPLITS, CropEntry, Progress
from mdcsd.split_writer import PreparedSplit, SplitWriter
from mdcsd.splits import read_split_crops


@dataclass(frozen=True)
class Prepared:
    """What a run made, how classes are numbered (0 is real), and what to warn of."""

    labels: dict[str, int]
    splits: tuple[PreparedSplit, ...]
    warnings: tuple[str, ...] = ()


def prepare_dataset(config: PrepareDatasetConfig, progress: Progress = lambda *_: None) -> Prepared:
    """Write the crops below a folder as TFRecord data sets, one a split.

    Args:
        config: settings; `directory` is needed.
        progress: called with (images done, images in all).

    Raises: InputError if there is nothing to read or nowhere to write; DataError if classes
        or splits contradict each other, or DCT is asked of crops of unlike sizes. An image
        that cannot be read raises nothing: it is in its split's `failed`.
    """
    if not config.directory:
        raise InputError("no DIRECTORY given. Pass a folder of face crops.")
    directory = Path(config.directory)
    catalogue = Path(config.catalogue) if config.catalogue else None
    if catalogue and directory.is_file():
        raise InputError(f"{directory}: a catalogue itself. Leave --catalogue away.")
    crops, split_rule = read_split_crops(directory, config.crop_scale, config.seed, catalogue)
    entries = crops.entries
    labels = {entry.class_name: entry.label for entry in entries}
    _check_one_crop_scale(directory, entries)
    n_before, prepared = 0, []
    by_split = {split: [e for e in entries if e.split == split] for split in SPLITS}
    for split, some in by_split.items():
        unjudged = [video for of, video in crops.unjudged if of == split]
        if unjudged and not some:
            raise DataError(
                f"{directory}: no face in any video of split {split}. Split them otherwise."
            )
        if some:
            job = SplitWriter(config, split, split_rule, some, labels, unjudged)
            prepared.append(job.run(partial(_count, progress, n_before, len(entries))))
            n_before += len(some)
    numbered = dict(sorted(labels.items(), key=lambda each: each[1]))
    return Prepared(numbered, tuple(prepared), tuple(crops.warnings))


def _count(progress: Progress, n_before: int, n_all: int, done: int) -> None:
    progress(n_before + done, n_all)


def _check_one_crop_scale(directory: Path, entries: list[CropEntry]) -> None:
    scales = sorted({entry.crop_scale for entry in entries if entry.crop_scale is not None})
    if len(scales) > 1:
        raise DataError(
            f"{directory}: crops of scales {', '.join(map(str, scales))} mixed. Cut all of them "
            "with one --scale, or give --crop_scale to say what those outside faces.csv have."
        )
