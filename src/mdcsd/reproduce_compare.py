"""The rows of a protocol's table: trainings, and their means over seeds, against a reference."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mdcsd.bootstrap import Entry
from mdcsd.comparison import compare, compare_means
from mdcsd.evaluation import Evaluation
from mdcsd.evaluation_report import Report, Rules
from mdcsd.settings import Settings

Evaluations = dict[tuple[str, int, str], Evaluation]
"""By row, seed and data set."""


@dataclass(frozen=True)
class Result:
    """One row of the table: a training measured on one data set.

    `report` is that of `run_test`; `difference` that of `compare` with the reference row.
    """

    row: str
    seed: int
    dataset: str
    report: Report
    difference: Report | None
    command: str


@dataclass(frozen=True)
class Mean:
    """A row over all its seeds on one data set: mean AUCs, and by how much they differ from the
    reference row's of the same seeds, see `compare_means`; None for that row itself.
    """

    row: str
    seeds: tuple[int, ...]
    dataset: str
    frame_auc: float | None
    video_auc: float | None
    difference: dict[str, Entry] | None


def against_reference(settings: Settings, result: Result, evaluations: Evaluations) -> Result:
    """Compare with the reference row of the same seed and data set."""
    reference = settings.protocol.reference
    if reference in (None, result.row):
        return result
    here = evaluations[result.row, result.seed, result.dataset]
    there = evaluations[str(reference), result.seed, result.dataset]
    test = settings.test
    rules = Rules(test.pool, here.report["threshold"]["value"], "", test.draws, test.seed)
    name = f"{reference}, seed {result.seed}"
    threshold = there.report["threshold"]["value"]
    difference = compare(here.predictions, there.predictions, name, rules, threshold)
    return replace(result, difference=difference)


def over_seeds(settings: Settings, row: str, dataset: str, evaluations: Evaluations) -> Mean:
    """Average a row over its seeds, and compare it with the reference row seed by seed."""
    protocol, test = settings.protocol, settings.test
    seeds, reference = protocol.seeds, protocol.reference
    here = [evaluations[row, seed, dataset] for seed in seeds]
    difference = None
    if reference not in (None, row):
        there = [evaluations[str(reference), seed, dataset] for seed in seeds]
        runs = [(a.predictions, b.predictions) for a, b in zip(here, there, strict=True)]
        rules = Rules(test.pool, None, "", test.draws, test.seed)
        difference = compare_means(runs, str(reference), rules)
    frame, video = (
        _mean([each.report["overall"][f"{level}_auc"]["value"] for each in here])
        for level in ("frame", "video")
    )
    return Mean(row, seeds, dataset, frame, video, difference)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
