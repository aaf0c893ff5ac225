"""The mean of two checkpoints: of one network, with the story of both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mdcsd.averaging import average_checkpoints
from mdcsd.checkpoint import load_checkpoint, save_checkpoint
from mdcsd.cli import main
from test_checkpoint import checkpoint


@pytest.fixture
def trained(tmp_path):
    """A start and what a training made of it: every number moved by 1 to 2."""
    start = checkpoint()
    moved = {
        name: tensor + torch.rand_like(tensor) + 1 if tensor.is_floating_point() else tensor + 3
        for name, tensor in start.state_dict.items()
    }
    end = replace(
        start,
        network=replace(start.network, pretrained="both", mirror=True),
        state_dict=moved,
        provenance={**start.provenance, "seed": 7},
    )
    paths = tmp_path / "start.safetensors", tmp_path / "end.safetensors"
    for path, each in zip(paths, (start, end), strict=True):
        save_checkpoint(each, path)
    return *paths, start, end


def test_every_weight_lies_between(trained, tmp_path):
    first, second, start, end = trained
    mean = average_checkpoints(first, second, 0.25, tmp_path / "mean.safetensors")
    for name, tensor in mean.state_dict.items():
        before, after = start.state_dict[name], end.state_dict[name]
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.75 * before + 0.25 * after)
        else:
            assert torch.equal(tensor, after)
    again = load_checkpoint(tmp_path / "mean.safetensors")
    assert again.checkpoint_id == mean.checkpoint_id
    assert mean.network == end.network
    assert mean.checkpoint_id not in {start.checkpoint_id, end.checkpoint_id}


def test_it_says_what_it_is_of_and_that_its_calibration_is_old(trained, tmp_path):
    first, second, start, end = trained
    mean = average_checkpoints(first, second, 0.5, tmp_path / "mean.safetensors")
    known = mean.provenance
    assert known["averaged_from"] == [start.checkpoint_id, end.checkpoint_id]
    assert known["averaged_share"] == 0.5 and known["seed"] == 7
    assert mean.calibration.fitted_on == f"{end.calibration.fitted_on}, before averaging"


@pytest.mark.parametrize("share", ["0", "1", "-1", "nan"])
def test_a_share_that_takes_nothing_of_one(trained, tmp_path, capsys, share):
    output = tmp_path / "mean.safetensors"
    words = ["average", str(trained[0]), str(trained[1]), "--output", str(output)]
    with pytest.raises(SystemExit) as left:
        main([*words, f"--share={share}"])
    assert left.value.code == 2 and not output.exists()
    assert f"--share {share}: expected more than 0 and less than 1." in capsys.readouterr().err


def test_two_networks_have_no_mean(trained, tmp_path, capsys):
    other = tmp_path / "cnn.safetensors"
    save_checkpoint(checkpoint("cnn"), other)
    with pytest.raises(SystemExit) as left:
        main(["average", str(trained[0]), str(other), "--output", str(tmp_path / "no.safetensors")])
    assert left.value.code == 2 and not (tmp_path / "no.safetensors").exists()
    assert "are of two networks" in capsys.readouterr().err
