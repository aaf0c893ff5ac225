"""One NAME=ROOT of `evaluate` -> scores: a data set as downloaded, a catalogue, or records."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mdcsd.catalogue import check_manipulations
from mdcsd.datasets import Scanned, scan_dataset, select
from mdcsd.detector import Detector
from mdcsd.errors import DataError, InputError
from mdcsd.inference import measure_shards
from mdcsd.judging_config import EvaluateConfig
from mdcsd.judging_nouns import Predictions
from mdcsd.nouns import FloatArray, Progress, VideoEntry
from mdcsd.perturb import SUITE, Perturbation, parse_recode
from mdcsd.predictions import choose_compression, join_predictions
from mdcsd.records import FLOAT_LIST
from mdcsd.score_journal import ScoreJournal
from mdcsd.shard_set import INDEX_NAME, ShardSet, drop_manipulations, open_shards
from mdcsd.sources import parse_data_argument
from mdcsd.splits import DRAWN_OF_CROPS
from mdcsd.video_scores import score_videos


@dataclass(frozen=True)
class OpenData:
    """One NAME=ROOT, looked at but not judged: `found` are its videos, or its records.

    `chosen` are the videos to judge; empty of records.
    """

    name: str
    root: Path
    found: Scanned | ShardSet
    chosen: tuple[VideoEntry, ...] = ()

    @property
    def manipulations(self) -> set[str]:
        """Those it holds."""
        if isinstance(self.found, ShardSet):
            return set(self.found.manipulations)
        return {entry.key.manipulation for entry in self.found.entries if entry.label}

    @property
    def compressions(self) -> set[str] | None:
        """Those it states; None for records, which say it one by one."""
        if isinstance(self.found, ShardSet):
            return None
        return {entry.compression for entry in self.found.entries}


@dataclass(frozen=True)
class DataScores:
    """Scores of one data set, or several: see `video_scores.VideoScores`.

    `compressions` are those that it states, also of what was not asked for.
    """

    predictions: Predictions
    perturbed: dict[Perturbation, Predictions]
    features: FloatArray
    feature_names: tuple[str, ...]
    warnings: tuple[str, ...]
    n_unread: int = 0
    compressions: frozenset[str] = frozenset()


def open_data(config: EvaluateConfig) -> list[OpenData]:
    """Look at every --data, and refuse what would fail after hours of judging.

    Raises: DataError if no data set has a manipulation or the compression asked for, one has no
        video of the split, or two hold the same; InputError if a setting is not read with such
        data.
    """
    opened = [_open(*parse_data_argument(text), config.split_seed) for text in config.data]
    there = {name for each in opened for name in each.manipulations}
    check_manipulations(", ".join(config.data), config.manipulations, there)
    stated = [each.compressions for each in opened]
    if config.compression and not any(s is None or config.compression in s for s in stated):
        known = sorted({name for some in stated for name in some or () if name})
        raise DataError(
            f"{', '.join(config.data)}: no video of compression {config.compression}. There are: "
            f"{', '.join(known) or 'none stated'}."
        )
    kinds = {isinstance(each.found, ShardSet) for each in opened}
    if True in kinds and (config.recode or config.robustness):
        raise InputError("--recode and --robustness need videos, not records.")
    if kinds == {True}:
        config.refuse_unread("records", "split_seed", "frames", "limit")
    if kinds == {False}:
        config.refuse_unread("videos", "batch_size")
    opened = [replace(each, chosen=_choose(each, config)) for each in opened]
    keys = [(entry.key, entry.compression) for each in opened for entry in each.chosen]
    if len(set(keys)) < len(keys):
        raise DataError("two --data hold the same videos under one name. Name each once.")
    return opened


def _choose(data: OpenData, config: EvaluateConfig) -> tuple[VideoEntry, ...]:
    """Choose the videos to judge; of a set without the manipulations asked for, the real ones."""
    if isinstance(data.found, ShardSet):
        return ()
    found = data.found.entries
    entries = select(found, config.split, config.manipulations, config.compression)
    return tuple(_limit(entries, config.limit, config.seed))


def _open(name: str, root: Path, split_seed: int) -> OpenData:
    if (root / INDEX_NAME).is_file() or root.suffix == ".tfrecords":
        return OpenData(name, root, open_shards(root))
    return OpenData(name, root, scan_dataset(name, root, split_seed))


def score_data(
    detector: Detector,
    data: OpenData,
    config: EvaluateConfig,
    progress: Progress,
    journal: ScoreJournal | None = None,
) -> DataScores:
    """Judge one data set, as it is and under the perturbations asked for."""
    if isinstance(data.found, ShardSet):
        return _score_records(detector, data, data.found, config)
    scanned, chosen = data.found, data.chosen
    learned = str(detector.checkpoint.provenance.get("split_by") or "")
    scores = score_videos(
        detector, chosen, config.frames, versions_of(config), config.seed, progress, journal
    )
    return DataScores(
        predictions=scores.predictions,
        perturbed=scores.perturbed,
        features=scores.features,
        feature_names=scores.feature_names,
        warnings=(
            *scores.unread,
            *scanned.scan.missing,
            *_narrow_warning(detector, chosen, data.root),
            *_split_warning(data, scanned, config, learned),
        ),
        n_unread=len(scores.unread),
        compressions=frozenset(entry.compression for entry in scanned.entries),
    )


def versions_of(config: EvaluateConfig) -> tuple[Perturbation, ...]:
    """Which perturbations are asked for."""
    recode = [parse_recode(config.recode)] if config.recode else []
    return (*recode, *(SUITE if config.robustness else ()))


def _narrow_warning(detector: Detector, entries: Sequence[VideoEntry], root: Path) -> list[str]:
    """Crops that a data set came with may show less than the network was trained with."""
    wanted = detector.checkpoint.preprocess.crop_scale
    narrow = {each.crop_scale for each in entries if (each.crop_scale or wanted) < wanted}
    return [
        f"{root}: its crops are taken as {scale:g} times a detector's box, the network was trained "
        f"with {wanted:g}: they are judged as they are, and may score worse for it"
        for scale in sorted(filter(None, narrow))
    ]


def _split_warning(
    data: OpenData, scanned: Scanned, config: EvaluateConfig, learned: str
) -> list[str]:
    """A split drawn here may not be the one that training had: of that, `learned` tells."""
    is_drawn = scanned.is_split_lost or scanned.split_path is not None
    if not is_drawn or config.split == "all":
        return []
    told = []
    if learned.startswith(DRAWN_OF_CROPS):
        told.append(
            f"{data.root}: its split was drawn of its videos, that of the training of crops "
            f"({learned}). If the checkpoint learned from these videos, it is tested on some that "
            "it learned from: judge the *_test_tf folder beside its training data instead."
        )
    if scanned.is_split_lost:
        told.append(
            f"{data.root}: its split was drawn by seed {config.split_seed} and cannot be kept "
            "there (no right to write). If a training drew it by another seed, its videos are "
            "tested on: set evaluate.split_seed, or give the catalogue.csv of that training."
        )
    return told


def _score_records(
    detector: Detector, data: OpenData, shards: ShardSet, config: EvaluateConfig
) -> DataScores:
    wanted, root = config.manipulations, data.root
    unwanted = shards.manipulations - set(wanted) if wanted else frozenset[str]()
    kept = drop_manipulations(shards, unwanted)
    measured = measure_shards(
        detector.checkpoint, kept, config.device, config.batch_size, with_features=config.tsne
    )
    rows = () if measured.feature_rows is None else measured.feature_rows.tolist()
    origins = [measured.origins[row] for row in rows]
    warnings: list[str] = []
    if shards.split not in (None, config.split) and config.split != "all":
        warnings.append(f"{root}: records of split {shards.split}, judged as they are")
    if any(origin.key.dataset == FLOAT_LIST for origin in measured.origins[:1]):
        warnings.append(
            f"{root}: records of the original layout do not say which video a face is of: each "
            "counts as a video, and intervals are too narrow"
        )
    found = measured.predictions(kept.unjudged)
    if others := sorted({origin.key.dataset for origin in found.origins} - {data.name}):
        warnings.append(f"{root}: its records say {', '.join(others)}, and so do the tables")
    return DataScores(
        predictions=choose_compression(found, config.compression),
        compressions=frozenset(origin.compression for origin in found.origins),
        perturbed={},
        features=np.empty((0, 0)) if measured.features is None else measured.features,
        feature_names=tuple(f"{each.key.dataset} {each.class_name}" for each in origins),
        warnings=tuple(warnings),
    )


def _limit(entries: Sequence[VideoEntry], limit: int | None, seed: int) -> list[VideoEntry]:
    """Draw at most `limit` videos of each class; the order stays."""
    if limit is None:
        return list(entries)
    by_class: dict[str, list[VideoEntry]] = defaultdict(list)
    for entry in entries:
        by_class[entry.key.manipulation].append(entry)
    drawn = {
        (entry.key, entry.compression)
        for name, some in sorted(by_class.items())
        for entry in random.Random(f"{seed} {name}").sample(some, min(limit, len(some)))
    }
    return [entry for entry in entries if (entry.key, entry.compression) in drawn]


def join_scores(parts: list[DataScores]) -> DataScores:
    """Lay data sets one after the other.

    Raises: DataError if two hold the same face.
    """
    if len(parts) == 1:
        return parts[0]
    versions = parts[0].perturbed
    features = [part.features for part in parts if len(part.features)]
    return DataScores(
        predictions=join_predictions([part.predictions for part in parts]),
        perturbed={v: join_predictions([part.perturbed[v] for part in parts]) for v in versions},
        features=np.concatenate(features) if features else np.empty((0, 0)),
        feature_names=tuple(name for part in parts for name in part.feature_names),
        warnings=tuple(text for part in parts for text in part.warnings),
        n_unread=sum(part.n_unread for part in parts),
        compressions=frozenset().union(*(part.compressions for part in parts)),
    )
