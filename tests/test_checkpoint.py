"""Weights on disk: the same logits bit for bit, and nothing foreign is loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from mdcsd.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, save_tensors
from mdcsd.config import NetworkConfig
from mdcsd.errors import CheckpointError
from mdcsd.judging_nouns import Calibration
from mdcsd.network import build_network
from mdcsd.preprocess import PreprocessSpec

SPEC = PreprocessSpec(64, 3, "raw", 1.3, 299)


def checkpoint(name="mdcsd", **settings) -> Checkpoint:
    config = NetworkConfig(name=name, backbone="efficientnet_lite0", **settings)
    torch.manual_seed(0)
    network = build_network(config, SPEC, 2)
    return Checkpoint(
        config, SPEC, ("original", "Deepfakes"), Calibration(0.2, 0.7, 0.8, 1.5, "a test"),
        {k: v.clone() for k, v in network.state_dict().items()}, {"seed": 0},
    )  # fmt: skip


def test_save_and_load_give_the_same_logits_bit_for_bit(tmp_path):
    before = checkpoint()
    save_checkpoint(before, tmp_path / "best.safetensors")
    after = load_checkpoint(tmp_path / "best.safetensors")
    image = torch.rand(2, 3, 64, 64) * 255
    with torch.inference_mode():
        assert torch.equal(before.build()(image), after.build()(image))
    for name in ("network", "preprocess", "class_names", "calibration", "provenance"):
        assert getattr(before, name) == getattr(after, name)
    assert before.checkpoint_id == after.checkpoint_id


def test_the_id_changes_with_weights_and_preprocessing():
    first = checkpoint()
    state = dict(first.state_dict)
    state["head.1.bias"] = state["head.1.bias"] + 1e-6
    assert replace(first, state_dict=state).checkpoint_id != first.checkpoint_id
    spec = replace(SPEC, crop_scale=1.5)
    assert replace(first, preprocess=spec).checkpoint_id != first.checkpoint_id


def test_weights_of_another_network_are_named():
    with pytest.raises(CheckpointError, match=r"another network.*missing.*unexpected"):
        replace(checkpoint(), state_dict=checkpoint("cnn").state_dict).build()
    with pytest.raises(CheckpointError, match=r"another shape \['stitches.0.weight'"):
        replace(checkpoint(), state_dict=checkpoint(stitch="channel").state_dict).build()


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: not a checkpoint"):
        load_checkpoint(path)


def test_cut_off_foreign_and_missing_files_are_refused(tmp_path):
    save_checkpoint(checkpoint(), tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for name, words in (("cut", "not a checkpoint"), ("foreign", "no mdcsd header"),
                        ("gone", "no such checkpoint")):  # fmt: skip
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(tmp_path / f"{name}.safetensors")


def test_the_mean_spectrum_travels_beside_the_weights_and_leaves_the_id(tmp_path):
    before = replace(checkpoint(), real_log_dct_mean=torch.rand(3, 64, 64))
    save_checkpoint(before, tmp_path / "best.safetensors")
    after = load_checkpoint(tmp_path / "best.safetensors")
    assert torch.equal(after.real_log_dct_mean, before.real_log_dct_mean)
    assert after.state_dict.keys() == before.state_dict.keys()
    assert after.checkpoint_id == checkpoint().checkpoint_id
    after.build()


def test_a_checkpoint_of_format_2_is_read_and_has_no_mean_spectrum(tmp_path):
    old = checkpoint()
    header = {**old.header(), "format_version": 2}
    save_tensors(old.state_dict, header, tmp_path / "old.safetensors")
    after = load_checkpoint(tmp_path / "old.safetensors")
    assert after.real_log_dct_mean is None and after.checkpoint_id == old.checkpoint_id


def test_a_mean_spectrum_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "best.safetensors"
    save_checkpoint(replace(checkpoint(), real_log_dct_mean=torch.rand(1, 64, 64)), path)
    with pytest.raises(CheckpointError, match=r"real_log_dct_mean is \(1, 64, 64\), expected \(3"):
        load_checkpoint(path)
