"""Two checkpoints of one network -> the mean of their weights.

For a training and what it began from: the mean keeps what the first could do on media that the
second has unlearned (Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022).
Weights of trainings that began apart do not average.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mdcsd.checkpoint import Checkpoint, Tensors, load_checkpoint, save_checkpoint
from mdcsd.config import NetworkConfig, check
from mdcsd.errors import InputError


def average_checkpoints(first: Path, second: Path, share: float, output: Path) -> Checkpoint:
    """Write (1 - share) of the first checkpoint's weights and `share` of the second's.

    Running statistics of batch normalisation are averaged like weights. Everything else, also
    the calibration, which no longer fits, is the second's: calibrate the result.

    Raises: CheckpointError if one is none; InputError if they are of two networks; SettingError
        if the share is not between 0 and 1.
    """
    check(0.0 < share < 1.0, f"--share {share:g}: expected more than 0 and less than 1.")
    one, other = load_checkpoint(first), load_checkpoint(second)
    if _shape(one) != _shape(other):
        raise InputError(
            f"{first} and {second} are of two networks. Give a training's checkpoint and the one "
            "that it began from."
        )
    told = {
        "averaged_from": [one.checkpoint_id, other.checkpoint_id],
        "averaged_share": share,
    }
    mean = replace(
        other,
        state_dict=_mean(one.state_dict, other.state_dict, share),
        calibration=replace(
            other.calibration, fitted_on=f"{other.calibration.fitted_on}, before averaging"
        ),
        provenance={**other.provenance, **told},
    )
    save_checkpoint(mean, output)
    return mean


def _shape(checkpoint: Checkpoint) -> tuple[object, ...]:
    """What two checkpoints must share; where they began and whether they mirror is apart."""
    start = NetworkConfig()
    network = replace(
        checkpoint.network,
        pretrained=start.pretrained,
        pretrained_file=start.pretrained_file,
        mirror=start.mirror,
        dropout=start.dropout,
    )
    shapes = {name: tensor.shape for name, tensor in checkpoint.state_dict.items()}
    return network, checkpoint.preprocess, checkpoint.class_names, shapes


def _mean(first: Tensors, second: Tensors, share: float) -> Tensors:
    """Average what are numbers; counters are the second's."""
    return {
        name: first[name].lerp(tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in second.items()
    }
