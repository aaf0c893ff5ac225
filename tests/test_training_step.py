"""A step: where gradients are taken, and that nothing but the step moves the weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from mdcsd.errors import SettingError
from mdcsd.training import train
from mdcsd.training_step import up_the_slope
from test_training import curve, settings


def network_with_gradients() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    network[2].bias.requires_grad_(False)
    network(torch.randn(8, 3)).square().sum().backward()
    return network


def test_weights_go_up_their_gradient_by_the_radius_and_come_back():
    network = network_with_gradients()
    moving = [weight for weight in network.parameters() if weight.requires_grad]
    before = [weight.detach().clone() for weight in moving]
    slope = torch.cat([weight.grad.ravel() for weight in moving])
    with up_the_slope(network, 0.05):
        way = torch.cat([(w - was).ravel() for w, was in zip(moving, before, strict=True)])
        assert way.norm().item() == pytest.approx(0.05, rel=1e-4)
        assert torch.cosine_similarity(way, slope, dim=0).item() == pytest.approx(1.0, abs=1e-4)
    assert all(torch.equal(w, was) for w, was in zip(moving, before, strict=True))


def test_batch_norm_gathers_nothing_on_the_slope():
    network = network_with_gradients()
    gathered = network[1].running_mean.clone(), network[1].running_var.clone()
    with up_the_slope(network, 0.05):
        network(torch.randn(8, 3))
    assert torch.equal(network[1].running_mean, gathered[0])
    assert torch.equal(network[1].running_var, gathered[1])
    network(torch.randn(8, 3))
    assert not torch.equal(network[1].running_mean, gathered[0])


def test_weights_come_back_after_an_error():
    network = network_with_gradients()
    before = network[0].weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), up_the_slope(network, 0.05):
        raise KeyboardInterrupt
    assert torch.equal(network[0].weight, before)
    assert network[1].momentum == 0.1


def test_gradients_of_the_step_are_those_on_the_slope(train_set, val_set, tmp_path):
    """A radius as good as none learns as without; a wide one learns something else."""
    losses = {}
    for name, radius in (("none", 0.0), ("tiny", 1e-9), ("wide", 0.5)):
        given = settings(
            train_set, val_set, tmp_path / name, train__epochs=1, train__sam_radius=radius,
            network__dropout=0.0,
        )  # fmt: skip
        losses[name] = train(given).rows[0].val_loss
    assert losses["tiny"] == pytest.approx(losses["none"], rel=1e-3)
    assert losses["wide"] != pytest.approx(losses["none"], rel=1e-2)


def test_a_run_on_the_slope_repeats_itself(train_set, val_set, tmp_path):
    given = settings(
        train_set, val_set, tmp_path / "a", train__epochs=1, train__sam_radius=0.05,
        train__weight_average=0.9, train__mixup=0.2,
    )  # fmt: skip
    again = replace(given, train=replace(given.train, output=str(tmp_path / "b")))
    assert curve(train(given).rows) == curve(train(again).rows)


def test_a_radius_below_zero_is_refused(train_set, val_set, tmp_path):
    with pytest.raises(SettingError, match=r"train\.sam_radius"):
        settings(train_set, val_set, tmp_path / "run", train__sam_radius=-0.1)
