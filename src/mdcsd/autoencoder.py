"""A small autoencoder of faces: what a face swap's decoder would paint, without a fake video.

Source: the swaps of the DFDC and of FaceForensics++'s Deepfakes come out of such decoders
(Dolhansky et al., "The DeepFake Detection Challenge Dataset", 2020, section 3). Theirs know two
people each and give the one the other's face; ours knows all people of a training set, and paints
everybody as himself, softer and with a decoder's traces, or a donor before he is laid over another.

Its code loses channels at random in training (Rippel et al., "Learning Ordered Representations with
Nested Dropout", ICML 2014), so that one network paints well and badly, as the number kept says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import nn

from mdcsd import storage
from mdcsd.augment_config import AutoencoderConfig, BlendConfig
from mdcsd.checkpoint import Tensors, load_tensors, pack_tensors
from mdcsd.config import check
from mdcsd.errors import CheckpointError, DataError, InputError
from mdcsd.inference import choose_device, training_autocast
from mdcsd.loader import Classes, FaceDataset, as_in_loaders
from mdcsd.nouns import FloatImage, IntArray, RgbArray
from mdcsd.optim import cosine_learning_rate
from mdcsd.preprocess import PreprocessSpec
from mdcsd.runs import environment
from mdcsd.shard_set import ShardSet, check_split, drop_manipulations, join_shards, open_shards

_FACE_PX = 96
_KIND = "face autoencoder, version 2"
_CODE_CHANNELS, _CODE_PX = 256, _FACE_PX // 16
_LEAST_CHANNELS = 16
_TOLD = ("steps", "batch_size", "learning_rate", "seed")
_LOOK_STEPS = 100  # between looks at the loss: each makes a GPU wait
_MARGIN = 0.08  # around the landmarks, as a share of their extent
_MOST_NOISE = 0.25  # in the code, of its standard deviation


class FaceAutoencoder(nn.Module):
    """Float32 (N, 3, 96, 96) RGB, -1 to 1 -> code (N, 256, 6, 6) -> the same again."""

    def __init__(self) -> None:
        """Draw first weights."""
        super().__init__()
        self.encoder = nn.Sequential(
            *_down(3, 32, 5), *_down(32, 64, 3), *_down(64, 128, 3), *_down(128, 256, 3),
            nn.Conv2d(256, _CODE_CHANNELS, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(_CODE_CHANNELS, 256, 1), *_up(256, 128), *_up(128, 64), *_up(64, 32),
            *_up(32, 16), nn.Conv2d(16, 3, 3, padding=1),
        )  # fmt: skip

    def forward(
        self, faces: torch.Tensor, n_kept: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode, keep the first channels of each code, int64 (N,), and decode.

        Args:
            noise: float32 like the code, added to it in units of its standard deviation.
        """
        code = self.encoder(faces)
        code = code if noise is None else code + code.std() * noise
        first = torch.arange(code.shape[1], device=code.device) < n_kept[:, None]
        painted: torch.Tensor = self.decoder(code * first[..., None, None])
        return painted


def _down(n_in: int, n_out: int, kernel: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(n_in, n_out, kernel, stride=2, padding=kernel // 2), nn.LeakyReLU(0.1)


def _up(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(n_in, 4 * n_out, 3, padding=1), nn.PixelShuffle(2), nn.LeakyReLU(0.1)


def _face_box(landmarks_xy_px: FloatImage, side_px: int) -> tuple[slice, slice]:
    """Rows and columns of the face in a square crop, by its landmarks."""
    low, high = landmarks_xy_px.min(axis=0), landmarks_xy_px.max(axis=0)
    margin = _MARGIN * (high - low)
    left, top = np.clip(np.floor(low - margin), 0, side_px - 8).astype(int)
    right, bottom = np.clip(np.ceil(high + margin), (left + 8, top + 8), side_px).astype(int)
    return slice(top, bottom), slice(left, right)


def _soft_box(height: int, width: int) -> FloatImage:
    """1 inside, falling to 0 at the edges over the margin, float32 (height, width)."""
    edge = max(round(_MARGIN * min(height, width) / 2), 1)
    inside = np.zeros((height, width), np.float32)
    inside[edge:-edge, edge:-edge] = 1.0
    side = 2 * edge - 1
    return np.asarray(cv2.blur(inside, (side, side), borderType=cv2.BORDER_CONSTANT), np.float32)


def _resized(rgb: RgbArray, width: int, height: int) -> RgbArray:
    """Shrink by the mean of areas, enlarge by straight lines."""
    way = cv2.INTER_AREA if rgb.shape[0] > height and rgb.shape[1] > width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=way), np.uint8)


class Repainter:
    """Repaints the face of a crop; the door that blends know."""

    def __init__(self, network: FaceAutoencoder) -> None:
        """Take a trained network."""
        self._network = network.eval().to(memory_format=torch.channels_last)

    def __call__(
        self, rgb: RgbArray, landmarks_xy_px: FloatImage, rng: np.random.Generator
    ) -> RgbArray:
        """Repaint a face, well or badly as chance has it.

        Args:
            rgb: uint8 (S, S, 3) RGB, a face crop.
            landmarks_xy_px: float32 (468, 2), in its pixels.
            rng: draws how many channels of the code are kept, and noise in it.

        Returns: uint8 (S, S, 3) RGB, other than `rgb` only in the box around the face, to whose
            edge the paint fades: no face swap has a straight seam.
        """
        box = _face_box(landmarks_xy_px, rgb.shape[0])
        face = rgb[box]
        height, width, _ = face.shape
        small = _resized(face, _FACE_PX, _FACE_PX)
        n_kept = torch.from_numpy(_draw_channels(rng, 1))
        noise = None
        if rng.random() < 0.5:
            drawn = rng.standard_normal((1, _CODE_CHANNELS, _CODE_PX, _CODE_PX), np.float32)
            noise = torch.from_numpy(drawn) * rng.uniform(0.0, _MOST_NOISE)
        with torch.inference_mode(), as_in_loaders():
            painted = self._network(_to_network(small[None], n_kept.device), n_kept, noise)[0]
        pixels = ((painted + 1.0) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
        painted_face = np.asarray(cv2.resize(pixels, (width, height), interpolation=way), np.uint8)
        repainted, soft = rgb.copy(), _soft_box(height, width)
        repainted[box] = cv2.blendLinear(painted_face, face, soft, 1.0 - soft)
        return repainted


def _to_network(faces: RgbArray, device: torch.device) -> torch.Tensor:
    """Turn uint8 (N, 96, 96, 3) RGB into float32 (N, 3, 96, 96) on a device, -1 to 1."""
    return torch.from_numpy(faces).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0


@dataclass(frozen=True)
class Fitted:
    """What `fit_autoencoder` did: of how many faces, and the mean loss as it began and ended."""

    n_faces: int
    first_loss: float
    last_loss: float


def fit_autoencoder(
    config: AutoencoderConfig, on_step: Callable[[int, int], None] = lambda *_: None
) -> Fitted:
    """Train an autoencoder on the real faces of data sets that have landmarks, and write it.

    The loss is the mean absolute difference of pixels, and of neighbours' differences across and
    down, for edges. All faces are held in memory, 28 kB each. The same seed gives the same on one
    thread of a processor; on several or a GPU nearly so.

    Raises: InputError without data sets or output, or if that cannot be written; DataError if a
        set is kept for judging, has no colour pixels, no real face has landmarks, or the loss is
        no number. Nothing is written then.
    """
    if not config.train_datasets or not config.output:
        raise InputError("expected TRAIN_DATASET, *_tf folders, and --output FILE.")
    if not config.output.endswith(".safetensors"):
        raise InputError(f"--output {config.output}: expected a name that ends in .safetensors.")
    output = Path(config.output)
    storage.check_writable(output)  # before the work
    shards = _open_training(config.train_datasets)
    faces = _real_faces(shards)
    network, losses = _train(faces, config, on_step)
    some = max(config.steps // 20, 1)
    fitted = Fitted(len(faces), float(losses[:some].mean()), float(losses[-some:].mean()))
    header = {
        **environment(),
        "kind": _KIND,
        "data": shards.name,
        "fingerprint": shards.fingerprint,
        "split_by": shards.split_rule,
        "faces": len(faces),
        "loss": fitted.last_loss,
        "settings": {name: getattr(config, name) for name in _TOLD},
    }
    storage.write_bytes(output, pack_tensors(network.state_dict(), header))
    return fitted


def _train(
    faces: RgbArray, config: AutoencoderConfig, on_step: Callable[[int, int], None]
) -> tuple[FaceAutoencoder, torch.Tensor]:
    """Train on faces (N, 96, 96, 3); returns the network and the loss of every step.

    Raises: DataError if the loss is no number.
    """
    device = torch.device(choose_device(config.device))
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    network = FaceAutoencoder().to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    losses = torch.zeros(config.steps, device=device)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = cosine_learning_rate(
                step, config.steps, config.learning_rate, config.steps // 20
            )
        real = _to_network(faces[rng.integers(len(faces), size=config.batch_size)], device)
        real = real.flip(3) if rng.random() < 0.5 else real
        real = real.contiguous(memory_format=torch.channels_last)
        n_kept = torch.from_numpy(_draw_channels(rng, len(real))).to(device)
        with training_autocast(device, "auto"):
            painted = network(real, n_kept)
        loss = _difference(painted.float(), real)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses[step] = loss.detach()
        on_step(step + 1, config.steps)
        is_looked_at = (step + 1) % _LOOK_STEPS == 0 or step + 1 == config.steps
        if is_looked_at and not np.isfinite(float(losses[step])):
            raise DataError(
                f"the loss is {float(losses[step])} at step {step + 1}. Give a lower rate: --set "
                f"autoencoder.learning_rate={config.learning_rate / 3:.1g}"
            )
    return network, losses.cpu()


def open_repainter(blend: BlendConfig) -> Repainter | None:
    """Open what paints faces for these blends; None if nothing does.

    Raises: SettingError if a file is missing from the settings, or one is given that nothing
        would read; CheckpointError if it is gone, damaged, or something else.
    """
    path = _file_of(blend)
    if path is None:
        return None
    network = FaceAutoencoder()
    network.load_state_dict(_load(path)[0])
    return Repainter(network)


def describe_autoencoder(blend: BlendConfig) -> dict[str, Any] | None:
    """Say for the record what paints faces for these blends, and what it learned from.

    Raises: as `open_repainter`.
    """
    path = _file_of(blend)
    if path is None:
        return None
    header = _load(path)[1]
    told = {name: header[name] for name in ("data", "fingerprint", "git_commit")}
    return {"sha256": storage.sha256_of(path), **told}


def _file_of(blend: BlendConfig) -> Path | None:
    """The file that these blends need.

    Sections are checked as they are put together, and a recipe may leave the file to --set: that
    the two fit is asked here, where they are used.
    """
    if blend.autoencoder_file is None:
        check(
            not blend.autoencoder,
            f"blend.autoencoder {blend.autoencoder:g} without blend.autoencoder_file. Train one: "
            "mdcsd autoencoder TRAIN_tf --output FILE",
        )
        return None
    check(
        bool(blend.autoencoder or (blend.other_person and blend.painted_donors)),
        f"blend.autoencoder_file {blend.autoencoder_file}: nothing is painted by it. Give "
        "blend.autoencoder or blend.other_person a weight, or leave the file.",
    )
    return Path(blend.autoencoder_file)


def _load(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read tensors and header of an autoencoder of this version."""
    if not path.is_file():
        raise CheckpointError(
            f"blend.autoencoder_file {path}: no such file. Train one: mdcsd autoencoder TRAIN_tf "
            "--output FILE"
        )
    own = {name: tensor.shape for name, tensor in FaceAutoencoder().state_dict().items()}
    try:
        tensors, header = load_tensors(path)
    except CheckpointError:
        tensors, header = {}, {}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if header.get("kind") != _KIND or shapes != own:
        raise CheckpointError(
            f"blend.autoencoder_file {path}: not a {_KIND}. Expected what mdcsd autoencoder wrote."
        )
    return tensors, header


def _open_training(paths: Sequence[str]) -> ShardSet:
    """Open data sets to learn from; faces that judge a network must not be known to its fakes."""
    sets = [open_shards(Path(path)) for path in paths]
    for each in sets:
        check_split(each, "trained on", ("val", "test"), "train")
        if (each.representation, each.channels) != ("raw", 3):
            raise DataError(
                f"{each.path}: an autoencoder needs colour pixels. Prepare the data set with --raw "
                "--color --landmarks."
            )
    return join_shards(sets)


def _real_faces(shards: ShardSet) -> RgbArray:
    """Cut the real faces of a data set, uint8 (N, 96, 96, 3) RGB."""
    real = drop_manipulations(shards, shards.manipulations)
    names = real.class_names
    spec = PreprocessSpec(_FACE_PX, 3, "raw", real.crop_scale, None)
    data = FaceDataset(real, spec, Classes(names, {name: i for i, name in enumerate(names)}))
    faces = []
    for record in (data.record(number) for number in range(len(data))):
        if record.class_name == names[0] and record.landmarks_xy is not None:
            rgb = cast(RgbArray, record.image)
            face = rgb[_face_box(record.landmarks_xy * rgb.shape[0], rgb.shape[0])]
            faces.append(_resized(face, _FACE_PX, _FACE_PX))
    if not faces:
        raise DataError(
            f"{shards.path}: no real face with landmarks among {len(data)} record(s). Prepare the "
            "data set with --raw --color --landmarks."
        )
    return np.stack(faces)


def _draw_channels(rng: np.random.Generator, count: int) -> IntArray:
    """Draw how many channels of the code are kept, few as often as many, int64 (count,)."""
    least, most = np.log(_LEAST_CHANNELS), np.log(_CODE_CHANNELS)
    return np.asarray(np.rint(np.exp(rng.uniform(least, most, count))), np.int64)


def _difference(painted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of pixels and of their edges."""
    difference = painted - real
    edges = (difference.diff(dim=axis).abs().mean() for axis in (2, 3))
    return difference.abs().mean() + sum(edges, torch.zeros((), device=real.device))
