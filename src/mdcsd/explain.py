"""Why a network scores a crop as it does: a heat-map per branch, and what is odd in its spectrum.

All maps start from Grad-CAM (Selvaraju et al., ICCV 2017) at a branch's last feature maps.
Where a branch keeps the picture's layout (pixels, DWT, block DCT, residual) that is a map of
places. In a branch that reads the DCT or FFT of a whole picture a place in the feature maps
is a frequency, lowest top left: laid over the face, as the paper's repository draws it, it
would point at places that mean nothing. There it is used as what it is, a filter: the heat
is where the picture holds content at the frequencies that speak for "manipulated".
docs/explain.md says what the maps do and do not say.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import nn

from mdcsd.checkpoint import Checkpoint
from mdcsd.frequency import BAND_FLOOR, dct, inverse_dct, log_dct_bands
from mdcsd.judging_nouns import Heatmaps
from mdcsd.network import BranchNetwork, Cnn, MdCsdNetwork, Network, XceptionNetwork, log_odds
from mdcsd.nouns import FaceCrop, FloatImage, RgbArray
from mdcsd.preprocess import PreprocessSpec, crop_to_tensor, kept_part

Spectrum = Literal["dct", "fft"]

_BATCH = 8  # crops explained at a time: gradients hold every layer's activations
_WINDOW_SHARE = 1 / 16  # sigma over side of the window in which content is summed
_HEAT_OPACITY = 0.7
DIFFERENCE_RANGE = 2.0
"""Difference of natural logarithms at which `colour_difference` saturates: a factor of 7.4."""
_LESS, _ALIKE, _MORE = (33, 102, 172), (247, 247, 247), (178, 70, 0)  # RGB: blue, white, brown


def explain_crops(
    network: Network, checkpoint: Checkpoint, crops: list[FaceCrop], device: torch.device
) -> list[Heatmaps]:
    """Show where each branch finds its evidence for `manipulated` in face crops.

    Heat is what speaks for "manipulated", divided by its maximum in this crop. It says where,
    not how much: a crop that is certainly real has a hottest place too. Where nothing speaks
    for "manipulated" the map is zero.

    Attributed is the log-odds of manipulated against real: the logit of a network of two
    classes, else log(sum of exp(logits of the manipulations)) - logit of real.

    A network that judges a face with its mirror image is asked about both, and the heat of the
    mirror image is turned back and added.

    - Grad-CAM: sum over channels of gradient x feature map, positive part, enlarged
      bilinearly. With the mean pooling of all networks but `cnn` the gradient is the same
      everywhere in a map, and this is Grad-CAM to the letter; in `cnn`, whose dense layer
      sees places, it is HiResCAM (Draelos and Carin, 2020), which averages nothing away.
    - Whole-picture DCT and FFT: that map, W over frequencies, weighs the spectrum, and the
      inverse transform brings it back to pixels: heat = G * sum over channels of
      inverse(W x spectrum)^2, G a Gaussian window of sigma S / 16. Magnitudes in the
      spectrum are compressed to log(|c| + 1), else the lowest frequencies, which hold nearly
      all energy of a face, would decide; the mean brightness is left out. (Gradient x pixels
      through the logarithm, the textbook's way, was tried and left: noise of one grey level
      changes it entirely, and hardly changes the score.)

    Args:
        network: built from `checkpoint`, on `device`; mode, hooks and gradients of its
            weights are afterwards as they were. Not for two threads at once.
        crops: of any size, at least of the checkpoint's crop scale; what the network does
            not see of a larger one has no heat.

    Returns: for each crop its maps, of the crop's own side.
    """
    found: list[Heatmaps] = []
    for start in range(0, len(crops), _BATCH):
        found += _explain(network, checkpoint, crops[start : start + _BATCH], device)
    return found


def _explain(
    network: Network, checkpoint: Checkpoint, crops: list[FaceCrop], device: torch.device
) -> list[Heatmaps]:
    spec = checkpoint.preprocess
    heat = _heat(network, spec, crops, device)
    if network.mirrors:  # the score is made of both views, and so is the heat
        mirrored = [replace(crop, rgb=np.ascontiguousarray(crop.rgb[:, ::-1])) for crop in crops]
        of_mirrored = _heat(network, spec, mirrored, device)
        heat = {name: each + of_mirrored[name][..., ::-1] for name, each in heat.items()}
    differences = _log_dct_differences(_stacked(crops, spec).to(device), checkpoint)
    maps = {
        name: [_on_crop(one, crop, spec) for one, crop in zip(each, crops, strict=True)]
        for name, each in heat.items()
    }
    absent: list[FloatImage | None] = [None] * len(crops)
    parts = (maps.get("rgb", absent), maps.get("frequency", absent), differences or absent)
    return [Heatmaps(*each) for each in zip(*parts, strict=True)]


def _heat(
    network: Network, spec: PreprocessSpec, crops: list[FaceCrop], device: torch.device
) -> dict[str, FloatImage]:
    """Heat of crops as they stand, by branch, float32 (B, H, W), not normalised."""
    with torch.inference_mode(False), torch.enable_grad():
        heat = _grad_cams(network, _stacked(crops, spec).to(device))
    kind = _whole_picture(network, spec)
    if kind is not None:
        of_frequencies = heat.pop("frequency" if spec.representation == "raw" else "rgb")
        heat["frequency"] = _places_of(of_frequencies, crops, spec, kind)
    return heat


def _grad_cams(network: Network, image: torch.Tensor) -> dict[str, FloatImage]:
    """Grad-CAM by branch, float32 (B, H, W), 0 or more, not normalised."""
    with _watching(network) as watched:
        logits = network(image.requires_grad_())
    slopes = torch.autograd.grad(log_odds(logits).sum(), list(watched.values()))
    pairs = zip(watched.items(), slopes, strict=True)
    return {name: _numpy((value * slope).sum(1).clamp(min=0)) for (name, value), slope in pairs}


@contextmanager
def _watching(network: Network) -> Iterator[dict[str, torch.Tensor]]:
    """Catch each branch's last feature maps (B, C, H, W) while a network runs in eval mode."""
    watched: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: watched.update({name: output})

    hooks = [
        layer.register_forward_hook(keep(name)) for name, layer in _last_layers(network).items()
    ]
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield watched
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True


def _last_layers(network: Network) -> dict[str, nn.Module]:
    """The layers that put out a branch's last feature maps."""
    if isinstance(network, MdCsdNetwork):
        return {"rgb": network.rgb.stages[-1], "frequency": network.frequency.stages[-1]}
    if isinstance(network, BranchNetwork):
        return {"frequency" if network.transform else "rgb": network.backbone}
    if isinstance(network, XceptionNetwork):
        return {"rgb": network.backbone}
    assert isinstance(network, Cnn)
    return {"rgb": network.convolutions}


def _whole_picture(network: Network, spec: PreprocessSpec) -> Spectrum | None:
    """Which spectrum of the whole picture a network reads, inside it or as its input."""
    if spec.representation != "raw":
        return "dct"
    if not isinstance(network, MdCsdNetwork | BranchNetwork) or network.transform is None:
        return None
    kinds: dict[str, Spectrum] = {"dct": "dct", "fft": "fft"}
    return kinds.get(network.transform.kind)


def _places_of(
    weight: FloatImage, crops: list[FaceCrop], spec: PreprocessSpec, kind: Spectrum
) -> FloatImage:
    """Where crops hold content at weighted frequencies: (B, H, W) -> (B, S, S)."""
    is_raw = spec.representation == "raw"
    image = _stacked(crops, spec if is_raw else replace(spec, representation="dct"))  # has a sign
    side = spec.image_size_px
    weights = torch.from_numpy(np.stack([cv2.resize(each, (side, side)) for each in weight]))
    weights[:, 0, 0] = 0.0  # a picture's mean brightness has no place
    if kind == "fft":
        spectrum = _compressed(torch.fft.fft2(image))
        content = torch.fft.ifft2(spectrum * weights[:, None]).real
    else:
        spectrum = _compressed(dct(image) if is_raw else image)
        content = inverse_dct(spectrum * weights[:, None])
    energy = _numpy(content.square().sum(1))
    return np.stack([cv2.GaussianBlur(each, (0, 0), side * _WINDOW_SHARE) for each in energy])


def _compressed(spectrum: torch.Tensor) -> torch.Tensor:
    """Replace each coefficient's magnitude by log(magnitude + 1); sign or phase stay."""
    magnitude = spectrum.abs()
    return torch.log(magnitude + BAND_FLOOR) * spectrum / magnitude.clamp(min=1e-12)


def _stacked(crops: list[FaceCrop], spec: PreprocessSpec) -> torch.Tensor:
    return torch.stack([crop_to_tensor(crop.rgb, crop.crop_scale, spec) for crop in crops])


def _on_crop(heat: FloatImage, crop: FaceCrop, spec: PreprocessSpec) -> FloatImage:
    """Enlarge a map (H, W) to the part of the crop that the network saw; scale it to 0..1."""
    side = crop.rgb.shape[0]
    part = kept_part(side, crop.crop_scale, spec.crop_scale)
    n_seen = part.stop - part.start
    whole = np.zeros((side, side), np.float32)
    whole[part, part] = cv2.resize(heat, (n_seen, n_seen), interpolation=cv2.INTER_LINEAR)
    hottest = float(whole.max())
    return whole / hottest if hottest > 0 and np.isfinite(hottest) else np.zeros_like(whole)


def _log_dct_differences(image: torch.Tensor, checkpoint: Checkpoint) -> list[FloatImage] | None:
    """Compare inputs' spectra with that of typical real faces: (64, 64) each, channels' mean."""
    mean = checkpoint.real_log_dct_mean
    if mean is None:
        return None
    bands = log_dct_bands(image, checkpoint.preprocess.representation)
    return list(_numpy((bands - mean.to(image.device)).mean(1)))


def _numpy(tensor: torch.Tensor) -> FloatImage:
    array: FloatImage = tensor.detach().float().cpu().numpy()
    return array


def colour_heat(crop_rgb: RgbArray, heat: FloatImage) -> RgbArray:
    """Lay a heat-map over a crop: the hotter, the more opaque and the lighter.

    Colours are OpenCV's inferno, whose lightness rises evenly, so that it reads without
    colours too.

    Args:
        crop_rgb: uint8 (S, S, 3), RGB.
        heat: float32 (S, S), 0..1; 0 leaves the crop as it is.

    Returns: uint8 (S, S, 3), RGB.
    """
    steps = (heat * 255).round().astype(np.uint8)
    colours = cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = _HEAT_OPACITY * heat[..., None]
    blended: RgbArray = (crop_rgb * (1 - opacity) + colours * opacity).round().astype(np.uint8)
    return blended


def colour_difference(log_dct_difference: FloatImage) -> RgbArray:
    """Colour a spectrum's difference from typical real faces, on one scale for all pictures.

    White is as in real faces, blue less, brown more; full colour from 2 natural logarithms,
    a factor of 7.4. Blue and brown differ for the colour-blind too.

    Args:
        log_dct_difference: float32 (H, W), lowest frequency at [0, 0].

    Returns: uint8 (H, W, 3), RGB.
    """
    places = (-DIFFERENCE_RANGE, 0.0, DIFFERENCE_RANGE)
    stops = zip(_LESS, _ALIKE, _MORE, strict=True)
    channels = [np.interp(log_dct_difference, places, each) for each in stops]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
