"""Settings of judging: measuring a checkpoint, calibrating it, evaluating, detecting."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from mdcsd.config import Device, Pool, check, check_counts, check_image_size


@dataclass(frozen=True)
class TestConfig:
    """How a trained network is measured on a data set."""

    __test__ = False  # not a test case, whatever its name says to pytest

    model: str = ""
    """Checkpoint file, the path that train printed on its last line."""
    test_dataset: str = ""
    """Data-set folder or .tfrecords file."""
    image_size: tuple[int, ...] | None = None
    """Checked against the checkpoint if given; it never changes the input."""
    grayscale: bool = False
    """Checked against the checkpoint if given."""
    batch_size: int = 32
    """Samples per step."""
    manipulations: tuple[str, ...] = ()
    """Measure these manipulations and the real faces only; empty means all."""
    pool: Pool = "track"
    """How frames become a video's score."""
    output: str | None = None
    """Folder for report.json and predictions.csv; none makes one beside the checkpoint."""
    device: Device = "auto"
    """auto takes CUDA where there is one."""
    workers: int = 0
    """Loader processes; 0 loads in this process."""
    draws: int = 1000
    """Bootstrap draws for the intervals; 0 gives none."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        """Refuse sizes out of range."""
        check(self.batch_size >= 1, f"--batch_size {self.batch_size}: expected 1 or more.")
        check(self.draws >= 0, f"test.draws {self.draws}: expected 0 or more.")
        check_counts(self.seed, self.workers)
        if self.image_size is not None:
            check_image_size(self.image_size)


@dataclass(frozen=True)
class CalibrateConfig:
    """How thresholds and temperature of a checkpoint are fitted."""

    weights: str = ""
    """Checkpoint file."""
    val_datasets: tuple[str, ...] = ()
    """Validation data sets, *_tf folders or .tfrecords files; never a test set."""
    output: str | None = None
    """Where to write the checkpoint with the new calibration; none means in its place."""
    mirror: bool = False
    """Have the checkpoint judge faces and their mirror images from now on, at twice the cost."""
    batch_size: int = 32
    """Samples per step."""
    device: Device = "auto"
    """auto takes CUDA where there is one."""

    def __post_init__(self) -> None:
        """Refuse sizes out of range."""
        check(self.batch_size >= 1, f"--batch_size {self.batch_size}: expected 1 or more.")


@dataclass(frozen=True)
class EvaluateConfig:
    """How a detector is judged, on data sets or from a table of its scores."""

    weights: str | None = None
    """Checkpoint file; none takes the embedded detector."""
    data: tuple[str, ...] = ()
    """NAME=ROOT each: a data set as downloaded, a catalogue, or a *_tf folder."""
    predictions: str | None = None
    """Table of scores of any detector instead of weights and data."""
    against: str | None = None
    """Second table, to compare with, face by face and video by video."""
    against_threshold: float | None = None
    """Score from which the detector of that table calls a face manipulated."""
    split: Literal["train", "val", "test", "all"] = "test"
    """Which videos of a data set to judge."""
    manipulations: tuple[str, ...] = ()
    """Judge these manipulations and the real videos only; empty means all."""
    compression: str | None = None
    """Judge only what is of this compression, e.g. c23; none means all."""
    frames: int = 32
    """Frames sampled evenly over a video."""
    limit: int | None = None
    """Judge at most so many videos of each class, drawn by the seed; none means all."""
    pool: Pool = "track"
    """How frames become a video's score."""
    recode: str | None = None
    """Judge all videos encoded anew as well: jpeg, jpeg=QUALITY, h264 or h264=CRF."""
    robustness: bool = False
    """Judge all videos under the robustness suite as well."""
    threshold: float | None = None
    """Score from which balanced accuracy calls a face manipulated; none: the checkpoint's."""
    draws: int = 1000
    """Bootstrap draws for the intervals; 0 gives none."""
    seed: int = 0
    """Seed of the draws, of `limit` and of noise."""
    split_seed: int = 0
    """Seed of a data set's split where it has none and none is kept; that of the training."""
    tsne: bool = True
    """Map features to a plane; not with a table."""
    output: str | None = None
    """Folder for predictions.csv, report.json, plots; none: beside the checkpoint, or in runs."""
    batch_size: int = 32
    """Faces per step."""
    device: Device = "auto"
    """auto takes CUDA where there is one."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        both = bool(self.predictions) and bool(self.weights or self.data)
        check(not both, "--predictions and --weights exclude each other. Give one of them.")
        check(self.frames >= 1, f"--frames {self.frames}: expected 1 or more.")
        check(self.draws >= 0, f"--draws {self.draws}: expected 0 or more.")
        check(self.limit is None or self.limit >= 1, "--limit: expected 1 or more.")
        for name in ("threshold", "against_threshold"):
            value = getattr(self, name)
            flag = "--" + name.replace("_", "-")
            check(value is None or 0 <= value <= 1, f"{flag} {value}: expected 0 to 1.")
        check(
            self.against_threshold is None or self.against is not None,
            "--against-threshold is read with --against only. Give the table as well.",
        )
        check(self.batch_size >= 1, f"--batch_size {self.batch_size}: expected 1 or more.")
        check_counts(min(self.seed, self.split_seed), 0)
        if self.predictions:
            self.refuse_unread("a table", "split", "split_seed", "frames", "limit", "batch_size",
                               "device", "tsne")  # fmt: skip
        for name in ("recode", "robustness"):
            needed = not self.predictions or not getattr(self, name)
            check(needed, f"--{name} needs videos. Give --data instead of a table.")

    def refuse_unread(self, source: str, *names: str) -> None:
        """Refuse settings that mean nothing for a kind of source, unless at their default."""
        default = {each.name: each.default for each in fields(self)}
        for name in names:
            value = getattr(self, name)
            check(
                value == default[name],
                f"evaluate.{name} = {value} is not read with {source}. Leave it away.",
            )


@dataclass(frozen=True)
class DetectConfig:
    """How a file of the user's is judged."""

    weights: str | None = None
    """Checkpoint file; none takes the embedded detector."""
    frames: int = 32
    """Frames sampled evenly over a video."""
    pool: Pool = "track"
    """How frames become a video's score."""
    cropped: bool = False
    """The inputs are face crops already; no face is searched."""
    device: Device = "auto"
    """auto takes CUDA where there is one."""
    workers: int = 1
    """Files judged at once, a process each, which share the cores, and the GPUs if there are."""
    time_limit_s: float | None = None
    """Seconds that a file may take; with it files are judged in processes of their own."""

    def __post_init__(self) -> None:
        """Refuse an empty sample, and nobody to judge."""
        check(self.frames >= 1, f"--frames {self.frames}: expected 1 or more.")
        check(self.workers >= 1, f"--workers {self.workers}: expected 1 or more.")
        limit_s = self.time_limit_s
        check(
            limit_s is None or 0 < limit_s < math.inf,
            f"--time-limit {limit_s}: expected seconds, more than 0 and finite.",
        )


@dataclass(frozen=True)
class RowConfig:
    """One row of a protocol's table: a training, and what it is tested on."""

    name: str = ""
    """How the table calls it."""
    set: tuple[str, ...] = ()
    """Settings that differ from the recipe's, section.key=value each."""
    manipulations: tuple[str, ...] = ()
    """Learn from these manipulations only; empty means from all of the protocol's."""
    test_manipulations: tuple[str, ...] = ()
    """Test on these only; empty means on those learned from."""

    def __post_init__(self) -> None:
        """Refuse a row without a name."""
        check(bool(self.name), "protocol.rows: each row needs a name.")


@dataclass(frozen=True)
class ProtocolConfig:
    """A table: which trainings, on which data, measured on which."""

    title: str = ""
    """Heading of the table."""
    train: str = ""
    """Name of the data set to learn from."""
    tests: tuple[str, ...] = ()
    """Names of the data sets to test on; others given by --data are tested on too."""
    compression: str | None = None
    """Use only videos of this compression, in data sets that have it."""
    manipulations: tuple[str, ...] = ()
    """Use only these manipulations of the data set to learn from; empty means all."""
    reference: str | None = None
    """Row that the others are compared with, pair by pair."""
    seeds: tuple[int, ...] = (0,)
    """Each row is trained once with each of these seeds."""
    rows: tuple[RowConfig, ...] = ()
    """The trainings."""

    def __post_init__(self) -> None:
        """Refuse rows of one name, and a reference that is no row."""
        names = [row.name for row in self.rows]
        check(len(set(names)) == len(names), "protocol.rows: two rows of one name.")
        known = self.reference is None or self.reference in names
        check(known, f"protocol.reference = {self.reference!r}: no row of this name.")
        check(bool(self.seeds), "protocol.seeds: expected one seed or more.")
