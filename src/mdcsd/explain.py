"""Why a network scores a crop as it does: a heat-map per branch, and what is odd in its spectrum.

Where a branch keeps the picture's layout (pixels, DWT, block DCT, residual) its map is
Grad-CAM (Selvaraju et al., ICCV 2017) at the branch's last feature maps. The DCT and FFT of
a whole picture have no layout: a place in the feature maps is a frequency, and a Grad-CAM of
it laid over the face, as the paper's repository draws it, would show places that mean
nothing. There the map is gradient x input (Shrikumar et al., ICML 2017), taken back through
the transform to pixels. docs/explain.md says what the maps do and do not say.
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
from mdcsd.network import BranchNetwork, Cnn, MdCsdNetwork, Network, XceptionNetwork
from mdcsd.nouns import FaceCrop, FloatImage
from mdcsd.preprocess import PreprocessSpec, crop_to_tensor, kept_part

Spectrum = Literal["log_dct", "dct", "fft"]
Watched = dict[str, torch.Tensor]

_BATCH = 8  # crops explained at a time: gradients hold every layer's activations
_BLUR_SHARE = 1 / 16  # sigma over side, of the blur that takes detail away and of the window


def explain_crops(
    network: Network, checkpoint: Checkpoint, crops: list[FaceCrop], device: torch.device
) -> list[Heatmaps]:
    """Show where each branch finds its evidence for `manipulated` in face crops.

    Heat is what speaks for "manipulated": the positive part of the attribution, divided by
    its maximum in this crop. It says where, not how much: a crop that is certainly real has
    a hottest place too. Where nothing speaks for "manipulated" the map is zero.

    Attributed is the log-odds of manipulated against real: the logit of a network of two
    classes, else log(sum of exp(logits of the manipulations)) - logit of real.

    - Grad-CAM: sum over channels of gradient x feature map, positive part, enlarged
      bilinearly. With the mean pooling of all networks but `cnn` the gradient is the same
      everywhere in a map, and this is Grad-CAM to the letter; in `cnn`, whose dense layer
      sees places, it is HiResCAM (Draelos and Carin, 2020), which averages nothing away.
    - Whole-picture DCT and FFT: gradient x (pixels - pixels blurred by sigma S / 16), through
      the frequency path alone, summed under a Gaussian window of the same sigma, positive
      part. To first order this is how much the log-odds would fall if the frequency branch
      saw this place blurred, and the RGB branch went on seeing it sharp. The slope of
      log(|c| + 1e-12) is replaced by that of log(|c| + 1): else the coefficients next to
      zero, which are rounding noise, would decide.

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
    with torch.inference_mode(False), torch.enable_grad():
        image = _stacked(crops, spec).to(device)
        differences = _log_dct_differences(image, checkpoint)
        heat = _heat(network, image, crops, spec)
    return [
        Heatmaps(
            rgb=_on_crop(heat["rgb"][i], crop, spec) if "rgb" in heat else None,
            frequency=_on_crop(heat["frequency"][i], crop, spec) if "frequency" in heat else None,
            log_dct_difference=None if differences is None else differences[i],
        )
        for i, crop in enumerate(crops)
    ]


def _heat(
    network: Network, image: torch.Tensor, crops: list[FaceCrop], spec: PreprocessSpec
) -> dict[str, FloatImage]:
    """Attribute to places: float32 (B, H, W) a branch, 0 or more, not normalised."""
    kind = _whole_picture(network, spec)
    with _watching(network, image.requires_grad_(), kind) as watched:
        logits = network(image)
    slopes = torch.autograd.grad(_log_odds(logits).sum(), list(watched.values()))
    heat: dict[str, FloatImage] = {}
    for (name, value), slope in zip(watched.items(), slopes, strict=True):
        if name == "frequency" and kind:
            heat[name] = _detail_heat(_pixels(image.detach(), crops, spec), kind, slope)
        else:
            heat[name] = _numpy((value * slope).sum(1).clamp(min=0))
    return heat


def _stacked(crops: list[FaceCrop], spec: PreprocessSpec) -> torch.Tensor:
    return torch.stack([crop_to_tensor(crop.rgb, crop.crop_scale, spec) for crop in crops])


def _pixels(image: torch.Tensor, crops: list[FaceCrop], spec: PreprocessSpec) -> torch.Tensor:
    """The pictures (B, C, S, S) whose spectra the network reads."""
    if spec.representation == "raw":
        return image
    coefficients = _stacked(crops, replace(spec, representation="dct"))  # a logarithm has no sign
    return inverse_dct(coefficients.to(image.device))


def _log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Log-odds of manipulated against real, (B, K) -> (B,), as `network.to_score` reads them."""
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1:].logsumexp(1) - logits[:, 0]


def _whole_picture(network: Network, spec: PreprocessSpec) -> Spectrum | None:
    """Which spectrum of the whole picture a network reads, inside it or as its input."""
    if spec.representation != "raw":
        return "dct" if spec.representation == "dct" else "log_dct"
    if not isinstance(network, MdCsdNetwork | BranchNetwork) or network.transform is None:
        return None
    kinds: dict[str, Spectrum] = {"dct": "log_dct", "fft": "fft"}
    return kinds.get(network.transform.kind)


@contextmanager
def _watching(network: Network, image: torch.Tensor, kind: Spectrum | None) -> Iterator[Watched]:
    """Catch by branch what to attribute to, while a network runs in evaluation mode.

    That is a branch's last feature maps (B, C, H, W); where the branch reads the spectrum of
    a whole picture it is the spectrum, cut off from the pixels it was made of, so that its
    gradient is of the frequency path alone.
    """
    watched: Watched = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: watched.update({name: output})

    def cut(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        watched["frequency"] = output.detach().requires_grad_()
        return watched["frequency"]

    layers, hooks = _last_layers(network), []
    if kind:
        layers.pop("frequency", None)
        if isinstance(network, MdCsdNetwork | BranchNetwork) and network.transform:
            hooks.append(network.transform.register_forward_hook(cut))
        else:
            layers, watched["frequency"] = {}, image
    hooks += [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
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


def _detail_heat(pixels: torch.Tensor, kind: Spectrum, slope: torch.Tensor) -> FloatImage:
    """Gradient x detail in a window, from the gradient (B, C, S, S) at the spectrum."""
    pixels = pixels.clone().requires_grad_()
    if kind == "fft":
        spectrum = torch.fft.fft2(pixels).abs()
    else:
        coefficients = dct(pixels)
        is_log = kind == "log_dct"
        spectrum = torch.log(coefficients.abs() + BAND_FLOOR) if is_log else coefficients
    (gradient,) = torch.autograd.grad(spectrum, pixels, slope)
    detail = _numpy(pixels) - _blurred(_numpy(pixels))
    return np.maximum(_blurred((_numpy(gradient) * detail).sum(1, keepdims=True))[:, 0], 0)


def _blurred(pictures: FloatImage) -> FloatImage:
    """Blur (B, C, S, S) by a Gaussian of sigma S / 16, mirrored at the border."""
    sigma = pictures.shape[-1] * _BLUR_SHARE
    planes = [cv2.GaussianBlur(p, (0, 0), sigma) for p in pictures.reshape(-1, *pictures.shape[2:])]
    return np.stack(planes).reshape(pictures.shape)


def _on_crop(heat: FloatImage, crop: FaceCrop, spec: PreprocessSpec) -> FloatImage:
    """Enlarge a map (H, W) to the part of the crop that the network saw; scale it to 0..1."""
    side = crop.rgb.shape[0]
    part = kept_part(side, crop.crop_scale, spec.crop_scale)
    n_seen = part.stop - part.start
    whole = np.zeros((side, side), np.float32)
    whole[part, part] = cv2.resize(heat, (n_seen, n_seen), interpolation=cv2.INTER_LINEAR)
    hottest = float(whole.max())
    return whole / hottest if hottest > 0 and np.isfinite(hottest) else np.zeros_like(whole)


def _log_dct_differences(image: torch.Tensor, checkpoint: Checkpoint) -> FloatImage | None:
    """Compare inputs' spectra with that of typical real faces: (B, 64, 64), channels' mean."""
    mean = checkpoint.real_log_dct_mean
    if mean is None:
        return None
    bands = log_dct_bands(image, checkpoint.preprocess.representation)
    return _numpy((bands - mean.to(image.device)).mean(1))


def _numpy(tensor: torch.Tensor) -> FloatImage:
    array: FloatImage = tensor.detach().float().cpu().numpy()
    return array
