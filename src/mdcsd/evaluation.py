"""Judging: checkpoint x data sets, or a table of scores, -> report, page, plots.

`evaluate` takes data sets as downloaded, or records, or any detector's predictions.csv;
`run_test` is the paper's command line `classifier.py test` on records, with the network's own
classes told apart. Frame level: every face by itself. Video level: faces pooled by
`metrics.pool_predictions`, the rule that detect uses too.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mdcsd import storage
from mdcsd.checkpoint import Checkpoint, load_checkpoint
from mdcsd.class_figures import class_figures
from mdcsd.datasets import scan_dataset, select
from mdcsd.detector import Detector
from mdcsd.errors import DataError, InputError
from mdcsd.evaluation_report import (
    Report,
    Rules,
    build_report,
    compare,
    overall_figures,
    uncalibrated,
)
from mdcsd.inference import Measured, measure_shards
from mdcsd.judging_config import EvaluateConfig, TestConfig
from mdcsd.judging_nouns import Predictions, UnjudgedVideo
from mdcsd.metrics import map_features
from mdcsd.nouns import FloatArray, IntArray, Origin, Progress, VideoEntry
from mdcsd.perturb import SUITE, Perturbation, parse_recode
from mdcsd.predictions import join_predictions, read_csv, to_csv
from mdcsd.records import INDEX_NAME, keep_manipulations, open_shards
from mdcsd.runs import environment
from mdcsd.sources import parse_data_argument
from mdcsd.video_scores import score_videos

_TSNE_FACES = 2000
_MIN_TSNE_FACES = 10


@dataclass(frozen=True)
class Evaluation:
    """A report (plain data, as report.json has it), the rows it was made of, and how many
    videos could not be read.
    """

    report: Report
    predictions: Predictions
    n_unread: int = 0

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write predictions.csv and report.json; return their paths in this order."""
        table, report = folder / "predictions.csv", folder / "report.json"
        storage.write_text(table, to_csv(self.predictions))
        storage.write_json(report, self.report)
        return table, report


@dataclass(frozen=True)
class _Judged:
    """Scores of one data set, or several: see `video_scores.VideoScores`."""

    predictions: Predictions
    perturbed: dict[Perturbation, Predictions]
    features: FloatArray
    feature_names: tuple[str, ...]
    warnings: tuple[str, ...]
    n_unread: int = 0


def run_test(config: TestConfig) -> Evaluation:
    """Measure a checkpoint on records; nothing is written.

    Input size, channels and crop scale come from the checkpoint; `image_size` and
    `grayscale` are only checked, and only if given.

    Raises: DataError if checkpoint, data set and flags do not fit together.
    """
    if not config.model or not config.test_dataset:
        raise InputError("expected MODEL (the path train printed last) and TEST_DATASET.")
    checkpoint = load_checkpoint(Path(config.model))
    _check_input(checkpoint, config)
    shards = keep_manipulations(open_shards(Path(config.test_dataset)), config.manipulations)
    measured = measure_shards(checkpoint, shards, config.device, config.batch_size, config.workers)
    predictions = measured.predictions(shards.unjudged)
    rules = _rules(checkpoint, None, config.pool, config.draws, config.seed)
    report = {
        **build_report(predictions, rules),
        **_signature(checkpoint, f"{config.model} on {shards.name}"),
        "dataset": shards.name,
        **class_figures(measured, predictions, checkpoint.class_names, config.pool),
    }
    return Evaluation(report, predictions)


def output_folder(model: str, output: str | None, name: str) -> Path:
    """Where the files of a run on a data set go: as asked, or beside the checkpoint."""
    return Path(output) if output else Path(model).parent / name


def evaluate(config: EvaluateConfig, progress: Progress = lambda *_: None) -> Evaluation:
    """Judge a checkpoint on data sets, or a table of any detector's scores.

    Args:
        config: `weights` and `data`, or `predictions`.
        progress: called with (videos done, videos in all) of each data set.

    Returns: report and rows; nothing is written.

    Raises: InputError, DataError if files, names and settings do not fit together.
    """
    if config.predictions:
        predictions = _chosen_rows(read_csv(Path(config.predictions)), config)
        rules = _rules(None, config.threshold, config.pool, config.draws, config.seed)
        judged = _Judged(predictions, {}, np.empty((0, 0)), (), ())
        return _finish(config, judged, rules, None, f"scores in {Path(config.predictions).name}")
    if not config.weights or not config.data:
        raise InputError(
            "expected --weights CHECKPOINT and --data NAME=ROOT, or --predictions predictions.csv."
        )
    detector = Detector(config.weights, config.device)
    recode = parse_recode(config.recode) if config.recode else None
    parts = [_judge(detector, text, config, recode, progress) for text in config.data]
    rules = _rules(detector.checkpoint, config.threshold, config.pool, config.draws, config.seed)
    source = f"{Path(config.weights).name} on {', '.join(config.data)}"
    return _finish(config, _join(parts), rules, detector.checkpoint, source)


def _finish(
    config: EvaluateConfig,
    judged: _Judged,
    rules: Rules,
    checkpoint: Checkpoint | None,
    source: str,
) -> Evaluation:
    """Measure what was judged, and say how it came about."""
    recode = parse_recode(config.recode) if config.recode else None
    temperature = checkpoint.calibration.temperature if checkpoint else 1.0
    against = Path(config.against) if config.against else None
    report = {
        **build_report(judged.predictions, rules),
        **_signature(checkpoint, source),
        "uncalibrated": uncalibrated(judged.predictions, temperature, rules)
        if checkpoint and len(checkpoint.class_names) == 2
        else None,
        "recoded": None
        if recode is None
        else {
            "name": recode.name,
            "overall": overall_figures(judged.perturbed[recode], rules),
        },
        "robustness": _robustness(judged, rules) if config.robustness else None,
        "against": compare(
            judged.predictions, _chosen_rows(read_csv(against), config), against.name, rules
        )
        if against
        else None,
        "tsne": _plane(judged, config.seed) if config.tsne else None,
        "warnings": list(judged.warnings),
    }
    return Evaluation(report, judged.predictions, judged.n_unread)


def _judge(
    detector: Detector,
    text: str,
    config: EvaluateConfig,
    recode: Perturbation | None,
    progress: Progress,
) -> _Judged:
    """Judge one NAME=ROOT."""
    name, root = parse_data_argument(text)
    if (root / INDEX_NAME).is_file() or root.suffix == ".tfrecords":
        if recode or config.robustness:
            raise InputError(f"{root}: --recode and --robustness need videos, not records.")
        return _judge_records(detector.checkpoint, name, root, config)
    scanned = scan_dataset(name, root, 0)  # the seed of the draws must not move the split
    entries = select(scanned.entries, config.split, config.manipulations, config.compression)
    chosen = _limit(entries, config.limit, config.seed)
    versions = (*([recode] if recode else []), *(SUITE if config.robustness else ()))
    scores = score_videos(detector, chosen, config.frames, versions, config.seed, progress)
    return _Judged(
        predictions=scores.predictions,
        perturbed=scores.perturbed,
        features=scores.features,
        feature_names=scores.feature_names,
        warnings=(*scores.unread, *scanned.scan.missing),
        n_unread=len(scores.unread),
    )


def _judge_records(
    checkpoint: Checkpoint, name: str, root: Path, config: EvaluateConfig
) -> _Judged:
    shards = keep_manipulations(open_shards(root), config.manipulations)
    measured = measure_shards(
        checkpoint, shards, config.device, config.batch_size, with_features=config.tsne
    )
    first, names = _one_face_a_video(measured) if config.tsne else (np.empty(0, int), ())
    features = np.empty((0, 0)) if measured.features is None else measured.features.numpy()
    predictions = _chosen_rows(measured.predictions(shards.unjudged), config)
    warnings: tuple[str, ...] = ()
    if shards.split not in (None, config.split) and config.split != "all":
        warnings = (f"{root}: records of split {shards.split}, judged as they are",)
    return _Judged(predictions, {}, features[first], names, warnings)


def _one_face_a_video(measured: Measured) -> tuple[IntArray, tuple[str, ...]]:
    first: dict[Any, int] = {}
    for index, origin in enumerate(measured.origins):
        first.setdefault(origin.key.video, index)
    rows = np.array(list(first.values()), np.int64)
    origins = [measured.origins[i] for i in rows]
    return rows, tuple(f"{origin.key.dataset} {origin.class_name}" for origin in origins)


def _chosen_rows(predictions: Predictions, config: EvaluateConfig) -> Predictions:
    """The rows of the wanted manipulations and compression; real ones always stay."""

    def wanted(of: Origin | UnjudgedVideo, label: int) -> bool:
        # The real people of an unwanted fake make no real video: the video's key decides.
        is_real = label == 0 and of.class_name == of.key.manipulation
        of_kind = not config.manipulations or is_real or of.key.manipulation in config.manipulations
        return of_kind and config.compression in (None, of.compression)

    labels = predictions.label.tolist()
    rows = enumerate(zip(predictions.origins, labels, strict=True))
    kept = [i for i, (origin, label) in rows if wanted(origin, label)]
    unjudged = tuple(video for video in predictions.unjudged if wanted(video, video.label))
    if not kept and not unjudged:
        raise DataError("no row of the manipulations and compression asked for.")
    return replace(predictions.rows(np.array(kept, np.int64)), unjudged=unjudged)


def _limit(entries: list[VideoEntry], limit: int | None, seed: int) -> list[VideoEntry]:
    """Draw at most `limit` videos of each class; the order stays."""
    if limit is None:
        return entries
    by_class: dict[str, list[VideoEntry]] = defaultdict(list)
    for entry in entries:
        by_class[entry.key.manipulation].append(entry)
    drawn = {
        (entry.key, entry.compression)
        for name, some in sorted(by_class.items())
        for entry in random.Random(f"{seed} {name}").sample(some, min(limit, len(some)))
    }
    return [entry for entry in entries if (entry.key, entry.compression) in drawn]


def _join(parts: list[_Judged]) -> _Judged:
    if len(parts) == 1:
        return parts[0]
    versions = parts[0].perturbed
    features = [part.features for part in parts if len(part.features)]
    return _Judged(
        predictions=join_predictions([part.predictions for part in parts]),
        perturbed={v: join_predictions([part.perturbed[v] for part in parts]) for v in versions},
        features=np.concatenate(features) if features else np.empty((0, 0)),
        feature_names=tuple(name for part in parts for name in part.feature_names),
        warnings=tuple(text for part in parts for text in part.warnings),
        n_unread=sum(part.n_unread for part in parts),
    )


def _rules(
    checkpoint: Checkpoint | None, threshold: float | None, pool: Any, draws: int, seed: int
) -> Rules:
    """A threshold that was given, or the checkpoint's equal error on validation."""
    source = "as given"
    if threshold is None and checkpoint is not None:
        calibration = checkpoint.calibration
        threshold = calibration.equal_error
        source = f"equal error on {calibration.fitted_on}"
    return Rules(pool, threshold, source, draws, seed)


def _robustness(judged: _Judged, rules: Rules) -> list[dict[str, Any]]:
    rows = []
    for version in SUITE:
        overall = overall_figures(judged.perturbed[version], rules)
        rows.append(
            {
                "distortion": version.distortion,
                "level": version.level,
                "parameter": version.parameter,
                "metrics": {name: overall[name] for name in ("frame_auc", "video_auc")},
            }
        )
    return rows


def _plane(judged: _Judged, seed: int) -> dict[str, Any] | None:
    """One face a video on a plane; None where there are too few."""
    n_faces = len(judged.features)
    if n_faces < _MIN_TSNE_FACES:
        return None
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(n_faces)[:_TSNE_FACES])
    plane = map_features(judged.features[chosen], seed)
    names = [judged.feature_names[i] for i in chosen]
    return {"x": plane[:, 0].tolist(), "y": plane[:, 1].tolist(), "name": names}


def _signature(checkpoint: Checkpoint | None, source: str) -> dict[str, Any]:
    here = environment()
    return {
        "checkpoint_id": checkpoint.checkpoint_id if checkpoint else None,
        "source": source,
        "made": {
            "date": here["date"],
            "mdcsd": here["packages"]["mdcsd"],
            "command": here["command"],
        },
    }


def _check_input(checkpoint: Checkpoint, config: TestConfig) -> None:
    spec = checkpoint.preprocess
    size = config.image_size
    expected = (spec.image_size_px, spec.image_size_px, spec.channels)
    if size is not None and (size[0] != expected[0] or size[2:] not in ((), expected[2:])):
        raise DataError(
            f"--image_size {','.join(map(str, size))}: the network was trained on "
            f"{','.join(map(str, expected))}. Leave --image_size away; the checkpoint knows it."
        )
    if config.grayscale and spec.channels != 1:
        raise DataError("--grayscale: the network was trained on colour. Leave the flag away.")
