"""The networks: `mdcsd`, the paper's, on one page; `cnn` and `xception`, its baselines.

Source: Agarwal, Agarwal, Sinha, Vatsa, Singh, "MD-CSDNetwork: Multi-Domain Cross Stitched
Network for Deepfake Detection", FG 2021; cross-stitch units from Misra et al., CVPR 2016.
Layer sizes are those of the authors' published code; where that code differs from the
paper (its units never mix the branches) `stitch="none"` gives the code, the default the
paper.

Shapes: B batch, S image side, K classes. Every network maps pixels 0..255 (or DCT
coefficients) float32 (B, C, S, S) to logits (B, 1) for K = 2, else (B, K).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from mdcsd.backbones import StagedBackbone
from mdcsd.config import NetworkConfig, Stitch
from mdcsd.errors import InputError
from mdcsd.frequency import FrequencyTransform
from mdcsd.preprocess import PreprocessSpec

_OWN_SHARE, _OTHER_SHARE = 0.9, 0.1


class CrossStitch(nn.Module):
    """Mixes two feature maps of equal shape by learned weights (Misra et al., 2016).

    x' = a11 x + a12 y and y' = a21 x + a22 y, starting from [[.9, .1], [.1, .9]].
    `scalar`: 4 scalars (the paper); `channel`: 4 a channel; `none`: x' = a11 x, y' = a22 y,
    2 scalars, as the authors' code computes it.
    """

    def __init__(self, mode: Stitch, channels: int) -> None:
        """Start with .9 of the own branch and .1 of the other."""
        super().__init__()
        self.mode = mode
        start = torch.tensor([[_OWN_SHARE, _OTHER_SHARE], [_OTHER_SHARE, _OWN_SHARE]])
        shaped = {
            "scalar": start,  # (2, 2)
            "channel": start[:, :, None].repeat(1, 1, channels),  # (2, 2, C)
            "none": start.diagonal().clone(),  # (2,)
        }
        self.weight = nn.Parameter(shaped[mode])

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix (B, C, H, W) and (B, C, H, W)."""
        a: torch.Tensor = self.weight
        if self.mode == "none":
            return a[0] * x, a[1] * y
        if self.mode == "channel":
            a = a[..., None, None]  # (2, 2, C, 1, 1), over height and width
        return a[0, 0] * x + a[0, 1] * y, a[1, 0] * x + a[1, 1] * y


class Standardise(nn.Module):
    """(x - mean) / std a channel, with numbers fitted on training data and kept in the weights."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, channels: int) -> None:
        """Start as the identity."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def set(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Set the fitted numbers, each (channels,); a channel that never varies keeps 1."""
        self.mean.copy_(mean)
        self.variance.copy_(torch.where(variance > 0, variance, torch.ones_like(variance)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same."""
        return (x - self.mean[:, None, None]) / self.variance[:, None, None].sqrt()


class Network(nn.Module):
    """What all networks here share: `standardise`, fitted on what `unscaled` returns.

    `standardise` is None where the input is pixels alone, which are rescaled to -1..1.
    """

    standardise: Standardise | None
    head: nn.Module
    mirrors = False
    """Whether `judge` looks at the mirror image too."""

    def judge(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer as verdicts and figures need it: what training's steps see is `forward`.

        Returns: what goes into `head` (B, D), and logits (B, K); with `mirrors` the means over a
            face and its mirror image.
        """
        features = self.features(image)
        logits: torch.Tensor = self.head(features)
        if not self.mirrors:
            return features, logits
        mirrored = self.features(image.flip(-1))
        return (features + mirrored) / 2, (logits + self.head(mirrored)) / 2

    def unscaled(self, image: torch.Tensor) -> torch.Tensor:
        """What goes into `standardise` for an input (B, C, S, S)."""
        return image

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """What goes into `head`: (B, C, S, S) -> (B, D)."""
        raise NotImplementedError

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, S, S) -> (B, K)."""
        logits: torch.Tensor = self.head(self.features(image))
        return logits

    def head_modules(self) -> list[nn.Module]:
        """The dense layers behind the convolutions."""
        return [self.head]

    def scale_input(self, image: torch.Tensor) -> torch.Tensor:
        """Standardise coefficients; bring pixels from 0..255 to -1..1, as Xception expects."""
        return self.standardise(image) if self.standardise else image / 127.5 - 1.0


class Cnn(Network):
    """The shallow network: conv 3, conv 8, pool, conv 16, pool, conv 32 (all 3x3), dense."""

    def __init__(self, spec: PreprocessSpec, n_outputs: int) -> None:
        """Build for one input size."""
        super().__init__()
        self.standardise = _standardise_for(spec)
        self.convolutions = nn.Sequential(
            nn.Conv2d(spec.channels, 3, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(32 * (spec.image_size_px // 4) ** 2, n_outputs)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, S, S) -> (B, 2 S^2)."""
        maps: torch.Tensor = self.convolutions(self.scale_input(image))  # (B, 32, S/4, S/4)
        return maps.flatten(1)


class XceptionNetwork(Network):
    """Xception on one input: global average pool, dropout .2, dense 512, dense."""

    def __init__(self, spec: PreprocessSpec, n_outputs: int, dropout: float) -> None:
        """Build with random weights."""
        super().__init__()
        self.standardise = _standardise_for(spec)
        self.backbone = StagedBackbone("xception", spec.channels)
        self.head = nn.Sequential(
            nn.Dropout(0.2 * dropout),
            nn.Linear(self.backbone.channels[-1], 512),
            nn.ReLU(),
            nn.Linear(512, n_outputs),
        )

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, S, S) -> (B, 2048)."""
        maps: torch.Tensor = self.backbone(self.scale_input(image))  # (B, 2048, S/32, S/32)
        return maps.mean((2, 3))


class MdCsdNetwork(Network):
    """Two backbones, one on pixels and one on frequencies, stitched behind four stages."""

    def __init__(self, config: NetworkConfig, spec: PreprocessSpec, n_outputs: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.transform = FrequencyTransform(config.frequency, spec.image_size_px)
        self.halves_pixels = config.frequency == "dwt"
        self.standardise = Standardise(self.transform.out_channels)
        self.rgb = StagedBackbone(config.backbone, 3)
        self.frequency = StagedBackbone(config.backbone, self.transform.out_channels)
        self.stitches = nn.ModuleList(
            CrossStitch(config.stitch, channels) for channels in self.rgb.channels[:-1]
        )
        self.rgb_neck = _neck(self.rgb.channels[-1], config.dropout)
        self.frequency_neck = _neck(self.rgb.channels[-1], config.dropout)
        self.head = nn.Sequential(nn.Dropout(0.2 * config.dropout), nn.Linear(512, n_outputs))

    def unscaled(self, image: torch.Tensor) -> torch.Tensor:
        """The frequency representation of pixels (B, 3, S, S)."""
        frequencies: torch.Tensor = self.transform(image)
        return frequencies

    def head_modules(self) -> list[nn.Module]:
        """Both necks and the layer that joins them."""
        return [self.rgb_neck, self.frequency_neck, self.head]

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, 512)."""
        assert self.standardise is not None
        x = image / 127.5 - 1.0  # (B, 3, S, S)
        y = self.standardise(self.unscaled(image))  # (B, C', S', S')
        if self.halves_pixels:
            x = functional.max_pool2d(x, 2, ceil_mode=True)  # (B, 3, S/2, S/2), as the DWT
        for i, stitch in enumerate(self.stitches):
            x, y = stitch(self.rgb.stages[i](x), self.frequency.stages[i](y))
        x, y = self.rgb.stages[-1](x), self.frequency.stages[-1](y)  # (B, 2048, S/32, S/32)
        return torch.cat([self.rgb_neck(x.mean((2, 3))), self.frequency_neck(y.mean((2, 3)))], 1)


class BranchNetwork(Network):
    """One branch of `mdcsd` alone, with its neck and head: what the other one adds to."""

    def __init__(self, config: NetworkConfig, spec: PreprocessSpec, n_outputs: int) -> None:
        """Build the branch that `config.branches` names, with random weights."""
        super().__init__()
        on_pixels = config.branches == "rgb"
        self.transform = (
            None if on_pixels else FrequencyTransform(config.frequency, spec.image_size_px)
        )
        channels = self.transform.out_channels if self.transform else 3
        self.standardise = Standardise(channels) if self.transform else None
        self.backbone = StagedBackbone(config.backbone, channels)
        self.neck = _neck(self.backbone.channels[-1], config.dropout)
        self.head = nn.Sequential(nn.Dropout(0.2 * config.dropout), nn.Linear(256, n_outputs))

    def unscaled(self, image: torch.Tensor) -> torch.Tensor:
        """The frequency representation of pixels (B, 3, S, S), or the pixels."""
        frequencies: torch.Tensor = self.transform(image) if self.transform else image
        return frequencies

    def head_modules(self) -> list[nn.Module]:
        """The neck and the last layer."""
        return [self.neck, self.head]

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, 256)."""
        maps: torch.Tensor = self.backbone(self.scale_input(self.unscaled(image)))
        features: torch.Tensor = self.neck(maps.mean((2, 3)))
        return features


def build_network(config: NetworkConfig, spec: PreprocessSpec, n_classes: int) -> Network:
    """Build a network with random weights.

    Raises: InputError if `mdcsd` is asked to read anything but raw colour, or coefficients are
        to be mirrored.
    """
    if config.mirror and spec.representation != "raw":
        raise InputError(
            f"network.mirror needs pixels, these are {spec.representation}. Prepare with --raw."
        )
    network = _build(config, spec, 1 if n_classes == 2 else n_classes)
    network.mirrors = config.mirror
    return network


def _build(config: NetworkConfig, spec: PreprocessSpec, n_outputs: int) -> Network:
    if config.name == "cnn":
        return Cnn(spec, n_outputs)
    if config.name == "xception":
        return XceptionNetwork(spec, n_outputs, config.dropout)
    if spec.representation != "raw" or spec.channels != 3:
        raise InputError(
            "mdcsd computes the frequency transform itself and needs raw colour pixels, got "
            f"{spec.representation} with {spec.channels} channel(s). Run: prepare_dataset.py "
            "--raw --color DIRECTORY, and train without --grayscale."
        )
    if config.branches != "both":
        return BranchNetwork(config, spec, n_outputs)
    return MdCsdNetwork(config, spec, n_outputs)


def load_imagenet(network: Network, config: NetworkConfig) -> None:
    """Start the branches that `config.pretrained` names from ImageNet weights."""
    path = Path(config.pretrained_file) if config.pretrained_file else None
    for backbone in _pretrained_backbones(network, config):
        backbone.load_imagenet(path)


def freeze_stages(network: Network, n_stages: int, config: NetworkConfig) -> None:
    """Keep the weights of the lowest stages of the branches that started from ImageNet.

    Their batch-norm statistics still follow the data, as a frequency picture needs.
    """
    for backbone in _pretrained_backbones(network, config):
        backbone.stages[:n_stages].requires_grad_(False)


def _pretrained_backbones(network: Network, config: NetworkConfig) -> list[StagedBackbone]:
    """The backbones that start from ImageNet weights: with "rgb" those that see pixels."""
    if config.pretrained == "none" or isinstance(network, Cnn):
        return []
    if isinstance(network, MdCsdNetwork):
        both = [network.rgb, network.frequency]
        return both if config.pretrained == "both" else both[:1]
    assert isinstance(network, XceptionNetwork | BranchNetwork)
    sees_pixels = isinstance(network, XceptionNetwork) or network.transform is None
    return [network.backbone] if sees_pixels or config.pretrained == "both" else []


def to_score(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Turn logits (B, 1) or (B, K) into scores (B,), 0..1, higher is more fake.

    One logit: its sigmoid. K logits: 1 - the softmax probability of class 0, the real one.
    Logits are divided by the temperature first (Guo et al., ICML 2017).
    """
    logits = logits.float() / temperature
    return logits[:, 0].sigmoid() if logits.shape[1] == 1 else 1.0 - logits.softmax(1)[:, 0]


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Log-odds of manipulated against real, (B, K) -> (B,).

    One logit is that itself; of K the first is the real class's, the others are manipulations.
    """
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1:].logsumexp(1) - logits[:, 0]


def _neck(channels: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.5 * dropout), nn.Linear(channels, 256), nn.ReLU())


def _standardise_for(spec: PreprocessSpec) -> Standardise | None:
    return None if spec.representation == "raw" else Standardise(spec.channels)
