"""Before training: open data sets, and check that they, the network and the flags agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mdcsd import storage
from mdcsd.autoencoder import describe_autoencoder
from mdcsd.checkpoint import load_checkpoint
from mdcsd.config import NetworkConfig, TrainConfig
from mdcsd.errors import DataError, InputError, SettingError
from mdcsd.loader import Classes
from mdcsd.network import build_network
from mdcsd.preprocess import PreprocessSpec
from mdcsd.runs import RunFolder, Stage, environment
from mdcsd.settings import Settings
from mdcsd.shard_set import (
    ShardSet,
    check_split,
    drop_manipulations,
    join_shards,
    keep_manipulations,
    open_shards,
)

_TOLD_OF_A_STAGE = (
    "command", "git_commit", "seed", "hours", "train_dataset", "pretrained_sha256", "teacher",
    "autoencoder",
)  # fmt: skip
_TOLD_OF_A_MEAN = ("averaged_from", "averaged_share")


@dataclass(frozen=True)
class TrainJob:
    """Everything `fit` needs, checked: data, classes, input, settings.

    `stages` are the trainings that came before; of a resumed run its saved state tells them.
    `teacher` is the id of the checkpoint that teaches; its temperature, which the id leaves out,
    is in what it teaches and in the file's `teacher_sha256`. `autoencoder` says what paints faces
    of blends, if anything does, see `describe_autoencoder`. `made` is `runs.environment` at the
    start: the checkout that a training runs from may change before its checkpoints are written.
    """

    network: NetworkConfig
    config: TrainConfig
    classes: Classes
    spec: PreprocessSpec
    train_set: ShardSet
    val_set: ShardSet
    class_counts: tuple[int, ...]
    l1: float
    l2: float
    settings: Settings
    pretrained_sha256: str | None
    stages: tuple[Stage, ...]
    teacher: str | None
    teacher_sha256: str | None
    autoencoder: dict[str, Any] | None
    made: dict[str, Any]

    @property
    def data(self) -> tuple[str, ...]:
        """What tells the records, what paints them, and who teaches, from others."""
        painter = (self.autoencoder["sha256"],) if self.autoencoder else ()
        taught = (self.teacher_sha256,) if self.teacher_sha256 else ()
        return self.train_set.fingerprint, self.val_set.fingerprint, *painter, *taught


def setup(settings: Settings) -> TrainJob:
    """Open the data sets and check that they, the network and the flags fit together."""
    config, given = settings.train, settings.given
    for name in ("train_dataset", "val_dataset"):
        if not getattr(config, name):
            raise InputError(f"no {name.upper()} given. Pass a *_tf folder or a .tfrecords file.")
    if config.teacher_sees == "intact" and not config.teacher:
        raise SettingError(
            "train.teacher_sees = intact: there is no teacher. Give --set train.teacher=CHECKPOINT."
        )
    train_set, val_set = _open_sets(settings)
    blends = settings.blend.share > 0
    classes = choose_classes(train_set, config.binary or blends)
    if blends and len(classes.names) == 1:
        classes = _real_and_blends(train_set, val_set)
    if len(classes.names) > config.classes:
        raise DataError(
            f"{train_set.path}: {len(classes.names)} classes ({', '.join(classes.names)}), more "
            f"than --classes {config.classes}. Give --classes {len(classes.names)}, or --set "
            "train.binary=true to merge the manipulations."
        )
    counts = count_classes(train_set, classes, blends)
    count_classes(val_set, classes)
    spec = _choose_spec(train_set, config, "train.image_size" in given)
    goes_on = config.resume is not None and RunFolder(Path(config.resume)).can_go_on
    on_cnn = settings.network.name == "cnn"
    job = TrainJob(
        network=settings.network,
        config=config,
        classes=classes,
        spec=spec,
        train_set=train_set,
        val_set=val_set,
        class_counts=counts,
        l1=config.l1 if on_cnn or "train.l1" in given else 0.0,
        l2=config.l2 if on_cnn or "train.l2" in given else 0.0,
        settings=settings,
        pretrained_sha256=None
        if config.start_from
        else _sha256_if_given(settings.network.pretrained_file),
        stages=()
        if goes_on
        else _stages_before(config.start_from, settings.network, spec, classes),
        teacher=load_checkpoint(Path(config.teacher)).checkpoint_id if config.teacher else None,
        teacher_sha256=_sha256_if_given(config.teacher),
        autoencoder=describe_autoencoder(settings.blend) if blends else None,
        made=environment(),
    )
    _check_alike(train_set, val_set)
    if (blends or settings.augment.enabled) and (spec.representation, spec.channels) != ("raw", 3):
        raise DataError(
            f"{train_set.path}: augmentation and blends need colour pixels. Prepare the data set "
            "with --raw --color, and train without --grayscale."
        )
    with torch.device("meta"):
        build_network(job.network, spec, len(classes.names))  # refuses pairs that do not fit
    return job


def _open_sets(settings: Settings) -> tuple[ShardSet, ShardSet]:
    """Open training and validation set, of the manipulations and splits that may be used so."""
    config = settings.train
    parts = [open_shards(Path(path)) for path in (config.train_dataset, *config.also)]
    val_set = open_shards(Path(config.val_dataset))
    for shards in parts:
        check_split(shards, "trained on", ("val", "test"), "train")
    check_split(val_set, "used to choose an epoch and thresholds", ("test",), "val")
    train_set, val_set = (
        keep_manipulations(shards, config.manipulations) for shards in (join_shards(parts), val_set)
    )
    if settings.blend.share == 1:  # nothing at all is learned from manipulated faces
        train_set = drop_manipulations(train_set, train_set.manipulations)
    return train_set, val_set


def choose_classes(shards: ShardSet, binary: bool) -> Classes:
    """The classes of a data set, or real and manipulated."""
    names = tuple(name for name in shards.class_names if name not in shards.dropped)
    if binary and len(names) > 2:
        return Classes((names[0], "manipulated"), {n: int(i > 0) for i, n in enumerate(names)})
    return Classes(names, {name: i for i, name in enumerate(names)})


def _real_and_blends(train_set: ShardSet, val_set: ShardSet) -> Classes:
    """The classes of a network that learns from real faces and their self-blends alone."""
    real = train_set.class_names[0]
    return Classes((real, "manipulated"), {real: 0} | dict.fromkeys(val_set.class_names[1:], 1))


def count_classes(shards: ShardSet, classes: Classes, makes_fakes: bool = False) -> tuple[int, ...]:
    """Count a data set's samples by the network's classes.

    Args:
        makes_fakes: manipulated faces will be made of the real ones: there may be none.

    Raises: DataError if a class is unknown, or real or manipulated faces are missing.
    """
    counts = [0] * len(classes.names)
    for name, count in zip(shards.class_names, shards.counts, strict=True):
        if count and name not in classes.of_name:
            raise DataError(
                f"{shards.path}: class {name} is not among the network's "
                f"({', '.join(classes.names)}). Prepare both data sets from the same class folders."
            )
        counts[classes.of_name.get(name, 0)] += count
    if not counts[0] or not (sum(counts[1:]) or makes_fakes):
        there = ", ".join(
            f"{n} {c}" for n, c in zip(shards.class_names, shards.counts, strict=True)
        )
        raise DataError(
            f"{shards.path}: one class only ({there}). Expected real faces (class original or "
            "real) and manipulated ones. Add the missing class folder and prepare it again."
        )
    return tuple(counts)


def _choose_spec(shards: ShardSet, config: TrainConfig, size_given: bool) -> PreprocessSpec:
    side, channels = config.image_size[0], 1 if config.grayscale else shards.channels
    pixels = shards.representation == "raw"
    if config.grayscale and not pixels and shards.channels == 3:
        raise DataError(
            f"{shards.path}: --grayscale needs pixels; these are {shards.representation} of three "
            "channels. Prepare the data set without --color."
        )
    if size_given and len(config.image_size) == 3 and config.image_size[2] != channels:
        raise DataError(
            f"{shards.path}: images of {channels} channel(s), --image_size asks for "
            f"{config.image_size[2]}. Give --image_size {side},{side},{channels}."
        )
    source = shards.shape[0] if shards.shape else None
    if not pixels and source and side > source:
        raise DataError(
            f"{shards.path}: coefficients of {source} px crops cannot be enlarged to {side}. Give "
            f"--image_size {source} or less."
        )
    return PreprocessSpec(side, channels, shards.representation, shards.crop_scale, source)


def _check_alike(train_set: ShardSet, val_set: ShardSet) -> None:
    pixels = train_set.representation == "raw"
    for what in ("representation", "channels", *(() if pixels else ("shape", "crop_scale"))):
        here, there = getattr(train_set, what), getattr(val_set, what)
        if here != there:
            raise DataError(
                f"{val_set.path}: {what} {there}, the training set has {here}. Prepare both with "
                "the same flags."
            )
    if val_set.crop_scale < train_set.crop_scale:
        raise DataError(
            f"{val_set.path}: crops of scale {val_set.crop_scale:g} show less than those of the "
            f"training set ({train_set.crop_scale:g}). Cut them with --scale "
            f"{train_set.crop_scale:g}."
        )


def _stages_before(
    path: str | None, network: NetworkConfig, spec: PreprocessSpec, classes: Classes
) -> tuple[Stage, ...]:
    """What the checkpoint that training starts from says of itself, and of what it came from.

    Raises: DataError if it is of another network, even one whose tensors would fit, looks at other
        pictures, or tells other classes apart.
    """
    if path is None:
        return ()
    checkpoint = load_checkpoint(Path(path))
    for what in ("name", "backbone", "branches", "stitch", "frequency"):
        there, wanted = getattr(checkpoint.network, what), getattr(network, what)
        if there != wanted:
            raise DataError(
                f"{path}: network.{what} is {there}, the settings say {wanted}. Start from a "
                "checkpoint of the same network."
            )
    there = checkpoint.preprocess
    if (there.representation, there.channels) != (spec.representation, spec.channels):
        raise DataError(
            f"{path}: looks at {there.representation} of {there.channels} channel(s), the data set "
            f"has {spec.representation} of {spec.channels}. Prepare it with the same flags."
        )
    names = checkpoint.class_names
    if len(names) != len(classes.names) or (len(names) > 2 and names != classes.names):
        raise DataError(
            f"{path}: tells {', '.join(names)} apart, this training {', '.join(classes.names)}. "
            "Give --set train.binary=true to both, or the same classes."
        )
    known = checkpoint.provenance
    told = {name: known.get(name) for name in _TOLD_OF_A_STAGE}
    told |= {name: known[name] for name in _TOLD_OF_A_MEAN if name in known}
    stage: Stage = {"checkpoint_id": checkpoint.checkpoint_id, **told}
    return (*known.get("stages", ()), stage)


def _sha256_if_given(path: str | None) -> str | None:
    if path is None or not Path(path).is_file():
        return None
    return storage.sha256_of(Path(path))
