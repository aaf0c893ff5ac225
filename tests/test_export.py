"""ONNX: what another program computes of a face crop is what the detector computes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import mdcsd
from mdcsd import Detector, export
from mdcsd.checkpoint import Checkpoint, save_checkpoint
from mdcsd.cli import main
from mdcsd.config import NetworkConfig
from mdcsd.errors import DataError, InternalError
from mdcsd.export import export_onnx
from mdcsd.faces import resize
from mdcsd.judging_nouns import Calibration
from mdcsd.network import build_network
from mdcsd.preprocess import to_tensor
from test_checkpoint import SPEC, checkpoint


@pytest.fixture
def saved(tmp_path):
    """Saves a checkpoint of random weights."""

    def save(made: Checkpoint):
        path = tmp_path / "weights.safetensors"
        save_checkpoint(made, path)
        return path

    return save


def shallow(spec, class_names=("original", "Deepfakes")) -> Checkpoint:
    config, calibration = NetworkConfig(name="cnn"), Calibration(0.2, 0.7, 0.8, 0.5, "a test")
    torch.manual_seed(0)
    state = build_network(config, spec, len(class_names)).state_dict()
    return Checkpoint(config, spec, class_names, calibration, state, {})


def mirrored() -> Checkpoint:
    made = checkpoint()
    spec = replace(SPEC, source_size_px=128)
    return replace(made, preprocess=spec, network=replace(made.network, mirror=True))


def run(*words):
    with pytest.raises(SystemExit) as left:
        main(["export", *map(str, words)])
    return left.value.code or 0


def scores_of(path, faces):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"faces": faces})[0], session


@pytest.mark.parametrize("make", [mirrored, lambda: shallow(SPEC)], ids=["mirrored", "shallow"])
def test_scores_are_the_detectors(saved, tmp_path, make, capsys):
    weights, output = saved(make()), tmp_path / "a.onnx"
    assert run("--weights", weights, "--output", output) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(output)
    detector = Detector(weights)
    side = detector.checkpoint.preprocess.cut_size_px
    faces = np.random.default_rng(1).integers(0, 256, (3, side, side, 3), np.uint8)
    faces[1] = 0  # logarithms of 0
    scores, session = scores_of(output, faces)
    np.testing.assert_allclose(scores, detector.score_faces(faces), atol=1e-5)
    assert scores.std() > 1e-4, "scores that do not depend on the face would agree as well"
    assert [each.name for each in session.get_outputs()] == ["score"]
    assert str(Path(mdcsd.__file__).parent).encode() not in output.read_bytes(), "nobody's folders"
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["checkpoint_id"] == detector.checkpoint_id
    assert float(facts["manipulated_from"]) == detector.checkpoint.calibration.manipulated_from
    assert float(facts["crop_scale"]) == detector.checkpoint.preprocess.crop_scale


@pytest.mark.parametrize(
    ("side", "smaller", "may_differ"),
    [
        (96, 48, 0),
        (96, 96, 0),
        (144, 48, 0),
        (384, 64, 0),
        (480, 48, 0),
        (224, 160, 0),
        (299, 160, 1e-4),
        (192, 160, 0.006),
    ],
)
def test_pictures_are_shrunk_as_training_saw_them(side, smaller, may_differ):
    face = np.random.default_rng(3).integers(0, 256, (side, side, 3), np.uint8)
    weights = torch.from_numpy(export._area_weights(side, smaller))
    shrunk = export._shrink(torch.from_numpy(face[None]).permute(0, 3, 1, 2).float(), weights)[0]
    apart = np.abs(shrunk.permute(1, 2, 0).numpy() - resize(face, (smaller, smaller)))
    assert apart.max() <= (may_differ > 0) and (apart > 0).mean() <= may_differ


def test_luma_and_several_classes(saved, tmp_path):
    spec = replace(SPEC, channels=1, image_size_px=48, source_size_px=None)
    made = shallow(spec, ("original", "Deepfakes", "FaceSwap"))
    export_onnx(saved(made), tmp_path / "a.onnx")
    luma = np.random.default_rng(2).integers(0, 256, (2, 48, 48, 1), np.uint8)
    scores, session = scores_of(tmp_path / "a.onnx", luma)
    images = torch.stack([to_tensor(face, 1.3, spec) for face in luma])
    with torch.inference_mode():
        expected = 1 - (made.build().eval()(images) / 0.5).softmax(1)[:, 0]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["colour"] == "luma"


def test_a_graph_that_answers_otherwise_is_not_kept(saved, tmp_path, monkeypatch):
    real = export._to_onnx

    def lies(judge, faces):
        model = real(judge, faces)
        judge.temperature *= 2
        return model

    monkeypatch.setattr(export, "_to_onnx", lies)
    with pytest.raises(InternalError, match=r"scores .* away from torch"):
        export_onnx(saved(shallow(SPEC)), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_graph_that_sees_otherwise_is_not_kept(saved, tmp_path, monkeypatch):
    real = export._area_weights
    monkeypatch.setattr(export, "_area_weights", lambda *sides: real(*sides) * 0.99)
    with pytest.raises(InternalError, match="shrinks faces otherwise"):
        export_onnx(saved(shallow(SPEC)), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_answers_that_are_no_numbers_are_not_kept(saved, tmp_path, monkeypatch):
    made = shallow(SPEC)
    broken = {name: each * float("nan") for name, each in made.state_dict.items()}
    with pytest.raises(DataError, match="NaN or infinity"):
        export_onnx(saved(replace(made, state_dict=broken)), tmp_path / "a.onnx")

    class OneIsNone:
        def __init__(self, session):
            self.session = session

        def run(self, *given):
            scores, *others = self.session.run(*given)
            return [np.append(scores[:-1], np.nan).astype(np.float32), *others]

    real = export._open
    monkeypatch.setattr(export, "_open", lambda *given: OneIsNone(real(*given)))
    with pytest.raises(InternalError, match="scores nan away from torch"):
        export_onnx(saved(made), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_what_cannot_be_exported_is_said(saved, tmp_path, capsys, monkeypatch):
    weights, output = (
        saved(shallow(replace(SPEC, representation="dct_log_scaled"))),
        tmp_path / "a.onnx",
    )
    assert run("--weights", weights, "--output", output) == 2
    assert "a network of DCT coefficients" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run("--weights", weights, "--output", output) == 2
    assert "Install the extra 'onnx'" in capsys.readouterr().err
    assert not output.exists()
    monkeypatch.undo()
    before = weights.read_bytes()
    assert run("--weights", weights, "--output", weights) == 2
    assert "expected a name that ends in .onnx" in capsys.readouterr().err
    assert weights.read_bytes() == before
