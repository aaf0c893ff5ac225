"""Writes xception_keras_features.json: Keras' own Xception on seeded weights and pixels.

Run once, with TensorFlow installed; the test compares timm's cut-up Xception with the file.
Weights are drawn by `seeded_tensor` from a name and a shape, so no weights need storing.

    python tests/data/xception_keras_features.py
"""

import json
import zlib
from pathlib import Path

import numpy as np

STAGE_ENDS = ("add", "add_1", "add_2", "add_11", "block14_sepconv2_act")


def seeded_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a tensor in timm's layout; batch-norm variances are positive."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("running_var", "bn.weight")) or (".weight" in name and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) == 1:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    fan_in = int(np.prod(shape[1:]))
    return (rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)


def seeded_pixels(side: int = 299) -> np.ndarray:
    """Draw an input of -1..1, float32 (1, side, side, 3)."""
    return np.random.default_rng(7).uniform(-1, 1, (1, side, side, 3)).astype(np.float32)


def _timm_name(layer: str) -> str:
    """timm's module name of a Keras layer with weights."""
    skips = {"conv2d": 1, "conv2d_1": 2, "conv2d_2": 3, "conv2d_3": 12}
    norms = {
        f"batch_normalization{'' if i == 0 else f'_{i}'}": b for i, b in enumerate((1, 2, 3, 12))
    }
    if layer in skips:
        return f"block{skips[layer]}.skip"
    if layer in norms:
        return f"block{norms[layer]}.skipbn"
    block, rest = layer[5:].split("_", 1)
    is_norm, number = rest.endswith("_bn"), int(rest.removesuffix("_bn")[-1])
    if block in ("1", "14"):
        index = number + (2 if block == "14" else 0)
        return f"{'bn' if is_norm else 'conv'}{index}"
    first = 0 if block == "2" else 1
    return f"block{int(block) - 1}.rep.{first + 3 * (number - 1) + is_norm}"


def _keras_weights(layer, module: str) -> list[np.ndarray]:
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if len(shapes) == 4:
        names = ("weight", "bias", "running_mean", "running_var")
        return [seeded_tensor(f"{module}.{n}", s) for n, s in zip(names, shapes, strict=True)]
    if len(shapes) == 1:
        h, w, i, o = shapes[0]
        return [seeded_tensor(f"{module}.weight", (o, i, h, w)).transpose(2, 3, 1, 0)]
    (h, w, i, _), (_, _, _, o) = shapes
    depth = seeded_tensor(f"{module}.conv1.weight", (i, 1, h, w)).transpose(2, 3, 0, 1)
    point = seeded_tensor(f"{module}.pointwise.weight", (o, i, 1, 1)).transpose(2, 3, 1, 0)
    return [depth, point]


def main() -> None:
    """Run Keras and store, stage by stage, shape, mean, standard deviation and 12 values."""
    import keras

    model = keras.applications.Xception(weights=None, include_top=False, input_shape=(299, 299, 3))
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_keras_weights(layer, _timm_name(layer.name)))
    outputs = [model.get_layer(name).output for name in STAGE_ENDS]
    stages = keras.Model(model.input, outputs).predict(seeded_pixels(), verbose=0)
    stored = []
    for features in stages:
        first = features[0].transpose(2, 0, 1)  # as torch has it: (C, H, W)
        picked = np.linspace(0, first.size - 1, 12).astype(int)
        stored.append(
            {
                "shape": list(first.shape),
                "mean": float(first.mean()),
                "std": float(first.std()),
                "picked": picked.tolist(),
                "values": [float(value) for value in first.ravel()[picked]],
            }
        )
    text = json.dumps({"made_by": f"keras {keras.__version__}", "stages": stored}, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n")


if __name__ == "__main__":
    main()
