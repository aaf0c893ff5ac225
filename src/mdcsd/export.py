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
from mdcsd.inference import ready_network
from mdcsd.network import to_score
from mdcsd.nouns import FloatArray, RgbArray
from mdcsd.preprocess import PreprocessSpec, to_tensor

_OPSET = 18
_GRAINS = (2, 5, 11, 23, 160)  # grains a side of the made pictures that both judge
_MOST_APART = 1e-4  # of scores 0..1; convolutions differ by some 1e-6
_MOST_ROUNDED = 0.01  # of shrunk pixels: those near half a grey level may be rounded otherwise


@dataclass(frozen=True)
class Exported:
    """What was written: where, its size in bytes, and how far its scores are from torch's."""

    path: Path
    size_bytes: int
    checkpoint_id: str
    apart: float


class _FacesToScores(nn.Module):
    """Face crops uint8 (N, S, S, C) -> scores float32 (N,), pixels float32 (N, C, s, s)."""

    weights: torch.Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        spec = checkpoint.preprocess
        self.network = ready_network(checkpoint, torch.device("cpu"))
        self.temperature = checkpoint.calibration.temperature
        weights = torch.from_numpy(_area_weights(_side_of(spec), spec.image_size_px))
        self.register_buffer("weights", weights)

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = _shrink(faces.permute(0, 3, 1, 2).to(torch.float32), self.weights)
        return self.judge(pixels), pixels

    def judge(self, pixels: torch.Tensor) -> torch.Tensor:
        """What `to_tensor` makes of crops -> scores."""
        return to_score(self.network.judge(pixels)[1], self.temperature)


def export_onnx(weights: str | Path | None, output: Path) -> Exported:
    """Write a checkpoint, or the embedded one, as an ONNX file, and compare both on made faces.

    Input `faces`: uint8 (N, S, S, C), RGB or luma, crops of the checkpoint's scale; S is the side
    at which it cuts crops, or its image's where that is larger. Output `score`: float32 (N,), 0..1,
    higher is more fake. The file's metadata say the crop scale, the thresholds, and the terms.

    Raises: InputError if the packages for it are missing, the checkpoint reads coefficients, or the
        file cannot be written; InternalError if the two do not agree. Nothing is written then.
    """
    onnx, onnxruntime = _import_onnx()
    storage.check_writable(output)
    path = weights_path(weights)
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
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    apart = _compare(judge, spec, session, made)
    del model.graph.output[1]  # the pixels, which only the comparison needs
    onnx.helper.set_model_props(model, _facts(checkpoint))
    content = model.SerializeToString()
    storage.write_bytes(output, content)
    return Exported(output, len(content), checkpoint.checkpoint_id, apart)


def _import_onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch writes ONNX with it
    except ImportError as error:
        raise InputError(
            f"export needs {error.name}. Install the extra 'onnx': pip install '.[onnx]' in "
            "mdcsd's folder."
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
        output_names=["score", "pixels"],
        opset_version=_OPSET,
        optimize=False,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _facts(checkpoint: Checkpoint) -> dict[str, str]:
    """What a program needs to know of the file, beside its graph."""
    spec, calibration = checkpoint.preprocess, checkpoint.calibration
    return {
        "mdcsd": version("mdcsd"),
        "checkpoint_id": checkpoint.checkpoint_id,
        "crop_scale": f"{spec.crop_scale:g}",
        "colour": "RGB" if spec.channels == 3 else "luma",
        "uncertain_from": repr(calibration.uncertain_from),
        "manipulated_from": repr(calibration.manipulated_from),
        "licence": checkpoint.provenance.get("licence", ""),
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

    OpenCV rounds a half to the even level, but up where it halves a picture.
    """
    smaller, side = weights.shape
    if side == smaller:
        return pixels
    shrunk = weights @ pixels @ weights.T
    return (shrunk + 0.5).floor() if side == 2 * smaller else shrunk.round()


def _compare(judge: _FacesToScores, spec: PreprocessSpec, session: Any, faces: RgbArray) -> float:
    """Follow faces through the file and, beside it, the way that `detect` goes.

    Pixels and scores apart, for a network can make much of a pixel that is rounded otherwise.

    Returns: how far the scores are apart, at most.

    Raises: InternalError if pixels or scores are too far apart.
    """
    apart = 0.0
    for batch in (faces, faces[:1]):
        scores, pixels = session.run(None, {"faces": batch})
        levels = np.abs(pixels - [to_tensor(face, spec.crop_scale, spec) for face in batch])
        if levels.max() > 1 or (levels > 0).mean() > _MOST_ROUNDED:
            raise InternalError("the ONNX file shrinks faces otherwise than training did")
        with torch.inference_mode():
            expected = judge.judge(torch.from_numpy(pixels)).numpy()
        apart = max(apart, float(np.abs(scores - expected).max()))
    if not apart <= _MOST_APART:
        raise InternalError(
            f"the ONNX file scores {apart:.2g} away from torch, up to {_MOST_APART:g} were expected"
        )
    return apart
