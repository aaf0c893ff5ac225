"""Judging: checkpoint x data sets, or a table of scores, -> report, page, plots.

`evaluate` takes data sets as downloaded, or records, or any detector's predictions.csv;
`run_test` is the paper's command line `classifier.py test` on records, with the network's own
classes told apart. Frame level: every face by itself. Video level: faces pooled by
`metrics.pool_predictions`, the rule that detect uses too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mdcsd import storage
from mdcsd.checkpoint import Checkpoint, load_checkpoint
from mdcsd.class_figures import class_figures
from mdcsd.comparison import compare
from mdcsd.data_scores import DataScores, join_scores, open_data, score_data, versions_of
from mdcsd.default_weights import weights_path
from mdcsd.detector import Detector
from mdcsd.errors import DataError, InputError
from mdcsd.evaluation_report import Report, Rules, build_report, overall_figures, uncalibrated
from mdcsd.inference import choose_device, measure_shards
from mdcsd.judging_config import EvaluateConfig, TestConfig
from mdcsd.judging_nouns import Predictions
from mdcsd.metrics import map_features
from mdcsd.nouns import Progress
from mdcsd.perturb import SUITE, parse_recode
from mdcsd.predictions import (
    check_compression,
    choose_compression,
    choose_manipulations,
    read_csv,
    to_csv,
)
from mdcsd.runs import environment
from mdcsd.score_journal import ScoreJournal
from mdcsd.shard_set import keep_manipulations, open_shards
from mdcsd.sources import parse_data_argument
from mdcsd.verdict_counts import count_verdicts

_TSNE_FACES = 2000
_MIN_TSNE_FACES = 10


@dataclass(frozen=True)
class Evaluation:
    """A report (plain data, as report.json has it), the rows it was made of, how many videos
    could not be read, and the notes of what was judged, to remove once all is written.
    """

    report: Report
    predictions: Predictions
    n_unread: int = 0
    journal: ScoreJournal | None = None

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write predictions.csv and report.json; return their paths in this order."""
        table, report = folder / "predictions.csv", folder / "report.json"
        storage.write_text(table, to_csv(self.predictions))
        storage.write_json(report, self.report)
        return table, report


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
        "verdicts": _verdicts(predictions, checkpoint, rules),
        **class_figures(measured, predictions, checkpoint.class_names, rules),
    }
    return Evaluation(report, predictions)


def output_folder(model: str | None, output: str | None, name: str) -> Path:
    """Where a run's files go: as asked, or beside the checkpoint; the embedded one's in runs."""
    if output:
        return Path(output)
    return (Path(model).parent if model else Path("runs")) / name


def name_folder(config: EvaluateConfig) -> Path:
    """Where an evaluation's files go: of each part of the data, to a folder of its own."""
    names = dict.fromkeys(name for name, _ in map(parse_data_argument, config.data))
    parts = (
        *names,
        config.compression,
        None if config.split == "test" else config.split,
        *config.manipulations,
        None if config.limit is None else f"limit{config.limit}",
    )
    name = "_".join(["evaluate", *filter(None, parts)])
    return output_folder(config.weights, config.output, name)


def evaluate(
    config: EvaluateConfig,
    progress: Progress = lambda *_: None,
    journal_folder: Path | None = None,
) -> Evaluation:
    """Judge a checkpoint on data sets, or a table of any detector's scores.

    Args:
        config: `data`, and `weights` unless the embedded ones, or `predictions`.
        progress: called with (videos done, videos in all) of each data set.
        journal_folder: where each judged video is noted, so that an interrupted run goes on:
            remove the evaluation's `journal` once its report is written. None notes nothing.

    Returns: report and rows; nothing else is written.

    Raises: InputError, DataError if files, names and settings do not fit together.
    """
    against = (
        _read_table(config.against, config) if config.against else None
    )  # before hours of work
    if config.predictions:
        predictions = _read_table(config.predictions, config)
        rules = _rules(None, config.threshold, config.pool, config.draws, config.seed)
        judged = DataScores(predictions, {}, np.empty((0, 0)), (), ())
        source = f"scores in {Path(config.predictions).name}"
        return _finish(config, judged, against, rules, None, source)
    if not config.data:
        raise InputError(
            "expected --data NAME=ROOT for a checkpoint to judge, or --predictions predictions.csv."
        )
    weights = weights_path(config.weights)
    opened = open_data(config)
    detector = Detector(weights, config.device)
    journal = ScoreJournal(journal_folder, _run_of(config, weights)) if journal_folder else None
    scores = join_scores([score_data(detector, each, config, progress, journal) for each in opened])
    check_compression(scores.compressions, config.compression)
    rules = _rules(detector.checkpoint, config.threshold, config.pool, config.draws, config.seed)
    source = f"{weights.name} on {', '.join(config.data)}"
    found = _finish(config, scores, against, rules, detector.checkpoint, source)
    return replace(found, journal=journal)


def _run_of(config: EvaluateConfig, weights: Path) -> dict[str, Any]:
    """Tell one run from another: what scores hang on, but for the video, and which videos."""
    return {
        "mdcsd": version("mdcsd"),
        "weights": storage.sha256_of(weights),
        "device": choose_device(config.device),
        "frames": config.frames,
        "seed": config.seed,
        "versions": [each.name for each in versions_of(config)],
        "videos": [*config.data, config.split, config.limit, config.split_seed,
                   config.compression, *config.manipulations],
    }  # fmt: skip


def _finish(
    config: EvaluateConfig,
    judged: DataScores,
    against: Predictions | None,
    rules: Rules,
    checkpoint: Checkpoint | None,
    source: str,
) -> Evaluation:
    """Measure what was judged, and say how it came about."""
    recode = parse_recode(config.recode) if config.recode else None
    temperature = checkpoint.calibration.temperature if checkpoint else 1.0
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
            "verdicts": _verdicts(judged.perturbed[recode], checkpoint, rules),
        },
        "verdicts": _verdicts(judged.predictions, checkpoint, rules),
        "robustness": _robustness(judged, rules) if config.robustness else None,
        "against": None
        if against is None
        else compare(
            judged.predictions,
            against,
            Path(str(config.against)).name,
            rules,
            config.against_threshold,
        ),
        "tsne": _plane(judged, config.seed) if config.tsne else None,
        "warnings": list(judged.warnings),
    }
    return Evaluation(report, judged.predictions, judged.n_unread)


def _read_table(path: str, config: EvaluateConfig) -> Predictions:
    table = choose_manipulations(read_csv(Path(path)), config.manipulations)
    there = {origin.compression for origin in table.origins}
    there |= {video.compression for video in table.unjudged}
    check_compression(there, config.compression)
    return choose_compression(table, config.compression)


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


def _robustness(judged: DataScores, rules: Rules) -> list[dict[str, Any]]:
    rows = []
    for distorted in SUITE:
        overall = overall_figures(judged.perturbed[distorted], rules)
        rows.append(
            {
                "distortion": distorted.distortion,
                "level": distorted.level,
                "parameter": distorted.parameter,
                "metrics": {name: overall[name] for name in ("frame_auc", "video_auc")},
            }
        )
    return rows


def _verdicts(
    predictions: Predictions, checkpoint: Checkpoint | None, rules: Rules
) -> list[dict[str, Any]] | None:
    """What users would be told; a table of scores has no thresholds."""
    if checkpoint is None:
        return None
    return count_verdicts(predictions, checkpoint.calibration, rules)


def _plane(judged: DataScores, seed: int) -> dict[str, Any] | None:
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
        "calibration": asdict(checkpoint.calibration) if checkpoint else None,
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
