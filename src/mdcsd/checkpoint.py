"""Weights on disk: safetensors that carry what is needed to use them. The only load / save.

A checkpoint is one file: tensors, and in its header the network's shape, the preprocessing,
class names, thresholds and provenance as JSON. No pickles, ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mdcsd import storage
from mdcsd.config import NetworkConfig
from mdcsd.errors import CheckpointError, MdcsdError
from mdcsd.frequency import N_BANDS
from mdcsd.judging_nouns import Calibration
from mdcsd.network import Network, build_network
from mdcsd.preprocess import SPEC_VERSION, PreprocessSpec

FORMAT_VERSION = 3
_HEADER_KEY = "mdcsd"
_REAL_MEAN = "real_log_dct_mean"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and all it takes to judge a file with it.

    `class_names[0]` is the real class; `state_dict` are tensors by name, on CPU;
    `provenance` says of what data, command, commit, seed and epoch it was made.
    `real_log_dct_mean` float32 (C, 64, 64), C channels of the input (3 for colour), is the
    mean of `frequency.log_dct_bands` over real training faces, None in
    files of format 2 and before.
    """

    network: NetworkConfig
    preprocess: PreprocessSpec
    class_names: tuple[str, ...]
    calibration: Calibration
    state_dict: Tensors
    provenance: dict[str, Any]
    real_log_dct_mean: torch.Tensor | None = None

    @property
    def checkpoint_id(self) -> str:
        """Twelve hexadecimal digits that change with the weights or the preprocessing.

        The calibration and the mean spectrum are not in it, nor whether the file holds its
        values in 16 or 32 bits: the id is of the values in 32. All settings of the network are,
        the name of the file that it began from among them.
        """
        digest = hashlib.sha256(json.dumps(self._shape(), sort_keys=True).encode())
        for name in sorted(self.state_dict):
            digest.update(name.encode())
            digest.update(_widened(self.state_dict[name]).contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def build(self) -> Network:
        """Build the network with these weights, in evaluation mode.

        Raises: CheckpointError naming missing and unexpected tensors.
        """
        config = replace(self.network, pretrained="none", pretrained_file=None)
        network = build_network(config, self.preprocess, len(self.class_names))
        load_state(network, self.state_dict)
        return network.eval()

    def _shape(self) -> dict[str, Any]:
        network = asdict(self.network)
        if not network["mirror"]:  # older files have no such setting, and keep their ids
            del network["mirror"]
        return {
            "network": network,
            "preprocess": asdict(self.preprocess),
            "class_names": list(self.class_names),
        }

    def header(self) -> dict[str, Any]:
        """Everything but the tensors, as plain data."""
        return {
            "format_version": FORMAT_VERSION,
            **self._shape(),
            "calibration": asdict(self.calibration),
            "provenance": self.provenance,
        }


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, whole or not at all; its id stands in the header, for a quick look."""
    mean = checkpoint.real_log_dct_mean
    beside = {} if mean is None else {_REAL_MEAN: mean}
    header = {**checkpoint.header(), "checkpoint_id": checkpoint.checkpoint_id}
    save_tensors({**checkpoint.state_dict, **beside}, header, path)


def compact_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """Round the large weights to 16 bits, which halves the file; `load_checkpoint` widens them.

    Vectors stay as they are: batch normalisation's running statistics pass the range of 16
    bits (variances above 65,504 or below 6e-8), and all of them are a percent of the file.

    Raises: CheckpointError naming the tensors that 16 bits cannot hold.
    """
    halved = {
        name: tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in checkpoint.state_dict.items()
    }
    lost = sorted(name for name, tensor in halved.items() if not bool(tensor.isfinite().all()))
    if lost:
        raise CheckpointError(
            f"{len(lost)} tensors do not fit 16 bits {lost[:3]}: a weight above 65,504 means that "
            "training diverged. Train again with a lower train.learning_rate."
        )
    return replace(checkpoint, state_dict=halved)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises: CheckpointError if the file is missing, damaged, or no checkpoint of ours.
    """
    tensors, header = load_tensors(path)
    try:
        if header["format_version"] > FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: format version {header['format_version']}, this mdcsd reads up to "
                f"{FORMAT_VERSION}. Update mdcsd."
            )
        if header["preprocess"]["version"] != SPEC_VERSION:
            raise CheckpointError(
                f"{path}: made for preprocessing version {header['preprocess']['version']}, this "
                f"mdcsd has {SPEC_VERSION}. Use the mdcsd it was made with, or train again."
            )
        preprocess = PreprocessSpec(**header["preprocess"])
        mean = _take_mean(path, tensors, preprocess.channels)
        return Checkpoint(
            network=NetworkConfig(**header["network"]),
            preprocess=preprocess,
            class_names=tuple(header["class_names"]),
            calibration=_read_calibration(header),
            state_dict={name: _widened(tensor) for name, tensor in tensors.items()},
            provenance=header["provenance"],
            real_log_dct_mean=mean,
        )
    except (KeyError, TypeError) as error:
        raise _not_ours(path, f"its header lacks {error}") from None
    except CheckpointError:
        raise
    except MdcsdError as error:
        raise _not_ours(path, str(error)) from None


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor whose numbers have 32 bits; whole numbers stay."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _take_mean(path: Path, tensors: Tensors, channels: int) -> torch.Tensor | None:
    """Part the mean spectrum from the network's tensors."""
    mean, expected = tensors.pop(_REAL_MEAN, None), (channels, N_BANDS, N_BANDS)
    if mean is not None and mean.shape != expected:
        raise _not_ours(path, f"{_REAL_MEAN} is {tuple(mean.shape)}, expected {expected}")
    return mean


def _read_calibration(header: dict[str, Any]) -> Calibration:
    stored = header["calibration"]
    if header["format_version"] > 1:
        return Calibration(**stored)
    low, high = stored["uncertain_from"], stored["manipulated_from"]  # all that mdcsd 0.1.0 kept
    return Calibration(low, high, 1.0, 1.0, stored["fitted_on"])


def load_state(network: Network, tensors: Tensors) -> None:
    """Load tensors into a network of the same shape.

    Raises: CheckpointError naming what is missing, unexpected, or of another shape.
    """
    own = network.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - own.keys())
    reshaped = sorted(
        name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape
    )
    if missing or unexpected or reshaped:
        raise CheckpointError(
            f"the weights are of another network: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}, {len(reshaped)} of another shape "
            f"{reshaped[:3]}. Give the checkpoint that train printed on its last line."
        )
    network.load_state_dict(tensors)


def save_tensors(tensors: Mapping[str, torch.Tensor], header: dict[str, Any], path: Path) -> None:
    """Write tensors with a JSON header as safetensors, whole or not at all."""
    storage.write_bytes(path, pack_tensors(tensors, header))


def pack_tensors(tensors: Mapping[str, torch.Tensor], header: dict[str, Any]) -> bytes:
    """Pack tensors with a JSON header as the bytes of a safetensors file."""
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return bytes(save(packed, metadata={_HEADER_KEY: json.dumps(header, sort_keys=True)}))


def load_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read tensors and header that `save_tensors` wrote.

    Raises: CheckpointError if the file is missing, damaged or without our header.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint. Expected the .safetensors file that train printed on its "
            "last line."
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER_KEY)
            if header is None:
                raise _not_ours(path, "it has no mdcsd header")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header)
    except (SafetensorError, OSError, ValueError) as error:
        raise _not_ours(path, str(error)) from None


def _not_ours(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a checkpoint of mdcsd ({reason}). Expected the .safetensors file that train "
        "printed on its last line."
    )
