"""The job: checkpoint -> an ONNX file that judges face crops without torch; kept if both agree.

The graph holds all that stands between a crop as `process-frames` cuts it and its score: shrinking,
the frequency transform, the mirror image where the checkpoint judges it, the temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mdcsd import storage
from mdcsd.checkpoint import Checkpoint, load_checkpoint
from mdcsd.default_weights import weights_path
from mdcsd.errors import InputError, InternalError
from mdcsd.faces import resize
from mdcsd.inference import check_finite, ready_network
from mdcsd.network import to_score
from mdcsd.nouns import FloatArray, RgbArray
from mdcsd.preprocess import PreprocessSpec, to_tensor

_OPSET = 18
_GRAINS = (2, 5, 11, 23, 160)  # grains a side of the made pictures that both judge
_MOST_APART = 1e-3  # of scores and logits; convolutions differ by some 1e-6, logarithms by more
_MOST_ROUNDED = 0.01  # of shrunk pixels: those near half a grey level may be rounded otherwise


@dataclass(frozen=True)
class Exported:
    """What was written: where, its size in bytes, and how far its scores are from torch's."""

    path: Path
    size_bytes: int
    checkpoint_id: str
    apart: float


class _FacesToScores(nn.Module):
    """Face crops uint8 (N, S, S, C) -> scores (N,), pixels (N, C, s, s), logits (N, K)."""

    weights: torch.Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        spec = checkpoint.preprocess
        self.network = ready_network(checkpoint, torch.device("cpu"))
        self.temperature = checkpoint.calibration.temperature
        weights = torch.from_numpy(_area_weights(_side_of(spec), spec.image_size_px))
        self.register_buffer("weights", weights)

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pixels = _shrink(faces.permute(0, 3, 1, 2).to(torch.float32), self.weights)
        scores, logits = self.judge(pixels)
        return scores, pixels, logits

    def judge(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `to_tensor` makes of crops -> scores and logits."""
        logits = self.network.judge(pixels)[1]
        return to_score(logits, self.temperature), logits


def export_onnx(weights: str | Path | None, output: Path) -> Exported:
    """Write a checkpoint, or the embedded one, as an ONNX file, and compare both on made faces.

    Input `faces`: uint8 (N, S, S, C), RGB or luma, crops of the checkpoint's scale; S is the side
    at which it cuts crops, or its image's where that is larger. Output `score`: float32 (N,), 0..1,
    higher is more fake. The file's metadata say `crop_scale`, `cut_size_px`, the thresholds, and
    the terms of the weights.

    Raises: InputError if the packages for it are missing, the checkpoint reads coefficients, or the
        file cannot be written or is not named .onnx; DataError if its answers are no numbers;
        InternalError if the two do not agree. Nothing is written then.
    """
    onnx, onnxruntime = _import_onnx()
    path = weights_path(weights)
    storage.check_writable(output)
    if output.suffix.lower() != ".onnx":
        raise InputError(f"{output}: expected a name that ends in .onnx.")
    checkpoint = load_checkpoint(path)
    spec = checkpoint.preprocess
    if spec.representation != "raw":
        raise InputError(
            f"{path}: a network of DCT coefficients, of which a program without mdcsd has none. "
            "Export one that was trained on --raw pixels."
        )
    made = _make_faces(_side_of(spec), spec.channels)
    judge = _FacesToScores(checkpoint).eval()
    model = _to_onnx(judge, made)
    onnx.helper.set_model_props(model, _facts(checkpoint))
    whole = _open(onnxruntime, model)
    del model.graph.output[1:]  # pixels and logits, which only the comparison needs
    kept = _open(onnxruntime, model)
    apart = _compare(judge, spec, whole, kept, made)
    content = model.SerializeToString()
    storage.write_bytes(output, content)
    return Exported(output, len(content), checkpoint.checkpoint_id, apart)


def _open(onnxruntime: Any, model: Any) -> Any:
    """A session of ONNX Runtime, on the CPU."""
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _import_onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch writes ONNX with it
    except ImportError as error:
        raise InputError(
            f"export needs onnx, onnxruntime and onnxscript ({error}). Install the extra 'onnx': "
            "pip install '.[onnx]' in mdcsd's folder."
        ) from None
    return onnx, onnxruntime


def _to_onnx(judge: nn.Module, faces: RgbArray) -> Any:
    """An `onnx.ModelProto` of any number of faces.

    Not optimised here: that would take the 1e-12 away which keeps the logarithm of a coefficient
    of 0 finite. Runtimes optimise what they load.
    """
    any_number = {0: torch.export.Dim("faces", min=1)}
    program = torch.onnx.export(
        judge,
        (torch.from_numpy(faces),),
        dynamo=True,
        dynamic_shapes=(any_number,),
        input_names=["faces"],
        output_names=["score", "pixels", "logits"],
        opset_version=_OPSET,
        optimize=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    graph = model.graph
    for each in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del each.metadata_props[:]  # where in whose folders each line of code lies
    return model


def _facts(checkpoint: Checkpoint) -> dict[str, str]:
    """What a program needs to know of the file, beside its graph."""
    spec, calibration = checkpoint.preprocess, checkpoint.calibration
    return {
        "mdcsd": version("mdcsd"),
        "checkpoint_id": checkpoint.checkpoint_id,
        "score": "0 to 1, higher is more fake; a verdict rests on the mean over a person's frames",
        "crop_scale": f"{spec.crop_scale:g}",
        "cut_size_px": str(spec.cut_size_px),
        "colour": "RGB" if spec.channels == 3 else "luma",
        "uncertain_from": repr(calibration.uncertain_from),
        "manipulated_from": repr(calibration.manipulated_from),
        "licence": str(checkpoint.provenance.get("licence") or ""),
    }


def _make_faces(side: int, channels: int) -> RgbArray:
    """Pictures of coarse to fine grain, and a black one: uint8 (N, side, side, channels)."""
    rng = np.random.default_rng(0)
    grains = [rng.integers(0, 256, (n, n, channels), np.uint8) for n in _GRAINS]
    made = [resize(grain, (side, side)).reshape(side, side, channels) for grain in grains]
    return np.stack([*made, np.zeros_like(made[0])])


def _side_of(spec: PreprocessSpec) -> int:
    """Side of the crops that the graph takes: enlarging is left to who cuts them."""
    return max(spec.cut_size_px, spec.image_size_px)


def _area_weights(side: int, smaller: int) -> FloatArray:
    """What each pixel gives to each of a smaller picture, along one axis: float32 (smaller, side).

    OpenCV's INTER_AREA, which leaves shares below a thousandth of a pixel out.
    """
    step = side / smaller
    first, pixel = np.arange(smaller)[:, None] * step, np.arange(side)
    shared = np.minimum(first + step, pixel + 1) - np.maximum(first, pixel)
    return np.where(shared > 1e-3, shared / step, 0.0).astype(np.float32)


def _shrink(pixels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Shrink pictures (N, C, S, S) of 0..255 by what `_area_weights` says, to whole grey levels.

    As OpenCV does, halves included: it rounds to the even level, but up where it halves a picture;
    by a whole factor it adds up whole levels, else columns first.
    """
    smaller, side = weights.shape
    if side == smaller:
        return pixels
    factor, rest = divmod(side, smaller)
    if rest:
        return (weights @ (pixels @ weights.T)).round()
    cells = (smaller, factor, smaller, factor)
    total = pixels.reshape(*pixels.shape[:2], *cells).sum((3, 5))
    mean = total * float(np.float32(1.0 / factor**2))
    return (mean + 0.5).floor() if factor == 2 else mean.round()


def _compare(
    judge: _FacesToScores, spec: PreprocessSpec, whole: Any, kept: Any, faces: RgbArray
) -> float:
    """Follow faces through the file and, beside it, the way that `detect` goes.

    Pixels and logits apart, for a network can make much of a pixel that is rounded otherwise.

    Args:
        whole: a session that gives scores, pixels and logits.
        kept: a session of the file as it is to be written, which gives scores.

    Returns: how far the scores are apart, at most.

    Raises: InternalError if anything is too far apart, DataError if torch answers no numbers.
    """
    most = []
    for batch in (faces, faces[:1]):
        scores, pixels, logits = whole.run(None, {"faces": batch})
        seen = torch.stack([to_tensor(face, spec.crop_scale, spec) for face in batch]).numpy()
        levels = np.abs(pixels - seen)
        if levels.max() > 1 or (levels > 0).mean() > _MOST_ROUNDED:
            raise InternalError("the ONNX file shrinks faces otherwise than training did")
        with torch.inference_mode():
            expected_scores, expected = judge.judge(torch.from_numpy(pixels))
        check_finite(expected)
        if not np.allclose(logits, expected.numpy(), rtol=_MOST_APART, atol=_MOST_APART):
            raise InternalError("the ONNX file answers otherwise than torch")
        for each in (scores, *kept.run(None, {"faces": batch})):
            most.append(np.abs(each - expected_scores.numpy()).max())
    apart = float(np.max(most))  # NaN where any is
    if not apart <= _MOST_APART:
        raise InternalError(
            f"the ONNX file scores {apart:.2g} away from torch, up to {_MOST_APART:g} were expected"
        )
    return apart
