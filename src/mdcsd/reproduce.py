"""Protocols: one command from data sets as downloaded to a table of the paper.

A protocol is a recipe with a section [protocol]. Everything it makes lies in one folder:

    <name>.csv, crops/<name>/, data/<name>_*_tf     catalogue, crops, records of each data set
    runs/<row>-seed<n>/                             a training, and its tests beside it
    table.md, table.json                            what came out

Cutting, preparing and training go on where an interrupted run stopped, and are skipped when
they are done; testing is done anew.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mdcsd.autoencoder import describe_autoencoder
from mdcsd.catalogue import read_catalogue, write_catalogue
from mdcsd.config import PrepareDatasetConfig
from mdcsd.datasets import scan_dataset, select
from mdcsd.errors import DataError, InputError, SettingError
from mdcsd.evaluation import Evaluation, run_test
from mdcsd.judging_config import RowConfig, TestConfig
from mdcsd.nouns import VideoEntry
from mdcsd.prepare_dataset import prepare_dataset
from mdcsd.process_frames import process_frames
from mdcsd.recipe import load_settings
from mdcsd.reproduce_compare import (
    Evaluations,
    Mean,
    Result,
    against_reference,
    over_seeds,
)
from mdcsd.runs import RunFolder
from mdcsd.settings import Settings
from mdcsd.split_writer import dataset_folder
from mdcsd.training import Hooks, train

Say = Callable[[str], None]


@dataclass(frozen=True)
class DataSource:
    """A data set of a protocol: its videos with their splits, and where their records go.

    `missing` are lines on what its lists name, and the protocol uses, and is not there.
    """

    name: str
    entries: tuple[VideoEntry, ...]
    catalogue: Path
    is_crops: bool
    missing: tuple[str, ...]

    def count(self, split: str, label: int) -> int:
        """How many videos of a split and label there are."""
        return sum(entry.split == split and entry.label == label for entry in self.entries)


@dataclass(frozen=True)
class Plan:
    """What a protocol will do: settings, data, trainings, and where everything goes."""

    recipe: str
    settings: Settings
    assignments: tuple[str, ...]
    output: Path
    train_source: DataSource
    test_sources: tuple[DataSource, ...]

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """Every data set once, the one to learn from first."""
        others = (source for source in self.test_sources if source.name != self.train_source.name)
        return (self.train_source, *others)

    @property
    def trainings(self) -> list[tuple[RowConfig, int]]:
        """Rows by seeds."""
        protocol = self.settings.protocol
        return [(row, seed) for row in protocol.rows for seed in protocol.seeds]


@dataclass(frozen=True)
class Outcome:
    """What a protocol came to: each training, and where there are several seeds, each row."""

    results: tuple[Result, ...]
    means: tuple[Mean, ...]


def make_plan(
    recipe: Path, assignments: list[str], data: list[tuple[str, Path]], output: Path
) -> Plan:
    """Read a protocol and its data sets; nothing but catalogues is written.

    Args:
        recipe: name of a recipe that comes along, or a TOML file, with a section [protocol].
        assignments: settings over the recipe's, section.key=value each.
        data: names and roots; a data set the protocol does not name is tested on too.
        output: folder for everything.

    Raises: SettingError if it is no protocol; InputError if a data set is not given;
        DataError if one lacks what the protocol needs; CheckpointError if what paints blends is
        not there.
    """
    settings = load_settings(recipe, assignments, {})
    protocol = settings.protocol
    if not protocol.rows or not protocol.train:
        raise SettingError(f"{recipe}: no protocol (a section [protocol] with train and rows).")
    if settings.blend.share:
        describe_autoencoder(settings.blend)  # a file that is not there is met before the work
    roots = dict(data)
    for name in roots:
        if sum(other == name for other, _ in data) > 1:
            raise InputError(f"--data {name}=... is given twice. Give each data set once.")
    for name in (protocol.train, *protocol.tests):
        if name not in roots:
            raise InputError(f"{recipe} needs {name}. Give --data {name}=FOLDER.")
    tests = dict.fromkeys((*protocol.tests, *roots))
    if protocol.train not in protocol.tests:
        tests.pop(protocol.train, None)
    train_source = _source(protocol.train, roots[protocol.train], settings, output, True)
    return Plan(
        recipe=str(recipe),
        settings=settings,
        assignments=tuple(assignments),
        output=output,
        train_source=train_source,
        test_sources=tuple(
            train_source
            if name == protocol.train
            else _source(name, roots[name], settings, output, False)
            for name in tests
        ),
    )


def run_plan(plan: Plan, say: Say = print, hooks: Hooks | None = None) -> Outcome:
    """Carry a plan out: crops, records, trainings, tests; the caller writes the table."""
    for source in plan.sources:
        _make_records(plan, source, say)
    results: list[Result] = []
    evaluations: Evaluations = {}
    for number, (row, seed) in enumerate(plan.trainings, start=1):
        say(f"training {number} of {len(plan.trainings)}: {row.name}, seed {seed}")
        best = _train(plan, row, seed, hooks)
        for source in plan.test_sources:
            evaluation = _test(plan, row, best, source)
            evaluations[row.name, seed, source.name] = evaluation
            results.append(
                Result(row.name, seed, source.name, evaluation.report, None,
                       command_of(plan, row, seed, source))
            )  # fmt: skip
    means = [
        over_seeds(plan.settings, row.name, source.name, evaluations)
        for row in plan.settings.protocol.rows
        for source in plan.test_sources
        if len(plan.settings.protocol.seeds) > 1
    ]
    compared = (against_reference(plan.settings, result, evaluations) for result in results)
    return Outcome(tuple(compared), tuple(means))


def command_of(plan: Plan, row: RowConfig, seed: int, source: DataSource) -> str:
    """The two commands that make one row again out of the records."""
    run = _run_folder(plan, row, seed)
    network = load_settings(Path(plan.recipe), _sets(plan, row), {}).network.name
    train_words = [
        "mdcsd", "train", "--recipe", plan.recipe,
        *(word for each in _sets(plan, row) for word in ("--set", each)),
        "--seed", str(seed), "--output", str(run), network,
        records_of(plan, plan.train_source, "train"), records_of(plan, plan.train_source, "val"),
    ]  # fmt: skip
    kept = _tested_manipulations(plan, row, source)
    test_sets = [*plan.assignments, *([f"test.manipulations={','.join(kept)}"] if kept else [])]
    test_words = [
        "mdcsd", "test", "--recipe", plan.recipe,
        *(word for each in test_sets for word in ("--set", each)),
        str(run / "best.safetensors"), records_of(plan, source, "test"),
    ]  # fmt: skip
    return f"{shlex.join(train_words)} && {shlex.join(test_words)}"


def _source(name: str, root: Path, settings: Settings, output: Path, learns: bool) -> DataSource:
    """Choose a data set's videos, and write them as a catalogue."""
    protocol, seed = settings.protocol, settings.prepare_dataset.seed
    scanned = scan_dataset(name, root, seed)
    split = "all" if learns or not any(e.split == "test" for e in scanned.scan.entries) else "test"
    kept = protocol.manipulations if learns else ()
    chosen = select(scanned.entries, split, kept, protocol.compression)
    if not learns:  # no official test list: a set that nothing is learned from is tested whole
        chosen = [replace(entry, split="test") for entry in chosen]
    if learns:
        chosen = [entry for entry in chosen if entry.split]  # no crop of the others is used
        _check_complete(root, chosen, settings)
    catalogue = output / f"{name}.csv"
    if not catalogue.is_file() or read_catalogue(catalogue) != [
        replace(entry, path=entry.path.resolve(),
                mask_path=entry.mask_path.resolve() if entry.mask_path else None)
        for entry in chosen
    ]:  # fmt: skip
        write_catalogue(catalogue, chosen)
    is_crops = all(entry.crop_scale is not None for entry in chosen)
    missing = (*scanned.scan.missing, *_missing_masks(chosen, settings))
    return DataSource(name, tuple(chosen), catalogue, is_crops, missing)


def _missing_masks(chosen: list[VideoEntry], settings: Settings) -> list[str]:
    """Where all people are cut out, only a mask says who of them was manipulated."""
    fakes = [entry for entry in chosen if entry.label and entry.crop_scale is None]
    n_missing = sum(entry.mask_path is None for entry in fakes)
    if settings.process_frames.faces != "all" or not n_missing:
        return []
    return [
        f"masks of {n_missing} of {len(fakes)} manipulated videos: everybody in them counts as "
        "manipulated"
    ]


def _check_complete(root: Path, chosen: list[VideoEntry], settings: Settings) -> None:
    """Refuse to begin what would fail hours later, or be another table than its title says."""
    protocol = settings.protocol
    splits = ["train", "val", *(["test"] if protocol.train in protocol.tests else [])]
    for split in splits:
        if len({entry.label for entry in chosen if entry.split == split}) < 2:
            raise DataError(
                f"{root}: split {split} lacks real or manipulated videos. See: mdcsd datasets scan."
            )
    there = {entry.key.manipulation for entry in chosen}
    named = {
        name for row in protocol.rows for name in (*row.manipulations, *row.test_manipulations)
    }
    missing = sorted(({*protocol.manipulations} | named) - there)
    if missing:
        raise DataError(
            f"{root}: no videos of {', '.join(missing)}, which the protocol needs. Download them, "
            "or leave them out by --set protocol.manipulations=... and rows of your own."
        )


def records_of(plan: Plan, source: DataSource, split: str) -> str:
    """Folder of a data set's records of one split."""
    return str(dataset_folder(_preparation(plan, source), split))


def _preparation(plan: Plan, source: DataSource) -> PrepareDatasetConfig:
    # Another selection may have been cut into the same folder before: only this one counts.
    crops = source.catalogue if source.is_crops else plan.output / "crops" / source.name
    return replace(
        plan.settings.prepare_dataset,
        directory=str(crops),
        catalogue=None if source.is_crops else str(source.catalogue),
        output=str(plan.output / "data"),
    )


def _make_records(plan: Plan, source: DataSource, say: Say) -> None:
    settings = plan.settings
    for line in source.missing:
        say(f"{source.name}: missing: {line}")
    if not source.is_crops:
        crops = plan.output / "crops" / source.name
        config = replace(
            settings.process_frames, video_path=str(source.catalogue), output_path=str(crops)
        )
        summary = process_frames(config)
        say(
            f"{source.name}: {summary.n_crops} crops of {summary.n_videos} videos "
            f"({summary.n_resumed} done before), {len(summary.failed)} unreadable"
        )
        for failed in summary.failed:
            say(f"  {failed.error}")
    prepared = prepare_dataset(_preparation(plan, source))
    for split in prepared.splits:
        counts = ", ".join(f"{name} {count}" for name, count in split.counts.items())
        say(f"{source.name} {split.split}: {counts}")
        for reason in split.failed:
            say(f"  {reason}")


def _train(plan: Plan, row: RowConfig, seed: int, hooks: Hooks | None) -> Path:
    """Train a row, or go on with it, or find that it is done."""
    folder = RunFolder(_run_folder(plan, row, seed))
    flags = {
        "train_dataset": records_of(plan, plan.train_source, "train"),
        "val_dataset": records_of(plan, plan.train_source, "val"),
        "output": str(folder.path),
        "seed": seed,
    }
    settings = load_settings(Path(plan.recipe), _sets(plan, row), {"train": flags})
    if folder.can_go_on:
        before = folder.resumed_settings({})
        same = all(
            getattr(before, section) == getattr(settings, section)
            for section in ("network", "train", "augment", "blend")
        )
        if not same:
            raise SettingError(
                f"{folder.path}: holds a training with other settings. Give another --output, or "
                "remove it."
            )
        settings = folder.resumed_settings({"train": {"resume": str(folder.path)}})
    return train(settings, hooks).best


def _test(plan: Plan, row: RowConfig, best: Path, source: DataSource) -> Evaluation:
    test = TestConfig(
        model=str(best),
        test_dataset=records_of(plan, source, "test"),
        manipulations=_tested_manipulations(plan, row, source),
        batch_size=plan.settings.test.batch_size,
        pool=plan.settings.test.pool,
        draws=plan.settings.test.draws,
        seed=plan.settings.test.seed,
        device=plan.settings.train.device,
        workers=plan.settings.train.workers,
    )
    evaluation = run_test(test)
    evaluation.write(best.parent / f"test_{source.name}")
    return evaluation


def _tested_manipulations(plan: Plan, row: RowConfig, source: DataSource) -> tuple[str, ...]:
    """On the data set learned from: those asked for, else those learned; elsewhere all."""
    if source.name != plan.train_source.name:
        return ()
    return row.test_manipulations or row.manipulations


def _sets(plan: Plan, row: RowConfig) -> list[str]:
    learned = [f"train.manipulations={','.join(row.manipulations)}"] if row.manipulations else []
    return [*plan.assignments, *row.set, *learned]


def _run_folder(plan: Plan, row: RowConfig, seed: int) -> Path:
    name = re.sub(r"[^a-z0-9]+", "_", row.name.lower()).strip("_")
    return plan.output / "runs" / f"{name}-seed{seed}"
